"""crossbar: all the weights of one array. Without them the whole array goes."""

from dataclasses import dataclass

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.units import UnitGrid
from cimlab.pruning.granularities.base import Granularity, Look, block_units


@dataclass(frozen=True)
class Crossbar(Granularity):
    """One array at a time."""

    look = Look(120, "#CC79A7", "M0,-1L.95,-.31L.59,.81L-.59,.81L-.95,-.31Z", dashed=True)

    def units(self, matrix: CrossbarMatrix, geometry: CrossbarGeometry) -> UnitGrid:
        return block_units(matrix, geometry, geometry.rows, geometry.logical_cols)
