"""What sentences say of masks whose rows are gathered into full array steps."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

from cimlab.reporting.evidence import Evidence
from cimlab.reporting.front import front
from cimlab.reporting.methods import budget, shares
from cimlab.reporting.priced import cost_ratio, gathered_ratio
from cimlab.reporting.studies import Study, loss

YARDSTICK = "operation unit"
"""The unit of which gathering saves nothing, because it fills its steps anyway."""


def gathered_numbers(evidence: Evidence) -> dict[str, Any] | None:
    """Of the first network with prices, budget by budget at its reference: which units are then the best.

    None where no run can gather rows.
    """
    family = next(iter(evidence.priced), None)
    if family is None:
        return None
    at = family[0].reference
    found = [
        told
        for study, share in zip(family, shares(family), strict=True)
        if (told := _budget(study, share, at))
    ]
    if not found:
        return None
    first = family[0]
    return {"title": first.title, "dense": first.dense_told, "asked": f"{100 * at:g}", "budgets": found}


def _budget(study: Study, share: str, at: float) -> dict[str, Any] | None:
    """Units that gathering changes and that no other then beats in accuracy and energy, the most accurate first."""
    units = [unit for name in study.granularities if (unit := _unit(study, name, at))]
    best = front(units, itemgetter("energy"), lambda unit: -unit["loss"])[::-1]
    gaining = [unit for unit in best if unit["energy"] < unit["aligned"]]
    yardstick = next((unit for unit in units if unit["name"] == YARDSTICK), None)
    if not gaining or yardstick is None:
        return None
    return {
        "told": share, "counts": budget(study), "units": [*map(_said, gaining)], "yardstick": _said(yardstick),
        "order_turns": yardstick not in best,
    }  # fmt: skip


def _unit(study: Study, name: str, at: float) -> dict[str, Any] | None:
    ratios = {
        "aligned": cost_ratio(study, (name, at), "energy_j"),
        "energy": gathered_ratio(study, (name, at), "energy_j"),
        "throughput": gathered_ratio(study, (name, at), "images_per_s"),
        "loss": study.of((name, at), loss),
    }
    means = {key: estimate.mean for key, estimate in ratios.items() if estimate}
    return {"name": name, **means} if len(means) == len(ratios) else None


def _said(unit: dict[str, Any]) -> dict[str, str]:
    return {
        "name": unit["name"], "loss": f"{unit['loss']:.2f}", "aligned": f"{100 * unit['aligned']:.1f}",
        "energy": f"{100 * unit['energy']:.1f}", "throughput": f"{unit['throughput']:.2f}",
    }  # fmt: skip
