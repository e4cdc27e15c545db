"""balanced_segment: column segments, with the same number kept under every ADC in every row group.

No ADC ever waits for another and the index has a fixed size: N of the columns_per_adc columns are kept, so the
budget moves in steps of 1 / columns_per_adc of a layer.
"""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.units import UnitGrid
from cimlab.pruning.granularities.base import Granularity, Look, balanced_tiers, column_segments


@dataclass(frozen=True)
class BalancedSegment(Granularity):
    """N kept of the columns_per_adc column segments of every ADC group; N follows from `prune.remaining`.

    Two groups of ADCs serve columns 0 and 2, and 1 and 3; tier 0 holds the better one of each:

    >>> import torch
    >>> matrix, geometry = CrossbarMatrix("fc", (4, 2)), CrossbarGeometry(cols=32, active_rows=2, columns_per_adc=2)
    >>> BalancedSegment().tiers(torch.tensor([[[0.9, 0.8, 0.7, 0.6]]]), matrix, geometry).tolist()
    [[[0, 0, 1, 1]]]
    """

    look = Look(40, "#CC79A7", "diamond")
    finer_and_skipped = True

    def units(self, matrix: CrossbarMatrix, geometry: CrossbarGeometry) -> UnitGrid:
        return column_segments(matrix, geometry)

    def tiers(
        self,
        scores: Float[Tensor, "groups unit_rows unit_cols"],
        matrix: CrossbarMatrix,
        geometry: CrossbarGeometry,
    ) -> Int[Tensor, "groups unit_rows unit_cols"]:
        """Rank among the columns that share an ADC: those n apart, where n columns are read in a step."""
        return balanced_tiers(scores, 2, geometry.columns_per_adc, geometry.operation_unit[1])
