"""T8: which training method pays, beside pruning once under one threshold."""

from __future__ import annotations

from cimlab.reporting.estimates import Estimate
from cimlab.reporting.evidence import Evidence
from cimlab.reporting.methods import BASELINE, families, labels
from cimlab.reporting.parts import table
from cimlab.reporting.studies import Study, accuracy, left, loss
from cimlab.reporting.table import Cell, Column, Table


@table("T8", "Which training method pays, beyond one-shot pruning")
def methods_table(evidence: Evidence) -> Table:
    """A row per combination of methods, for every granularity and budget that some method was tried at.

    The change is against one-shot pruning alone, seed by seed, so that both start from the same dense network.
    """
    columns = (
        Column("model, data", text=True), Column("granularity", text=True), Column("kept", "%", 0),
        Column("methods", text=True), Column("left of all", "%"), Column("accuracy", "%"),
        Column("loss", "points"), Column("change", "points"), Column("steps, pruned / dense", digits=3),
    )  # fmt: skip
    alone = {study.methods[0] for study in evidence.studies if len(study.methods) == 1}
    tried = sorted(alone, key=_order)
    rows = [row for family in families(evidence.studies) for row in _family_rows(family, tried)]
    notes = (
        "Change against one-shot pruning alone, seed by seed. Per step: units ranked by saliency per array step, at "
        "equal weights. The order of reordered rows and columns is priced as index.",
    )
    return Table(columns, tuple(rows), notes)


def _order(method: str) -> tuple[bool, str]:
    """Alphabetical, but how units are ranked last."""
    return method == "per step", method


def _family_rows(family: list[Study], tried: list[str]) -> list[tuple[Cell, ...]]:
    """Rows of studies that differ in their methods alone; points at which no method was tried are left out.

    Beside a baseline and a method by itself, every method that was tried by itself anywhere shows, if only as not run.
    """
    points = {point for study in family if study.methods for point in study.points}
    named = labels(family)
    rows: list[tuple[Cell, ...]] = []
    for name, fraction in sorted(points, key=lambda point: (point[0], -point[1])):
        point = (name, fraction)
        bases = [study.points.get(point, ()) for study in family if not study.methods]
        base = {record.seed: accuracy(record) for runs in bases for record in runs}
        here = {label: study for label, study in named.items() if point in study.points}
        alone = any(len(study.methods) == 1 for study in here.values())
        for label in _in_order(here, tried if base and alone else []):
            runs = here[label].points[point] if label in here else ()
            rows.append((
                family[0].title, name, 100 * fraction, label,
                Estimate.of(map(left, runs)), Estimate.of(map(accuracy, runs)), Estimate.of(map(loss, runs)),
                Estimate.of(accuracy(r) - base[r.seed] for r in runs if r.seed in base),
                Estimate.of(r.hardware["ratio"]["steps"] for r in runs),
            ))  # fmt: skip
    return rows


def _in_order(here: dict[str, Study], expected: list[str]) -> list[str]:
    """The baseline, each method by itself, then combinations; what is missing of the first two shows."""
    methods = {label: study.methods for label, study in here.items()}
    shown = {BASELINE: (), **{name: (name,) for name in expected}}
    missing = {label: names for label, names in shown.items() if names not in methods.values()}
    known = methods | missing
    return sorted(
        known, key=lambda label: (len(known[label]), [_order(name) for name in known[label]], label)
    )
