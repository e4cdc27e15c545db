"""Rounding in training: layers that compute with the integers of the array, and gradients that see past them.

A quantiser stands beside a layer, not in it, and lends it a forward pass while it is attached; the network keeps
its plain weights, names and checkpoint. Every output has its own weight step, because folding a norm scales whole
outputs: rounding before and after folding is then the same, and the converted network computes what was trained.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from cimlab.analog.array_errors import ArrayErrors
from cimlab.analog.errors import AnalogError
from cimlab.analog.learned_steps import LayerSteps
from cimlab.crossbar.cells import by_output, largest_weight, least_error_steps, whole_range_steps
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.inputs import RangeObserver, largest_input

TRAINED_BITS = (2, 8)
"""Precisions that are trained: LSQ's authors report from 2 bits on, and beyond 8 rounding loses nothing."""
LEAST_SHARE = 0.01
"""Weight of a new batch in the running mean of input ranges, as in torch's MovingAverageMinMaxObserver."""


class LearnedRounding(torch.autograd.Function):
    """v' = s round(clip(v / s, low, high)) with LSQ's gradients (Esser et al., ICLR 2020, equations 1 to 3 and 5).

    dv'/dv is 1 strictly inside the range and 0 outside; dv'/ds is round(v / s) - v / s inside, low or high outside,
    and is multiplied by `scale`, the paper's g.
    """

    @staticmethod
    def forward(
        ctx: Any,
        v: Float[Tensor, "..."],
        step: Float[Tensor, "..."],
        low: Float[Tensor, ""],
        high: Float[Tensor, ""],
        scale: Float[Tensor, "..."],
    ) -> Float[Tensor, "..."]:
        levels = v / step
        ctx.save_for_backward(levels, step, low, high, scale)
        return levels.round().clamp_(low, high).mul_(step)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        levels, step, low, high, scale = ctx.saved_tensors
        inside = (levels > low) & (levels < high)
        slope = levels.round().clamp_(low, high) - levels * inside
        shared = [d for d in range(levels.ndim) if d >= step.ndim or step.shape[d] == 1]
        by_step = (gradient * slope).sum(shared).view(step.shape) * scale
        return gradient * inside, by_step, None, None, None


class StraightThroughRounding(torch.autograd.Function):
    """v' = s round(clip(v / s, low, high)) with dv'/dv = 1 wherever rounding clips nothing; s gets no gradient.

    The straight-through estimator of Bengio et al. (arXiv:1308.3432), as in Jacob et al. (CVPR 2018).
    """

    @staticmethod
    def forward(
        ctx: Any,
        v: Float[Tensor, "..."],
        step: Float[Tensor, "..."],
        low: Float[Tensor, ""],
        high: Float[Tensor, ""],
    ) -> Float[Tensor, "..."]:
        levels = (v / step).round_()
        ctx.save_for_backward((levels >= low) & (levels <= high))
        return levels.clamp_(low, high).mul_(step)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        (inside,) = ctx.saved_tensors
        return gradient * inside, None, None, None


def require_trainable(geometry: CrossbarGeometry) -> None:
    """Refuse bits that are not trained.

    Raises:
        AnalogError: names the field and the range.
    """
    for field in ("weight_bits", "input_bits"):
        bits, (least, most) = getattr(geometry, field), TRAINED_BITS
        if not least <= bits <= most:
            raise AnalogError(
                f"geometry.{field}={bits} can't be trained; use {least} to {most}, or take rounding out of method"
            )


class LayerQuantiser(nn.Module):
    """Rounds the inputs and weights of one layer; steps begin with the first training batch.

    Args:
        name: the layer's, for messages.
        outputs: of the layer.
        geometry: gives the bits.
        errors: what the arrays do beyond rounding, in training only; None: nothing.
    """

    input_zero: Tensor
    started: Tensor

    def __init__(
        self, name: str, outputs: int, geometry: CrossbarGeometry, errors: ArrayErrors | None = None
    ) -> None:
        super().__init__()
        require_trainable(geometry)
        self.name = name
        self.weight_bits, self.input_bits = geometry.weight_bits, geometry.input_bits
        self.errors = errors
        self.register_buffer("started", torch.tensor(False))
        self.register_buffer("input_zero", torch.tensor(0.0))
        self._began = False

    @abstractmethod
    def weight_step(self, weight: Float[Tensor, "out ..."]) -> Float[Tensor, " out"]:
        """Real size of one weight level, by output."""

    @abstractmethod
    def input_step(self) -> Float[Tensor, ""]:
        """Real size of one input level."""

    @abstractmethod
    def _learn(self, x: Float[Tensor, "..."], weight: Float[Tensor, "out ..."], first: bool) -> None:
        """What a training batch changes before it is rounded."""

    @abstractmethod
    def _rounded_input(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Inputs as the wordlines carry them."""

    @abstractmethod
    def _rounded_weight(self, weight: Float[Tensor, "out ..."]) -> Float[Tensor, "out ..."]:
        """Weights as ideal cells hold them."""

    def steps(self, weight: Float[Tensor, "out ..."]) -> LayerSteps:
        """What was learned so far, for a layer of these weights."""
        step = self.weight_step(weight).detach().float().cpu().clone()
        return LayerSteps(step, float(self.input_step().detach()), int(self.input_zero))

    def compute(self, layer: nn.Conv2d | nn.Linear, input: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The layer's output on the array; as in floating point until the first training batch came.

        The input is called as torch's layers call it, for it may be passed by name.
        """
        x, weight = input.float(), layer.weight
        if layer.training:
            with torch.no_grad():
                self._learn(x, weight, first=not self._has_begun())
                self.started.fill_(True)
        elif not self._has_begun():
            return _with_bias(layer, _product(layer, x, weight))
        x, rounded = self._rounded_input(x), self._rounded_weight(weight)
        if self.errors is None or not layer.training:
            return _with_bias(layer, _product(layer, x, rounded))
        parts = x.tensor_split(min(self.errors.chips, len(x)))
        y = torch.cat([self._on_a_chip(self.errors, layer, part, rounded) for part in parts])
        return _with_bias(layer, y)

    def _on_a_chip(
        self,
        errors: ArrayErrors,
        layer: nn.Conv2d | nn.Linear,
        x: Float[Tensor, "..."],
        rounded: Float[Tensor, "out ..."],
    ) -> Float[Tensor, "..."]:
        """The output without bias, for rounded inputs and weights, on arrays drawn anew."""
        if not errors.reads_exactly:
            y = _product(layer, x, rounded)
            read = errors.read(layer, x.detach(), self.steps(layer.weight)).to(y.dtype)
            return y + (read - y).detach()
        written = errors.read_back(rounded, self.weight_step(layer.weight))
        y = _product(layer, x, written)
        # real zero drives wordlines too, at its level, and what is taken off for it is what was to be written
        error = (written - rounded).detach().flatten(1).sum(1) * self.input_zero * self.input_step().detach()
        return y + _by_channel(layer, error).to(y.dtype)

    def _has_begun(self) -> bool:
        """Asks the device until the answer is yes, which it then stays."""
        self._began = self._began or bool(self.started)
        return self._began

    def _input_bounds(self) -> tuple[Tensor, Tensor]:
        """Lowest and highest input level, counted from real zero."""
        return -self.input_zero, largest_input(self.input_bits) - self.input_zero

    def _weight_bounds(self) -> tuple[Tensor, Tensor]:
        high = torch.full_like(self.input_zero, largest_weight(self.weight_bits))
        return -high, high


class LearnedStepSize(LayerQuantiser):
    """Learned step size, LSQ: the optimiser moves steps along with weights.

    Steps begin at the least squared error of the first batch, as LSQ+ does for inputs (Bhalgat et al., CVPR workshops
    2020), not at LSQ's 2 <|v|> / sqrt(Q_P), which at 8 bits spans 18 standard deviations. Pruned weights don't count
    in g.
    """

    def __init__(
        self, name: str, outputs: int, geometry: CrossbarGeometry, errors: ArrayErrors | None = None
    ) -> None:
        super().__init__(name, outputs, geometry, errors)
        self.learned_weight_step = nn.Parameter(torch.ones(outputs))
        self.learned_input_step = nn.Parameter(torch.tensor(1.0))

    def weight_step(self, weight: Float[Tensor, "out ..."]) -> Float[Tensor, " out"]:
        return _size(self.learned_weight_step)

    def input_step(self) -> Float[Tensor, ""]:
        return _size(self.learned_input_step)

    def _learn(self, x: Float[Tensor, "..."], weight: Float[Tensor, "out ..."], first: bool) -> None:
        if not first:
            return
        observer = RangeObserver(self.name)
        observer.watch(x)
        quantiser = observer.quantiser("mse", 1.0, self.input_bits)
        self.input_zero.fill_(quantiser.zero)
        self.learned_input_step.fill_(quantiser.scale)
        self.learned_weight_step.copy_(least_error_steps(weight, self.weight_bits))

    def _rounded_input(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        low, high = self._input_bounds()
        scale = (high.clamp(min=1) * x[0].numel()).rsqrt()
        return LearnedRounding.apply(x, self.input_step(), low, high, scale)

    def _rounded_weight(self, weight: Float[Tensor, "out ..."]) -> Float[Tensor, "out ..."]:
        low, high = self._weight_bounds()
        kept = by_output((weight != 0).flatten(1).sum(1).clamp(min=1), weight)
        step = by_output(self.weight_step(weight), weight)
        return LearnedRounding.apply(weight, step, low, high, (high * kept).rsqrt())


class StraightThrough(LayerQuantiser):
    """Straight-through estimator: steps follow from extremes, and only weights are learned (Jacob et al., CVPR 2018).

    Weights span their largest value, inputs the running mean of their batches' extremes.
    """

    low: Tensor
    high: Tensor
    batches: Tensor

    def __init__(
        self, name: str, outputs: int, geometry: CrossbarGeometry, errors: ArrayErrors | None = None
    ) -> None:
        super().__init__(name, outputs, geometry, errors)
        for key in ("low", "high", "batches"):
            self.register_buffer(key, torch.tensor(0.0))

    def weight_step(self, weight: Float[Tensor, "out ..."]) -> Float[Tensor, " out"]:
        return whole_range_steps(weight.detach(), self.weight_bits)

    def input_step(self) -> Float[Tensor, ""]:
        span = self.high - self.low
        return torch.where(span > 0, span / largest_input(self.input_bits), 1.0)

    def _learn(self, x: Float[Tensor, "..."], weight: Float[Tensor, "out ..."], first: bool) -> None:
        low, high = x.detach().aminmax()
        self.batches += 1
        share = (1 / self.batches).clamp(min=LEAST_SHARE)
        self.low.lerp_(low.clamp(max=0), share)
        self.high.lerp_(high.clamp(min=0), share)
        self.input_zero.copy_((-self.low / self.input_step()).round())

    def _rounded_input(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return StraightThroughRounding.apply(x, self.input_step(), *self._input_bounds())

    def _rounded_weight(self, weight: Float[Tensor, "out ..."]) -> Float[Tensor, "out ..."]:
        step = by_output(self.weight_step(weight), weight)
        return StraightThroughRounding.apply(weight, step, *self._weight_bounds())


def _size(step: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """A step that learning carried past zero counts by its size, for rounding is symmetric."""
    return step.abs().clamp(min=torch.finfo(step.dtype).tiny)


def _product(
    layer: nn.Conv2d | nn.Linear, x: Float[Tensor, "..."], weight: Float[Tensor, "out ..."]
) -> Float[Tensor, "..."]:
    """What the arrays compute; the bias is digital."""
    if isinstance(layer, nn.Conv2d):
        return layer._conv_forward(x, weight, None)
    return functional.linear(x, weight)


def _with_bias(layer: nn.Conv2d | nn.Linear, y: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    return y if layer.bias is None else y + _by_channel(layer, layer.bias)


def _by_channel(layer: nn.Conv2d | nn.Linear, values: Float[Tensor, " out"]) -> Float[Tensor, "..."]:
    """One value per output, shaped to be broadcast over the layer's outputs."""
    return values.view(-1, 1, 1) if isinstance(layer, nn.Conv2d) else values
