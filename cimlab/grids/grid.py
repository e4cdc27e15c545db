"""A grid: the first point whole, and what each value of each axis changes in it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Leaf = tuple[str, ...]
Place = tuple[int, ...]
Document = dict[str, Any]
"""`config` and `choices` of one composed point, in plain containers, references resolved."""


@dataclass(frozen=True)
class Setting:
    """One value of an axis: the overrides that make it, and what they change against the first point."""

    words: tuple[str, ...]
    removed: tuple[Leaf, ...] = ()
    changed: tuple[tuple[Leaf, Any], ...] = ()
    rewired: frozenset[Leaf] = frozenset()  # leaves whose text changed, whatever they resolve to

    @property
    def touched(self) -> frozenset[Leaf]:
        """Every leaf that is not as in the first point."""
        return self.rewired.union(self.removed, (leaf for leaf, _ in self.changed))


@dataclass(frozen=True)
class Axis:
    """The values that one key takes, or several keys that have to be composed together."""

    keys: tuple[str, ...]
    settings: tuple[Setting, ...]


@dataclass(frozen=True)
class Command:
    """What a grid is a grid of.

    Args:
        name: `train` or `simulate`, and the configuration conf/NAME.yaml.
        schema: the dataclass that it has to fit.
        described: whether what its checkpoint says stands where the words say nothing.
    """

    name: str
    schema: type
    described: bool = False


@dataclass(frozen=True)
class Grid:
    """All points of an experiment; small enough to be sent to a worker, whatever their number.

    Args:
        command: what each point is.
        name: the file's stem, or `multirun`.
        first: the document of the first point.
        axes: in the file's order.
        launcher: the launcher's configuration.
    """

    command: Command
    name: str
    first: Document
    axes: tuple[Axis, ...]
    launcher: dict[str, Any]

    def __len__(self) -> int:
        return math.prod(len(axis.settings) for axis in self.axes)

    def places(self) -> Iterator[Place]:
        """Every point, as the position of its value on each axis."""
        return itertools.product(*(range(len(axis.settings)) for axis in self.axes))

    def settings(self, place: Place) -> list[Setting]:
        """The values of a point."""
        return [axis.settings[i] for axis, i in zip(self.axes, place, strict=True)]

    def words(self, place: Place) -> list[str]:
        """The overrides that make a point out of the experiment file."""
        return [word for setting in self.settings(place) for word in setting.words]

    def document(self, place: Place) -> Document:
        """The composed configuration and choices of a point; shares what it does not change, so don't edit it."""
        document = self.first
        for setting in self.settings(place):
            document = _changed(document, setting)
        return document


def difference(
    before: dict[Leaf, Any], after: dict[Leaf, Any], words: tuple[str, ...], rewired: frozenset[Leaf]
) -> Setting:
    """What a value changes: leaves before and after it, its words, and leaves whose text it changes."""
    removed = tuple(leaf for leaf in before if leaf not in after)
    changed = tuple((k, v) for k, v in after.items() if k not in before or not _same(before[k], v))
    return Setting(words, removed, changed, rewired)


def leaves(node: dict[str, Any], path: Leaf = ()) -> dict[Leaf, Any]:
    """Path -> value; a list or an empty mapping is a value."""
    found: dict[Leaf, Any] = {}
    for key, value in node.items():
        if isinstance(value, dict) and value:
            found |= leaves(value, (*path, key))
        else:
            found[*path, key] = value
    return found


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other  # 1, 1.0 and True are not the same setting


def _changed(document: Document, setting: Setting) -> Document:
    if not setting.changed and not setting.removed:
        return document
    top = dict(document)
    for leaf in setting.removed:
        _remove(top, leaf)
    for leaf, value in setting.changed:
        _parent(top, leaf)[leaf[-1]] = value
    return top


def _remove(top: Document, leaf: Leaf) -> None:
    """Take a leaf away, and mappings that are empty without it: an empty one that Hydra keeps is a leaf itself."""
    parent = _parent(top, leaf)
    parent.pop(leaf[-1], None)
    if not parent and len(leaf) > 1:
        _remove(top, leaf[:-1])


def _parent(top: Document, leaf: Leaf) -> dict[str, Any]:
    """The mapping that holds a leaf, copied on the way down: the document's other parts are shared."""
    node = top
    for part in leaf[:-1]:
        child = node.get(part)
        node[part] = dict(child) if isinstance(child, dict) else {}
        node = node[part]
    return node


def merge_overlapping(groups: list[list[int]], axes: list[Axis]) -> list[list[int]]:
    """Join the first two groups of axes that change the same leaf, or a leaf and what it lies in."""
    touched = [frozenset().union(*(s.touched for s in axis.settings)) for axis in axes]
    for one, other in itertools.combinations(range(len(groups)), 2):
        if _overlap(touched[one], touched[other]) or _overlap(touched[other], touched[one]):
            joined = sorted([*groups[one], *groups[other]])
            rest = [group for i, group in enumerate(groups) if i not in (one, other)]
            return sorted([joined, *rest])
    return groups


def _overlap(leaves: frozenset[Leaf], others: frozenset[Leaf]) -> bool:
    return any(leaf[:n] in others for leaf in leaves for n in range(1, len(leaf) + 1))
