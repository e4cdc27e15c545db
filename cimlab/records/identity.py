"""What a run is: every setting counts, unless the schema marks it as changing no number.

A mark stands in the annotation of a field, nowhere else. A setting that is added without one is part of the identity
without anyone thinking of it. Records keep the settings that did not count.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, is_dataclass, replace
from functools import cache
from typing import Any, Literal, get_args, get_type_hints

Phase = Literal["dense", "run"]


@dataclass(frozen=True)
class Counts:
    """When a setting is part of an identity.

    Args:
        dense: of the dense network's.
        run: of the run's.
        where: a condition without which it is part of neither, e.g. that training knows the converters.
        within: marks of what lies in the setting, by key.
        unless: JSON of the value that stands for what runs did before there was such a setting.
    """

    dense: bool = True
    run: bool = True
    where: str | None = None
    within: tuple[tuple[str, Counts], ...] = field(default=())
    unless: str | None = None

    def takes(self, value: Any, phase: Phase, known: frozenset[str]) -> bool:
        """Whether a value counts for the dense network or the run, under the conditions that hold."""
        if not (self.dense if phase == "dense" else self.run):
            return False
        if self.where is not None and self.where not in known:
            return False
        return self.unless is None or json.dumps(value, sort_keys=True) != self.unless


ALWAYS = Counts()
NEVER = Counts(dense=False, run=False)
"""Folders, trackers, progress, readers, time budgets, and what only prices."""
PRUNED = Counts(dense=False)
"""What dense training knows nothing of."""


def only_where(condition: str) -> Counts:
    """A setting of retraining that changes numbers under a condition alone."""
    return Counts(dense=False, where=condition)


def within(mark: Counts = ALWAYS, **keys: Counts) -> Counts:
    """A mark, with those of keys inside."""
    return replace(mark, within=tuple(sorted(keys.items())))


def unless(before: Any, mark: Counts = ALWAYS) -> Counts:
    """A setting that came after runs were committed: `before` is what they did, and leaves their identity as it was."""
    return replace(mark, unless=json.dumps(before, sort_keys=True))


@cache
def marks(schema: type) -> dict[str, tuple[Counts, type | None]]:
    """Field of a schema -> its mark, and the dataclass that its value fits, if any."""
    found = {}
    for name, hint in get_type_hints(schema, include_extras=True).items():
        mark = next((m for m in getattr(hint, "__metadata__", ()) if isinstance(m, Counts)), ALWAYS)
        found[name] = (
            mark,
            next((kind for kind in _members(hint) if isinstance(kind, type) and is_dataclass(kind)), None),
        )
    return found


def _members(hint: Any) -> Iterator[Any]:
    yield hint
    for member in get_args(hint):
        yield from _members(member)


@cache
def selector(mark: Counts, schema: type | None, phase: Phase, known: frozenset[str]) -> Callable[[Any], Any]:
    """From a setting to what of it counts; the same function for the same question, so that its answers can be kept."""

    def select(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        inside = dict(mark.within)
        fields = marks(schema) if schema is not None else {}
        kept = {}
        for key, own in value.items():
            own_mark, own_schema = fields.get(key, (ALWAYS, None))
            own_mark = inside.get(key, own_mark)
            if own_mark.takes(own, phase, known):
                kept[key] = selector(own_mark, own_schema, phase, known)(own)
        return kept

    return select


def uncounted(config: Mapping[str, Any], schema: type, known: frozenset[str]) -> list[str]:
    """Dotted settings of a configuration that are no part of the run's identity."""
    counted = selector(ALWAYS, schema, "run", known)(config)
    return sorted(_missing(config, counted, ""))


def _missing(whole: Mapping[str, Any], part: Any, path: str) -> Iterator[str]:
    for key, value in whole.items():
        if key not in part:
            yield f"{path}{key}"
        elif isinstance(value, Mapping):
            yield from _missing(value, part[key], f"{path}{key}.")
