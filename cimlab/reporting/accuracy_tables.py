"""Tables of accuracy: T1, every granularity at every compression, and T5, what each part of the method adds."""

from __future__ import annotations

from typing import Any

from cimlab.reporting.estimates import Estimate
from cimlab.reporting.grid import Grid, planned
from cimlab.reporting.means import means
from cimlab.reporting.studies import Study, accuracy, base, differences, left, loss, place, worded
from cimlab.reporting.table import Cell, Column, Table

COARSE = 0.05
"""Share kept over share asked, less 1, from which a table says so."""


def seeds_note(study: Study) -> str:
    """How many seeds stand behind a study's numbers."""
    if study.seeds == 1:
        return f"{study.title}: one seed, so no spread is known."
    return f"{study.title}: mean ± standard deviation over up to {study.seeds} seeds."


def accuracy_tables(found: list[Study], grids: list[Grid]) -> list[Table]:
    """T1, a table a study: test accuracy after retraining, granularities down, weights left across."""
    return [_accuracy_table(study, grids, number) for number, study in enumerate(found)]


def axes_of(study: Study, grids: list[Grid]) -> tuple[list[str], list[float]]:
    """Granularities and asked fractions that were run or planned."""
    plan = planned(grids, study.model, study.data, ("granularity", "prune.remaining"))
    run = {base(name) for name in study.granularities}
    names = [*study.granularities, *(worded(name) for name in plan["granularity"] if name not in run)]
    fractions = {*study.remaining, *map(float, plan["prune.remaining"])}
    return sorted(names, key=place), sorted(fractions, reverse=True)


def _accuracy_table(study: Study, grids: list[Grid], number: int) -> Table:
    names, fractions = axes_of(study, grids)
    columns = [Column("granularity", text=True)]
    columns += [Column(f"{100 * fraction:g} % kept") for fraction in fractions]
    rows: list[tuple[Cell, ...]] = [("dense", *[study.dense] * len(fractions))]
    rows += [(name, *[study.of((name, fraction), accuracy) for fraction in fractions]) for name in names]
    return Table(
        f"T1{'abcdefgh'[number % 8]}",
        f"Test accuracy (%) of {study.title}, by pruned unit and prunable weights kept",
        tuple(columns),
        tuple(rows),
        (seeds_note(study), *coarse_note(study)),
    )


def coarse_note(study: Study) -> list[str]:
    """Where units are so coarse that another share stayed than was asked."""
    found = []
    for (name, asked), _ in sorted(study.points.items(), key=lambda i: (place(i[0][0]), -i[0][1])):
        kept = study.of((name, asked), lambda record: record.weights["remaining_prunable"])
        if kept is not None and abs(kept.mean - asked) > COARSE * asked:
            found.append(f"{name} {100 * kept.mean:.3g} % for {100 * asked:g} %")
    return [f"Kept, as units are coarse: {', '.join(found)}."] if found else []


def runs_table(found: list[Study]) -> Table:
    """Every point of every study in a row."""
    columns = (
        Column("model", text=True), Column("data", text=True), Column("granularity", text=True),
        Column("asked", "%"), Column("left of all", "%"), Column("compression", "x"),
        Column("dense", "%"), Column("retrained", "%"), Column("loss", "points"),
        Column("steps, pruned / dense", digits=3), Column("conversions, pruned / dense", digits=3),
        Column("arrays, pruned / dense", digits=3), Column("seeds", digits=0),
    )  # fmt: skip
    rows = []
    for study in found:
        for (name, fraction), runs in sorted(study.points.items(), key=lambda i: (place(i[0][0]), -i[0][1])):
            point = (name, fraction)
            ratios = [
                study.of(point, lambda r, key=key: r.hardware["ratio"][key])
                for key in ("steps", "adc_conversions", "arrays")
            ]
            rows.append((
                worded(study.model), worded(study.data), name, 100 * fraction, study.of(point, left),
                study.of(point, lambda r: r.weights["compression"]),
                study.of(point, lambda r: accuracy(r, "dense")), study.of(point, accuracy),
                study.of(point, loss), *ratios, float(len(runs)),
            ))  # fmt: skip
    return Table("runs", "Every point that was run", columns, tuple(rows))


def ablation_table(found: list[Study], mains: list[Study]) -> Table:
    """T5: runs that differ from a main study in a few settings, beside the main study's same point.

    The means beyond one-shot pruning have a table of their own, T8.
    """
    columns = (
        Column("model, data", text=True), Column("granularity", text=True), Column("kept", "%", 0),
        Column("changed from the main study", text=True),
        Column("accuracy", "%"), Column("main study", "%"), Column("change", "points"),
    )  # fmt: skip
    by_title = {study.title: study for study in mains}
    rows: list[tuple[Cell, ...]] = []
    for study in found:
        main = by_title[study.title]
        if study is main:
            continue
        pairs = differences(study, main)
        if all(
            key.startswith("geometry.") for key in pairs
        ):  # another accelerator, not another method: see F2
            continue
        if means(study.settings):  # shown beside its own baseline in T8
            continue
        changed = "; ".join(
            f"{key.removesuffix('._target_')}: {_said(own)}, not {_said(theirs)}"
            for key, (own, theirs) in pairs.items()
        )
        for name, fraction in study.points:
            own, theirs = study.of((name, fraction), accuracy), main.of((name, fraction), accuracy)
            change = own.mean - theirs.mean if own and theirs else None
            rows.append((study.title, name, 100 * fraction, changed, own, theirs, change))
    rows.sort(key=lambda row: tuple(map(str, row[:4])))
    notes = ("Each row changes the named settings of its network's main study, and nothing else.",)
    return Table("T5", "Ablation: what a change of the method does to accuracy", columns, tuple(rows), notes)


def _said(value: Any) -> str:
    if value is None:
        return "default"
    return str(value).rsplit(".", 1)[-1] if isinstance(value, str) and "." in value else f"{value}"


def best(study: Study, names: tuple[str, ...], fraction: float) -> tuple[str, Estimate] | None:
    """The granularity of those named that loses least at an asked fraction, with its loss in points."""
    losses = [(name, study.of((name, fraction), loss)) for name in study.granularities if base(name) in names]
    known = [(name, estimate) for name, estimate in losses if estimate is not None]
    return min(known, key=lambda pair: pair[1].mean) if known else None


def smallest_within(study: Study, name: str, points: float) -> tuple[str, float] | None:
    """The point of a granularity with fewest weights left whose mean loss is at most `points`, if one was run."""
    for fraction in sorted(study.remaining):
        lost = study.of((name, fraction), loss)
        if lost is not None and lost.mean <= points:
            return name, fraction
    return None
