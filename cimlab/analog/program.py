"""What the arrays of one layer hold and how they are read: all that a backend needs besides the inputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cimlab.analog.adcs.base import Converter
from cimlab.analog.patches import Patches
from cimlab.analog.slicing import SlicedMatrix


@dataclass(frozen=True, eq=False)
class ArrayProgram:
    """A layer on its arrays.

    Args:
        sliced: integer levels of the cells, and which take part in which step.
        cells: values of real cells in levels; None where every cell is read as its integer level.
        converter: the ADCs.
        noise_levels: standard deviation of one driven cell's current at every read, in levels.
        noise_seed: of that noise.
    """

    sliced: SlicedMatrix
    cells: Float[Tensor, "groups physical rows cols"] | None
    converter: Converter
    noise_levels: float = 0.0
    noise_seed: int = 0

    @property
    def is_exact(self) -> bool:
        """The result is the integer matrix product, whatever the inputs."""
        ideal = self.cells is None and not self.noise_levels
        return ideal and self.converter.is_lossless(self.sliced.largest_sum)

    def values(self) -> Float[Tensor, "groups physical rows cols"]:
        """Cell values in levels, ideal or not."""
        return self.sliced.levels.float() if self.cells is None else self.cells


def partial_sums(
    patches: Patches, program: ArrayProgram
) -> Iterator[tuple[int, int, int, int, Float[Tensor, "products cols"]]]:
    """Every partial sum before noise and ADC: (group, row group, physical column, input cycle, sums).

    Row groups of which no column is converted are left out.
    """
    sliced, geometry = program.sliced, program.sliced.geometry
    values = program.values().double()
    for group in range(values.shape[0]):
        inputs = patches.matrix(group)
        for row_group in range(sliced.row_groups):
            rows = (sliced.row_group_of == row_group).nonzero()[:, 0]
            if not sliced.converted[group, row_group].any():
                continue
            for physical in range(values.shape[1]):
                cells = values[group, physical, rows]
                for cycle in range(geometry.input_cycles):
                    digits = inputs[:, rows] >> (cycle * geometry.dac_bits) & (2**geometry.dac_bits - 1)
                    yield group, row_group, physical, cycle, (digits.double() @ cells).float()


def partial_sum_histogram(patches: Patches, program: ArrayProgram) -> Int[Tensor, " sums"]:
    """How often each integer partial sum is converted; ideal cells only."""
    sliced = program.sliced
    histogram = torch.zeros(sliced.largest_sum + 1, dtype=torch.int64)
    for group, row_group, _, _, sums in partial_sums(patches, program):
        read = sums[:, sliced.converted[group, row_group]].long().flatten()
        histogram += torch.bincount(read, minlength=len(histogram))
    return histogram
