"""operation_unit: what one array computes in one step, m x n.

Without it a whole step goes: reads, conversions, time.
"""

from dataclasses import dataclass

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.units import UnitGrid
from cimlab.pruning.granularities.base import Granularity, Look, block_units


@dataclass(frozen=True)
class OperationUnit(Granularity):
    """The crossbar's own granularity (Meng et al., IEEE JETCAS 2022).

    4 x 4 weights of one array, two rows driven and two columns read at once, units of 2 x 2:

    >>> geometry = CrossbarGeometry(rows=4, cols=32, active_rows=2, columns_per_adc=2)
    >>> grid = OperationUnit().units(CrossbarMatrix("fc", (4, 4)), geometry)
    >>> grid.row_of.tolist(), grid.col_of.tolist()
    ([0, 0, 1, 1], [0, 0, 1, 1])
    """

    look = Look(50, "#E69F00", "triangle-down")
    finer_and_skipped = True

    def units(self, matrix: CrossbarMatrix, geometry: CrossbarGeometry) -> UnitGrid:
        return block_units(matrix, geometry, *geometry.operation_unit)
