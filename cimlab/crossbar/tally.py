"""What the arrays of one layer do in one input cycle, counted fast enough to sweep thousands of geometries.

A mask is reduced once per (row group, step width) to small arrays of counts, which geometries share; a dense
layer needs no mask, because its counts are products of row-group heights and step widths. `kernels.py` holds the
loops over bytes; `placement.py` gives the counts their meaning.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from math import ceil

import numpy as np
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.kernels import (
    any_in_step,
    any_in_unit,
    busiest_adc,
    column_totals,
    gather_rows,
    held_totals,
    lockstep_totals,
    or_rows,
    sum_in_step,
    sum_rows,
)
from cimlab.crossbar.units import UnitGrid
from cimlab.network.masks import checked_mask


@dataclass(frozen=True, eq=False)
class Work:
    """One input cycle of one matrix-vector product on all arrays of a layer.

    Two ways to read an array are counted. Per step, the row group is driven anew at every mux position (the
    operation unit of CONCEPTS.md). Held, it is driven once and sample-and-holds keep all its bitlines until
    the ADCs have stepped through them (ISAAC). Lockstep muxes drive the rows that the columns of the step keep.
    Independent ones convert columns that happen to come together, so their drivers keep one pattern for all steps
    of a row group: the rows that the array keeps anything in.

    4 x 4 weights of one array, operation unit 2 x 2; each row group executes one of its two steps:

    >>> kept = np.array([[[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]], np.uint8)
    >>> work = LayerMask(kept).work(CrossbarGeometry(rows=4, cols=32, active_rows=2, columns_per_adc=2))
    >>> work.row_group_steps.tolist(), work.steps_per_array.tolist(), work.drives
    ([[[1], [1]]], [[[2]]], 3)
    >>> work.occupancy.tolist()  # by row group, converted columns with 0, 1 and 2 kept weights
    [[[0, 1, 1], [0, 1, 0]]]

    Args:
        row_group_steps: mux positions executed in every (row group, array column).
        array_row_starts: first row group of every array row.
        columns: logical columns converted.
        cells: cells read per step, in units of one column per weight (rows driven x logical columns).
        drives: rows driven per step.
        held_cells: the same cells if bitlines are held; held_drives: the rows driven then, which are also the
            rows fetched, summed over arrays.
        partial_sum_adds: additions that join the row groups of a column.
        outputs: logical columns with any kept weight.
        columns_of: logical columns converted in every row group, spread over an axis; drives_of: likewise the rows.
        count_occupancy: what `occupancy` asks, as few prices do.
    """

    row_group_steps: Int[np.ndarray, "groups row_groups array_cols"]
    array_row_starts: Int[np.ndarray, " array_rows"]
    columns: int
    cells: int
    drives: int
    held_cells: int
    held_drives: int
    partial_sum_adds: int
    outputs: int
    columns_of: Int[np.ndarray, "groups row_groups *"]
    drives_of: Int[np.ndarray, "groups row_groups *"]
    count_occupancy: Callable[[], Int[np.ndarray, "groups row_groups active_rows_and_none"]]

    @cached_property
    def occupancy(self) -> Int[np.ndarray, "groups row_groups active_rows_and_none"]:
        """Converted columns of each row group by how many of their cells can hold more than zero."""
        return self.count_occupancy()

    @property
    def steps_per_array(self) -> Int[np.ndarray, "groups array_rows array_cols"]:
        """Mux positions executed by every array, over all its row groups."""
        return self.per_array(self.row_group_steps)

    def per_array(self, per_row_group: np.ndarray) -> np.ndarray:
        """Sum over the row groups of each array."""
        return np.add.reduceat(per_row_group, self.array_row_starts, axis=1)


def row_group_bounds(rows: int, geometry: CrossbarGeometry) -> Int[np.ndarray, " row_groups_plus_one"]:
    """First row of every row group, and `rows` at the end; groups start afresh at every array.

    >>> row_group_bounds(40, CrossbarGeometry(active_rows=16)).tolist()
    [0, 16, 32, 40]
    """
    return _bounds(rows, geometry.rows, geometry.active_rows)


@lru_cache(1024)
def _bounds(rows: int, array_rows: int, active_rows: int) -> Int[np.ndarray, " row_groups_plus_one"]:
    firsts = (np.arange(0, rows, array_rows)[:, None] + np.arange(0, array_rows, active_rows)).ravel()
    bounds = np.append(firsts[firsts < rows], rows)
    bounds.flags.writeable = False
    return bounds


def dense_work(groups: int, rows: int, cols: int, geometry: CrossbarGeometry) -> Work:
    """The work of a layer with every weight, in closed form.

    4 x 4 weights of one array, with an operation unit of 2 x 2, take two steps in each of two row groups:

    >>> work = dense_work(1, 4, 4, CrossbarGeometry(rows=4, cols=32, active_rows=2, columns_per_adc=2))
    >>> work.row_group_steps.tolist(), work.columns, work.drives
    ([[[2], [2]]], 8, 8)

    Args:
        groups, rows, cols: of the crossbar matrix.
        geometry: the array.
    """
    bounds = row_group_bounds(rows, geometry)
    row_groups, n = len(bounds) - 1, geometry.operation_unit[1]
    steps = ceil(cols / n)
    array_cols = ceil(steps / geometry.columns_per_adc)
    per_array_col = np.full(array_cols, geometry.columns_per_adc)
    per_array_col[-1] = steps - (array_cols - 1) * geometry.columns_per_adc
    return Work(
        row_group_steps=np.broadcast_to(per_array_col, (groups, row_groups, array_cols)),
        array_row_starts=np.arange(0, row_groups, geometry.row_groups),
        columns=groups * row_groups * cols,
        cells=groups * rows * cols,
        drives=groups * rows * steps,
        held_cells=groups * rows * cols,
        held_drives=groups * rows * array_cols,
        partial_sum_adds=groups * (row_groups - 1) * cols,
        outputs=groups * cols,
        columns_of=np.full((groups, row_groups, 1), cols),
        drives_of=np.broadcast_to((np.diff(bounds) * steps)[None, :, None], (groups, row_groups, 1)),
        count_occupancy=lambda: np.broadcast_to(
            np.eye(geometry.active_rows + 1, dtype=np.int64)[np.diff(bounds)] * cols,
            (groups, row_groups, geometry.active_rows + 1),
        ),
    )


@dataclass(frozen=True, eq=False)
class LayerMask:
    """The kept weights of one layer as bytes, with the reductions that geometries have in common.

    4 x 4 weights in row groups of 2; steps of 2 columns:

    >>> mask = LayerMask(np.array([[[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]], np.uint8))
    >>> geometry = CrossbarGeometry(rows=4, cols=32, active_rows=2, columns_per_adc=2)
    >>> mask.weights_left, mask.rows_of_steps(geometry, width=2).tolist()
    (4, [[[2, 0], [0, 1]]])
    >>> mask.segments(row_group_bounds(4, geometry), geometry).tolist()  # columns that convert
    [[[1, 1, 0, 0], [0, 0, 0, 1]]]

    Args:
        kept: 1 where a weight is left, in the layout of the crossbar matrix.
    """

    kept: UInt8[np.ndarray, "groups rows cols"]
    _cache: dict[tuple, np.ndarray] = field(default_factory=dict, repr=False)
    _gathered: dict[int, tuple[LayerMask, np.ndarray]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, kept: Bool[Tensor, "groups rows cols"]) -> LayerMask:
        """From a tensor on any device.

        Raises:
            MaskError: a value is neither 0 nor 1; compiled code would read over the end of its bytes.
        """
        kept = checked_mask("given", kept, tuple(kept.shape))
        return cls(kept.cpu().contiguous().numpy().view(np.uint8))

    @cached_property
    def weights_left(self) -> int:
        """Weights that are kept."""
        return int(np.count_nonzero(self.kept))

    def work(self, geometry: CrossbarGeometry) -> Work:
        """Count one input cycle under a geometry."""
        bounds = row_group_bounds(self.kept.shape[1], geometry)
        n, q = geometry.operation_unit[1], geometry.columns_per_adc
        segments = self.segments(bounds, geometry)
        wide_rows, wide_columns = self._per_step(bounds, geometry, geometry.logical_cols)
        held = held_totals(wide_rows, wide_columns)
        columns, held_cells, held_drives = (int(total) for total in held)
        if geometry.mux_control == "independent":
            row_group_steps = busiest_adc(segments, n, q)
            drives_of = wide_rows * row_group_steps
            drives, cells = int(drives_of.sum()), held_cells
        else:
            drives_of, step_columns = self._per_step(bounds, geometry, n)
            row_group_steps, drives, cells = lockstep_totals(drives_of, step_columns, q)
        partial_sum_adds, outputs = column_totals(segments)
        return Work(
            row_group_steps=row_group_steps,
            array_row_starts=np.arange(0, len(bounds) - 1, geometry.row_groups),
            columns=columns,
            cells=int(cells),
            drives=int(drives),
            held_cells=held_cells,
            held_drives=held_drives,
            partial_sum_adds=int(partial_sum_adds),
            outputs=int(outputs),
            columns_of=segments,
            drives_of=drives_of,
            count_occupancy=lambda: self._occupancy(bounds, geometry, segments),
        )

    def _occupancy(
        self, bounds: np.ndarray, geometry: CrossbarGeometry, segments: np.ndarray
    ) -> Int[np.ndarray, "groups row_groups active_rows_and_none"]:
        """Kept weights by converted column; offset encoding keeps its bias in every cell of the row group."""
        heights = np.diff(bounds)[None, :, None]
        biased = geometry.signed_encoding == "offset"
        held = segments * heights if biased else sum_rows(self.kept, bounds)
        groups, row_groups, _ = held.shape
        numbers = geometry.active_rows + 1
        first = np.arange(groups * row_groups).reshape(groups, row_groups, 1) * numbers
        found = np.bincount((first + held).ravel(), minlength=groups * row_groups * numbers)
        found = found.reshape(groups, row_groups, numbers)
        found[..., 0] = 0  # not converted
        return found

    def segments(
        self, bounds: Int[np.ndarray, " bounds"], geometry: CrossbarGeometry
    ) -> UInt8[np.ndarray, "groups row_groups cols"]:
        """1 where a logical column has a kept weight in a row group."""
        return self._cached(("segments", *_cut(geometry)), lambda: or_rows(self.kept, bounds))

    def executed(self, geometry: CrossbarGeometry, width: int) -> Bool[np.ndarray, "groups row_groups steps"]:
        """Whether any of `width` columns side by side has a kept weight in a row group."""
        return self._per_step(row_group_bounds(self.kept.shape[1], geometry), geometry, width)[1] > 0

    def rows_of_steps(
        self, geometry: CrossbarGeometry, width: int
    ) -> Int[np.ndarray, "groups row_groups steps"]:
        """Rows of a row group that have a kept weight in any of `width` columns side by side."""
        return self._per_step(row_group_bounds(self.kept.shape[1], geometry), geometry, width)[0]

    def gathered(self, width: int) -> tuple[LayerMask, Int[np.ndarray, "groups rows steps"]]:
        """The same weights with the rows that each step keeps moved together, and which rows these are, else -1.

        >>> mask = LayerMask(np.array([[[0, 0, 1], [1, 0, 0], [0, 1, 0]]], np.uint8))
        >>> together, rows = mask.gathered(width=2)
        >>> together.kept.tolist(), rows.tolist()
        ([[[1, 0, 1], [0, 1, 0], [0, 0, 0]]], [[[1, 0], [2, -1], [-1, -1]]])
        """
        if width not in self._gathered:
            together, source = gather_rows(self.kept, width)
            self._gathered[width] = LayerMask(together), source
        return self._gathered[width]

    def units(self, grid: UnitGrid) -> UInt8[np.ndarray, "groups unit_rows unit_cols"]:
        """1 where a unit of the grid holds a kept weight."""
        return any_in_unit(
            self.kept, grid.row_of.numpy(), grid.col_of.numpy(), grid.unit_rows, grid.unit_cols
        )

    def _per_step(
        self, bounds: np.ndarray, geometry: CrossbarGeometry, width: int
    ) -> tuple[Int[np.ndarray, "groups row_groups steps"], Int[np.ndarray, "groups row_groups steps"]]:
        """Rows driven and columns converted, for steps of `width` logical columns."""
        touched = self._touched(width)
        cut = (*_cut(geometry), width)
        rows = self._cached(("rows", *cut), lambda: sum_rows(touched, bounds))
        segments = self.segments(bounds, geometry)
        return rows, self._cached(("columns", *cut), lambda: sum_in_step(segments, width))

    def _touched(self, width: int) -> UInt8[np.ndarray, "groups rows steps"]:
        """1 where a row has a kept weight in a step of `width` columns.

        An even width is two halves side by side, which numpy compares to 0 as one integer, many at a time.
        """
        if width == 1:
            return self.kept
        if width % 2 == 0 and self.kept.shape[2] % width == 0:
            return self._cached(
                ("touched", width), lambda: (self._touched(width // 2).view(np.uint16) != 0).view(np.uint8)
            )
        return self._cached(("touched", width), lambda: any_in_step(self.kept, width))

    def _cached(self, key: tuple, compute: Callable[[], np.ndarray]) -> np.ndarray:
        if key not in self._cache:
            self._cache[key] = compute()
        return self._cache[key]


def _cut(geometry: CrossbarGeometry) -> tuple[int, int]:
    """What row-group bounds depend on: the array's height matters only if active_rows does not divide it."""
    ragged = geometry.rows % geometry.active_rows
    return geometry.active_rows, geometry.rows if ragged else 0
