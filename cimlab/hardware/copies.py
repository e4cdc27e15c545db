"""Spending a chip's area: copies of whole layers, and arrays that are not merged, where they shorten the slowest layer.

A layer can be laid in several ways: packed on its fewest arrays, or spread over more, each with a time of a product.
Where arrays are not full, row groups are shared evenly among them, in the unpruned network as in the pruned one: 144
rows are cut into 80 and 64, not into 128 and 16, which needs no index (`cimlab map` of ResNet-20 otherwise credits
pruning with 1.6 times the throughput, which is the unpruned network's second array idling). Copies share the layer's
products.

For a time per image, the smallest area of every layer is known by itself, so the best time within an area is found by
bisection; it is the optimum over all ways and copies (compared with an exhaustive search in
`tests/hardware/test_hardware_copies.py`). What one network can do, a more pruned one can do in no more area and time,
which is why pruning never costs throughput here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from cimlab.crossbar.compaction import Stripes, ceil_div, even_cut

ROUNDING = 1 + 1e-12
"""What sums of areas may be over the area that they fill, by their order alone: copies may fill a chip exactly."""


@dataclass(frozen=True, eq=False)
class Ways:
    """Ways to lay one copy of a layer, from the fewest arrays on.

    Four steps of 100 ns on one array, or spread; 9 row groups, of which an array holds 8, are cut into 5 and 4:

    >>> ways = Ways.of(Stripes(work=np.array([4]), fewest=np.array([1]), most=np.array([4])), unit_s=100e-9)
    >>> ways.arrays.tolist(), ways.longest.tolist(), [f"{1e9 * seconds:.0f} ns" for seconds in ways.product_s]
    ([1, 2, 4], [4, 2, 1], ['400 ns', '200 ns', '100 ns'])
    >>> ways = Ways.cut(np.full((1, 9, 1), 100e-9), np.ones((1, 9, 1), int), held=8)
    >>> ways.arrays.tolist(), ways.longest.tolist(), ways.balance.round(2).tolist()
    ([2], [5], [0.9])

    Args:
        arrays: of one copy.
        product_s: time of one matrix-vector product.
        longest: steps that the busiest array executes in one input cycle.
        balance: mean over busiest array's work, 1 where no array waits.
    """

    arrays: Int[np.ndarray, " ways"]
    product_s: Float[np.ndarray, " ways"]
    longest: Int[np.ndarray, " ways"]
    balance: Float[np.ndarray, " ways"]

    @classmethod
    def of(cls, stripes: Stripes, unit_s: float, steps: int = 1) -> Ways:
        """Every number of arrays that is worth it.

        Args:
            stripes: the layer's work, in steps or in row groups.
            unit_s: time of one of them, all input cycles.
            steps: steps of one of them.
        """
        longest = np.arange(stripes.longest, stripes.shortest - 1, -1)
        arrays = stripes.arrays(np.maximum(longest, 1))
        return cls._worth_it(arrays, longest * unit_s, longest * steps, stripes.work.sum() * unit_s)

    @classmethod
    def cut(
        cls,
        row_group_s: Float[np.ndarray, "groups row_groups array_cols"],
        steps: Int[np.ndarray, "groups row_groups array_cols"],
        held: int,
    ) -> Ways:
        """Row groups in their order, each array filled before the next, or all given equally many.

        Args:
            row_group_s: time that an array takes for each row group of a product.
            steps: of each row group, in one input cycle.
            held: row groups that an array has wordlines for.
        """
        even = even_cut(row_group_s.shape[1], held)
        cuts = (_cut_every(row_group_s, steps, height) for height in dict.fromkeys((held, even)))
        arrays, busiest_s, longest = (
            np.array(figures) for figures in zip(*cuts, strict=True)
        )  # cuts x stripes
        arrays = np.maximum(arrays, arrays[0])  # cut elsewhere, kept weights may happen to lie in fewer
        reached = busiest_s <= np.unique(busiest_s)[::-1, None, None]  # times x cuts x stripes
        chosen = np.where(reached, arrays, np.iinfo(np.int64).max).argmin(1)
        whole = np.all(np.any(reached, axis=1), axis=1)
        stripe = np.arange(arrays.shape[1])
        return cls._worth_it(
            arrays[chosen, stripe].sum(1)[whole],
            busiest_s[chosen, stripe].max(1)[whole],
            longest[chosen, stripe].max(1)[whole],
            float(row_group_s.sum()),
        )

    @classmethod
    def _worth_it(
        cls,
        arrays: Int[np.ndarray, " ways"],
        product_s: Float[np.ndarray, " ways"],
        longest: Int[np.ndarray, " ways"],
        work_s: float,
    ) -> Ways:
        """The ways that no other beats; the arrays of each are busy for `work_s` a product, all together."""
        whole_s = arrays * product_s
        balance = np.where(whole_s > 0, work_s / np.where(whole_s > 0, whole_s, 1.0), 1.0)
        order = np.lexsort((product_s, arrays))
        fastest = np.minimum.accumulate(product_s[order])
        best = order[np.append(True, fastest[1:] < fastest[:-1])]
        return cls(arrays[best], product_s[best], longest[best], balance[best])


def _cut_every(row_group_s: np.ndarray, steps: np.ndarray, height: int) -> tuple[np.ndarray, ...]:
    """Arrays of every stripe, and time and steps of the busiest, where each takes `height` row groups."""
    starts = np.arange(0, row_group_s.shape[1], height)
    busy_s, executed = (np.add.reduceat(figures, starts, axis=1) for figures in (row_group_s, steps))
    return (
        (executed > 0).sum(1).ravel(), busy_s.max(1).ravel(), executed.max(1).ravel(),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Spent:
    """How every layer is laid: the way, and how often."""

    way: Int[np.ndarray, " layers"]
    copies: Int[np.ndarray, " layers"]


@dataclass(frozen=True, eq=False)
class Room:
    """What the layers take and what there is; square metres, sum of parts.

    Args:
        array_m2: one array of each layer with its share of a tile and its pruning support.
        copy_m2: what each copy of a layer needs beside its arrays: the index.
        area_m2: the chip; None is as large as one copy of each layer needs.
        place_m2: one array without pruning support, of which a chip of a number of arrays has places.
    """

    array_m2: Float[np.ndarray, " layers"]
    copy_m2: Float[np.ndarray, " layers"]
    area_m2: float | None
    place_m2: float = 0.0

    def of_arrays(self, most: int | None) -> Room:
        """The part of it that lies on at most so many arrays; a smaller array takes a place all the same.

        >>> room = Room(array_m2=np.array([0.5, 1.5]), copy_m2=np.zeros(2), area_m2=9.0, place_m2=1.0).of_arrays(4)
        >>> room.array_m2.tolist(), round(room.area_m2, 9)
        ([1.0, 1.5], 4.0)
        """
        if most is None or self.area_m2 is None:
            return self
        array_m2 = np.maximum(self.array_m2, self.place_m2)
        return replace(self, array_m2=array_m2, area_m2=min(self.area_m2, most * self.place_m2))


def spend(ways: Sequence[Ways], products: Int[np.ndarray, " layers"], room: Room) -> Spent | None:
    """The ways and copies by which the slowest layer is as fast as the area allows; None if one copy does not fit.

    Two layers of one array, with 4 products and with 1, on an area of 5 arrays:

    >>> one = Ways.of(Stripes(work=np.array([1]), fewest=np.array([1]), most=np.array([1])), unit_s=100e-9)
    >>> room = Room(array_m2=np.ones(2), copy_m2=np.zeros(2), area_m2=5.0)
    >>> spend([one, one], np.array([4, 1]), room).copies.tolist()
    [4, 1]

    Args:
        ways: by layer, fewest arrays first.
        products: matrix-vector products per image.
        room: the area; of None, each layer has one copy on its fewest arrays.
    """
    array_m2, copy_m2 = room.array_m2, room.copy_m2
    one = Spent(np.zeros(len(ways), np.int64), np.ones(len(ways), np.int64))
    fewest = np.array([w.arrays[0] for w in ways]) @ array_m2 + copy_m2.sum() if len(ways) else 0.0
    if room.area_m2 is None or not len(ways):
        return one
    area_m2 = room.area_m2 * ROUNDING
    if fewest > area_m2:
        return None
    choice = _Choice.of(ways, products, array_m2, copy_m2)
    slow = float(max(p * w.product_s[0] for p, w in zip(products, ways, strict=True)))
    fast = float(max(w.product_s[-1] for w in ways))
    if choice.area(fast) <= area_m2:
        return choice.smallest(fast)
    while slow - fast > 1e-13 * slow:
        middle = (slow + fast) / 2
        if choice.area(middle) <= area_m2:
            slow = middle
        else:
            fast = middle
    return choice.smallest(slow)


@dataclass(frozen=True, eq=False)
class _Choice:
    """The ways of all layers side by side."""

    product_s: Float[np.ndarray, " ways"]
    products: Int[np.ndarray, " ways"]
    way_m2: Float[np.ndarray, " ways"]
    first: Int[np.ndarray, " layers"]

    @classmethod
    def of(
        cls,
        ways: Sequence[Ways],
        products: Int[np.ndarray, " layers"],
        array_m2: Float[np.ndarray, " layers"],
        copy_m2: Float[np.ndarray, " layers"],
    ) -> _Choice:
        lengths = [len(w.arrays) for w in ways]
        area = [w.arrays * a + c for w, a, c in zip(ways, array_m2, copy_m2, strict=True)]
        return cls(
            np.concatenate([w.product_s for w in ways]),
            np.repeat(products, lengths),
            np.concatenate(area),
            np.cumsum([0, *lengths[:-1]]),
        )

    def _copies(self, image_s: float) -> tuple[Int[np.ndarray, " ways"], Bool[np.ndarray, " ways"]]:
        """Copies of every way that reach a time per image, and whether any number does."""
        busy = self.product_s > 0
        rounds = np.floor(image_s / np.where(busy, self.product_s, 1.0) * (1 + 1e-12)).astype(np.int64)
        copies = np.where(busy, ceil_div(self.products, np.maximum(rounds, 1)), 1)
        return copies, ~busy | (rounds > 0)

    def _areas(self, image_s: float) -> tuple[Float[np.ndarray, " ways"], Int[np.ndarray, " ways"]]:
        copies, reached = self._copies(image_s)
        return np.where(reached, copies * self.way_m2, np.inf), copies

    def area(self, image_s: float) -> float:
        """The smallest area in which every layer takes at most this time per image."""
        return float(np.minimum.reduceat(self._areas(image_s)[0], self.first).sum())

    def smallest(self, image_s: float) -> Spent:
        """The ways and copies of that area."""
        areas, copies = self._areas(image_s)
        ends = [*self.first[1:], len(areas)]
        way = np.array([int(areas[a:b].argmin()) for a, b in zip(self.first, ends, strict=True)])
        return Spent(way, copies[self.first + way])
