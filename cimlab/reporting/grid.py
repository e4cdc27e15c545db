"""What was meant to be run: the axes of the files in experiments/, so that a point that is missing shows as such."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

DEFAULTS = {"model": "digits_cnn", "data": "digits"}
"""What conf/train.yaml chooses where a grid says nothing."""


@dataclass(frozen=True)
class Grid:
    """One file of experiments/.

    Args:
        name: of the file.
        question, held_fixed: what it asks, and what is the same at every point.
        model, data: what it trains on what.
        axes: setting -> its values.
    """

    name: str
    question: str
    held_fixed: str
    model: str
    data: str
    axes: dict[str, tuple[Any, ...]]

    @property
    def size(self) -> int:
        """Number of points, seeds included."""
        size = 1
        for values in self.axes.values():
            size *= len(values)
        return size


def read_grids(folder: Path) -> list[Grid]:
    """The grids of a folder, by name; files that sweep nothing are passed over."""
    grids = []
    for path in sorted(folder.glob("*.yaml")):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        params = (
            content.get("hydra", {}).get("sweeper", {}).get("params", {}) if isinstance(content, dict) else {}
        )
        if params:
            grids.append(_grid(path.stem, content, params))
    return grids


def planned(grids: Iterable[Grid], model: str, data: str, axes: tuple[str, ...]) -> dict[str, list[Any]]:
    """Values of each of the axes in all the grids of a model and data set that vary every one of them."""
    found: dict[str, list[Any]] = {axis: [] for axis in axes}
    for grid in grids:
        if (grid.model, grid.data) == (model, data) and all(axis in grid.axes for axis in axes):
            for axis in axes:
                found[axis] += [value for value in grid.axes[axis] if value not in found[axis]]
    return found


def _grid(name: str, content: dict[str, Any], params: dict[str, Any]) -> Grid:
    chosen = dict(DEFAULTS)
    for entry in content.get("defaults", []):
        if isinstance(entry, dict):
            chosen |= {str(k).removeprefix("override ").strip(" /"): str(v) for k, v in entry.items()}
    about = content.get("experiment", {})
    axes = {key: _values(value) for key, value in params.items()}
    return Grid(
        name, about.get("question", ""), about.get("held_fixed", ""), chosen["model"], chosen["data"], axes
    )


def _values(value: Any) -> tuple[Any, ...]:
    """Hydra's comma-separated sweep of plain values."""
    if isinstance(value, str):
        return tuple(yaml.safe_load(part) for part in value.split(","))
    return tuple(value) if isinstance(value, list) else (value,)
