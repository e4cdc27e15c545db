"""A uniform ADC clipped at a percentile of the partial sums of a calibration batch, layer by layer.

Partial sums of a trained network crowd near zero; clipping the rare large ones buys finer steps for the rest.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from jaxtyping import Int
from torch import Tensor

from cimlab.analog.adcs.base import AdcRange
from cimlab.analog.slicing import SlicedMatrix


@dataclass(frozen=True)
class PercentileAdc(AdcRange):
    """The highest code is the smallest partial sum that at least `percentile` of those seen don't exceed.

    Args:
        percentile: fraction of partial sums inside the range, above 0 and at most 1.
    """

    percentile: float = 0.999

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.percentile <= 1:
            raise ValueError(f"percentile={self.percentile} must be above 0 and at most 1")

    @property
    def needs_histogram(self) -> bool:
        return True

    def full_scale(self, sliced: SlicedMatrix, histogram: Int[Tensor, " sums"] | None) -> float:
        assert histogram is not None
        inside = ceil(Fraction(str(self.percentile)) * int(histogram.sum()))  # exact: they may be 10^8
        return float((histogram.cumsum(0) >= inside).int().argmax())
