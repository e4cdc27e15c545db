"""crossbar: all the weights of one array. Without them the whole array goes."""

from dataclasses import dataclass

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.units import UnitGrid
from cimlab.pruning.granularities.base import Granularity, Look, block_units


@dataclass(frozen=True)
class Crossbar(Granularity):
    """One array at a time.

    8 x 4 weights on two arrays of 4 x 4:

    >>> geometry = CrossbarGeometry(rows=4, cols=32, active_rows=2, columns_per_adc=2)
    >>> grid = Crossbar().units(CrossbarMatrix("fc", (4, 8)), geometry)
    >>> grid.row_of.tolist(), grid.col_of.tolist()
    ([0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 0])
    """

    look = Look(120, "#CC79A7", "M0,-1L.95,-.31L.59,.81L-.59,.81L-.95,-.31Z", dashed=True)

    def units(self, matrix: CrossbarMatrix, geometry: CrossbarGeometry) -> UnitGrid:
        return block_units(matrix, geometry, geometry.rows, geometry.logical_cols)
