"""How granularities are told apart, in the words and colours that their own files give; others are drawn in grey."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cimlab.pruning.granularities.base import Granularity, Look


def _kind(name: str) -> type[Granularity]:
    """The granularity of a choice or of its words; the base of all where it is of another package."""
    from cimlab.pruning.granularities import (
        granularities,  # here: it brings torch, which many commands don't need
    )
    from cimlab.pruning.granularities.base import Granularity

    return granularities().get(base(name), Granularity)


def look(name: str) -> Look:
    """Colour, mark and line of a granularity: the same in every figure."""
    return _kind(name).look


def looks(names: Sequence[str]) -> list[Look]:
    """Of each name its granularity's look; of one granularity with several parameters, each in a shade of its own.

    >>> [look.colour for look in looks(["block (rows=4)", "weight", "block (rows=8)"])]
    ['#E69F00', '#0072B2', '#F1CA73']
    """
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        own, number = look(name), seen[base(name)]
        found.append(replace(own, colour=_shade(own.colour, SHADES[number % len(SHADES)])))
        seen[base(name)] += 1
    return found


SHADES = (0.0, 0.45, -0.45, 0.7, -0.7)
"""How far a colour goes towards black (below 0) or white for the next parameters of the same granularity."""


def _shade(colour: str, share: float) -> str:
    end = 255 if share > 0 else 0
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(part + abs(share) * (end - part)):02X}" for part in parts)


def on_dark(spec: dict[str, Any]) -> dict[str, Any]:
    """A specification whose black marks and lines are light."""
    return json.loads(json.dumps(spec).replace(BLACK, LIGHT))


BLACK, LIGHT = "#000000", "#F2F2F2"


def place(name: str) -> tuple[int, str]:
    """Order of granularities: finest first."""
    return look(name).place, name


def finer_and_skipped(name: str) -> bool:
    """Whether the crossbar skips what is pruned though units are finer than an array."""
    return _kind(name).finer_and_skipped


def classic(name: str) -> bool:
    """Whether it is classic structured pruning."""
    return _kind(name).classic


def base(name: str) -> str:
    """The choice in conf/granularity that a granularity in words stands for.

    >>> base("block (rows=16, cols=16)"), base("operation unit")
    ('block', 'operation_unit')
    """
    return name.split(" (")[0].replace(" ", "_")


def series_looks(number: int) -> list[Look]:
    """Looks for lines that are no granularities: those of the granularities, a colour that comes again in a shade.

    >>> len({look.colour for look in series_looks(16)})
    16
    """
    from cimlab.pruning.granularities import granularities

    known, seen = [kind.look for kind in granularities().values()], Counter[str]()
    found = []
    for i in range(number):
        own = known[i % len(known)]
        found.append(replace(own, colour=_shade(own.colour, SHADES[seen[own.colour] % len(SHADES)])))
        seen[own.colour] += 1
    return found
