"""A trained network, converted: norms folded, ranges calibrated, Linear and Conv2d on arrays."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cimlab.analog.adcs.base import AdcRange
from cimlab.analog.devices.base import Device
from cimlab.analog.digital import whole_float32
from cimlab.analog.errors import AnalogError
from cimlab.analog.fold import fold_batch_norms, output_factors
from cimlab.analog.layers import AnalogConv2d, AnalogLayer, AnalogLinear
from cimlab.analog.layers import Mapping as LayerMapping
from cimlab.analog.quantise import (
    InputQuantiser,
    LayerSteps,
    RangeObserver,
    TrainedSteps,
    by_output,
    quantise_weights,
    weight_integers,
)
from cimlab.analog.settings import AnalogSettings
from cimlab.analog.slicing import slice_weights
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import MAPPED_LAYERS, CrossbarMatrix
from cimlab.crossbar.permutation import restored
from cimlab.network.borrowed import borrowed
from cimlab.network.masks import Masks, checked_masks, weight_shapes

Images = Float[Tensor, "batch channels height width"]

_DIGITAL = (
    nn.modules.batchnorm._BatchNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.PReLU,
)
"""Layers with parameters that every accelerator computes digitally."""


def mapped_layers(network: nn.Module, settings: AnalogSettings) -> dict[str, nn.Conv2d | nn.Linear]:
    """The layers that go on arrays, by name.

    Raises:
        AnalogError: a layer with weights can be neither mapped nor left digital, or nothing is left to map.
    """
    mapped, refused = {}, []
    for name, layer in network.named_modules():
        if any(fnmatchcase(name, pattern) for pattern in settings.digital):
            continue
        plain = not isinstance(layer, nn.Conv2d) or layer.padding_mode == "zeros"
        if isinstance(layer, MAPPED_LAYERS) and plain:
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


def require_convertible(network: nn.Module, geometry: CrossbarGeometry, settings: AnalogSettings) -> None:
    """Refuse before any training what could not be converted after it.

    Raises:
        AnalogError: a layer, the forward pass or the encoding of weights can't be mapped.
    """
    mapped_layers(network, settings)
    output_factors(network)
    one = torch.ones(1, 1, 1, dtype=torch.int32)
    slice_weights(one, one.bool(), geometry)


@whole_float32()
@torch.no_grad()
def convert(
    network: nn.Module,
    masks: Masks,
    geometry: CrossbarGeometry,
    settings: AnalogSettings,
    adc: AdcRange,
    calibration: Iterable[Images],
    permutation: Mapping[str, Any] | None = None,
    learned: TrainedSteps | None = None,
) -> nn.Module:
    """The network on ideal cells and lossless ADCs; `program_draw` then makes it a chip.

    Args:
        network: trained, in floating point; not changed.
        masks: layer name -> True where a weight is kept; a layer that is not named is whole.
        geometry: the array.
        settings: how to quantise.
        adc: ADC range; its range is calibrated here where it needs to be.
        calibration: batches of training images.
        permutation: order of rows and columns on the arrays, as a checkpoint stores it.
        learned: steps that the network was trained with; taken unless the settings say to calibrate all.

    Raises:
        PermutationError: the permutation is of another network or row order.
        AnalogError: the network, its weights, its steps or the calibration can't be used; the message names the
            layer.
        MaskError: a mask is none, or of no layer of this network.
    """
    masks = checked_masks(masks, weight_shapes(network))
    trained = mapped_layers(network, settings)
    steps = _learned_steps(learned, geometry, settings, trained)
    factors = output_factors(network) if steps else {}
    folded = fold_batch_norms(network).requires_grad_(False)
    layers = mapped_layers(folded, settings)
    batches = list(calibration)
    observers = _observe(
        folded, {name: layer for name, layer in layers.items() if name not in steps}, batches
    )
    converted = copy.deepcopy(folded)
    plain = [CrossbarMatrix.of_layer(n, layer, row_order=settings.row_order) for n, layer in layers.items()]
    matrices = {m.name: m for m in restored(plain, permutation)}
    for name, layer in layers.items():
        matrix = matrices[name]
        if name in steps:
            weight = trained[name].weight.cpu()
            integers, step = _as_trained(weight, steps[name], factors.get(name), geometry)
            quantiser = InputQuantiser(steps[name].input, steps[name].zero, geometry.input_bits)
        else:
            integers, step = quantise_weights(layer.weight.cpu(), geometry.weight_bits, settings.weight_scale)
            quantiser = observers[name].quantiser(
                settings.activation_range, settings.percentile, geometry.input_bits
            )
        kept = masks.get(name, torch.ones_like(layer.weight, dtype=torch.bool))
        sliced = slice_weights(matrix.to_matrix(integers), matrix.to_matrix(kept.cpu()), geometry)
        kind = AnalogConv2d if isinstance(layer, nn.Conv2d) else AnalogLinear
        mapping = LayerMapping(matrix, sliced, step, quantiser)
        _replace(converted, name, kind(layer, mapping, adc, settings.backend))
    if adc.needs_histogram:
        _calibrate_adcs(converted, batches)
    return converted


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
        AnalogError: a weight is not finite.
    """
    if not torch.isfinite(weight).all():
        raise AnalogError("weights are not finite; the checkpoint is damaged")
    integers = weight_integers(weight, steps.weight, geometry.weight_bits)
    if factor is None:
        return integers, steps.weight
    sign = by_output(torch.where(factor < 0, -1, 1).int(), weight)
    return integers * sign, steps.weight * factor.abs()


def analog_layers(network: nn.Module) -> dict[str, AnalogLayer]:
    """The layers on arrays, by name."""
    return {name: layer for name, layer in network.named_modules() if isinstance(layer, AnalogLayer)}


def program_draw(network: nn.Module, device: Device, seed: int, draw: int) -> None:
    """Make the converted network chip number `draw`: cells written, ADC errors drawn, by (seed, draw, layer)."""
    for number, layer in enumerate(analog_layers(network).values()):
        generator = torch.Generator().manual_seed((seed * 10_007 + draw) * 10_007 + number)
        layer.program_arrays(device, generator)


def _replace(network: nn.Module, name: str, layer: nn.Module) -> None:
    if not name:
        raise AnalogError("the network is a single layer; wrap it in nn.Sequential")
    network.set_submodule(name, layer)


def _observe(
    network: nn.Module, layers: Mapping[str, nn.Module], batches: list[Images]
) -> dict[str, RangeObserver]:
    """Input ranges of every layer over the calibration batches."""
    observers = {name: RangeObserver(name) for name in layers}
    hooks = [
        layer.register_forward_pre_hook(lambda _, inputs, seen=observers[name]: seen.watch(inputs[0]))
        for name, layer in layers.items()
    ]
    try:
        with borrowed(network):
            for images in batches if observers else ():
                network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return observers


def _calibrate_adcs(network: nn.Module, batches: Iterable[Images]) -> None:
    """Histograms of partial sums on the first batch, every layer fed by ideal ones before it."""
    hooks = [
        layer.register_forward_pre_hook(
            lambda module, inputs: module.watch_partial_sums(module.integers(inputs[0]))
        )
        for layer in analog_layers(network).values()
    ]
    try:
        with borrowed(network):
            for images in _first(batches):
                network(images)
    finally:
        for hook in hooks:
            hook.remove()


def _first(batches: Iterable[Images]) -> Iterator[Images]:
    yield from [next(iter(batches))]
