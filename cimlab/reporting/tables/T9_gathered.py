"""T9: what the same masks cost where array steps gather the rows that their columns keep."""

from __future__ import annotations

from cimlab.reporting.evidence import PRICED, Evidence
from cimlab.reporting.methods import shares
from cimlab.reporting.parts import NotRun, table
from cimlab.reporting.priced import cost_ratio, gathered_ratio
from cimlab.reporting.studies import Point, Study, loss, worded
from cimlab.reporting.table import Cell, Column, Table

RATIOS = (("steps", "steps", 3), ("energy", "energy_j", 3), ("throughput", "images_per_s", 2))


@table("T9", "The same masks where steps gather the rows that stay", PRICED)
def gathered_table(evidence: Evidence, families: list[list[Study]]) -> Table:
    """Points whose steps that changes; units of which it changes none are told."""
    found = [
        (study, share, (name, fraction), (name, fraction) in study.leading(family[0].reference))
        for family in families
        for study, share in zip(family, shares(family), strict=True)
        for name in study.granularities
        for fraction in study.remaining
        if gathered_ratio(study, (name, fraction), "steps")
    ]
    if not found:
        raise NotRun("no run with a price can gather rows")
    changed = [entry for entry in found if _saves(entry[0], entry[2])]
    spared = frozenset(number for number, (*_, leads) in enumerate(changed) if not leads)
    columns = (
        Column("network", text=True), Column("asked", "%", 0), Column("of", text=True),
        Column("granularity", text=True), Column("loss", "points"),
        *(
            Column(f"{heading} ratio{told}", digits=digits, spread=False)
            for heading, _, digits in RATIOS for told in ("", ", gathered")
        ),
    )  # fmt: skip
    same = sorted({point[0] for _, _, point, _ in found} - {point[0] for _, _, point, _ in changed})
    notes = (
        "Trained as it stands in T2. A step drives any rows of a layer that its columns keep, instead of those of one "
        "row group of the unpruned matrix (Yang et al., ISCA 2019); masks, chip and area are the same.",
        *([f"Gathering saves no step of {', '.join(same)}."] if same else []),
    )
    rows = tuple(_row(study, share, point) for study, share, point, _ in changed)
    return Table(columns, rows, notes, spared=spared)


def _saves(study: Study, point: Point) -> bool:
    aligned, gathered = cost_ratio(study, point, "steps"), gathered_ratio(study, point, "steps")
    return aligned is not None and gathered is not None and gathered.mean < aligned.mean


def _row(study: Study, share: str, point: Point) -> tuple[Cell, ...]:
    name, fraction = point
    ratios = (ratio(study, point, key) for _, key, _ in RATIOS for ratio in (cost_ratio, gathered_ratio))
    return (worded(study.model), f"{100 * fraction:g}", share, name, study.of(point, loss), *ratios)
