"""What several seeds say together: mean, spread, and a confidence interval where there are enough of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean, stdev

from cimlab.interval import half_width


@dataclass(frozen=True)
class Estimate:
    """Repeated measurements of one quantity.

    >>> Estimate.of([91.0, 92.0, 93.0]).mean
    92.0
    """

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Iterable[float]) -> Estimate | None:
        """An estimate, or None where nothing was measured."""
        known = tuple(float(value) for value in values)
        return cls(known) if known else None

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def mean(self) -> float:
        return fmean(self.values)

    @property
    def spread(self) -> float | None:
        """Sample standard deviation; None for one value."""
        return stdev(self.values) if self.n > 1 else None

    @property
    def half_width(self) -> float | None:
        """Half the 95 % interval of the mean by Student's t; None for fewer than three values."""
        return half_width(self.values) if self.n > 2 else None
