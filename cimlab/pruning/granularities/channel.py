"""channel: one input channel, kh*kw x C (classic structured pruning)."""

from dataclasses import dataclass

import torch

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.units import UnitGrid
from cimlab.pruning.granularities.base import Granularity, Look


@dataclass(frozen=True)
class Channel(Granularity):
    """All weights that read one input channel (He et al., "Channel pruning", ICCV 2017).

    3 channels of 1 x 2 kernels are 6 rows:

    >>> grid = Channel().units(CrossbarMatrix("conv", (4, 3, 1, 2)), CrossbarGeometry())
    >>> grid.row_of.tolist(), grid.col_of.tolist()
    ([0, 0, 1, 1, 2, 2], [0, 0, 0, 0])
    """

    look = Look(
        100,
        "#D55E00",
        "M0,-1L.3,-.3L1,-.3L.45,.15L.65,.9L0,.45L-.65,.9L-.45,.15L-1,-.3L-.3,-.3Z",
        dashed=True,
    )
    classic = True

    def units(self, matrix: CrossbarMatrix, geometry: CrossbarGeometry) -> UnitGrid:
        return UnitGrid(matrix.channel_of_row(), torch.zeros(matrix.cols, dtype=torch.long))
