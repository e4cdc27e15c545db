"""Kept weights on arrays, and the exact integer counts of what the arrays then do.

Two placements: `in_place` leaves every weight where the dense matrix put it and skips zero units in time and
energy; `compacted` also squeezes them out of storage, at the price of an index. Counts follow the zeros alone,
so that every granularity is judged on the same hardware. `tests/crossbar/reference.py` is the slow twin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from math import ceil, log2
from typing import Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.units import UnitGrid, aligned_segments, segment_sum

PlacementMode = Literal["in_place", "compacted"]


@dataclass(frozen=True)
class Counts:
    """What one layer (or a whole network) holds and does; integers, exact, per image where it says so.

    Args:
        weights: weights of the layer.
        weights_left: weights that are kept.
        arrays: crossbar arrays in use.
        cells: cells of those arrays, used or not.
        steps: array steps per image, summed over arrays (row group x mux position x input cycle).
        critical_steps: steps per image of the busiest array of each layer, which the layer waits for.
        cell_reads: cells read per image.
        adc_conversions: physical columns converted per image; also the number of shift-and-adds.
        wordline_drives: rows driven per image.
        partial_sum_adds: additions that join row groups, per image.
        input_buffer_bits: input bits fetched per image; every array has its own input register.
        output_buffer_bits: accumulator bits written per image.
        index_bits: storage of the index that pruning support needs.
    """

    weights: int = 0
    weights_left: int = 0
    arrays: int = 0
    cells: int = 0
    steps: int = 0
    critical_steps: int = 0
    cell_reads: int = 0
    adc_conversions: int = 0
    wordline_drives: int = 0
    partial_sum_adds: int = 0
    input_buffer_bits: int = 0
    output_buffer_bits: int = 0
    index_bits: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True, eq=False)
class Placement:
    """One layer on its arrays.

    Args:
        counts: the exact totals.
        steps_per_array: steps of every array for one product, T included; 0 where an array is skipped whole.
    """

    counts: Counts
    steps_per_array: Int[Tensor, "groups array_rows array_cols"]


@dataclass(frozen=True, eq=False)
class _Cut:
    """Where the arrays, row groups and operation units of one matrix begin and end."""

    row_group_of: Int[Tensor, " rows"]
    step_of: Int[Tensor, " cols"]
    array_row_of_group: Int[Tensor, " row_groups"]
    array_col_of_step: Int[Tensor, " steps"]

    @classmethod
    def of(cls, rows: int, cols: int, geometry: CrossbarGeometry) -> _Cut:
        row_group_of = aligned_segments(rows, geometry.rows, geometry.active_rows)
        step_of = aligned_segments(cols, geometry.logical_cols, geometry.operation_unit[1])
        row_groups = torch.arange(int(row_group_of[-1]) + 1)
        steps = torch.arange(int(step_of[-1]) + 1)
        return cls(
            row_group_of, step_of, row_groups // geometry.row_groups, steps // geometry.columns_per_adc
        )

    @property
    def row_groups(self) -> int:
        return len(self.array_row_of_group)

    @property
    def steps(self) -> int:
        return len(self.array_col_of_step)

    @property
    def array_rows(self) -> int:
        return int(self.array_row_of_group[-1]) + 1

    @property
    def array_cols(self) -> int:
        return int(self.array_col_of_step[-1]) + 1

    def to_arrays(
        self, per_step: Int[Tensor, "groups row_groups steps"]
    ) -> Int[Tensor, "groups arows acols"]:
        """Sum a count per (row group, step) over the steps of each array."""
        by_rows = segment_sum(per_step, self.array_row_of_group, self.array_rows, 1)
        return segment_sum(by_rows, self.array_col_of_step, self.array_cols, 2)


def place(
    matrix: CrossbarMatrix,
    kept: Bool[Tensor, "groups rows cols"],
    geometry: CrossbarGeometry,
    index: UnitGrid,
    mode: PlacementMode = "in_place",
) -> Placement:
    """Map the kept weights of one layer and count.

    Args:
        matrix: the layer's crossbar matrix; gives the products per image.
        kept: True where a weight is left, in the matrix's layout.
        geometry: the array.
        index: the units whose presence the hardware has to know.
        mode: in_place or compacted.
    """
    kept = kept.cpu()
    cut = _Cut.of(matrix.rows, matrix.cols, geometry)
    segments = segment_sum(kept.int(), cut.row_group_of, cut.row_groups, 1) > 0
    in_order = (kept, segments, cut)
    if geometry.mux_control == "independent":
        in_order = _step_in_own_order(kept, segments, cut, geometry)
    executed = _Executed.of(*in_order)
    steps = in_order[2].to_arrays((executed.columns > 0).long()) * geometry.input_cycles
    arrays = _arrays(kept, segments, cut, geometry, index, mode)
    k, per_image = geometry.columns_per_weight, geometry.input_cycles * matrix.products
    conversions = int(executed.columns.sum()) * k * per_image
    outputs = segments.any(1).sum()
    counts = Counts(
        weights=matrix.weights,
        weights_left=int(kept.sum()),
        arrays=arrays,
        cells=arrays * geometry.rows * geometry.cols,
        steps=int(steps.sum()) * matrix.products,
        critical_steps=int(steps.max()) * matrix.products,
        cell_reads=int((executed.rows * executed.columns).sum()) * k * per_image,
        adc_conversions=conversions,
        wordline_drives=int(executed.rows.sum()) * per_image,
        partial_sum_adds=int((segments.sum(1) - 1).clamp(min=0).sum()) * matrix.products,
        input_buffer_bits=_rows_fetched(kept, cut) * geometry.input_bits * matrix.products,
        output_buffer_bits=int(outputs) * accumulator_bits(matrix.rows, geometry) * matrix.products,
        index_bits=index_bits(kept, index, cut.row_groups, mode),
    )
    return Placement(counts, steps)


def place_dense(matrix: CrossbarMatrix, geometry: CrossbarGeometry) -> Placement:
    """The unpruned layer on the same arrays: what every ratio is taken against. It needs no index."""
    everything = torch.ones(matrix.groups, matrix.rows, matrix.cols, dtype=torch.bool)
    whole = UnitGrid(torch.zeros(matrix.rows, dtype=torch.long), torch.zeros(matrix.cols, dtype=torch.long))
    return place(matrix, everything, geometry, whole)


def accumulator_bits(rows: int, geometry: CrossbarGeometry) -> int:
    """Bits that hold any sum of `rows` products without overflow."""
    return geometry.input_bits + geometry.weight_bits + ceil(log2(rows))


def index_bits(
    kept: Bool[Tensor, "groups rows cols"], index: UnitGrid, row_groups: int, mode: PlacementMode
) -> int:
    """Storage of the index: a bit a unit, or none where every unit is there.

    A compacted layer may list ceil(log2(row groups)) bits a kept unit instead, if that is smaller; with a
    single row group the list still needs one bit a kept unit.
    """
    units = index.reduce(kept.int()) > 0
    units_kept = int(units.sum())
    if units_kept == units.numel():
        return 0
    if mode == "in_place":
        return units.numel()
    return min(units.numel(), units_kept * max(1, ceil(log2(row_groups))))


@dataclass(frozen=True, eq=False)
class _Executed:
    """Rows driven and logical columns converted in every (row group, step); both 0 where it is skipped."""

    rows: Int[Tensor, "groups row_groups steps"]
    columns: Int[Tensor, "groups row_groups steps"]

    @classmethod
    def of(cls, kept: Tensor, segments: Tensor, cut: _Cut) -> _Executed:
        driven = (segment_sum(kept.int(), cut.step_of, cut.steps, 2) > 0).long()
        rows = segment_sum(driven, cut.row_group_of, cut.row_groups, 1)
        return cls(rows, segment_sum(segments.long(), cut.step_of, cut.steps, 2))


def _step_in_own_order(
    kept: Bool[Tensor, "groups rows cols"],
    segments: Bool[Tensor, "groups row_groups cols"],
    cut: _Cut,
    geometry: CrossbarGeometry,
) -> tuple[Tensor, Tensor, _Cut]:
    """Move each ADC's kept columns to its first steps, row group by row group.

    Independent ADCs then are a lockstep array whose columns happen to be sorted: step s converts the s-th kept
    column of every ADC, and the array has as many steps as its busiest ADC.
    """
    padded = cut.array_cols * geometry.logical_cols
    shape = (cut.array_cols, geometry.columns_per_adc, geometry.operation_unit[1])
    missing = padded - kept.shape[2]
    wide_kept = torch.nn.functional.pad(kept, (0, missing)).unflatten(2, shape)
    wide_segments = torch.nn.functional.pad(segments, (0, missing)).unflatten(2, shape)
    order = wide_segments.byte().argsort(dim=3, descending=True, stable=True)
    sorted_kept = wide_kept.gather(3, order[:, cut.row_group_of]).flatten(2)
    sorted_segments = wide_segments.gather(3, order).flatten(2)
    rows = len(cut.row_group_of)
    return sorted_kept, sorted_segments, _Cut.of(rows, padded, geometry)


def _rows_fetched(kept: Bool[Tensor, "groups rows cols"], cut: _Cut) -> int:
    """Rows with a kept weight, summed over arrays."""
    array_col_of = cut.array_col_of_step[cut.step_of]
    return int((segment_sum(kept.int(), array_col_of, cut.array_cols, 2) > 0).sum())


def _arrays(
    kept: Tensor,
    segments: Tensor,
    cut: _Cut,
    geometry: CrossbarGeometry,
    index: UnitGrid,
    mode: PlacementMode,
) -> int:
    """Arrays that hold any weight (in_place), or as many as the stacked units need (compacted)."""
    if mode == "in_place":
        return int((cut.to_arrays(segment_sum(segments.long(), cut.step_of, cut.steps, 2)) > 0).sum())
    heights = torch.bincount(index.row_of)
    if int(heights.max()) < geometry.active_rows:
        units_kept = index.reduce(kept.int()) > 0
        needed = ceil_div(index.spread(units_kept).sum(1), geometry.rows)
    else:
        needed = _arrays_for_stacked_groups(segments, cut, geometry)
    ragged = cut.array_cols * geometry.logical_cols - needed.shape[1]
    stripes = torch.nn.functional.pad(needed, (0, ragged)).unflatten(1, (cut.array_cols, -1))
    return int(stripes.amax(2).sum())


def _arrays_for_stacked_groups(
    segments: Bool[Tensor, "groups row_groups cols"], cut: _Cut, geometry: CrossbarGeometry
) -> Int[Tensor, "groups cols"]:
    """Arrays that a column's kept row groups fill when stacked.

    An array has rows // active_rows slots of full height and, where active_rows does not divide rows, one
    short slot; only groups that are no higher fit there.
    """
    full_slots, short_height = divmod(geometry.rows, geometry.active_rows)
    fits_short = (torch.bincount(cut.row_group_of) <= short_height).view(1, -1, 1)
    tall = (segments & ~fits_short).sum(1)
    return torch.maximum(
        ceil_div(tall, full_slots), ceil_div(segments.sum(1), full_slots + (1 if short_height else 0))
    )


def ceil_div(numbers: Int[Tensor, "..."], divisor: int) -> Int[Tensor, "..."]:
    """Integer division, rounded up."""
    return -(-numbers // divisor)


@dataclass(frozen=True, eq=False)
class NetworkPlacement:
    """Every mapped layer of a network on its arrays, beside the unpruned one.

    Args:
        layers: layer name -> placement of the kept weights.
        dense: layer name -> placement of all weights.
    """

    layers: dict[str, Placement]
    dense: dict[str, Placement]

    @property
    def total(self) -> Counts:
        """Counts of the whole network."""
        return sum((p.counts for p in self.layers.values()), Counts())

    @property
    def dense_total(self) -> Counts:
        """Counts of the whole network before pruning."""
        return sum((p.counts for p in self.dense.values()), Counts())


def place_network(
    matrices: list[CrossbarMatrix],
    kept: Mapping[str, Bool[Tensor, "..."]],
    geometry: CrossbarGeometry,
    index_of: Callable[[CrossbarMatrix, CrossbarGeometry], UnitGrid],
    mode: PlacementMode = "in_place",
) -> NetworkPlacement:
    """Place every layer.

    Args:
        matrices: the network's mapped layers.
        kept: layer name -> mask in the shape of the weight; a layer that is not named is whole.
        geometry: the array.
        index_of: the units whose presence the hardware is told, by layer.
        mode: in_place or compacted.
    """
    dense = {m.name: place_dense(m, geometry) for m in matrices}
    layers = dict(dense)
    for matrix in matrices:
        if matrix.name in kept:
            mask = matrix.to_matrix(kept[matrix.name])
            layers[matrix.name] = place(matrix, mask, geometry, index_of(matrix, geometry), mode)
    return NetworkPlacement(layers, dense)
