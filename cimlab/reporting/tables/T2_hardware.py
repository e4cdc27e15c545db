"""T2: work and cost of what was pruned, as ratios to the dense network on a chip of equal area."""

from __future__ import annotations

from cimlab.reporting.evidence import PRICED, Evidence
from cimlab.reporting.methods import budget, shares
from cimlab.reporting.parts import table
from cimlab.reporting.planned import holes
from cimlab.reporting.priced import cost, cost_ratio, gathered_ratio, lone_ratio, pricing_notes, steady_ratio
from cimlab.reporting.published import compression
from cimlab.reporting.studies import Point, Study, loss, worded
from cimlab.reporting.table import Cell, Column, Table

COUNTS = (("steps", "steps"), ("conversions", "adc_conversions"))
COSTS = (("throughput", "images_per_s"), ("TOPS/W", "effective_ops_per_j"), ("latency", "latency_s"))


@table("T2", "Work and cost at equal area, by budget and pruned unit", PRICED)
def hardware_table(evidence: Evidence, families: list[list[Study]]) -> Table:
    """Every point with a price on the hardest data, whatever its budget counts."""
    priced = [study for family in families for study in family]
    rows: list[tuple[Cell, ...]] = []
    spared: set[int] = set()
    for family in families:
        for study, share in zip(family, shares(family), strict=True):
            points = _priced(study)
            first = study.leading(family[0].reference)
            spared |= {len(rows) + place for place, point in enumerate(points) if point not in first}
            rows += [_row(study, share, point) for point in points]
    columns = (
        Column("network", text=True), Column("asked", "%", 0), Column("of", text=True),
        Column("granularity", text=True), Column("compression", "x", 1, spread=False), Column("loss", "points"),
        *(Column(f"{heading} ratio", digits=3, spread=False) for heading, _ in COUNTS),
        Column("index", "kbit", 1, spread=False), Column("energy ratio", digits=3, spread=False),
        *(Column(f"{heading} ratio", digits=2 if heading != "latency" else 3, spread=False) for heading, _ in COSTS),
        Column("lone energy ratio", digits=3, spread=False),
    )  # fmt: skip
    notes = (
        "Ratios are to the dense network on a chip of the same area, both with copies of their slowest layers.",
        "Energy is that of an image in a full pipeline, lone energy that of an image by itself: leakage differs.",
        *_apart(priced),
        *(["Epochs: of retraining."] if any("epochs" in str(row[2]) for row in rows) else []),
        *(["No ±: one seed."] if any(study.seeds > 1 for study in priced) else []),
        *_not_run(evidence, families),
        *pricing_notes([record for study in priced for record in study.records]),
    )
    return Table(columns, tuple(rows), notes, spared=frozenset(spared))


def _priced(study: Study) -> list[Point]:
    """Its points with a price, unit by unit."""
    points = [(name, fraction) for name in study.granularities for fraction in study.remaining]
    return [point for point in points if any(map(cost, study.points.get(point, ())))]


def _row(study: Study, share: str, point: Point) -> tuple[Cell, ...]:
    name, fraction = point
    counts = [study.of(point, lambda r, key=key: r.hardware["ratio"][key]) for _, key in COUNTS]
    index = study.of(point, lambda r: r.hardware["total"]["index_bits"] / 1000)
    costs = [cost_ratio(study, point, key) for _, key in COSTS]
    return (
        worded(study.model), f"{100 * fraction:g}", share, name, compression(study, point),
        study.of(point, loss), *counts, index, steady_ratio(study, point), *costs, lone_ratio(study, point),
    )  # fmt: skip


def _apart(studies: list[Study]) -> list[str]:
    """Which of its two prices stands here, where a network has two."""
    points = ((study, point) for study in studies for point in study.points)
    if not any(gathered_ratio(study, point, "steps") for study, point in points):
        return []
    return ["Rows stay in their row groups here, also of runs that asked for gathered ones; T9 has those."]


def _not_run(evidence: Evidence, families: list[list[Study]]) -> list[str]:
    """What a grid of the network plans and no run with a price has, budget by budget."""
    found = []
    for family in families:
        missing = {
            name: told
            for name in dict.fromkeys(map(budget, family))
            if (told := holes((study for study in family if budget(study) == name), evidence.grids))
        }
        said = [
            f"{f'of {name}: ' if len(missing) > 1 else ''}{', '.join(told)}" for name, told in missing.items()
        ]
        if said:
            found.append(f"Planned on {family[0].title} and not run with masks: {'; '.join(said)}.")
    return found
