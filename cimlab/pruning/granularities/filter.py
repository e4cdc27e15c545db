"""filter: one output filter, R x 1 (classic structured pruning)."""

from dataclasses import dataclass

import torch

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.units import UnitGrid
from cimlab.pruning.granularities.base import Granularity, Look


@dataclass(frozen=True)
class Filter(Granularity):
    """All weights of one output channel (Li et al., "Pruning filters for efficient ConvNets", ICLR 2017).

    >>> grid = Filter().units(CrossbarMatrix("conv", (4, 3, 1, 2)), CrossbarGeometry())  # 6 rows x 4 columns
    >>> grid.row_of.tolist(), grid.col_of.tolist()
    ([0, 0, 0, 0, 0, 0], [0, 1, 2, 3])
    """

    look = Look(110, "#009E73", "M-.5,-.87L.5,-.87L1,0L.5,.87L-.5,.87L-1,0Z", dashed=True)
    classic = True

    def units(self, matrix: CrossbarMatrix, geometry: CrossbarGeometry) -> UnitGrid:
        return UnitGrid(torch.zeros(matrix.rows, dtype=torch.long), torch.arange(matrix.cols))
