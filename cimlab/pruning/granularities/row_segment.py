"""row_segment: one row across one operation unit, 1 x n. The crossbar leaves that wordline off for that step.

With `mapping.placement=gathered` the wordlines that stay share steps, so that fewer are taken.
"""

from dataclasses import dataclass

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.units import UnitGrid
from cimlab.pruning.granularities.base import Granularity, Look, block_units


@dataclass(frozen=True)
class RowSegment(Granularity):
    """A wordline within one column group.

    4 x 4 weights of one array, two of its columns read at once, units of 1 x 2:

    >>> geometry = CrossbarGeometry(rows=4, cols=32, active_rows=2, columns_per_adc=2)
    >>> grid = RowSegment().units(CrossbarMatrix("fc", (4, 4)), geometry)
    >>> grid.row_of.tolist(), grid.col_of.tolist()
    ([0, 1, 2, 3], [0, 0, 1, 1])
    """

    look = Look(30, "#009E73", "triangle-up")
    finer_and_skipped = True

    def units(self, matrix: CrossbarMatrix, geometry: CrossbarGeometry) -> UnitGrid:
        return block_units(matrix, geometry, 1, geometry.operation_unit[1])
