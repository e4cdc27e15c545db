"""Kept weights on arrays, and the exact integer counts of what the arrays then do.

Three placements: `in_place` leaves every weight where the dense matrix put it and skips zero units in time and
energy; `compacted` also squeezes them out of storage (`compaction.py`), at the price of an index; `gathered` also fills
steps up with the rows that their columns keep. Counts follow the zeros alone, so that every granularity is judged on
the same hardware. `tests/crossbar/reference.py` is the slow twin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from math import ceil, inf, log2

import numpy as np
from jaxtyping import Bool, UInt8
from torch import Tensor

from cimlab.crossbar.compaction import (
    Compacted,
    Stripes,
    compacted,
    gathered,
    in_place,
    longest_of_even_cut,
)
from cimlab.crossbar.gathering import GatheredRows
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.rules import PlacementMode
from cimlab.crossbar.tally import LayerMask, Work, dense_work, row_group_bounds
from cimlab.crossbar.units import UnitGrid
from cimlab.network.masks import checked_masks

IndexOf = Callable[[CrossbarMatrix, CrossbarGeometry], UnitGrid]
"""The units whose presence the hardware is told, of a layer under a geometry."""


@dataclass(frozen=True)
class Counts:
    """What one layer (or a whole network) holds and does; integers, exact, per image where it says so.

    Args:
        weights: weights of the layer.
        weights_left: weights that are kept.
        arrays: crossbar arrays in use.
        cells: cells of those arrays, used or not.
        steps: array steps per image, summed over arrays (row group x mux position x input cycle).
        critical_steps: steps per image of the busiest array of each layer, which the layer waits for. Where kept
            weights may be packed, other layers and unpruned ones share their row groups evenly among their arrays.
        cell_reads: cells read per image.
        adc_conversions: physical columns converted per image; also the number of shift-and-adds.
        wordline_drives: rows driven per image.
        partial_sum_adds: additions that join row groups, per image.
        input_buffer_bits: input bits fetched per image; every array has its own input register. Compacted, at most.
        output_buffer_bits: accumulator bits written per image.
        index_bits: storage of the index that pruning support needs, and of the order of permuted rows and columns:
            which units are kept, and of units kept in part, which wordlines their steps drive.
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

    Of a full array, 8 row groups x 8 mux positions take a step in each of 8 input cycles; two arrays share them:

    >>> placement = place_dense(CrossbarMatrix("fc", (16, 128)), CrossbarGeometry())
    >>> spread = placement.on(CrossbarGeometry(), arrays=2, longest=32)
    >>> placement.counts.critical_steps, spread.critical_steps, spread.steps
    (512, 256, 512)

    Args:
        counts: the exact totals, on the fewest arrays that hold the layer.
        work: one input cycle of one product in detail, for what depends on when things happen.
        stripes: how the steps may be spread over arrays.
        row_groups: the same for arrays whose read is held; None where the layer lies in place.
        gathered: whether steps drive rows of several row groups of the matrix.
    """

    counts: Counts
    work: Work
    stripes: Stripes
    row_groups: Stripes | None = None
    gathered: bool = False

    def on(self, geometry: CrossbarGeometry, arrays: int, longest: int) -> Counts:
        """The counts where a chip lays the layer on more arrays, whose busiest executes `longest` steps per cycle."""
        per_step = self.counts.steps // max(1, int(self.stripes.work.sum()))
        return replace(
            self.counts,
            arrays=arrays,
            cells=arrays * geometry.rows * geometry.cols,
            critical_steps=longest * per_step,
        )


def place(
    matrix: CrossbarMatrix,
    kept: Bool[Tensor, "groups rows cols"],
    geometry: CrossbarGeometry,
    index: UnitGrid,
    mode: PlacementMode = "in_place",
) -> Placement:
    """Map the kept weights of one layer and count.

    One operation unit of 16 x 2 weights takes one step, in each of 8 input cycles of each of 36 products:

    >>> from cimlab.crossbar.units import aligned_segments
    >>> import torch
    >>> geometry = CrossbarGeometry()
    >>> matrix = CrossbarMatrix("conv", weight_shape=(32, 16, 3, 3), products=36)
    >>> kept = torch.zeros(1, matrix.rows, matrix.cols, dtype=torch.bool)
    >>> kept[:, :16, :2] = True
    >>> units = UnitGrid(aligned_segments(144, 128, 16), aligned_segments(32, 16, 2))
    >>> counts = place(matrix, kept, geometry, units).counts
    >>> counts.arrays, counts.steps, counts.weights_left, counts.index_bits
    (1, 288, 32, 144)

    Args:
        matrix: the layer's crossbar matrix; gives the products per image.
        kept: True where a weight is left, in the matrix's layout.
        geometry: the array.
        index: the units whose presence the hardware has to know.
        mode: in_place, compacted or gathered.
    """
    return place_mask(matrix, LayerMask.of(kept), geometry, index, mode)


def place_mask(
    matrix: CrossbarMatrix,
    mask: LayerMask,
    geometry: CrossbarGeometry,
    index: UnitGrid,
    mode: PlacementMode = "in_place",
) -> Placement:
    """`place` for a mask whose reductions are kept from one geometry to the next.

    16 x 4 weights take two mux positions in each of 4, 2 and 1 row groups, in 8 input cycles:

    >>> from cimlab.pruning.granularities.weight import Weight
    >>> matrix, mask = CrossbarMatrix("fc", (4, 16)), LayerMask(np.ones((1, 16, 4), np.uint8))
    >>> geometries = [CrossbarGeometry(active_rows=m) for m in (4, 8, 16)]
    >>> [place_mask(matrix, mask, g, Weight().index(matrix, g)).counts.steps for g in geometries]
    [64, 32, 16]
    """
    work, units = mask.work(geometry), mask.units(index)
    storage = _units_named(units, mode) + _rows_named(units, index, mask, geometry) + matrix.order_bits
    if mode == "gathered" and (rows := GatheredRows.of(mask, geometry)) is not None:
        together, packed = gathered(rows, geometry)
        placement = _placement(matrix, together, geometry, mask.weights_left, packed, storage)
        return replace(placement, gathered=True)
    if mode != "in_place" and not units.all():
        packed = compacted(mask, work, geometry, index)
        return _placement(matrix, work, geometry, mask.weights_left, packed, storage)
    whole = _placement(matrix, work, geometry, mask.weights_left, None, storage)
    return whole if mode == "in_place" else _evenly_cut(whole, geometry)


def place_dense(
    matrix: CrossbarMatrix, geometry: CrossbarGeometry, mode: PlacementMode = "in_place"
) -> Placement:
    """The unpruned layer on the same arrays: what every ratio is taken against. It needs no index.

    9 row groups x 16 mux positions of two array columns, in each of 8 input cycles of each of 36 products; an array
    holds 8 row groups, and where kept weights may be packed evenly, so may these:

    >>> matrix = CrossbarMatrix("conv", weight_shape=(32, 16, 3, 3), products=36)
    >>> counts = place_dense(matrix, CrossbarGeometry()).counts
    >>> counts.arrays, counts.steps
    (4, 41472)
    >>> counts.critical_steps, place_dense(matrix, CrossbarGeometry(), "compacted").counts.critical_steps
    (18432, 11520)

    Args:
        matrix: the layer.
        geometry: the array.
        mode: in which the kept weights that it is compared with are placed.
    """
    work = dense_work(matrix.groups, matrix.rows, matrix.cols, geometry)
    whole = _placement(matrix, work, geometry, matrix.weights, None, 0)
    return whole if mode == "in_place" else _evenly_cut(whole, geometry)


def _evenly_cut(whole: Placement, geometry: CrossbarGeometry) -> Placement:
    """A layer of which nothing is packed, on arrays that are not filled one before the next but get equally many row
    groups, where that is faster: else a packed one would be credited with how the matrix happened to be cut.
    """
    longest = min(whole.stripes.longest, longest_of_even_cut(whole.work, geometry))
    return replace(whole, counts=whole.on(geometry, whole.counts.arrays, longest))


def _placement(
    matrix: CrossbarMatrix,
    work: Work,
    geometry: CrossbarGeometry,
    weights_left: int,
    packed: Compacted | None,
    index_storage: int,
) -> Placement:
    """Counts per image from the work of one input cycle of one product; in place where nothing is packed."""
    stripes = in_place(work) if packed is None else packed.steps
    fetched = work.held_drives if packed is None else packed.fetched_rows
    arrays = int(stripes.fewest.sum())
    k, per_image = geometry.columns_per_weight, geometry.input_cycles * matrix.products
    counts = Counts(
        weights=matrix.weights,
        weights_left=weights_left,
        arrays=arrays,
        cells=arrays * geometry.rows * geometry.cols,
        steps=int(stripes.work.sum()) * per_image,
        critical_steps=stripes.longest * per_image,
        cell_reads=work.cells * k * per_image,
        adc_conversions=work.columns * k * per_image,
        wordline_drives=work.drives * per_image,
        partial_sum_adds=work.partial_sum_adds * matrix.products,
        input_buffer_bits=fetched * geometry.input_bits * matrix.products,
        output_buffer_bits=work.outputs * accumulator_bits(matrix.rows, geometry) * matrix.products,
        index_bits=index_storage,
    )
    return Placement(counts, work, stripes, None if packed is None else packed.row_groups)


def accumulator_bits(rows: int, geometry: CrossbarGeometry) -> int:
    """Bits that hold any sum of `rows` products without overflow.

    >>> accumulator_bits(144, CrossbarGeometry(input_bits=8, weight_bits=8))
    24
    """
    return geometry.input_bits + geometry.weight_bits + ceil(log2(rows))


def _units_named(units: UInt8[np.ndarray, "groups unit_rows unit_cols"], mode: PlacementMode) -> int:
    """Bits that say which units are kept: one for each, or none where all or none are.

    A compacted layer may list them instead, as compressed sparse columns do: how many a column of units keeps, and
    where each of these stands in it.
    """
    kept = int(units.sum(dtype=np.int64))
    if kept in (0, units.size):
        return 0
    groups, unit_rows, unit_cols = units.shape
    listed = groups * unit_cols * unit_rows.bit_length() + kept * (unit_rows - 1).bit_length()
    return units.size if mode == "in_place" else min(units.size, listed)


def _rows_named(
    units: UInt8[np.ndarray, "groups unit_rows unit_cols"],
    index: UnitGrid,
    mask: LayerMask,
    geometry: CrossbarGeometry,
) -> int:
    """Bits that say which wordlines a step drives, one for each of its rows; none where the kept units are kept whole.

    A unit that is kept in part, as single weights leave column segments, tells of its columns and not of its rows.
    """
    if int((units * index.sizes().numpy()).sum(dtype=np.int64)) == mask.weights_left:
        return 0
    rows = mask.kept.shape[1]
    lockstep = geometry.mux_control == "lockstep"
    step = geometry.operation_unit[1] if lockstep else geometry.logical_cols
    heights = np.diff(row_group_bounds(rows, geometry))[None, :, None]
    return int((mask.executed(geometry, step) * heights).sum())


@dataclass(frozen=True, eq=False)
class NetworkPlacement:
    """Every mapped layer of a network on its arrays, beside the unpruned one.

    >>> dense = {"fc": place_dense(CrossbarMatrix("fc", (16, 128)), CrossbarGeometry())}
    >>> kept = {"fc": place_dense(CrossbarMatrix("fc", (4, 128)), CrossbarGeometry())}  # 4 of 16 outputs
    >>> network = NetworkPlacement(kept, dense)
    >>> network.total.steps, network.dense_total.steps, network.weights["compression"]
    (128, 512, 4.0)
    >>> network.on_chip([kept["fc"].on(CrossbarGeometry(), 2, 8)], [dense["fc"].counts]).total.arrays
    2

    Args:
        layers: layer name -> placement of the kept weights.
        dense: layer name -> placement of all weights.
        digital_weights: that take part in a product, but on no array.
    """

    layers: dict[str, Placement]
    dense: dict[str, Placement]
    digital_weights: int = 0

    def __repr__(self) -> str:
        """The totals: the work of each array fills pages."""
        return (
            f"NetworkPlacement({len(self.layers)} layers, total={self.total}, dense_total={self.dense_total})"
        )

    @property
    def weights(self) -> dict[str, int | float]:
        """Weights on arrays and digital ones, and what is left of them, as `weight_counts`."""
        return weight_counts(self.dense_total.weights, self.total.weights_left, self.digital_weights)

    @property
    def total(self) -> Counts:
        """Counts of the whole network."""
        return sum((p.counts for p in self.layers.values()), Counts())

    @property
    def dense_total(self) -> Counts:
        """Counts of the whole network before pruning."""
        return sum((p.counts for p in self.dense.values()), Counts())

    def on_chip(self, layers: Sequence[Counts], dense: Sequence[Counts]) -> NetworkPlacement:
        """The same with the counts of the arrays that a chip lays the layers on, given in the order of layers."""

        def laid(places: dict[str, Placement], counts: Sequence[Counts]) -> dict[str, Placement]:
            return {n: replace(p, counts=c) for (n, p), c in zip(places.items(), counts, strict=True)}

        return replace(self, layers=laid(self.layers, layers), dense=laid(self.dense, dense))


def weight_counts(on_arrays: int, left: int, digital: int) -> dict[str, int | float]:
    """Weights of a network, which are all that take part in a product; those that are left digital stay whole.

    Args:
        on_arrays: before pruning; left: of these.
        digital: of no array.

    >>> weight_counts(90, 20, 10)["compression"]
    3.33...
    """
    total = on_arrays + digital
    kept = left + digital
    return {
        "total": total,
        "on_arrays": on_arrays,
        "digital": digital,
        "left": kept,
        "remaining_all": kept / total,
        "compression": total / kept if kept else inf,
    }


def place_network(
    matrices: list[CrossbarMatrix],
    kept: Mapping[str, Bool[Tensor, "..."]],
    geometry: CrossbarGeometry,
    index_of: IndexOf,
    mode: PlacementMode = "in_place",
    digital_weights: int = 0,
) -> NetworkPlacement:
    """Place every layer.

    >>> from cimlab.pruning.granularities.operation_unit import OperationUnit
    >>> import torch
    >>> matrices = [CrossbarMatrix("conv", (32, 16, 3, 3), products=36), CrossbarMatrix("fc", (10, 32))]
    >>> kept = torch.ones(32, 16, 3, 3, dtype=torch.bool)
    >>> kept[:16] = False  # half of the outputs
    >>> placed = place_network(matrices, {"conv": kept}, CrossbarGeometry(), OperationUnit().index)
    >>> placed.layers["conv"].counts.steps / placed.dense["conv"].counts.steps
    0.5
    >>> placed.weights["left"], placed.total.arrays, placed.dense_total.arrays
    (2624, 3, 5)

    Args:
        matrices: the network's mapped layers.
        kept: layer name -> mask in the shape of the weight; a layer that is not named is whole.
        geometry: the array.
        index_of: the units whose presence the hardware is told, by layer.
        mode: in_place, compacted or gathered.
        digital_weights: of the network, for counts over all of its weights.

    Raises:
        MaskError: a mask is none, or of no layer that is mapped.
    """
    kept = checked_masks(kept, {m.name: m.weight_shape for m in matrices})
    masks = {m.name: LayerMask.of(m.to_matrix(kept[m.name])) for m in matrices if m.name in kept}
    return place_masks(matrices, masks, geometry, index_of, mode, digital_weights)


def place_masks(
    matrices: Sequence[CrossbarMatrix],
    masks: Mapping[str, LayerMask],
    geometry: CrossbarGeometry,
    index_of: IndexOf,
    mode: PlacementMode = "in_place",
    digital_weights: int = 0,
) -> NetworkPlacement:
    """`place_network` for masks whose reductions are kept from one geometry to the next.

    >>> from cimlab.pruning.granularities.weight import Weight
    >>> matrix, mask = CrossbarMatrix("fc", (4, 16)), LayerMask(np.ones((1, 16, 4), np.uint8))
    >>> geometries = [CrossbarGeometry(active_rows=m) for m in (4, 8, 16)]
    >>> [place_masks([matrix], {"fc": mask}, g, Weight().index).total.steps for g in geometries]
    [64, 32, 16]
    """
    dense = {m.name: place_dense(m, geometry, mode) for m in matrices}
    layers = {m.name: _place_whole(m, dense[m.name]) for m in matrices}
    for matrix in matrices:
        if matrix.name in masks:
            index = index_of(matrix, geometry)
            layers[matrix.name] = place_mask(matrix, masks[matrix.name], geometry, index, mode)
    return NetworkPlacement(layers, dense, digital_weights)


def _place_whole(matrix: CrossbarMatrix, dense: Placement) -> Placement:
    """A layer that is not pruned; the order of its lines is stored all the same."""
    return replace(dense, counts=replace(dense.counts, index_bits=matrix.order_bits))
