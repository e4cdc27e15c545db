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
    """The crossbar's own granularity (Meng et al., IEEE JETCAS 2022)."""

    look = Look(50, "#E69F00", "triangle-down")
    finer_and_skipped = True

    def units(self, matrix: CrossbarMatrix, geometry: CrossbarGeometry) -> UnitGrid:
        return block_units(matrix, geometry, *geometry.operation_unit)
