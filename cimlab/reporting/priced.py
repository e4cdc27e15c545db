"""The one place through which figures, tables and sentences get what a run costs."""

from __future__ import annotations

from typing import Any

from cimlab.records.record import RunRecord
from cimlab.reporting.estimates import Estimate
from cimlab.reporting.studies import Point, Study

NO_PRICE = "no run was priced by the hardware model"


def cost(record: RunRecord) -> dict[str, Any] | None:
    """Energy, time and area of the run, where the hardware model has priced it."""
    return record.hardware.get("cost")


def priced_by(cost: dict[str, Any]) -> str:
    """Technology and ADC price of a cost, which records of the first schema call the ADC model."""
    return f"{cost['technology']} with ADC price {cost.get('adc_price') or cost['adc_model']}"


def cost_ratio(study: Study, point: Point, name: str) -> Estimate | None:
    """A cost of a point over that of the unpruned network; None where a run of it was not priced."""
    priced = [cost(record) for record in study.points.get(point, ())]
    known = [c["ratio"].get(name) for c in priced if c is not None]
    return Estimate.of(v for v in known if v is not None)


def steady_ratio(study: Study, point: Point) -> Estimate | None:
    """Energy per image over that of the unpruned network while images follow each other without a gap.

    Leakage is then charged for the time between two images, not for one image's whole way through the pipeline.
    None where a run of the point was not priced.
    """
    priced = [c for c in map(cost, study.points.get(point, ())) if c]
    return Estimate.of(_steady_j(c["total"]) / _steady_j(c["dense"]) for c in priced)


def _steady_j(total: dict[str, float]) -> float:
    return total["dynamic_j"] + total["leakage_w"] / total["images_per_s"]


def pricing_notes(records: list[RunRecord]) -> tuple[str, ...]:
    """Whose prices the costs are, and whether some runs have none."""
    named = sorted({priced_by(c) for c in map(cost, records) if c})
    unpriced = sum(cost(record) is None for record in records)
    notes = []
    if named:
        notes.append(f"Costs by {'; '.join(named)}.")
    if len(named) > 1:
        notes.append(
            "Runs priced by different technologies or ADC prices stand side by side: compare with care."
        )
    if unpriced:
        notes.append(f"{unpriced} of {len(records)} runs were not priced by the hardware model.")
    return tuple(notes)
