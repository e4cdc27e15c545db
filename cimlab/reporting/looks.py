"""How granularities are told apart, in the words and colours that their own files give; others are drawn in grey."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from math import dist
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
    return "#" + "".join(f"{round(part + abs(share) * (end - part)):02X}" for part in _channels(colour))


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
    """Looks for lines that are no granularities: marks of the granularities, and colours and their shades far apart.

    >>> [look.colour for look in series_looks(9)][-3:]
    ['#000000', '#7F7F7F', '#E8A673']
    """
    from cimlab.pruning.granularities import granularities

    known = [kind.look for kind in granularities().values()]
    hues = list(dict.fromkeys(own.colour for own in known))
    shades = [_shade(hue, share) for share in SHADES[1:] for hue in hues]
    apart = [*hues]
    for shade in shades:
        if all(_distance(shade, other) >= FAR for other in apart):
            apart.append(shade)
    colours = [*apart, *(shade for shade in shades if shade not in apart)]
    return [replace(known[i % len(known)], colour=colours[i % len(colours)]) for i in range(number)]


FAR = 60
"""Distance of two colours in red, green and blue (0 to 255 each) from which on lines are told apart."""


def _distance(one: str, other: str) -> float:
    return dist(_channels(one), _channels(other))


def _channels(colour: str) -> list[int]:
    """Red, green and blue of #RRGGBB."""
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
