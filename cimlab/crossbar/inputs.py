"""What wordlines carry: real activations to unsigned integers, and the bit planes that are fed a cycle each.

A range that starts below zero (a normalised image) gets a zero point z, x = scale (q - z), and the layer subtracts z
times the column's weight sum digitally, which is exact and costs no extra conversion, where a second pass for the
negative part would double them (Jacob et al., CVPR 2018, equations 1 to 7).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cimlab.crossbar.cells import CellError
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.rules import RangeRule

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
        scale = (high - low) / largest_input(bits) or 1.0
        return cls(scale, round(-low / scale), bits)

    def __call__(self, x: Float[Tensor, "..."]) -> Int[Tensor, "..."]:
        """Integers 0 .. 2^bits - 1, int32; found in float32, as in front of arrays, whatever the network's format."""
        levels = (x.float() / self.scale).round_().add_(self.zero).clamp_(0, largest_input(self.bits))
        return levels.to(torch.int32)

    def values(self, q: Int[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The real numbers that the integers stand for."""
        return (q - self.zero) * self.scale


def largest_input(bits: int) -> int:
    """The highest integer input.

    >>> largest_input(8)
    255
    """
    return 2**bits - 1


def input_digits(q: Int[Tensor, "..."], geometry: CrossbarGeometry) -> Int[Tensor, "cycles ..."]:
    """What a wordline carries in each input cycle, the lowest `dac_bits` first.

    >>> input_digits(torch.tensor(6), CrossbarGeometry(input_bits=4)).tolist()
    [0, 1, 1, 0]
    """
    places = range(0, geometry.input_cycles * geometry.dac_bits, geometry.dac_bits)
    return torch.stack([q >> place & (2**geometry.dac_bits - 1) for place in places])


def mean_digits(q: Int[Tensor, "..."], geometry: CrossbarGeometry) -> Float[Tensor, "..."]:
    """Mean digit of each input over its cycles and over full scale, 0 to 1, float64: bit-serial, its share of ones.

    >>> mean_digits(torch.tensor([255, 15]), CrossbarGeometry()).tolist()
    [1.0, 0.5]
    """
    return input_digits(q, geometry).double().mean(0) / (2**geometry.dac_bits - 1)


class RangeObserver:
    """Watches the inputs of one layer over calibration batches.

    Keeps the exact extremes, and an evenly spaced sample of at most SAMPLE values a batch, from every channel alike.

    The largest of three values gets the highest of four levels; a range of the lower half clips it:

    >>> observer = RangeObserver("fc")
    >>> observer.watch(torch.tensor([0.0, 3.0, 12.0]))
    >>> observer.quantiser("max", percentile=1.0, bits=2)
    InputQuantiser(scale=4.0, zero=0, bits=2)
    >>> observer.quantiser("percentile", percentile=0.5, bits=2)
    InputQuantiser(scale=1.0, zero=0, bits=2)

    Args:
        layer: how messages name it.
    """

    def __init__(self, layer: str) -> None:
        self.layer = layer
        self._low, self._high = torch.inf, -torch.inf
        self._samples: list[Tensor] = []

    @torch.no_grad()
    def watch(self, x: Float[Tensor, "..."]) -> None:
        """Add a batch.

        Raises:
            CellError: a value is not finite.
        """
        values = x.detach().flatten().float()
        low, high = (float(v) for v in values.aminmax())
        if not (low > -torch.inf and high < torch.inf):
            raise CellError(
                f"inputs of layer {self.layer} are not finite; the checkpoint or the data is damaged"
            )
        self._low, self._high = min(self._low, low), max(self._high, high)
        self._samples.append(values[:: sampling_stride(values.numel(), SAMPLE)].cpu())

    def quantiser(self, rule: RangeRule, percentile: float, bits: int) -> InputQuantiser:
        """The quantiser that the rule chooses from what was seen.

        Args:
            rule: `max` covers everything; `percentile` leaves 1 - percentile outside, at each end that is not
                zero; `mse` shrinks the range to the least mean squared error.
            percentile: fraction inside, for that rule.
            bits: activation precision.

        Raises:
            CellError: no batch was seen.
        """
        if not self._samples:
            raise CellError(
                f"the input range of layer {self.layer} was never calibrated: no calibration batch reached it"
            )
        low, high = self._low, self._high
        if rule == "percentile":
            ordered = torch.cat(self._samples).sort().values
            last = len(ordered) - 1
            low = float(ordered[round(last * (1 - percentile))]) if low < 0 else low
            high = float(ordered[round(last * percentile)])
        elif rule == "mse":
            low, high = _least_error_range(torch.cat(self._samples), low, high, bits)
        return InputQuantiser.of_range(low, high, bits)


def sampling_stride(number: int, samples: int) -> int:
    """The smallest distance at which no more than `samples` of a batch are seen and every part of it is.

    It has no divisor in common with the size of the batch, which every dimension divides. One that shared a divisor
    with the channels would see a few channels alone, and miss the one whose values are large, as transformers have;
    one that shared a divisor with an image's width would see its border alone, where padding feeds zeros.

    >>> sampling_stride(128 * 32 * 32, 512), sampling_stride(3, 512)
    (257, 1)
    """
    stride = max(1, -(-number // samples))
    while gcd(stride, number) > 1:
        stride += 1
    return stride


def _least_error_range(
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
