"""row_segment: one row across one operation unit, 1 x n. The crossbar leaves that wordline off for that step."""

from dataclasses import dataclass

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.units import UnitGrid
from cimlab.pruning.granularities.base import Granularity, Look, block_units


@dataclass(frozen=True)
class RowSegment(Granularity):
    """A wordline within one column group."""

    look = Look(30, "#009E73", "triangle-up")
    finer_and_skipped = True

    def units(self, matrix: CrossbarMatrix, geometry: CrossbarGeometry) -> UnitGrid:
        return block_units(matrix, geometry, 1, geometry.operation_unit[1])
