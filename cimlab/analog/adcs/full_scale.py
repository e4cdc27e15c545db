"""A uniform ADC over all that a row group can give: never clips, and steps coarsely where its bits are few."""

from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

from cimlab.analog.adcs.base import AdcRange
from cimlab.analog.slicing import SlicedMatrix


@dataclass(frozen=True)
class FullScaleAdc(AdcRange):
    """The highest code is active_rows (2^dac_bits - 1) (2^cell_bits - 1) cell levels."""

    def full_scale(self, sliced: SlicedMatrix, histogram: Int[Tensor, " sums"] | None) -> float:
        g = sliced.geometry
        return float(g.active_rows * (2**g.dac_bits - 1) * (2**g.cell_bits - 1))
