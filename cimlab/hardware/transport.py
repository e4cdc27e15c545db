"""What moving bits over a floor plan takes: clock cycles at ports, register accesses, and wires by their length.

The counts are those of DNN+NeuroSim V1.4 (Peng et al., IEDM 2019; Chip.cpp, Tile.cpp, ProcessingUnit.cpp, HTree.cpp,
XYBus.cpp): inputs go once from the chip's buffer over a bus to every column of tiles, through a register file and a
tree to the units, and along their arrays; partial sums come back the same way. A kernel tile keeps what the next window
shares with the last, so that one column of the kernel is fetched. All products of a layer pass the ports of one tile,
however often the layer is copied. Inputs that no weight of a row group and array column is left for do not travel;
what a compacted array fetches twice is fetched within its unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log2, sqrt

import numpy as np
from jaxtyping import Float, Int

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.hardware.actions import PlacedLayer
from cimlab.hardware.errors import HardwareError
from cimlab.hardware.floor_plan import FloorPlan, Tile


@dataclass(frozen=True, eq=False)
class Transport:
    """A network on a floor plan, by layer.

    Args:
        arrays: of one copy of the unpruned layer, which the plan holds for every copy.
        copies: how often each layer exists; tiles: that all of them fill.
        cycles: clock cycles of one image at ports and buses.
        port_bits: bits through registers, at the activity of one half that flip-flops are priced at.
        bit_metres: toggled bits times the length of their wires.
    """

    arrays: Int[np.ndarray, " layers"]
    copies: Int[np.ndarray, " layers"]
    tiles: Int[np.ndarray, " layers"]
    cycles: Float[np.ndarray, " layers"]
    port_bits: Float[np.ndarray, " layers"]
    bit_metres: Float[np.ndarray, " layers"]


@dataclass(frozen=True)
class _Block:
    """One copy of a layer: its kind of tile, and how many tiles and units down and across it fills.

    Args:
        fitting: copies that the same tiles hold.
    """

    tile: Tile
    tiles_down: int
    tiles_across: int
    units_down: int
    units_across: int
    array_columns: int
    arrays: int
    fitting: int

    @classmethod
    def of(cls, matrix: CrossbarMatrix, geometry: CrossbarGeometry, plan: FloorPlan) -> _Block:
        """Place a layer's unpruned matrix; the groups of a convolution lie side by side."""
        own = plan.kernel_tile
        tile = (
            own if matrix.kernel_size == own.kernel**2 and matrix.rows >= geometry.rows else plan.plain_tile
        )
        rows = matrix.channels if tile is own else matrix.rows
        arrays = (
            ceil(rows / geometry.rows),
            matrix.groups * ceil(matrix.cols * geometry.columns_per_weight / geometry.cols),
        )
        units = [ceil(number / plan.arrays_per_side) for number in arrays]
        fitting = 1
        for in_arrays, in_units in zip(arrays, units, strict=True):
            fitting *= max(1, tile.units_per_side // in_units) * max(1, plan.arrays_per_side // in_arrays)
        down, across = (ceil(number / tile.units_per_side) for number in units)
        held = arrays[1] * ceil(matrix.rows / geometry.rows)
        return cls(tile, down, across, units[0] * tile.kernel**2, units[1], arrays[1], held, fitting)

    def copies(self, wanted: int) -> int:
        """At least as many as wanted, and the last tile full."""
        return self.fitting * ceil(wanted / self.fitting)

    def tiles(self, copies: int) -> int:
        """Tiles of so many copies."""
        return self.tiles_down * self.tiles_across * ceil(copies / self.fitting)


def transport(
    layers: Sequence[PlacedLayer], geometry: CrossbarGeometry, plan: FloorPlan, array_m: float
) -> Transport:
    """What the layers of a network send over a floor plan.

    A tile of 2 x 2 units of 4 x 4 arrays, filled with copies of a layer of one array:

    >>> from cimlab.config.hardware import load_chip
    >>> from cimlab.crossbar.placement import place_dense
    >>> from cimlab.hardware.activity import ActivityFactors
    >>> matrix, geometry = CrossbarMatrix("fc", (16, 128)), CrossbarGeometry()
    >>> layers = [PlacedLayer(matrix, place_dense(matrix, geometry), ActivityFactors())]
    >>> moved = transport(layers, geometry, load_chip("neurosim").floor_plan, array_m=100e-6)
    >>> moved.tiles.tolist(), moved.copies.tolist(), moved.cycles.round(1).tolist()
    ([1], [64], [27.5])

    Args:
        layers: the placed layers, in the order of computation.
        geometry: the array.
        plan: the floor plan.
        array_m: side of one array.

    Raises:
        HardwareError: the plan's copies are not as many as the layers.
    """
    blocks = [_Block.of(layer.matrix, geometry, plan) for layer in layers]
    copies = _copies(layers, blocks, plan)
    tiles = np.array([block.tiles(n) for block, n in zip(blocks, copies, strict=True)], dtype=np.int64)
    down = max(1, ceil(sqrt(tiles.sum())))
    grid = (down, ceil(tiles.sum() / down))
    found = [
        _of_layer(layer, block, int(own), geometry, plan, grid, array_m)
        for layer, block, own in zip(layers, blocks, tiles, strict=True)
    ]
    cycles, port_bits, bit_metres = np.array(found, dtype=float).reshape(-1, 3).T
    arrays = np.array([block.arrays for block in blocks], dtype=np.int64)
    return Transport(arrays, np.array(copies, dtype=np.int64), tiles, cycles, port_bits, bit_metres)


def _copies(layers: Sequence[PlacedLayer], blocks: Sequence[_Block], plan: FloorPlan) -> Sequence[int]:
    if plan.copies is not None:
        if len(plan.copies) != len(layers):
            raise HardwareError(
                f"chip.floor_plan.copies holds {len(plan.copies)} numbers for {len(layers)} layers; "
                "give one per layer, or chip.floor_plan.copies=null for the plan's own rule"
            )
        return plan.copies
    products = [layer.matrix.products for layer in layers]
    convolved = [layer.matrix.products for layer in layers if layer.matrix.kernel_size > 1]
    fewest = min(convolved or products, default=1)
    return [block.copies(ceil(n / fewest)) for block, n in zip(blocks, products, strict=True)]


def _of_layer(
    layer: PlacedLayer,
    block: _Block,
    tiles: int,
    geometry: CrossbarGeometry,
    plan: FloorPlan,
    grid: tuple[int, int],
    array_m: float,
) -> tuple[float, float, float]:
    """Cycles, port bits and bit metres of one layer."""
    tile, side = block.tile, plan.arrays_per_side
    fed_bits = geometry.input_bits * layer.matrix.products
    inputs = layer.placement.work.held_drives * fed_bits / block.array_columns
    sums = layer.placement.work.outputs * layer.matrix.products
    fetched, results = inputs / tile.kernel, sums * geometry.input_bits
    tile_in, tile_out = fetched / block.tiles_down, sums * tile.word_bits / block.tiles_across
    cycles = (
        tile_in / tile.input_port_bits
        + tile_out / tile.output_port_bits
        + (tile_in + tile_out) / tile.tree_bits
        + fetched / plan.bus_bits * grid[0] * block.tiles_across / tiles
        + results / plan.bus_bits * grid[1] / block.tiles_across
        + (fetched + results) / plan.buffer_port_bits
    )
    unit_in, unit_out = inputs * block.units_across, sums * plan.word_bits * block.units_down
    tiles_in, tiles_out = fetched * block.tiles_across, sums * tile.word_bits * block.tiles_down
    # a unit's registers are clocked with every bit, those of tiles and chip with every other
    port_bits = 2 * (unit_in + unit_out) + tiles_in + tiles_out + fetched + results
    leaves = 2 ** ceil(log2(tile.kernel * tile.units_per_side))
    # halved stage by stage in both directions, and in from the edge
    tree_m = (1.5 * leaves - 1) * side * array_m
    tile_m = tile.kernel * tile.units_per_side * side * array_m
    x, y = ceil(grid[1] / 2), max(0, grid[0] - ceil(grid[0] / 2) - 1)  # to the middle of the chip
    bit_metres = (
        plan.input_toggle * (unit_in * (side - 1) * array_m + tiles_in * tree_m + fetched * x * tile_m)
        + plan.output_toggle * (unit_out * (side - 1) * array_m + tiles_out * tree_m + results * y * tile_m)
    )  # fmt: skip
    return cycles, port_bits, bit_metres
