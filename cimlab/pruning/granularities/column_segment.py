"""column_segment: one column across one row group, m x 1.

Its conversions are saved always, its time if ADCs are independent.
"""

from dataclasses import dataclass

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.units import UnitGrid
from cimlab.pruning.granularities.base import Granularity, Look, column_segments


@dataclass(frozen=True)
class ColumnSegment(Granularity):
    """One logical column's conversions for one row group.

    4 x 4 weights of one array in row groups of 2, units of 2 x 1:

    >>> geometry = CrossbarGeometry(rows=4, cols=32, active_rows=2, columns_per_adc=2)
    >>> grid = ColumnSegment().units(CrossbarMatrix("fc", (4, 4)), geometry)
    >>> grid.row_of.tolist(), grid.col_of.tolist()
    ([0, 0, 1, 1], [0, 1, 2, 3])
    """

    look = Look(20, "#D55E00", "square")
    finer_and_skipped = True

    def units(self, matrix: CrossbarMatrix, geometry: CrossbarGeometry) -> UnitGrid:
        return column_segments(matrix, geometry)
