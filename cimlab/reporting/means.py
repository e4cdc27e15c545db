"""T8, which means pays: runs that differ in the means beyond one-shot pruning alone, beside that baseline."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from cimlab.records.record import content_hash
from cimlab.reporting.estimates import Estimate
from cimlab.reporting.studies import Study, accuracy, differences, left, loss
from cimlab.reporting.table import Cell, Column, Table

MEANS = ("gradual", "iterative", "distillation", "permutation", "ADMM", "per step")
"""Means in the order in which a combination names them."""
BASELINE = "one-shot"
EXPECTED = ("gradual", "distillation", "permutation", "ADMM", "per step")
"""Means that are shown as not run where they were not, where a baseline and one of them by itself were."""
GROUPS = {"distillation": "distillation", "permutation": "permutation", "sparsity": "ADMM"}
"""Optional groups of conf/ -> the means that their choice is."""
VARIED = ("schedule._target_", "schedule.prune_", *(f"{group}." for group in GROUPS))
"""Settings, by the start of their names, that a means sets."""


def means(settings: dict[str, Any]) -> tuple[str, ...]:
    """The means beyond one-shot pruning under one threshold that a study uses."""
    kind = str(settings.get("schedule._target_", "")).rsplit(".", 1)[-1].lower()
    used = {name for group, name in GROUPS.items() if any(key.startswith(f"{group}.") for key in settings)}
    used |= {kind} & {"gradual", "iterative"}
    if settings.get("prune.allocation") == "steps":
        used.add("per step")
    return tuple(name for name in MEANS if name in used)


def _rest(settings: dict[str, Any]) -> dict[str, Any]:
    """What has to be the same for two studies to stand in one comparison."""
    kept = {key: value for key, value in settings.items() if not key.startswith(VARIED)}
    if kept.get("prune.allocation") == "steps":
        kept["prune.allocation"] = "global"
    return kept


def combination(study: Study) -> str:
    """A study's means in words."""
    return " + ".join(means(study.settings)) or BASELINE


def with_means(study: Study, found: list[Study]) -> list[Study]:
    """Studies that differ from a study in their means alone."""
    rest = _rest(study.settings)
    return [other for other in found if other is not study and _rest(other.settings) == rest]


def means_table(found: list[Study]) -> Table:
    """A row a combination of means, for every granularity and budget that some means was tried at.

    The change is against one-shot pruning alone, seed by seed, so that both start from the same dense network.
    """
    columns = (
        Column("model, data", text=True), Column("granularity", text=True), Column("kept", "%", 0),
        Column("means", text=True), Column("left of all", "%"), Column("accuracy", "%"),
        Column("loss", "points"), Column("change", "points"), Column("steps, pruned / dense", digits=3),
    )  # fmt: skip
    families: dict[str, list[Study]] = defaultdict(list)
    for study in found:
        families[content_hash(_rest(study.settings))].append(study)
    rows: list[tuple[Cell, ...]] = []
    for family in families.values():
        if any(means(study.settings) for study in family):
            rows += _family_rows(family)
    notes = (
        "Change against one-shot pruning alone, seed by seed. Per step: units ranked by saliency per array step, at "
        "equal weights. A permutation's order is priced as index.",
    )
    return Table("T8", "Which means pays, beyond one-shot pruning", columns, tuple(rows), notes)


def _family_rows(family: list[Study]) -> list[tuple[Cell, ...]]:
    """Rows of studies that differ in their means alone; points at which no means was tried are left out."""
    tried = {point for study in family if means(study.settings) for point in study.points}
    labels = _labels(family)
    rows: list[tuple[Cell, ...]] = []
    for name, fraction in sorted(tried, key=lambda point: (point[0], -point[1])):
        point = (name, fraction)
        bases = [s.points.get(point, ()) for s in family if not means(s.settings)]
        base = {record.seed: accuracy(record) for runs in bases for record in runs}
        here = {label: study for label, study in labels.items() if point in study.points}
        alone = any(len(means(study.settings)) == 1 for study in here.values())
        for label in _in_order(here, EXPECTED if base and alone else ()):
            runs = here[label].points[point] if label in here else ()
            rows.append((
                family[0].title, name, 100 * fraction, label,
                Estimate.of(map(left, runs)), Estimate.of(map(accuracy, runs)), Estimate.of(map(loss, runs)),
                Estimate.of(accuracy(r) - base[r.seed] for r in runs if r.seed in base),
                Estimate.of(r.hardware["ratio"]["steps"] for r in runs),
            ))  # fmt: skip
    return rows


def _labels(family: list[Study]) -> dict[str, Study]:
    """Study by its combination in words; combinations that occur twice also say the settings that tell them apart."""
    by_means: dict[tuple[str, ...], list[Study]] = defaultdict(list)
    for study in family:
        by_means[means(study.settings)].append(study)
    labels = {}
    for same in by_means.values():
        keys = sorted({key for other in same for key in differences(same[0], other)})
        for study in same:
            told = ", ".join(f"{key}={study.settings.get(key)}" for key in keys)
            label = combination(study)
            labels[f"{label} ({told})" if told else label] = study
    return labels


def _in_order(labels: dict[str, Study], expected: tuple[str, ...]) -> list[str]:
    """The baseline, each means by itself, then combinations; a baseline or expected means that is missing shows."""
    alone = {means(study.settings) for study in labels.values()}
    missing = [name for name in (BASELINE, *expected) if (() if name == BASELINE else (name,)) not in alone]

    def rank(label: str) -> tuple[int, int, str]:
        names = means(labels[label].settings) if label in labels else () if label == BASELINE else (label,)
        return len(names), MEANS.index(names[0]) if names else -1, label

    return sorted([*labels, *missing], key=rank)
