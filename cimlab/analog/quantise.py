"""Real numbers to the integers that cells and wordlines carry, and the ranges that decide how.

Weights are symmetric, because a cell pair has no zero point. Activations are unsigned integers: a range that
starts below zero (a normalised image) gets a zero point z, x = scale (q - z), and the layer subtracts z times
the column's weight sum digitally, which is exact and costs no extra conversion, where a second pass for the
negative part would double them (Jacob et al., CVPR 2018, equations 1 to 7).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cimlab.analog.errors import AnalogError
from cimlab.analog.settings import RangeRule, WeightScale

SAMPLE = 1 << 16
"""Values of a layer kept for percentile and MSE ranges: the 99.99th percentile still rests on 7 of them a batch."""


@dataclass(frozen=True)
class InputQuantiser:
    """q = clip(round(x / scale) + zero, 0, 2^bits - 1); real zero is exactly q = zero.

    >>> InputQuantiser.of_range(-1.0, 3.0, 8).zero
    64
    """

    scale: float
    zero: int
    bits: int

    @classmethod
    def of_range(cls, low: float, high: float, bits: int) -> InputQuantiser:
        """The quantiser whose 2^bits levels span [min(low, 0), max(high, 0)]."""
        low, high = min(low, 0.0), max(high, 0.0)
        levels = 2**bits - 1
        scale = (high - low) / levels or 1.0
        return cls(scale, round(-low / scale), bits)

    def __call__(self, x: Float[Tensor, "..."]) -> Int[Tensor, "..."]:
        """Integers 0 .. 2^bits - 1, int32."""
        levels = (x / self.scale).round_().add_(self.zero).clamp_(0, 2**self.bits - 1)
        return levels.to(torch.int32)

    def values(self, q: Int[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The real numbers that the integers stand for."""
        return (q - self.zero) * self.scale


class RangeObserver:
    """Watches the inputs of one layer over calibration batches.

    Keeps the exact extremes, and an evenly spaced sample of at most SAMPLE values a batch.
    """

    def __init__(self, layer: str) -> None:
        self.layer = layer
        self._low, self._high = torch.inf, -torch.inf
        self._samples: list[Tensor] = []

    @torch.no_grad()
    def watch(self, x: Float[Tensor, "..."]) -> None:
        """Add a batch.

        Raises:
            AnalogError: a value is not finite.
        """
        values = x.detach().flatten().float()
        low, high = (float(v) for v in values.aminmax())
        if not (low > -torch.inf and high < torch.inf):
            raise AnalogError(
                f"inputs of layer {self.layer} are not finite; the checkpoint or the data is damaged"
            )
        self._low, self._high = min(self._low, low), max(self._high, high)
        self._samples.append(values[:: max(1, -(-values.numel() // SAMPLE))].cpu())

    def quantiser(self, rule: RangeRule, percentile: float, bits: int) -> InputQuantiser:
        """The quantiser that the rule chooses from what was seen.

        Args:
            rule: `max` covers everything; `percentile` leaves 1 - percentile outside, at each end that is not
                zero; `mse` shrinks the range to the least mean squared error.
            percentile: fraction inside, for that rule.
            bits: activation precision.

        Raises:
            AnalogError: no batch was seen.
        """
        if not self._samples:
            raise AnalogError(
                f"the input range of layer {self.layer} was never calibrated: no calibration batch reached it"
            )
        low, high = self._low, self._high
        if rule == "percentile":
            ordered = torch.cat(self._samples).sort().values
            last = len(ordered) - 1
            low = float(ordered[round(last * (1 - percentile))]) if low < 0 else low
            high = float(ordered[round(last * percentile)])
        elif rule == "mse":
            low, high = least_error_range(torch.cat(self._samples), low, high, bits)
        return InputQuantiser.of_range(low, high, bits)


def least_error_range(
    values: Float[Tensor, " n"], low: float, high: float, bits: int, tried: int = 50
) -> tuple[float, float]:
    """[low, high] shrunk by the factor in 1/tried .. 1 that gives the least mean squared rounding error."""
    best, chosen = torch.inf, (low, high)
    for step in range(tried, 0, -1):
        shrunk = (low * step / tried, high * step / tried)
        quantiser = InputQuantiser.of_range(*shrunk, bits)
        error = float((quantiser.values(quantiser(values)) - values).square().mean())
        if error < best:
            best, chosen = error, shrunk
    return chosen


def quantise_weights(
    weight: Float[Tensor, "out ..."], bits: int, scale: WeightScale
) -> tuple[Int[Tensor, "out ..."], Float[Tensor, " out"]]:
    """Symmetric integers -(2^(bits-1) - 1) .. 2^(bits-1) - 1 (int32), and the real size of one step by output.

    Raises:
        AnalogError: bits leave no level beside zero, or a weight is not finite.
    """
    if bits < 2:
        raise AnalogError(f"weight_bits={bits} has no level beside zero; use weight_bits of 2 or more")
    if not torch.isfinite(weight).all():
        raise AnalogError("weights are not finite; the checkpoint is damaged")
    whole = weight.flatten().expand(len(weight), -1) if scale == "per_tensor" else weight
    step = whole_range_steps(whole, bits)
    return weight_integers(weight, step, bits), step


def weight_integers(
    weight: Float[Tensor, "out ..."], step: Float[Tensor, " out"], bits: int
) -> Int[Tensor, "out ..."]:
    """Multiples of the outputs' steps, int32, clipped to -(2^(bits-1) - 1) .. 2^(bits-1) - 1."""
    levels = 2 ** (bits - 1) - 1
    return (weight / by_output(step, weight)).round().clamp(-levels, levels).to(torch.int32)


def by_output(values: Float[Tensor, " out"], weight: Float[Tensor, "out ..."]) -> Float[Tensor, "out ..."]:
    """One value an output, shaped to be broadcast over a weight."""
    return values.view(-1, *[1] * (weight.ndim - 1))


def whole_range_steps(weight: Float[Tensor, "out ..."], bits: int) -> Float[Tensor, " out"]:
    """Steps by which each output's largest weight is its highest level; 1 where all are zero."""
    largest = weight.abs().flatten(1).amax(1)
    return (largest / (2 ** (bits - 1) - 1)).where(largest > 0, 1.0)


def least_error_steps(weight: Float[Tensor, "out ..."], bits: int, tried: int = 50) -> Float[Tensor, " out"]:
    """Steps shrunk from the whole range by the factor in 1/tried .. 1 of each output's least mean squared error."""
    whole = whole_range_steps(weight, bits)
    best = torch.full_like(whole, torch.inf)
    chosen = whole
    for number in range(tried, 0, -1):
        step = whole * (number / tried)
        read = weight_integers(weight, step, bits) * by_output(step, weight)
        error = (read - weight).square().flatten(1).sum(1)
        chosen, best = step.where(error < best, chosen), torch.minimum(error, best)
    return chosen


@dataclass(frozen=True, eq=False)
class LayerSteps:
    """How a network was trained to round one layer.

    Args:
        weight: real size of one weight level by output, before its norm is folded.
        input: real size of one input level.
        zero: the input level of real zero.
    """

    weight: Float[Tensor, " out"]
    input: float
    zero: int


@dataclass(frozen=True, eq=False)
class TrainedSteps:
    """What quantisation-aware training leaves beside the weights.

    Args:
        weight_bits, input_bits: the precision that it was trained for.
        layers: by name; a layer that is not there is calibrated.
    """

    weight_bits: int
    input_bits: int
    layers: Mapping[str, LayerSteps]

    def to_checkpoint(self) -> dict[str, Any]:
        """Tensors and plain containers."""
        layers = {name: vars(steps) for name, steps in self.layers.items()}
        return {"weight_bits": self.weight_bits, "input_bits": self.input_bits, "layers": layers}

    @classmethod
    def of_checkpoint(cls, content: Any) -> TrainedSteps:
        """The inverse of `to_checkpoint`.

        Raises:
            AnalogError: the content is something else, or a step is not above 0.
        """
        try:
            bits = int(content["weight_bits"]), int(content["input_bits"])
            layers = {}
            for name, node in content["layers"].items():
                steps = LayerSteps(node["weight"].float(), float(node["input"]), int(node["zero"]))
                positive = bool((steps.weight > 0).all()) and steps.input > 0
                if steps.weight.ndim != 1 or not positive or not 0 <= steps.zero < 2 ** bits[1]:
                    raise ValueError(name)
                layers[str(name)] = steps
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            raise AnalogError(
                "the checkpoint's learned steps are damaged; use analog.steps=calibrated"
            ) from problem
        return cls(*bits, layers)
