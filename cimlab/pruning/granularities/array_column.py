"""array_column: one column of one array, array height x 1. The crossbar never converts that bitline."""

from dataclasses import dataclass

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.units import UnitGrid
from cimlab.pruning.granularities.base import Granularity, Look, block_units


@dataclass(frozen=True)
class ArrayColumn(Granularity):
    """A logical column of one array (Chu et al., "PIM-Prune", DAC 2020)."""

    look = Look(90, "#0072B2", "triangle-right", dashed=True)

    def units(self, matrix: CrossbarMatrix, geometry: CrossbarGeometry) -> UnitGrid:
        return block_units(matrix, geometry, geometry.rows, 1)
