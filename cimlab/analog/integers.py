"""A trained network as integers: norms folded, ranges calibrated, weights and inputs quantised by layer.

Both questions about a network begin here. `convert` writes these integers to arrays and computes with them; `measure`
counts them, and what is counted is priced.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cimlab.analog.errors import AnalogError
from cimlab.analog.fold import fold_batch_norms, output_factors
from cimlab.analog.learned_steps import LayerSteps, TrainedSteps
from cimlab.analog.settings import AnalogSettings
from cimlab.crossbar.cells import by_output, quantise_weights, require_finite, weight_integers
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.inputs import InputQuantiser, RangeObserver
from cimlab.crossbar.matrix import MAPPED_LAYERS, Convolution
from cimlab.network.batch import Batch, call
from cimlab.network.borrowed import borrowed
from cimlab.network.called import input_of
from cimlab.network.layered import LayeredNetwork
from cimlab.network.weights import matches, name_of, parameters

Images = Float[Tensor, "batch channels height width"]

_DIGITAL = (
    nn.modules.batchnorm._BatchNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.PReLU,
)
"""Layers with parameters that every accelerator computes digitally."""


def _refuse_unmatched(network: nn.Module, settings: AnalogSettings) -> None:
    """Refuse a pattern that nothing is called by: what was meant to be digital would stay on the arrays."""
    names = [name for name, _ in network.named_modules() if name]
    stored = parameters(network)
    names += [weight for name in stored for weight in (name, name_of(name, stored))]
    for pattern in settings.digital:
        parts = any(pattern.startswith(f"{name}.") for name in names)  # of a weight: in_proj_weight.q
        if not parts and not any(matches(pattern, name) for name in names):
            layers = [name for name, layer in network.named_modules() if isinstance(layer, MAPPED_LAYERS)]
            more = f" and {len(layers) - 8} more" if len(layers) > 8 else ""
            raise AnalogError(
                f"analog.digital: no layer is called {pattern}; there are {', '.join(layers[:8])}{more}"
            )


def mapped_layers(network: nn.Module, settings: AnalogSettings) -> dict[str, Any]:
    """The Linear and convolution layers that go on arrays, by name: all of a layered network's, or those found here.

    Raises:
        AnalogError: a layer with weights can be neither mapped nor left digital, a pattern of `digital` matches none,
            or nothing is left to map.
    """
    layered = isinstance(network, LayeredNetwork)
    _refuse_unmatched(network.network if layered else network, settings)
    if layered:
        return dict(network.layers())
    mapped, refused = {}, []
    for name, layer in network.named_modules():
        if any(matches(pattern, name) for pattern in settings.digital):
            continue
        plain = not isinstance(layer, nn.Conv2d) or layer.padding_mode == "zeros"
        if type(layer).forward in (nn.Conv2d.forward, nn.Linear.forward) and plain:
            mapped[name] = layer
        elif next(layer.parameters(recurse=False), None) is not None and not isinstance(layer, _DIGITAL):
            refused.append((name, type(layer).__name__))
    if refused:
        listed = ", ".join(f"{name} ({kind})" for name, kind in refused)
        raise AnalogError(
            f"layers that don't map to crossbars: {listed}; leave them digital with "
            f"analog.digital=[{','.join(name for name, _ in refused)}]"
        )
    if not mapped:
        raise AnalogError("no Conv2d or Linear layer is left to map; shorten analog.digital")
    return mapped


@dataclass(frozen=True, eq=False)
class WeightIntegers:
    """How the weights of one layer are rounded.

    Args:
        layer: in floating point, norm folded.
        weights: integers of its cells, on the processor.
        step: real size of one weight level, by output.
    """

    layer: Convolution | nn.Linear
    weights: Int[Tensor, "out ..."]
    step: Float[Tensor, " out"]


@dataclass(frozen=True, eq=False)
class LayerIntegers(WeightIntegers):
    """How one layer is rounded.

    Args:
        quantiser: of its input.
    """

    quantiser: InputQuantiser


def network_integers(
    network: nn.Module,
    geometry: CrossbarGeometry,
    settings: AnalogSettings,
    calibration: Iterable[Batch],
    learned: TrainedSteps | None = None,
) -> tuple[nn.Module, dict[str, LayerIntegers]]:
    """The folded network, and how each of its mapped layers is rounded.

    Args:
        network: trained, in floating point; not changed.
        geometry: gives the bits.
        settings: how to quantise.
        calibration: batches of training images.
        learned: steps that the network was trained with; taken unless the settings say to calibrate all.

    Raises:
        CellError: the network, its weights, its steps or the calibration can't be used; the message names the layer.
    """
    folded, rounded = weight_integers_of(network, geometry, settings, learned)
    steps = {} if learned is None or settings.steps == "calibrated" else learned.layers
    calibrated = {name: own.layer for name, own in rounded.items() if name not in steps}
    observers = _observe(folded, calibrated, calibration)
    bits, integers = geometry.input_bits, {}
    for name, own in rounded.items():
        if name in steps:
            quantiser = InputQuantiser(steps[name].input, steps[name].zero, bits)
        else:
            quantiser = observers[name].quantiser(settings.activation_range, settings.percentile, bits)
        integers[name] = LayerIntegers(own.layer, own.weights, own.step, quantiser)
    return folded, integers


@torch.no_grad()
def weight_integers_of(
    network: nn.Module,
    geometry: CrossbarGeometry,
    settings: AnalogSettings,
    learned: TrainedSteps | None = None,
) -> tuple[nn.Module, dict[str, WeightIntegers]]:
    """The folded network and its rounded weights, which need no images; arguments and errors as `network_integers`."""
    trained = mapped_layers(network, settings)
    steps = _learned_steps(learned, geometry, settings, trained)
    factors = output_factors(network) if steps else {}
    folded = fold_batch_norms(network).requires_grad_(False)
    rounded = {}
    for name, layer in mapped_layers(folded, settings).items():
        require_finite(layer.weight, f"weights of layer {name}, its norm folded in,")
        if name in steps:
            weight = trained[name].weight.cpu()
            integers, step = _as_trained(weight, steps[name], factors.get(name), geometry)
        else:
            integers, step = quantise_weights(layer.weight.cpu(), geometry.weight_bits, settings.weight_scale)
        rounded[name] = WeightIntegers(layer, integers, step)
    return folded, rounded


def _learned_steps(
    learned: TrainedSteps | None,
    geometry: CrossbarGeometry,
    settings: AnalogSettings,
    layers: Mapping[str, nn.Conv2d | nn.Linear],
) -> Mapping[str, LayerSteps]:
    """The steps to take over.

    Raises:
        AnalogError: they were learned for other bits than the array has, or for another network.
    """
    if learned is None or settings.steps == "calibrated":
        return {}
    trained, given = (learned.weight_bits, learned.input_bits), (geometry.weight_bits, geometry.input_bits)
    if trained != given:
        raise AnalogError(
            f"the checkpoint learned its steps for weight_bits={trained[0]} and input_bits={trained[1]}, the geometry "
            f"has {given[0]} and {given[1]}; set geometry.weight_bits={trained[0]} geometry.input_bits={trained[1]}, "
            "or analog.steps=calibrated"
        )
    for name, layer in layers.items():
        if name in learned.layers and len(learned.layers[name].weight) != len(layer.weight):
            raise AnalogError(
                f"the checkpoint's learned steps don't fit layer {name}; use analog.steps=calibrated"
            )
    return learned.layers


def _as_trained(
    weight: Float[Tensor, "out ..."],
    steps: LayerSteps,
    factor: Float[Tensor, " out"] | None,
    geometry: CrossbarGeometry,
) -> tuple[Int[Tensor, "out ..."], Float[Tensor, " out"]]:
    """The integers of training, and the real size of one step after the norm was folded.

    A norm multiplies all weights of an output by one factor, so that rounding before and after folding is the
    same; a negative factor turns the signs around.

    Raises:
        CellError: a weight is not finite.
    """
    require_finite(weight)
    integers = weight_integers(weight, steps.weight, geometry.weight_bits)
    if factor is None:
        return integers, steps.weight
    sign = by_output(torch.where(factor < 0, -1, 1).int(), weight)
    return integers * sign, steps.weight * factor.abs()


@torch.no_grad()
def _observe(
    network: nn.Module, layers: Mapping[str, nn.Module], batches: Iterable[Batch]
) -> dict[str, RangeObserver]:
    """Input ranges of every layer over the calibration batches."""
    observers = {name: RangeObserver(name) for name in layers}
    hooks = [
        layer.register_forward_pre_hook(
            lambda _, inputs, named, seen=observers[name]: seen.watch(input_of(inputs, named)),
            with_kwargs=True,
        )
        for name, layer in layers.items()
    ]
    try:
        with borrowed(network):
            for images in batches if observers else ():
                call(network, images)
    finally:
        for hook in hooks:
            hook.remove()
    return observers
