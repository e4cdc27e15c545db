"""How a network is turned into integers, in plain values; free of torch, so that it is checked in no time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from cimlab.crossbar.rules import RangeRule, RowOrder, WeightScale

StepSource = Literal["learned", "calibrated"]
BackendName = Literal["auto", "exact", "packed", "conductance", "tensor_core", "reference"]
Name = Annotated[str, Field(coerce_numbers_to_str=True)]
"""Layers of an nn.Sequential are called by numbers."""


@dataclass(frozen=True)
class AnalogSettings:
    """How a network is turned into integers.

    Args:
        steps: `learned` takes the steps that quantisation-aware training left in the checkpoint, where it did;
            `calibrated` finds all of them anew, by the rules below.
        weight_scale: one step size for a whole layer, or one for every output.
        activation_range: rule for the range of a layer's inputs.
        percentile: fraction of a layer's inputs inside its range, for that rule.
        digital: names or glob patterns of weights, layers or modules that stay digital and in floating point.
        backend: how codes are computed; `auto` takes the fastest that gives the right ones.
        row_order: order of a convolution's rows on the wordlines.
    """

    steps: StepSource = "learned"
    weight_scale: WeightScale = "per_channel"
    activation_range: RangeRule = "mse"
    percentile: float = 0.9999
    digital: tuple[Name, ...] = ()
    backend: BackendName = "auto"
    row_order: RowOrder = "channel_major"

    def __post_init__(self) -> None:
        if not 0.5 < self.percentile <= 1:
            raise ValueError(f"percentile={self.percentile} must be above 0.5 and at most 1")
