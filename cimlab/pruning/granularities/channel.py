"""channel: one input channel, kh*kw x C (classic structured pruning)."""

from dataclasses import dataclass

import torch

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.units import UnitGrid
from cimlab.pruning.granularities.base import Granularity


@dataclass(frozen=True)
class Channel(Granularity):
    """All weights that read one input channel (He et al., "Channel pruning", ICCV 2017)."""

    def units(self, matrix: CrossbarMatrix, geometry: CrossbarGeometry) -> UnitGrid:
        return UnitGrid(matrix.channel_of_row(), torch.zeros(matrix.cols, dtype=torch.long))
