"""weight: every weight for itself (unstructured), 1 x 1. The accuracy ceiling; the crossbar skips nothing by it."""

from dataclasses import dataclass

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.units import UnitGrid
from cimlab.pruning.granularities.base import Granularity, Look, block_units, column_segments


@dataclass(frozen=True)
class Weight(Granularity):
    """Every weight for itself (Han et al., "Learning both weights and connections", NeurIPS 2015).

    Rows are pruned one by one; the hardware is told of row groups of 2, and in them which rows a step drives:

    >>> matrix, geometry = CrossbarMatrix("fc", (4, 4)), CrossbarGeometry(active_rows=2)
    >>> Weight().units(matrix, geometry).row_of.tolist(), Weight().index(matrix, geometry).row_of.tolist()
    ([0, 1, 2, 3], [0, 0, 1, 1])
    """

    look = Look(10, "#0072B2", "circle")

    def units(self, matrix: CrossbarMatrix, geometry: CrossbarGeometry) -> UnitGrid:
        return block_units(matrix, geometry, 1, 1)

    def index(self, matrix: CrossbarMatrix, geometry: CrossbarGeometry) -> UnitGrid:
        """Single zeros skip no step; what luck empties is a column segment, and that is what gets a bit."""
        return column_segments(matrix, geometry)
