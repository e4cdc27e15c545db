"""What was meant to be run, so that a point that is missing shows as such."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cimlab.reporting.looks import base, place
from cimlab.reporting.methods import budget
from cimlab.reporting.studies import Study, worded


@dataclass(frozen=True)
class PlannedGrid:
    """One file of experiments/.

    Args:
        model, data: what it trains on what.
        budgets: what the share that stays is of, one or several.
        axes: setting -> its values; empty for a setting that a search draws from an interval.
    """

    model: str
    data: str
    budgets: tuple[str, ...]
    axes: dict[str, tuple[Any, ...]]


def planned(study: Study, grids: Iterable[PlannedGrid], axes: tuple[str, ...]) -> dict[str, list[Any]]:
    """Values of each of the axes in all the grids of a study's network, data and budget that vary every one of them."""
    found: dict[str, list[Any]] = {axis: [] for axis in axes}
    for grid in grids:
        alike = (grid.model, grid.data) == (study.model, study.data) and budget(study) in grid.budgets
        if alike and all(axis in grid.axes for axis in axes):
            for axis in axes:
                found[axis] += [value for value in grid.axes[axis] if value not in found[axis]]
    return found


def axes_of(study: Study, grids: Iterable[PlannedGrid]) -> tuple[list[str], list[float]]:
    """Granularities and asked fractions that were run or planned."""
    plan = planned(study, grids, ("granularity", "prune.remaining"))
    run = {base(name) for name in study.granularities}
    names = [*study.granularities, *(worded(name) for name in plan["granularity"] if name not in run)]
    fractions = {*study.remaining, *map(float, plan["prune.remaining"])}
    return sorted(names, key=place), sorted(fractions, reverse=True)


def holes(studies: Iterable[Study], grids: Iterable[PlannedGrid]) -> list[str]:
    """Points that none of several studies of one network and budget has, of what a grid plans or most units were run
    at: units, then shares, then single points.
    """
    studies = list(studies)
    run = {point for study in studies for point in study.points}
    units = sorted({name for name, _ in run}, key=place)
    at = {share: {name for name, other in run if other == share} for _, share in run}
    single = [
        f"{name} at {100 * share:g} %"
        for share in sorted(at, reverse=True) if 2 * len(at[share]) > len(units)
        for name in units if name not in at[share]
    ]  # fmt: skip
    return [*_never_run(studies, grids), *single]


def _never_run(studies: list[Study], grids: Iterable[PlannedGrid], share: str = "") -> list[str]:
    """Granularities and fractions that are planned of studies and that none has; `share`: what a fraction is."""
    grids = list(grids)
    plans = [axes_of(study, grids) for study in studies]
    names = sorted({name for plan, _ in plans for name in plan}, key=place)
    fractions = sorted({fraction for _, plan in plans for fraction in plan}, reverse=True)
    units, reached = ({point[i] for study in studies for point in study.points} for i in (0, 1))
    missing = [name for name in names if name not in units]
    return missing + [f"{100 * f:g} % {share}".rstrip() for f in fractions if f not in reached]


def not_run_note(study: Study, grids: Iterable[PlannedGrid], share: str) -> list[str]:
    """A sentence on the granularities and fractions that a grid of the study's network plans and no run of it has.

    Args:
        share: what a fraction is: kept or asked.
    """
    missing = _never_run([study], grids, share)
    return [f"Planned and not run: {', '.join(missing)}."] if missing else []
