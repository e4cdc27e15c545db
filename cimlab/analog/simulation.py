"""How accurate a converted network is: chip by chip, and layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import _disable_current_modes

from cimlab.analog.convert import analog_layers
from cimlab.analog.digital import whole_float32
from cimlab.analog.layers import AnalogLayer
from cimlab.interval import half_width
from cimlab.network.called import input_of
from cimlab.network.layered import array_layers

Batches = Iterable[tuple[Float[Tensor, "batch channels height width"], Int[Tensor, " batch"]]]


PART = 128
"""Images a forward pass: whatever the loader's batches are, activations stay near the size of the cache."""


def device_of(network: nn.Module) -> torch.device:
    """Where a network's weights are; networks without any run on the processor."""
    weight = next(network.parameters(), None)
    return torch.device("cpu") if weight is None else weight.device


@whole_float32()
@torch.no_grad()
def right(
    network: nn.Module, batches: Batches, after_batch: Callable[[int], None] | None = None
) -> Bool[Tensor, " images"]:
    """Of which images the highest score is their label's; the mean is the accuracy.

    Args:
        network: images to class scores.
        batches: images and labels.
        after_batch: told the number of images that were done since the last call.
    """
    where = device_of(network)
    found = []
    for images, labels in batches:
        for some, wanted in zip(images.split(PART), labels.split(PART), strict=True):
            found.append((network(some.to(where)).argmax(1) == wanted.to(where)).cpu())
            if after_batch is not None:
                after_batch(len(wanted))
    return torch.cat(found)


def accuracy(hits: Bool[Tensor, " images"]) -> float:
    """Fraction of images that are right."""
    return int(hits.sum()) / len(hits)


def loss_error(floating: Bool[Tensor, " images"], chips: Sequence[Bool[Tensor, " images"]]) -> float | None:
    """Standard error, over the choice of test images, of the accuracy that the arrays lose; None of one image.

    The same images are computed with and without arrays, so only those that differ count: the error of paired
    proportions, of which McNemar's test is made (Agresti, Categorical Data Analysis, 3rd ed., 2013, 11.1).

    >>> floating = torch.tensor([True, True, True, False])
    >>> loss_error(floating, [floating]), loss_error(floating, [torch.tensor([True, False, True, False])])
    (0.0, 0.25)

    Args:
        floating: which images are right in floating point.
        chips: the same on the arrays, chip by chip.
    """
    lost = floating.double() - torch.stack(list(chips)).double().mean(0)
    return float(lost.std() / sqrt(len(lost))) if len(lost) > 1 else None


@dataclass(frozen=True)
class Spread:
    """Accuracies of several chips.

    >>> Spread((0.9, 0.92, 0.91)).interval
    (0.885..., 0.934...)
    """

    draws: tuple[float, ...]

    @property
    def mean(self) -> float:
        return fmean(self.draws)

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation; None for one chip."""
        return stdev(self.draws) if len(self.draws) > 1 else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of the mean, by Student's t; None for one chip."""
        if self.deviation is None:
            return None
        half = half_width(self.draws)
        return self.mean - half, self.mean + half


@dataclass(frozen=True)
class LayerFidelity:
    """Signal-to-noise ratios of one layer's outputs in decibels; infinite where there is no error.

    Args:
        accumulated: against the floating-point network, errors of earlier layers included.
        own: against the floating-point layer on the same inputs.
    """

    accumulated: float
    own: float


@whole_float32()
@torch.no_grad()
def layer_fidelity(
    network: nn.Module, folded: nn.Module, images: Float[Tensor, "batch channels height width"]
) -> dict[str, LayerFidelity]:
    """How far each layer on arrays is from floating point.

    Args:
        network: the converted network.
        folded: the floating-point network with the same layer names, norms folded.
        images: a batch.
    """
    layers = analog_layers(network)
    wanted: dict[str, Tensor] = {}
    found: dict[str, LayerFidelity] = {}

    def keep(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            wanted[name] = output.clone()

        return hook

    def compare(name: str) -> Callable[..., None]:
        def hook(
            module: nn.Module, inputs: tuple[Tensor, ...], named: dict[str, Tensor], output: Tensor
        ) -> None:
            assert isinstance(module, AnalogLayer)
            with _disable_current_modes():  # no part of what the forward pass computes, which may be watched
                alone = module.original(input_of(inputs, named))
            found[name] = LayerFidelity(snr_db(wanted[name], output), snr_db(alone, output))

        return hook

    floating = array_layers(folded, layers)
    hooks = [layer.register_forward_hook(keep(name)) for name, layer in floating.items()]
    hooks += [layer.register_forward_hook(compare(name), with_kwargs=True) for name, layer in layers.items()]
    try:
        folded(images.to(device_of(folded)))
        network(images.to(device_of(network)))
    finally:
        for hook in hooks:
            hook.remove()
    return found


def snr_db(signal: Float[Tensor, "..."], output: Float[Tensor, "..."]) -> float:
    """10 log10 of signal power over the power of the difference."""
    error = float(functional.mse_loss(output.double(), signal.double()))
    power = float(signal.double().square().mean())
    return 10 * float(torch.log10(torch.tensor(power / error))) if error else float("inf")
