"""What is wrong with a hardware description, in one line: which file or key, which value, which range."""

from __future__ import annotations

import math

from cimlab.errors import REFUSED, CimlabError


class HardwareError(CimlabError, ValueError):
    """A cost that can't be computed; the message names the file or key, the value and the allowed range."""

    exit_code = REFUSED


def require_numbers(where: str, *values: float | None, low: float = 0.0, above: float | None = None) -> None:
    """Refuse what is not a finite number in range.

    >>> require_numbers("chip.arrays_per_tile", 0, low=1)
    Traceback (most recent call last):
    cimlab.hardware.errors.HardwareError: chip.arrays_per_tile=0 must be a number from 1

    Args:
        where: file and key, as the message names them.
        values: to be checked.
        low: the lowest that is taken.
        above: every value has to be larger; counts instead of `low`.

    Raises:
        HardwareError: one line with the key and the range.
    """
    allowed = f"from {low:g}" if above is None else f"above {above:g}"
    for value in values:
        if value is None:
            raise HardwareError(f"{where} is missing; give a number {allowed}")
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not number or (value < low if above is None else value <= above):
            raise HardwareError(f"{where}={value} must be a number {allowed}")
