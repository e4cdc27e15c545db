"""runs: every point of every study in a row."""

from __future__ import annotations

from cimlab.reporting.evidence import Evidence
from cimlab.reporting.looks import place
from cimlab.reporting.methods import budget, combination
from cimlab.reporting.parts import table
from cimlab.reporting.studies import Study, accuracy, left, loss, worded
from cimlab.reporting.table import Column, Table


@table("runs", "Every point that was run")
def runs_table(evidence: Evidence) -> Table:
    """Points of the hardest data first."""
    columns = (
        Column("model", text=True), Column("data", text=True), Column("granularity", text=True),
        Column("methods", text=True), Column("epochs of retraining", digits=0),
        Column("asked", "%"), Column("left of all", "%"), Column("compression", "x"),
        Column("dense", "%"), Column("retrained", "%"), Column("loss", "points"),
        Column("steps, pruned / dense", digits=3), Column("conversions, pruned / dense", digits=3),
        Column("arrays, pruned / dense", digits=3), Column("seeds", digits=0),
    )  # fmt: skip
    rows = []
    for study in evidence.studies:
        for (name, fraction), runs in sorted(study.points.items(), key=lambda i: (place(i[0][0]), -i[0][1])):
            point = (name, fraction)
            ratios = [
                study.of(point, lambda r, key=key: r.hardware["ratio"][key])
                for key in ("steps", "adc_conversions", "arrays")
            ]
            rows.append((
                worded(study.model), worded(study.data), name, _said(study),
                study.settings.get("schedule.epochs"), 100 * fraction,
                study.of(point, left),
                study.of(point, lambda r: r.weights["compression"]),
                study.of(point, lambda r: accuracy(r, "dense")), study.of(point, accuracy),
                study.of(point, loss), *ratios, float(len(runs)),
            ))  # fmt: skip
    return Table(columns, tuple(rows))


def _said(study: Study) -> str:
    """A study's methods in words, and its budget where that is no fraction of the weights."""
    return combination(study) + ("" if budget(study) == "weights" else f", budget of {budget(study)}")
