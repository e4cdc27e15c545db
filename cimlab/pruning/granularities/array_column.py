"""array_column: one column of one array, array height x 1. The crossbar never converts that bitline."""

from dataclasses import dataclass

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.units import UnitGrid
from cimlab.pruning.granularities.base import Granularity, Look, block_units


@dataclass(frozen=True)
class ArrayColumn(Granularity):
    """A logical column of one array (Chu et al., "PIM-Prune", DAC 2020).

    8 x 4 weights on two arrays of 4 x 4, units of 4 x 1:

    >>> geometry = CrossbarGeometry(rows=4, cols=32, active_rows=2, columns_per_adc=2)
    >>> grid = ArrayColumn().units(CrossbarMatrix("fc", (4, 8)), geometry)
    >>> grid.row_of.tolist(), grid.col_of.tolist()
    ([0, 0, 0, 0, 1, 1, 1, 1], [0, 1, 2, 3])
    """

    look = Look(90, "#0072B2", "triangle-right", dashed=True)

    def units(self, matrix: CrossbarMatrix, geometry: CrossbarGeometry) -> UnitGrid:
        return block_units(matrix, geometry, geometry.rows, 1)
