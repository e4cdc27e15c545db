"""T5: runs that differ from a main study in a few settings, beside the main study's same point."""

from __future__ import annotations

from cimlab.reporting.evidence import Evidence
from cimlab.reporting.parts import table
from cimlab.reporting.studies import accuracy, change, differences, told, told_value
from cimlab.reporting.table import Cell, Column, Table

MOST_CHANGED = 8
"""Settings by which a run may differ from the main study and still be read as a change of it; beyond, it is another."""


@table("T5", "Ablation: what a change of the method does to accuracy")
def ablation_table(evidence: Evidence) -> Table:
    """Beside the main study's same point; methods beyond one-shot pruning have a table of their own, T8."""
    columns = (
        Column("model, data", text=True), Column("granularity", text=True), Column("kept", "%", 0),
        Column("changed from the main study", text=True),
        Column("accuracy", "%"), Column("main study", "%"), Column("change", "points"),
    )  # fmt: skip
    by_title = {study.title: study for study in evidence.mains}
    rows: list[tuple[Cell, ...]] = []
    for study in evidence.studies:
        main = by_title[study.title]
        if study is main:
            continue
        pairs = differences(study, main)
        if all(
            key.startswith("geometry.") for key in pairs
        ):  # another accelerator, not another method: see F8
            continue
        if study.methods and study.methods != main.methods:  # shown beside its own baseline in T8
            continue
        if len(pairs) > MOST_CHANGED:
            continue
        changed = "; ".join(
            f"{told(key, own)}, not {told_value(key, theirs)}" for key, (own, theirs) in pairs.items()
        )
        for name, fraction in study.points:
            own, theirs = study.of((name, fraction), accuracy), main.of((name, fraction), accuracy)
            gained = change(study.points[name, fraction], main.points.get((name, fraction), ()))
            rows.append((study.title, name, 100 * fraction, changed, own, theirs, gained))
    rows.sort(key=lambda row: tuple(map(str, row[:4])))
    notes = (
        "Each row changes the named settings of its network's main study, and nothing else; a change is the mean over "
        "the seeds that both have.",
    )
    return Table(columns, tuple(rows), notes)
