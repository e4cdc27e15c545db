"""The Pareto front: what nothing else beats in what it costs and in what it is worth at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

Point = TypeVar("Point")


def front(
    points: Iterable[Point], cost: Callable[[Point], Any], worth: Callable[[Point], Any]
) -> list[Point]:
    """Points that no other beats in both: cheapest first, each worth more than all cheaper ones.

    Of points that are alike in both, the first is kept.

    >>> front([(60, 90), (25, 86), (37, 85)], cost=lambda point: point[0], worth=lambda point: point[1])
    [(25, 86), (60, 90)]
    """
    best: list[Point] = []
    for point in sorted(sorted(points, key=worth, reverse=True), key=cost):
        if not best or worth(point) > worth(best[-1]):
            best.append(point)
    return best
