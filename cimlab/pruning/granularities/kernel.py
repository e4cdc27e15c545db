"""kernel: one kh x kw kernel, kh*kw x 1. The crossbar skips nothing by it unless it happens to be aligned."""

from dataclasses import dataclass

import torch

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.units import UnitGrid
from cimlab.pruning.granularities.base import Granularity, Look, column_segments


@dataclass(frozen=True)
class Kernel(Granularity):
    """The weights between one input channel and one output channel (Mao et al., CVPR workshops 2017).

    Kernels of 3 rows are pruned; the hardware is told of row groups of 2, and in them which rows a step drives:

    >>> matrix, geometry = CrossbarMatrix("conv", (4, 2, 1, 3)), CrossbarGeometry(active_rows=2)
    >>> Kernel().units(matrix, geometry).row_of.tolist(), Kernel().index(matrix, geometry).row_of.tolist()
    ([0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 2, 2])
    """

    look = Look(70, "#000000", "M-1,-.5L1,-.5L1,.5L-1,.5Z")

    def units(self, matrix: CrossbarMatrix, geometry: CrossbarGeometry) -> UnitGrid:
        return UnitGrid(matrix.channel_of_row(), torch.arange(matrix.cols))

    def index(self, matrix: CrossbarMatrix, geometry: CrossbarGeometry) -> UnitGrid:
        """Kernels straddle row groups; the column segments they empty are what gets a bit."""
        return column_segments(matrix, geometry)
