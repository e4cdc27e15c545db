"""An ADC that reads every sum of whole cell levels, whatever the geometry's resolution: the accuracy ceiling of cells
that are ideal. Sums of others are rounded to whole levels, and those beyond the largest code to that."""

from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

from cimlab.analog.adcs.base import AdcRange
from cimlab.analog.slicing import SlicedMatrix


@dataclass(frozen=True)
class IdealAdc(AdcRange):
    """Lossless for the geometry's active rows, cell bits and input bits per cycle; `adc_bits` is not read."""

    def resolution_bits(self, sliced: SlicedMatrix) -> int:
        return sliced.geometry.lossless_adc_bits

    def full_scale(self, sliced: SlicedMatrix, histogram: Int[Tensor, " sums"] | None) -> float:
        return 0.0
