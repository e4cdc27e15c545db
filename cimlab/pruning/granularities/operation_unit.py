"""operation_unit: what one array computes in one step, m x n.

Without it a whole step goes: reads, conversions, time.
"""

from dataclasses import dataclass

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.units import UnitGrid
from cimlab.pruning.granularities.base import Granularity, block_units


@dataclass(frozen=True)
class OperationUnit(Granularity):
    """The crossbar's own granularity (Meng et al., IEEE JETCAS 2022)."""

    def units(self, matrix: CrossbarMatrix, geometry: CrossbarGeometry) -> UnitGrid:
        return block_units(matrix, geometry, *geometry.operation_unit)
