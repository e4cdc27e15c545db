"""T8: which training method pays, beside pruning once under one threshold."""

from __future__ import annotations

from collections import defaultdict

from cimlab.reporting.estimates import Estimate
from cimlab.reporting.evidence import Evidence
from cimlab.reporting.methods import beside_one_shot, families
from cimlab.reporting.parts import NotRun, table
from cimlab.reporting.studies import Study, accuracy, left, loss
from cimlab.reporting.table import Cell, Column, Table


@table("T8", "Which training method pays, beyond one-shot pruning")
def methods_table(evidence: Evidence) -> list[Table]:
    """A table for each network; a row per combination of methods at every point that one-shot pruning was run at.

    The change is against one-shot pruning alone, seed by seed, so that both start from the same dense network.
    """
    columns = (
        Column("granularity", text=True), Column("kept", "%", 0), Column("methods", text=True),
        Column("left of all", "%", spread=False), Column("accuracy", "%"), Column("loss", "points"),
        Column("change", "points"), Column("steps, pruned / dense", digits=3),
    )  # fmt: skip
    note = (
        "Change against one-shot pruning alone, seed by seed. Per step: units ranked by saliency per array step, at "
        "equal weights. The order of reordered rows and columns is priced as index."
    )
    found: dict[str, list[tuple[Cell, ...]]] = defaultdict(list)
    for family in families(evidence.studies):
        found[family[0].title] += _family_rows(family)
    if not any(found.values()):
        raise NotRun("No method was run beside one-shot pruning")
    return [
        Table(
            columns,
            tuple(rows),
            (note,),
            title=f"Which training method pays, beyond one-shot pruning: {title}",
        )
        for title, rows in found.items()
        if rows
    ]


def _family_rows(family: list[Study]) -> list[tuple[Cell, ...]]:
    """Rows of studies that differ in their methods alone, at the points where one-shot pruning was run too."""
    points = {point for study in family if study.methods for point in study.points}
    rows: list[tuple[Cell, ...]] = []
    for name, fraction in sorted(points, key=lambda point: (point[0], -point[1])):
        for label, (study, change) in beside_one_shot(family, (name, fraction)).items():
            runs = study.points[name, fraction]
            rows.append((
                name, 100 * fraction, label,
                Estimate.of(map(left, runs)), Estimate.of(map(accuracy, runs)), Estimate.of(map(loss, runs)),
                change, Estimate.of(r.hardware["ratio"]["steps"] for r in runs),
            ))  # fmt: skip
    return rows
