"""T1: test accuracy after retraining, granularities down, weights left across; one table per network."""

from __future__ import annotations

from cimlab.reporting.estimates import Estimate
from cimlab.reporting.evidence import Evidence
from cimlab.reporting.looks import place
from cimlab.reporting.methods import budget
from cimlab.reporting.parts import table
from cimlab.reporting.planned import not_run_note
from cimlab.reporting.studies import Point, Study, accuracy
from cimlab.reporting.table import Cell, Column, Table

COARSE = 0.05
"""Share kept over share asked, less 1, from which a table says so."""
APART = 10.0
"""Points between the best and the worst seed from which a mean ± deviation misleads, and the seeds are told."""


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
    fractions, (whole, share) = study.remaining, BUDGETS[budget(study)]
    columns = [
        Column("granularity", text=True),
        *(Column(f"{100 * fraction:g} % {share}") for fraction in fractions),
    ]
    rows: list[tuple[Cell, ...]] = [("dense", *[_dense(study, fraction) for fraction in fractions])]
    rows += [
        (name, *[study.of((name, fraction), accuracy) for fraction in fractions])
        for name in study.granularities
    ]
    title = f"Test accuracy (%) of {study.title}, by pruned unit and {whole} {share}"
    notes = (
        _seeds_note(study),
        *_apart_note(study),
        *_coarse_note(study),
        *not_run_note(study, evidence.grids, share),
    )
    return Table(tuple(columns), tuple(rows), notes, title=title)


def _dense(study: Study, fraction: float) -> Estimate | None:
    """Dense accuracy of the seeds that were pruned to a fraction, each once: a column compares like with like."""
    at = (record for (_, asked), runs in study.points.items() if asked == fraction for record in runs)
    return Estimate.of({record.seed: accuracy(record, "dense") for record in at}.values())


def _seeds_note(study: Study) -> str:
    """How many seeds stand behind the numbers."""
    if study.seeds == 1:
        return "One seed, so no spread is known."
    return f"Mean ± standard deviation over up to {study.seeds} seeds."


def _apart_note(study: Study) -> list[str]:
    """Seed by seed, the points at which one seed kept what another lost."""
    found = []
    for name, asked in _in_order(study):
        reached = [accuracy(record) for record in study.points[name, asked]]
        if max(reached) - min(reached) > APART:
            found.append(f"{name} at {100 * asked:g} %: {', '.join(f'{percent:.1f}' for percent in reached)}")
    return [f"Seeds more than {APART:g} points apart: {'; '.join(found)}."] if found else []


def _in_order(study: Study) -> list[Point]:
    """Finest unit first, most weights kept first."""
    return sorted(study.points, key=lambda point: (place(point[0]), -point[1]))


def _coarse_note(study: Study) -> list[str]:
    """Where another share of the weights stayed than was asked: units are coarse, or the budget is no weights'."""
    found: dict[tuple[str, str], list[str]] = {}
    for name, asked in _in_order(study):
        kept = study.mean((name, asked), lambda record: record.weights["remaining_prunable"])
        if abs(kept - asked) > COARSE * asked:
            found.setdefault((name, f"{100 * kept:.3g}"), []).append(f"{100 * asked:g}")
    why = "Kept, as units are coarse" if budget(study) == "weights" else "Weights kept"
    told = [f"{name} {kept} % for {', '.join(asked)} %" for (name, kept), asked in found.items()]
    return [f"{why}: {'; '.join(told)}."] if told else []
