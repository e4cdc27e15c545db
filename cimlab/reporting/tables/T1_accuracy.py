"""T1: test accuracy after retraining, granularities down, weights left across; one table per network."""

from __future__ import annotations

from cimlab.reporting.evidence import Evidence
from cimlab.reporting.looks import place
from cimlab.reporting.parts import table
from cimlab.reporting.planned import not_run_note
from cimlab.reporting.studies import Study, accuracy
from cimlab.reporting.table import Cell, Column, Table

COARSE = 0.05
"""Share kept over share asked, less 1, from which a table says so."""


BUDGETS = {
    "weights": ("prunable weights", "kept"),
    "steps": ("array steps", "asked"),
    "energy": ("dynamic energy", "asked"),
}
"""Budget -> what the columns are a share of, and whether it is what stayed or what was asked for."""


@table("T1", "Test accuracy by pruned unit and prunable weights kept")
def accuracy_tables(evidence: Evidence) -> list[Table]:
    """A table for each main study."""
    return [_table(study, evidence) for study in evidence.mains]


def _table(study: Study, evidence: Evidence) -> Table:
    fractions, (whole, share) = study.remaining, BUDGETS[_budget(study)]
    columns = [
        Column("granularity", text=True),
        *(Column(f"{100 * fraction:g} % {share}") for fraction in fractions),
    ]
    rows: list[tuple[Cell, ...]] = [("dense", *[study.dense] * len(fractions))]
    rows += [
        (name, *[study.of((name, fraction), accuracy) for fraction in fractions])
        for name in study.granularities
    ]
    title = f"Test accuracy (%) of {study.title}, by pruned unit and {whole} {share}"
    notes = (_seeds_note(study), *_coarse_note(study), *not_run_note(study, evidence.grids))
    return Table(tuple(columns), tuple(rows), notes, title=title)


def _budget(study: Study) -> str:
    return study.records[0].config["prune"].get("budget", "weights")


def _seeds_note(study: Study) -> str:
    """How many seeds stand behind the numbers."""
    if study.seeds == 1:
        return f"{study.title}: one seed, so no spread is known."
    return f"{study.title}: mean ± standard deviation over up to {study.seeds} seeds."


def _coarse_note(study: Study) -> list[str]:
    """Where another share of the weights stayed than was asked: units are coarse, or the budget is no weights'."""
    found = []
    for (name, asked), _ in sorted(study.points.items(), key=lambda i: (place(i[0][0]), -i[0][1])):
        kept = study.of((name, asked), lambda record: record.weights["remaining_prunable"])
        if kept is not None and abs(kept.mean - asked) > COARSE * asked:
            found.append(f"{name} {100 * kept.mean:.3g} % for {100 * asked:g} %")
    why = "Kept, as units are coarse" if _budget(study) == "weights" else "Weights kept"
    return [f"{why}: {', '.join(found)}."] if found else []
