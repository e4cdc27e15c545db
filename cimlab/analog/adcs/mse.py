"""A uniform ADC whose range makes the least mean squared error on the partial sums of a calibration batch."""

from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

from cimlab.analog.adcs.base import AdcRange, quantisation_error
from cimlab.analog.slicing import SlicedMatrix


@dataclass(frozen=True)
class MseAdc(AdcRange):
    """Tries full scales from `top` codes of one level each up to the largest partial sum seen, at most 512."""

    @property
    def needs_histogram(self) -> bool:
        return True

    def full_scale(self, sliced: SlicedMatrix, histogram: Int[Tensor, " sums"] | None) -> float:
        assert histogram is not None
        top = 2 ** self.resolution_bits(sliced) - 1
        largest = max(int(histogram.nonzero().max()), 1) if histogram.any() else 1
        lowest = min(top, largest)
        candidates = range(lowest, largest + 1, 1 + (largest - lowest) // 512)
        return float(min(candidates, key=lambda full: quantisation_error(histogram, full, top)))
