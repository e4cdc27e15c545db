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
    """One logical column's conversions for one row group."""

    look = Look(20, "#D55E00", "square")
    finer_and_skipped = True

    def units(self, matrix: CrossbarMatrix, geometry: CrossbarGeometry) -> UnitGrid:
        return column_segments(matrix, geometry)
