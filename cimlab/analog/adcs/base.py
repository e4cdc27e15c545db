"""What every ADC does: code = clip(floor(S / step + 1/2), 0, top), and the errors that a real one adds.

All arithmetic is in float32 in this order, multiply, add, clip, truncate, so that every backend gives the same
code for the same partial sum.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import ceil

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cimlab.analog.errors import AnalogError
from cimlab.analog.slicing import SlicedMatrix


@dataclass(frozen=True, eq=False)
class Converter:
    """The ADCs of one layer.

    Args:
        step: partial sum of one code, in cell levels.
        top: the highest code.
        scale: 1 / step with gain error; one number, or one by group, row group, physical and logical column.
        offset: 1/2 with offset error, in codes; shaped as `scale`.
    """

    step: float
    top: int
    scale: Float[Tensor, "..."]
    offset: Float[Tensor, "..."]

    @property
    def uniform(self) -> bool:
        """All ADCs of the layer are alike."""
        return self.scale.ndim == 0

    def is_lossless(self, largest_sum: int) -> bool:
        """Every integer partial sum is converted to itself."""
        return self.step == 1 and self.top >= largest_sum and self.uniform

    def codes(
        self, sums: Float[Tensor, "..."], scale: Float[Tensor, "..."], offset: Float[Tensor, "..."]
    ) -> Float[Tensor, "..."]:
        """Codes of partial sums, given the matching part of `scale` and `offset`."""
        return (sums.float() * scale + offset).clamp(0.0, float(self.top)).trunc()


@dataclass(frozen=True)
class AdcRange(ABC):
    """An ADC range: how a converter is scaled.

    Args:
        gain_sigma: standard deviation of the relative gain error from ADC to ADC.
        offset_sigma: standard deviation of the offset error from ADC to ADC, in codes.
    """

    gain_sigma: float = 0.0
    offset_sigma: float = 0.0

    def __post_init__(self) -> None:
        if self.gain_sigma < 0 or self.offset_sigma < 0:
            raise ValueError(
                f"gain_sigma={self.gain_sigma} and offset_sigma={self.offset_sigma} must be 0 or more"
            )

    @property
    def needs_histogram(self) -> bool:
        """The range rests on partial sums seen in calibration."""
        return False

    @property
    def chips_differ(self) -> bool:
        """Converters have errors that are drawn."""
        return bool(self.gain_sigma or self.offset_sigma)

    @abstractmethod
    def full_scale(self, sliced: SlicedMatrix, histogram: Int[Tensor, " sums"] | None) -> float:
        """The partial sum of the highest code, in cell levels.

        Args:
            sliced: the layer's cells.
            histogram: how often each partial sum 0, 1, ... was seen, where `needs_histogram`.
        """

    def resolution_bits(self, sliced: SlicedMatrix) -> int:
        """Bits of a code."""
        return sliced.geometry.resolution_bits

    def converter(
        self, sliced: SlicedMatrix, histogram: Int[Tensor, " sums"] | None, generator: torch.Generator
    ) -> Converter:
        """The ADCs of a layer, with errors drawn. A step is never finer than one cell level.

        Raises:
            AnalogError: the range rests on partial sums, and none were seen.
        """
        if self.needs_histogram and histogram is None:
            raise AnalogError("the ADC range was never calibrated; give calibration batches")
        top = 2 ** self.resolution_bits(sliced) - 1
        step = max(1.0, self.full_scale(sliced, histogram) / top)
        scale = torch.tensor(1 / step, dtype=torch.float32)
        offset = torch.tensor(0.5)
        if self.chips_differ:
            adc = adc_of_column(sliced)
            errors = torch.randn(2, int(adc.max()) + 1, generator=generator)
            scale = scale * (1 + self.gain_sigma * errors[0])[adc]
            offset = offset + (self.offset_sigma * errors[1])[adc]
        return Converter(step, top, scale, offset)


def adc_of_column(sliced: SlicedMatrix) -> Int[Tensor, "groups row_groups physical cols"]:
    """Number of the ADC that converts each physical column of each row group.

    The k physical columns of a weight go to k neighbouring ADCs, and the n weights of a step side by side to n
    such sets (domain model, section 2).
    """
    g = sliced.geometry
    groups, row_groups, cols = sliced.converted.shape
    k, n = g.columns_per_weight, g.operation_unit[1]
    col = torch.arange(cols)
    array_col, place = col // g.logical_cols, col % g.logical_cols % n
    array_row = torch.arange(row_groups) // ceil(sliced.rows_held / g.active_rows)
    array = torch.arange(groups).view(-1, 1, 1) * (int(array_row[-1]) + 1) + array_row.view(1, -1, 1)
    array = array * (int(array_col[-1]) + 1) + array_col
    physical = place[None] * k + torch.arange(k)[:, None]
    return array[:, :, None] * g.columns_read + physical


def quantisation_error(histogram: Int[Tensor, " sums"], full_scale: float, top: int) -> float:
    """Sum of squared differences between partial sums and what their codes stand for."""
    sums = torch.arange(len(histogram), dtype=torch.float64)
    step = max(1.0, full_scale / top)
    read = (sums / step + 0.5).floor().clamp(0, top) * step
    return float((histogram * (read - sums) ** 2).sum())
