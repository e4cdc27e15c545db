"""T5: runs that differ from a main study in a few settings, beside the main study's same point."""

from __future__ import annotations

from cimlab.reporting.estimates import Estimate
from cimlab.reporting.evidence import Evidence
from cimlab.reporting.methods import budget
from cimlab.reporting.parts import table
from cimlab.reporting.studies import Point, Study, accuracy, change, differences, told, told_value
from cimlab.reporting.table import Cell, Column, Table

MOST_CHANGED = 8
"""Settings by which a run may differ from the main study and still be read as a change of it; beyond, it is another."""


@table("T5", "Ablation: what a change of the method does to accuracy")
def ablation_table(evidence: Evidence) -> Table:
    """Beside the main study's same point; methods of training and budgets have tables of their own, T8 and T2."""
    columns = (
        Column("model, data", text=True), Column("granularity", text=True), Column("kept", "%", 0),
        Column("changed from the main study", text=True),
        Column("accuracy", "%"), Column("main study", "%"), Column("change", "points"),
    )  # fmt: skip
    mains = {study.title: study for study in evidence.mains}
    changed = [
        (study, mains[study.title]) for study in evidence.studies if _is_change(study, mains[study.title])
    ]
    found = [(study, main, point) for study, main in changed for point in study.points]
    rows: list[tuple[Cell, ...]] = [_row(*entry) for entry in found if _shared(*entry)]
    rows.sort(key=lambda row: tuple(map(str, row[:4])))
    notes = [
        "Each row changes the named settings of its network's main study, and nothing else; accuracies are those "
        "of the seeds that both have."
    ]
    if without := len(found) - len(rows):
        notes.append(
            f"Points that the main study lacks, or has of other seeds alone, are left out: {without}."
        )
    return Table(columns, tuple(rows), tuple(notes))


def _is_change(study: Study, main: Study) -> bool:
    """Whether few settings differ, those of another accelerator (see F8), methods (T8) and budgets (T2) left alone."""
    pairs = differences(study, main)
    return (
        study.methods == main.methods
        and budget(study) == budget(main)
        and len(pairs) <= MOST_CHANGED
        and not all(key.startswith("geometry.") for key in pairs)
    )


def _shared(study: Study, main: Study, point: Point) -> set[int]:
    """Seeds that both have of a point."""
    return set.intersection(*({record.seed for record in own.points.get(point, ())} for own in (study, main)))


def _row(study: Study, main: Study, point: Point) -> tuple[Cell, ...]:
    (name, fraction), pairs = point, differences(study, main)
    words = "; ".join(
        f"{told(key, own)}, not {told_value(key, theirs)}" for key, (own, theirs) in pairs.items()
    )
    runs, seeds = (study.points[point], main.points[point]), _shared(study, main, point)
    own, theirs = (Estimate.of(accuracy(record) for record in own if record.seed in seeds) for own in runs)
    return (study.title, name, 100 * fraction, words, own, theirs, change(*runs))
