"""T2: what the accelerator does and costs at each granularity, as ratios to the unpruned network on the same arrays."""

from __future__ import annotations

from cimlab.reporting.evidence import Evidence
from cimlab.reporting.parts import NotRun, table
from cimlab.reporting.planned import axes_of
from cimlab.reporting.priced import cost_ratio, lone_ratio, pricing_notes, steady_ratio
from cimlab.reporting.studies import Point, Study, left, loss, smallest_within
from cimlab.reporting.table import NONE, Cell, Column, Table

COUNTS = (("steps", "steps"), ("conversions", "adc_conversions"), ("arrays", "arrays"))
COSTS = (
    ("latency", "latency_s"), ("throughput", "effective_ops_per_s"),
    ("TOPS/W", "effective_ops_per_j"), ("area", "area_m2"),
)  # fmt: skip


@table("T2", "Work and cost on the accelerator by pruned unit")
def hardware_table(evidence: Evidence) -> Table:
    """Every granularity at the reference compression of the study with prices, and at the most within the claim's loss.

    A granularity that was planned and not run shows as such.
    """
    study, allowed_loss = evidence.priced, evidence.published.drop
    if study is None:
        raise NotRun("No runs were recorded")
    reference = study.reference
    names, _ = axes_of(study, evidence.grids)
    equal_weights, equal_loss = f"{100 * reference:g} % kept", f"loss ≤ {allowed_loss:g}"
    rows: list[tuple[Cell, ...]] = [(equal_weights, name, *_row(study, (name, reference))) for name in names]
    for name in names:
        point = smallest_within(study, name, allowed_loss) or (name, 0.0)
        tried_in_vain = name in study.granularities and point not in study.points
        cells = (NONE,) * (5 + len(COUNTS) + len(COSTS)) if tried_in_vain else _row(study, point)
        rows.append((equal_loss, name, *cells))
    columns = (
        Column("at equal", text=True), Column("granularity", text=True),
        Column("left", "%", 1, spread=False), Column("loss", "points"),
        *(Column(f"{heading} ratio", digits=3, spread=False) for heading, _ in COUNTS),
        Column("index", "kbit", 1, spread=False),
        Column("energy ratio", digits=3, spread=False),
        *(Column(f"{heading} ratio", digits=3, spread=False) for heading, _ in COSTS),
        Column("lone energy ratio", digits=3, spread=False),
    )  # fmt: skip
    notes = (
        f"{study.title}. Ratios are to the unpruned network on the same arrays.",
        f"“{NONE}”: no point that was run loses so little.",
        "Energy is that of an image in a full pipeline, lone energy that of an image by itself: leakage differs.",
        *pricing_notes(study.records),
    )
    return Table(columns, tuple(rows), notes)


def _row(study: Study, point: Point) -> tuple[Cell, ...]:
    counts = [study.of(point, lambda r, key=key: r.hardware["ratio"][key]) for _, key in COUNTS]
    index = study.of(point, lambda r: r.hardware["total"]["index_bits"] / 1000)
    costs = [cost_ratio(study, point, key) for _, key in COSTS]
    kept = study.of(point, left), study.of(point, loss)
    return (*kept, *counts, index, steady_ratio(study, point), *costs, lone_ratio(study, point))
