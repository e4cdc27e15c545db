"""array_row: one row of one array, 1 x array width. The crossbar leaves that wordline off for good."""

from dataclasses import dataclass

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.units import UnitGrid
from cimlab.pruning.granularities.base import Granularity, Look, block_units


@dataclass(frozen=True)
class ArrayRow(Granularity):
    """A wordline of one array (Chu et al., "PIM-Prune", DAC 2020).

    4 x 8 weights on two arrays of 4 x 4, units of 1 x 4:

    >>> geometry = CrossbarGeometry(rows=4, cols=32, active_rows=2, columns_per_adc=2)
    >>> grid = ArrayRow().units(CrossbarMatrix("fc", (8, 4)), geometry)
    >>> grid.row_of.tolist(), grid.col_of.tolist()
    ([0, 1, 2, 3], [0, 0, 0, 0, 1, 1, 1, 1])
    """

    look = Look(80, "#7F7F7F", "triangle-left")

    def units(self, matrix: CrossbarMatrix, geometry: CrossbarGeometry) -> UnitGrid:
        return block_units(matrix, geometry, 1, geometry.logical_cols)
