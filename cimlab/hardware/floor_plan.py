"""A chip's floor plan: units of arrays, tiles of units, and what moves bits between them.

Plain values, no torch, as `chip.py`; `transport.py` counts what travels.
"""

from __future__ import annotations

from dataclasses import dataclass

from cimlab.hardware.errors import HardwareError, require_numbers


@dataclass(frozen=True)
class Tile:
    """Units that share register files and a tree of wires.

    Args:
        kernel: width of the square kernels whose every position has a unit of its own; 1 takes a matrix as it is.
        units_per_side: units down and across, for each kernel position.
        input_port_bits, output_port_bits: what the register files pass in a clock cycle.
        tree_bits: wires of the tree.
        word_bits: a partial sum that leaves the tile.
    """

    kernel: int
    units_per_side: int
    input_port_bits: int
    output_port_bits: int
    tree_bits: int
    word_bits: int

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            require_numbers(f"chip.floor_plan tile: {name}", value, low=1)


@dataclass(frozen=True)
class FloorPlan:
    """Where arrays lie and how wide the ways between them are.

    Inputs and partial sums pass registers and buses after the arrays and not beside them, one line a clock cycle, and
    the wires that they toggle cost energy by length. Copies follow the plan and not the area: a layer is copied until
    it has no more products than the convolution with the fewest, and further until its last tile is full.

    Args:
        arrays_per_side: arrays down and across in a unit.
        word_bits: a partial sum that leaves a unit.
        kernel_tile: of convolutions with its kernel and at least one array's rows; plain_tile: of all other layers.
        bus_bits: wires of the bus between tiles; buffer_port_bits: what the chip's buffer passes in a clock cycle.
        input_toggle, output_toggle: share of the bits on a wire that differ from the one before.
        copies: how often each layer exists, in the order of computation; None follows the rule above.

    Raises:
        HardwareError: a value is out of range.
    """

    arrays_per_side: int
    word_bits: int
    kernel_tile: Tile
    plain_tile: Tile
    bus_bits: int
    buffer_port_bits: int
    input_toggle: float
    output_toggle: float
    copies: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("arrays_per_side", "word_bits", "bus_bits", "buffer_port_bits"):
            require_numbers(f"chip.floor_plan.{name}", getattr(self, name), low=1)
        require_numbers("chip.floor_plan.copies", *(self.copies or ()), low=1)
        for name in ("input_toggle", "output_toggle"):
            share = getattr(self, name)
            require_numbers(f"chip.floor_plan.{name}", share)
            if share > 1:
                raise HardwareError(f"chip.floor_plan.{name}={share} must be a share, from 0 to 1")
