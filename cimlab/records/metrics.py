"""The stable names of CONCEPTS.md, section 8: what a tracker is told while a run trains, and what it is left with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def hardware_metrics(counts: Mapping[str, Any], cost: Mapping[str, Any]) -> dict[str, float]:
    """hardware/NAME of counts and costs in SI units, hardware/NAME_ratio over the unpruned network, and the energy of
    every component.

    >>> counts = {"total": {"arrays": 4, "steps": 80}, "ratio": {"arrays": 0.5, "steps": 0.25}}
    >>> cost = {"total": {"arrays": 9, "energy_j": 1e-6}, "ratio": {"energy_j": 0.2}, "energy_j": {"adc": 6e-7}}
    >>> hardware_metrics(counts, cost)["hardware/arrays"], list(hardware_metrics(counts, cost))[-1]
    (4, 'hardware/energy_j/adc')

    Args:
        counts: of the network, with `total` and `ratio`.
        cost: of it on a chip, with `total`, `ratio` and `energy_j` by component; its arrays are those of all copies,
            and `arrays` stays the name of one copy's.
    """
    metrics: dict[str, float] = {}
    for numbers, but in ((counts, None), (cost, "arrays")):
        metrics |= {f"hardware/{name}": value for name, value in numbers["total"].items() if name != but}
        metrics |= {
            f"hardware/{name}_ratio": value for name, value in numbers["ratio"].items() if name != but
        }
    return metrics | {f"hardware/energy_j/{name}": value for name, value in cost["energy_j"].items()}
