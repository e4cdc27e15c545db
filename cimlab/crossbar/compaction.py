"""How few arrays hold what a pruned layer keeps, and how long they then take: placements `compacted` and `gathered`.

The packing rule. An executed step is a block: the rows driven together, and the columns converted at once, one under
each ADC. A column stripe's blocks are put, in the order of row groups, on `a` arrays of the same stripe, and may lie
under any mux position and any wordlines there; each output still leaves through the ADC that its column had, so the
index that says which input a row takes also says which output a conversion adds to. A block is never cut, so that its
wordlines are driven with one group of inputs and every column converted in the step reads them.

Blocks of one height are dealt in equal contiguous shares, heights in falling order, and a share that is one block
larger goes to the next array in turn. Then arrays differ by at most one step, the fullest holds
`ceil(count / a)` of the blocks of every height and above, and the fewest arrays follow in closed form. Units as high as
a row group move as row groups. Lower units (row segments, patterns, channels) leave rows empty inside a block, and the
block takes only the wordlines that it needs, rounded up along a chain of divisors of active_rows so that nothing is
wasted between blocks. `tests/crossbar/layout.py` lays the blocks out and computes the products from them.

Gathered, a block is not bound to a row group of the unpruned matrix: of the columns that a mux position converts, the
rows that keep anything are put together in their order, active_rows a block. So the Sparse ReRAM Engine compresses the
rows of its operation units (Yang et al., ISCA 2019). Each step still drives one set of wordlines with one group of
inputs, but the groups of two mux positions may be different ones, and what an array fetches grows with that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

import numpy as np
from jaxtyping import Int
from numba import njit

from cimlab.crossbar.gathering import GatheredRows
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.tally import LayerMask, Work, row_group_bounds
from cimlab.crossbar.units import UnitGrid


@dataclass(frozen=True, eq=False)
class Stripes:
    """What each stripe executes in one input cycle of one product, and on how many arrays it may be laid.

    In place, every array that executes anything is a stripe of its own.

    Six steps that fit on 2 arrays, and may be spread over 3:

    >>> stripes = Stripes(work=np.array([6]), fewest=np.array([2]), most=np.array([3]))
    >>> stripes.longest, stripes.shortest, stripes.arrays(longest=np.array([3, 2])).tolist()
    (3, 2, [2, 3])

    Args:
        work: steps, or row groups read.
        fewest: arrays that hold them.
        most: arrays of the unpruned stripe, beyond which spreading is left to copies.
    """

    work: Int[np.ndarray, " stripes"]
    fewest: Int[np.ndarray, " stripes"]
    most: Int[np.ndarray, " stripes"]

    def arrays(self, longest: Int[np.ndarray, " ways"]) -> Int[np.ndarray, " ways"]:
        """Arrays by which no array executes more than `longest` (1 or more), as far as `most` and `fewest` allow."""
        return np.clip(ceil_div(self.work, longest[:, None]), self.fewest, self.most).sum(1)

    @property
    def longest(self) -> int:
        """Work of the busiest array on the fewest arrays."""
        return int(ceil_div(self.work, np.maximum(self.fewest, 1)).max(initial=0))

    @property
    def shortest(self) -> int:
        """Work of the busiest array on the most arrays."""
        return int(ceil_div(self.work, np.maximum(self.most, 1)).max(initial=0))


@dataclass(frozen=True, eq=False)
class Compacted:
    """A compacted layer.

    Args:
        steps: of arrays that are driven anew at every step.
        row_groups: of arrays whose read is held: a slot then takes one row group, whatever columns it keeps.
        fetched_rows: rows of inputs that arrays fetch for one product, at most.
    """

    steps: Stripes
    row_groups: Stripes
    fetched_rows: int


@dataclass(frozen=True)
class _Classes:
    """Heights that blocks are rounded up to, highest first, and what one mux position of an array holds of them.

    The blocks of class i and above fit if the sum of their sizes is at most `room[i]`.
    """

    heights: tuple[int, ...]
    sizes: tuple[int, ...]
    room: tuple[int, ...]

    @classmethod
    def of(cls, geometry: CrossbarGeometry, whole_groups: bool) -> _Classes:
        m, (slots, short) = geometry.active_rows, divmod(geometry.rows, geometry.active_rows)
        if short:  # one slot an array is too short for a full row group
            return cls((m, short), (1, 1), (slots, slots + 1))
        if whole_groups:
            return cls((m,), (1,), (slots,))
        chain = [m]
        while chain[-1] > 1:
            chain.append(chain[-1] // next(p for p in range(2, chain[-1] + 1) if chain[-1] % p == 0))
        return cls(tuple(chain), tuple(chain), (geometry.rows,) * len(chain))

    def class_of_height(self) -> Int[np.ndarray, " heights"]:
        """Class of a block of 0 .. active_rows rows."""
        heights = np.arange(self.heights[0] + 1)[:, None]
        return (heights <= np.array(self.heights)).sum(1) - 1


def in_place(work: Work) -> Stripes:
    """Arrays as the unpruned matrix has them, less those that execute nothing.

    Of two arrays of 4 x 4 weights, the first keeps two steps of 2 x 2, and the second nothing:

    >>> kept = np.zeros((1, 8, 4), np.uint8)
    >>> kept[:, :2] = 1
    >>> geometry = CrossbarGeometry(rows=4, cols=32, active_rows=2, columns_per_adc=2)
    >>> in_place(LayerMask(kept).work(geometry)).work.tolist()
    [2]
    """
    steps = work.steps_per_array.ravel()
    steps = steps[steps > 0]
    one = np.ones_like(steps)
    return Stripes(steps, one, one)


def even_cut(row_groups: int, held: int) -> int:
    """Row groups of each array where as few arrays as hold them, `held` each, get equally many.

    >>> even_cut(9, held=8)
    5
    """
    return ceil(row_groups / ceil(row_groups / held))


def longest_of_even_cut(work: Work, geometry: CrossbarGeometry) -> int:
    """Steps of the busiest array where row groups stay in their order, and arrays get equally many.

    160 rows are 10 row groups, of one step each where all columns have an ADC of their own; an array holds 8:

    >>> geometry = CrossbarGeometry(columns_per_adc=1)
    >>> work = LayerMask(np.ones((1, 160, 16), np.uint8)).work(geometry)
    >>> in_place(work).longest, longest_of_even_cut(work, geometry)
    (8, 5)
    """
    steps = work.row_group_steps
    starts = np.arange(0, steps.shape[1], even_cut(steps.shape[1], geometry.row_groups))
    return int(np.add.reduceat(steps, starts, axis=1).max(initial=0))


def compacted(mask: LayerMask, work: Work, geometry: CrossbarGeometry, index: UnitGrid) -> Compacted:
    """Squeeze out what executes nothing.

    Each of two arrays of 4 x 4 weights keeps one step of 2 x 2; both steps fit on one array:

    >>> from cimlab.crossbar.units import aligned_segments
    >>> kept = np.zeros((1, 8, 4), np.uint8)
    >>> kept[:, :2, :2] = kept[:, 4:6, 2:] = 1
    >>> geometry = CrossbarGeometry(rows=4, cols=32, active_rows=2, columns_per_adc=2)
    >>> mask, units = LayerMask(kept), UnitGrid(aligned_segments(8, 4, 2), aligned_segments(4, 4, 2))
    >>> int(compacted(mask, mask.work(geometry), geometry, units).steps.fewest.sum())
    1

    Args:
        mask: the kept weights.
        work: of the mask under this geometry.
        geometry: the array.
        index: the units whose presence the hardware is told.
    """
    whole_groups = int(np.bincount(index.row_of.numpy()).max()) >= geometry.active_rows
    classes = _Classes.of(geometry, whole_groups)
    q, most = geometry.columns_per_adc, len(work.array_row_starts)
    blocks = _histogram(
        *_blocks(mask, work, geometry, None if whole_groups else index), classes.class_of_height()
    )
    steps = _stripes(blocks, classes, q, most)
    groups = _Classes.of(geometry, True)
    read = (work.row_group_steps > 0).astype(np.int64)
    bounds = row_group_bounds(mask.kept.shape[1], geometry)
    heights = np.broadcast_to(np.diff(bounds)[None, :, None], read.shape)
    row_groups = _stripes(_histogram(heights, read, groups.class_of_height()), groups, 1, most)
    fetched = work.drives
    if whole_groups:  # an array fetches a row group once, and a cut between arrays makes two fetch it
        cuts = int(np.maximum(steps.most - 1, 0).sum()) * len(classes.heights)
        fetched = min(fetched, work.held_drives + geometry.active_rows * cuts)
    return Compacted(steps, row_groups, fetched)


def gathered(rows: GatheredRows, geometry: CrossbarGeometry) -> tuple[Work, Compacted]:
    """Squeeze out every wordline that a step does not need, and what the arrays then do.

    32 x 4 weights keep every other row: 2 mux positions take one step each, on one array.

    >>> kept = np.zeros((1, 32, 4), np.uint8)
    >>> kept[:, ::2] = 1
    >>> geometry = CrossbarGeometry()
    >>> work, packed = gathered(GatheredRows.of(LayerMask(kept), geometry), geometry)
    >>> work.columns, packed.steps.work.tolist(), packed.steps.fewest.tolist(), packed.fetched_rows
    (4, [2], [1], 16)
    """
    work, width, q = rows.work, geometry.operation_unit[1], geometry.columns_per_adc
    classes = _Classes.of(geometry, whole_groups=False)
    heights = _by_stripe(rows.mask.rows_of_steps(rows.geometry, width), q)
    blocks = _histogram(heights, (heights > 0).astype(np.int64), classes.class_of_height())
    steps = _stripes(blocks, classes, q, ceil(rows.mask.kept.shape[1] / geometry.rows))
    cuts = int(np.maximum(steps.most - 1, 0).sum()) * len(classes.heights)
    fetched = min(work.drives, _different(rows.source, q) + geometry.active_rows * cuts)
    # a read that is held would convert other mux positions from the wordlines of one: it is refused
    return replace(work, held_cells=work.cells, held_drives=work.drives), Compacted(steps, steps, fetched)


def _different(source: Int[np.ndarray, "groups rows steps"], per_stripe: int) -> int:
    """Inputs that the arrays of a stripe fetch: those of wordlines side by side that are one row count once."""
    of_stripe = np.sort(_by_stripe(source + 1, per_stripe), axis=-1)
    return int((np.diff(of_stripe, axis=-1, prepend=0) > 0).sum())


def _blocks(
    mask: LayerMask, work: Work, geometry: CrossbarGeometry, low_units: UnitGrid | None
) -> tuple[Int[np.ndarray, "groups row_groups stripes *"], Int[np.ndarray, "groups row_groups stripes *"]]:
    """Rows that a block takes, and how many such blocks there are, by stripe (and mux position in lockstep)."""
    bounds = row_group_bounds(mask.kept.shape[1], geometry)
    lockstep = geometry.mux_control == "lockstep"
    width = geometry.operation_unit[1] if lockstep else geometry.logical_cols
    if lockstep:
        count = _by_stripe(mask.executed(geometry, width).astype(np.int64), geometry.columns_per_adc)
    else:
        count = work.row_group_steps[..., None]
    if low_units is None:
        rows = np.broadcast_to(np.diff(bounds)[None, :, None, None], count.shape)
    else:
        units = mask.units(low_units)
        whole = LayerMask(
            np.ascontiguousarray(units[:, low_units.row_of.numpy()][:, :, low_units.col_of.numpy()])
        )
        rows = _by_stripe(whole.rows_of_steps(geometry, width), geometry.columns_per_adc if lockstep else 1)
    return rows, count


def _by_stripe(values: np.ndarray, per_stripe: int) -> np.ndarray:
    """The last axis cut into stripes, the last of them filled up with zeros."""
    missing = -values.shape[2] % per_stripe
    padded = np.pad(values, ((0, 0), (0, 0), (0, missing))) if missing else values
    return padded.reshape(*values.shape[:2], -1, per_stripe)


def _histogram(
    rows: Int[np.ndarray, "groups row_groups stripes *"],
    count: Int[np.ndarray, "groups row_groups stripes *"],
    class_of_height: Int[np.ndarray, " heights"],
) -> Int[np.ndarray, "stripes classes"]:
    """Blocks of every stripe by class of height."""
    classes = int(class_of_height.max()) + 1
    found = np.zeros((rows.shape[0], rows.shape[2], classes), np.int64)
    of = class_of_height[rows] if classes > 1 else None
    for number in range(classes):
        chosen = count if of is None else np.where(of == number, count, 0)
        found[..., number] = chosen.sum(axis=(1, *range(3, chosen.ndim)))
    return found.reshape(-1, classes)


def _stripes(
    blocks: Int[np.ndarray, "stripes classes"], classes: _Classes, positions: int, most: int
) -> Stripes:
    sizes, room = np.array(classes.sizes), positions * np.array(classes.room)
    work = blocks.sum(1)
    fewest = _fewest_arrays(blocks.cumsum(1), sizes, room)
    return Stripes(work, fewest, np.maximum(fewest, np.minimum(most, work)))


@njit(cache=True, nogil=True)
def _fewest_arrays(above, sizes, room):  # pragma: no cover - compiled
    """For every stripe the fewest arrays whose fullest holds its share; `above` counts blocks of a class and higher."""
    stripes, classes = above.shape
    out = np.zeros(stripes, np.int64)
    for s in range(stripes):
        if above[s, classes - 1] == 0:
            continue
        arrays, fits = 0, False
        while not fits:
            arrays += 1
            fits, taken = True, 0
            for i in range(classes):
                share = -(-above[s, i] // arrays)
                fits = fits and taken + sizes[i] * share <= room[i]
                taken += (sizes[i] - (sizes[i + 1] if i + 1 < classes else 0)) * share
        out[s] = arrays
    return out


def ceil_div(
    numbers: Int[np.ndarray, "..."], divisor: int | Int[np.ndarray, "..."]
) -> Int[np.ndarray, "..."]:
    """Integer division, rounded up.

    >>> ceil_div(np.array([4, 5]), 2).tolist()
    [2, 3]
    """
    return -(-numbers // divisor)
