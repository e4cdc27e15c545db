"""array_row: one row of one array, 1 x array width. The crossbar leaves that wordline off for good."""

from dataclasses import dataclass

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.units import UnitGrid
from cimlab.pruning.granularities.base import Granularity, Look, block_units


@dataclass(frozen=True)
class ArrayRow(Granularity):
    """A wordline of one array (Chu et al., "PIM-Prune", DAC 2020)."""

    look = Look(80, "#7F7F7F", "triangle-left")

    def units(self, matrix: CrossbarMatrix, geometry: CrossbarGeometry) -> UnitGrid:
        return block_units(matrix, geometry, 1, geometry.logical_cols)
