"""What was meant to be run, so that a point that is missing shows as such."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Any

from cimlab.reporting.looks import base, place
from cimlab.reporting.studies import Study, worded


@dataclass(frozen=True)
class PlannedGrid:
    """One file of experiments/.

    Args:
        name: of the file.
        question: what it asks.
        model, data: what it trains on what.
        axes: setting -> its values; empty for a setting that a search draws from an interval.
    """

    name: str
    question: str
    model: str
    data: str
    axes: dict[str, tuple[Any, ...]]

    @property
    def is_search(self) -> bool:
        """Whether some setting is drawn from an interval: a search space has no number of points."""
        return not all(self.axes.values())

    @property
    def size(self) -> int | None:
        """Number of points, seeds included; None for a search space."""
        return None if self.is_search else prod(map(len, self.axes.values()))


def planned(
    grids: Iterable[PlannedGrid], model: str, data: str, axes: tuple[str, ...]
) -> dict[str, list[Any]]:
    """Values of each of the axes in all the grids of a model and data set that vary every one of them."""
    found: dict[str, list[Any]] = {axis: [] for axis in axes}
    for grid in grids:
        if (grid.model, grid.data) == (model, data) and all(axis in grid.axes for axis in axes):
            for axis in axes:
                found[axis] += [value for value in grid.axes[axis] if value not in found[axis]]
    return found


def axes_of(study: Study, grids: Iterable[PlannedGrid]) -> tuple[list[str], list[float]]:
    """Granularities and asked fractions that were run or planned."""
    plan = planned(grids, study.model, study.data, ("granularity", "prune.remaining"))
    run = {base(name) for name in study.granularities}
    names = [*study.granularities, *(worded(name) for name in plan["granularity"] if name not in run)]
    fractions = {*study.remaining, *map(float, plan["prune.remaining"])}
    return sorted(names, key=place), sorted(fractions, reverse=True)


def not_run_note(study: Study, grids: Iterable[PlannedGrid]) -> list[str]:
    """A sentence on the granularities and fractions that a grid of the study's network plans and no run of it has."""
    names, fractions = axes_of(study, grids)
    missing = [name for name in names if name not in study.granularities]
    missing += [f"{100 * fraction:g} % kept" for fraction in fractions if fraction not in study.remaining]
    return [f"Planned and not run: {', '.join(missing)}."] if missing else []
