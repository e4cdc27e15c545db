"""row_segment: one row across one operation unit, 1 x n. The crossbar leaves that wordline off for that step."""

from dataclasses import dataclass

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.units import UnitGrid
from cimlab.pruning.granularities.base import Granularity, block_units


@dataclass(frozen=True)
class RowSegment(Granularity):
    """A wordline within one column group."""

    def units(self, matrix: CrossbarMatrix, geometry: CrossbarGeometry) -> UnitGrid:
        return block_units(matrix, geometry, 1, geometry.operation_unit[1])
