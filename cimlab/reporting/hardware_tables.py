"""T2: what the accelerator does and costs at each granularity, as ratios to the unpruned network on the same arrays."""

from __future__ import annotations

from typing import Any

from cimlab.records.record import RunRecord
from cimlab.reporting.accuracy_tables import axes_of, smallest_within
from cimlab.reporting.estimates import Estimate
from cimlab.reporting.grid import Grid
from cimlab.reporting.studies import Point, Study, cost, left, loss, priced_by
from cimlab.reporting.table import NONE, Cell, Column, Table

COUNTS = (("steps", "steps"), ("conversions", "adc_conversions"), ("arrays", "arrays"))
ADC_FACTORS = (0.1, 1.0, 10.0)
"""One 8-bit conversion costs 0.16 to 15.6 pJ at 32 nm, depending on who publishes it: a decade on either side."""
COSTS = (
    ("energy", "energy_j"), ("latency", "latency_s"), ("throughput", "effective_ops_per_s"),
    ("TOPS/W", "effective_ops_per_j"), ("area", "area_m2"),
)  # fmt: skip


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


def hardware_table(study: Study, grids: list[Grid], allowed_loss: float) -> Table:
    """T2: every granularity at the study's reference compression, and at the most it stands within a loss.

    Args:
        grids: what was planned; a granularity that was not run shows as such.
        allowed_loss: points of accuracy below dense that count as equal.
    """
    reference = study.reference
    names, _ = axes_of(study, grids)
    equal_weights, equal_loss = f"{100 * reference:g} % kept", f"loss ≤ {allowed_loss:g}"
    rows: list[tuple[Cell, ...]] = [(equal_weights, name, *_row(study, (name, reference))) for name in names]
    for name in names:
        point = smallest_within(study, name, allowed_loss) or (name, 0.0)
        tried_in_vain = name in study.granularities and point not in study.points
        cells = (NONE,) * (4 + len(COUNTS) + len(COSTS)) if tried_in_vain else _row(study, point)
        rows.append((equal_loss, name, *cells))
    columns = (
        Column("at equal", text=True), Column("granularity", text=True),
        Column("left", "%", 1, spread=False), Column("loss", "points"),
        *(Column(f"{heading} ratio", digits=3, spread=False) for heading, _ in COUNTS),
        Column("index", "kbit", 1, spread=False),
        *(Column(f"{heading} ratio", digits=3, spread=False) for heading, _ in COSTS),
        Column("steady energy ratio", digits=3, spread=False),
    )  # fmt: skip
    notes = (
        f"{study.title}. Ratios are to the unpruned network on the same arrays.",
        f"“{NONE}”: no point that was run loses so little.",
        "Energy is that of one image alone, steady energy that of an image in a full pipeline; they differ in leakage.",
        *pricing_notes(study.records),
    )
    return Table("T2", "Work and cost on the accelerator by pruned unit", columns, tuple(rows), notes)


def sensitivity_table(study: Study) -> Table:
    """T7: energy over that of the unpruned network if a conversion cost less or more than the ADC price says.

    Energy is linear in the price of a conversion, so that the ratio at another price is exact.
    """
    at = study.reference
    names = [name for name in study.granularities if any(map(cost, study.points.get((name, at), ())))]
    rows = []
    for name in names:
        priced = [c for c in map(cost, study.points[name, at]) if c]
        cells = [Estimate.of(_energy_ratio(c, factor) for c in priced) for factor in ADC_FACTORS]
        rows.append((name, *cells))
    columns = (
        Column("granularity", text=True),
        *(Column(f"ADC energy x {factor:g}", digits=3, spread=False) for factor in ADC_FACTORS),
    )
    notes = (f"{study.title}, {100 * at:g} % kept.", *pricing_notes(study.records))
    return Table("T7", "Energy ratio to dense, by the price of a conversion", columns, tuple(rows), notes)


def _energy_ratio(summary: dict[str, Any], factor: float) -> float:
    own, dense = (
        sum(joules * (factor if part == "adc" else 1.0) for part, joules in summary[key].items())
        for key in ("energy_j", "dense_energy_j")
    )
    return own / dense


def _row(study: Study, point: Point) -> tuple[Cell, ...]:
    counts = [study.of(point, lambda r, key=key: r.hardware["ratio"][key]) for _, key in COUNTS]
    index = study.of(point, lambda r: r.hardware["total"]["index_bits"] / 1000)
    costs = [cost_ratio(study, point, key) for _, key in COSTS]
    return (study.of(point, left), study.of(point, loss), *counts, index, *costs, steady_ratio(study, point))


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
