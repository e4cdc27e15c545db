"""The one place through which figures, tables and sentences get what a run costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cimlab.records.record import RunRecord
from cimlab.reporting.estimates import Estimate
from cimlab.reporting.studies import Point, Study

NO_PRICE = "no run kept the masks that a price needs"
UNPRICED = "the hardware model was not asked"

ADC_FACTORS = (0.1, 1.0, 10.0)
"""One 8-bit conversion costs 0.16 to 15.6 pJ at 32 nm, depending on who publishes it: a decade on either side."""

Price = Callable[[RunRecord, Path], RunRecord]
"""Gives a record, read from a file, today's counts and costs, or the reason why it has none."""
Ratio = Callable[[Study, Point, str], Estimate | None]
"""A cost of a point over that of the dense network, where steps are aligned or gather rows."""


def cost(record: RunRecord) -> dict[str, Any] | None:
    """Energy, time and area of the run, where the hardware model has priced it."""
    return record.hardware.get("cost")


def priced_by(cost: dict[str, Any]) -> str:
    """Technology and ADC price of a cost, which records of the first schema call the ADC model."""
    return f"{cost['technology']} with ADC price {cost.get('adc_price') or cost['adc_model']}"


def cost_ratio(study: Study, point: Point, name: str) -> Estimate | None:
    """A cost of a point over that of the unpruned network; None where a run of it was not priced."""
    known = [priced["ratio"].get(name) for priced in prices(study, point)]
    return Estimate.of(v for v in known if v is not None)


def gathered_ratio(study: Study, point: Point, name: str) -> Estimate | None:
    """The same where array steps gather the rows that stay; None where a run has no such price."""
    return Estimate.of(priced["ratio"][name] for priced in prices(study, point, gathered=True))


def area_curve(study: Study, point: Point, *, gathered: bool = False) -> list[dict[str, Any]]:
    """Of the first run of a point that has one, what both networks reach on chips of other areas; else empty."""
    curves = (priced.get("area_curve") for priced in prices(study, point, gathered=gathered))
    return next(filter(None, curves), [])


def prices(study: Study, point: Point, *, gathered: bool = False) -> list[dict[str, Any]]:
    """Of the runs of a point, what those cost that have a price, or one with gathered rows."""
    priced = [found for record in study.points.get(point, ()) if (found := cost(record))]
    return [beside for found in priced if (beside := found.get("gathered"))] if gathered else priced


def support_share(priced: dict[str, Any]) -> float:
    """Energy of what exists for pruning's sake alone, over all of the pruned network's."""
    return priced["total"]["support_energy_j"] / priced["total"]["energy_j"]


def time_ratio(study: Study, point: Point) -> tuple[Estimate | None, str]:
    """Time of an image over that of the unpruned network, and what of it that is: the busiest arrays' time.

    Where arrays were filled anew, which the unpruned network's were not, their times can't be compared; it is latency.
    None where a run was not priced.
    """
    runs = study.points[point]
    if all(record.hardware["mapping"]["placement"] == "in_place" for record in runs):
        return study.of(point, lambda r: r.hardware["ratio"]["critical_steps"]), "the busiest arrays' time"
    return cost_ratio(study, point, "latency_s"), "latency"


def steady_ratio(study: Study, point: Point) -> Estimate | None:
    """Energy per image over that of the unpruned network while images follow each other without a gap.

    Leakage is then charged for the time between two images. None where a run of the point was not priced.
    """
    return _energy_ratio(study, point, lambda total: 1 / total["images_per_s"])


def lone_ratio(study: Study, point: Point) -> Estimate | None:
    """The same of an image that is alone on the chip, which leaks for its whole way through the pipeline."""
    return _energy_ratio(study, point, lambda total: total["latency_s"])


def _energy_ratio(
    study: Study, point: Point, leaking_s: Callable[[dict[str, float]], float]
) -> Estimate | None:
    def energy_j(total: dict[str, float]) -> float:
        return total["dynamic_j"] + total["leakage_w"] * leaking_s(total)

    return Estimate.of(
        energy_j(priced["total"]) / energy_j(priced["dense"]) for priced in prices(study, point)
    )


def at_adc_price(summary: dict[str, Any], factor: float) -> float:
    """Energy over that of the unpruned network if a conversion cost so many times what the ADC price says.

    Energy is linear in the price of a conversion, so that the ratio at another price is exact where ADCs do not idle.
    """
    own, dense = (
        sum(joules * (factor if part == "adc" else 1.0) for part, joules in summary[key].items())
        for key in ("energy_j", "dense_energy_j")
    )
    return own / dense


def pricing_notes(records: list[RunRecord]) -> tuple[str, ...]:
    """Whose prices the costs are, and why some runs have none."""
    named = sorted({priced_by(c) for c in map(cost, records) if c})
    notes = []
    if named:
        notes.append(f"Costs by {'; '.join(named)}.")
    if len(named) > 1:
        notes.append(
            "Runs priced by different technologies or ADC prices stand side by side: compare with care."
        )
    without = Counter(record.hardware.get("unpriced", UNPRICED) for record in records if cost(record) is None)
    for reason, number in sorted(without.items()):
        notes.append(f"No price for {number} of {len(records)} runs: {reason}.")
    return tuple(notes)
