"""T8: which training method pays, beside pruning once under one threshold."""

from __future__ import annotations

from cimlab.reporting.estimates import Estimate
from cimlab.reporting.evidence import Evidence
from cimlab.reporting.methods import beside_one_shot, families, network_told
from cimlab.reporting.parts import NotRun, table
from cimlab.reporting.studies import PER_STEP, Study, accuracy, left, loss
from cimlab.reporting.table import Cell, Column, Table

NOTE = (
    "Change against one-shot pruning alone, loss against the dense network, seed by seed. The order of reordered rows "
    "and columns is priced as index."
)
RANKED = ("Per step: units ranked by saliency per array step, at equal weights.",)


@table("T8", "Which training method pays, beyond one-shot pruning")
def methods_table(evidence: Evidence) -> list[Table]:
    """A table for each network and length of retraining; a row per combination of methods beside one-shot pruning.

    The change is against one-shot pruning alone, seed by seed, so that both start from the same dense network.
    """
    columns = (
        Column("granularity", text=True), Column("kept", "%", 0), Column("methods", text=True),
        Column("left of all", "%", spread=False), Column("accuracy", "%"), Column("loss", "points"),
        Column("change", "points"), Column("steps, pruned / dense", digits=3),
    )  # fmt: skip
    found = [(family, rows) for family in families(evidence.studies) if (rows := _family_rows(family))]
    if not found:
        raise NotRun("No method was run beside one-shot pruning")
    return [
        Table(
            columns,
            tuple(rows),
            (NOTE, *(RANKED if any(PER_STEP in str(row[2]) for row in rows) else ())) if number == 0 else (),
            title=f"Which training method pays, beyond one-shot pruning: {network_told(family)}",
        )
        for number, (family, rows) in enumerate(found)
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
