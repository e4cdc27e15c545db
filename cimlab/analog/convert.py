"""A trained network, converted: norms folded, ranges calibrated, weights on arrays."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from cimlab.analog.adcs.base import AdcRange
from cimlab.analog.devices.base import Device
from cimlab.analog.digital import whole_float32
from cimlab.analog.errors import AnalogError
from cimlab.analog.integers import network_integers
from cimlab.analog.layers import AnalogConvolution, AnalogLayer, AnalogLinear
from cimlab.analog.layers import Mapping as LayerMapping
from cimlab.analog.layout import laid_out
from cimlab.analog.learned_steps import TrainedSteps
from cimlab.analog.settings import AnalogSettings
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.permutation import restored
from cimlab.crossbar.rules import PlacementMode
from cimlab.network.batch import Batch, call
from cimlab.network.borrowed import unmoved_randomness
from cimlab.network.called import input_of
from cimlab.network.layered import LayeredNetwork
from cimlab.network.masks import Masks


@whole_float32()
@torch.no_grad()
def convert(
    network: nn.Module,
    masks: Masks,
    geometry: CrossbarGeometry,
    settings: AnalogSettings,
    adc: AdcRange,
    calibration: Iterable[Batch],
    permutation: Mapping[str, Any] | None = None,
    learned: TrainedSteps | None = None,
    placement: PlacementMode = "compacted",
) -> nn.Module:
    """The network on ideal cells and lossless ADCs; `program_draw` then makes it a chip.

    Args:
        network: trained, in floating point; not changed.
        masks: name of a weight -> 1 where it is kept; one that is not named is whole.
        geometry: the array.
        settings: how to quantise.
        adc: ADC range; its range is calibrated here where it needs to be.
        calibration: batches of training images, or of whatever the network is given; without any, Conv2d and Linear
            layers are all that is looked for, and norms stay digital.
        permutation: order of rows and columns on the arrays, as a checkpoint stores it.
        learned: steps that the network was trained with; taken unless the settings say to calibrate all.
        placement: gathered, or one of the others, whose steps add up the same rows.

    Raises:
        PermutationError: the permutation is of another network or row order.
        AnalogError: the network, its weights, its steps or the calibration can't be used; the message names the
            layer.
        MaskError: a mask is none, or of no layer of this network.
        GeometryError: the placement is gathered, and the muxes are independent.
    """
    batches = list(calibration)
    network, masks = laid_out(network, masks, batches[0] if batches else None, settings)
    folded, rounded = network_integers(network, geometry, settings, batches, learned)
    converted = copy.deepcopy(folded)
    plain = [
        CrossbarMatrix.of_layer(name, own.layer, row_order=settings.row_order)
        for name, own in rounded.items()
    ]
    matrices = {m.name: m for m in restored(plain, permutation)}
    for name, own in rounded.items():
        matrix, layer = matrices[name], own.layer
        kept = masks.get(name, torch.ones_like(layer.weight, dtype=torch.bool))
        kind = AnalogLinear if isinstance(layer, nn.Linear) else AnalogConvolution
        mapping = LayerMapping.of(
            matrix, own.weights, kept.cpu(), geometry, placement, own.step, own.quantiser
        )
        _replace(converted, name, kind(layer, mapping, adc, settings.backend))
    if adc.needs_histogram:
        _calibrate_adcs(converted, batches)
    plain = isinstance(converted, LayeredNetwork) and not converted.made
    return converted.network if plain else converted


def analog_layers(network: nn.Module) -> dict[str, AnalogLayer]:
    """The layers on arrays, by name."""
    found = network.layers() if isinstance(network, LayeredNetwork) else dict(network.named_modules())
    return {name: layer for name, layer in found.items() if isinstance(layer, AnalogLayer)}


def program_draw(network: nn.Module, device: Device, seed: int, draw: int) -> None:
    """Make the converted network chip number `draw`: cells written, ADC errors drawn, by (seed, draw, layer)."""
    for number, layer in enumerate(analog_layers(network).values()):
        generator = torch.Generator().manual_seed((seed * 10_007 + draw) * 10_007 + number)
        layer.program_arrays(device, generator)


def _replace(network: nn.Module, name: str, layer: nn.Module) -> None:
    if isinstance(network, LayeredNetwork):
        network.put(name, layer)
        return
    if not name:
        raise AnalogError("the network is a single layer; wrap it in nn.Sequential")
    network.set_submodule(name, layer)


def _calibrate_adcs(network: nn.Module, batches: Iterable[Batch]) -> None:
    """Histograms of partial sums on the first batch, every layer fed by ideal ones before it."""
    hooks = [
        layer.register_forward_pre_hook(
            lambda module, inputs, named: module.watch_partial_sums(module.integers(input_of(inputs, named))),
            with_kwargs=True,
        )
        for layer in analog_layers(network).values()
    ]
    try:
        with unmoved_randomness(network):  # what the layers see stays with them
            for images in _first(batches):
                call(network, images)
    finally:
        for hook in hooks:
            hook.remove()


def _first(batches: Iterable[Batch]) -> Iterator[Batch]:
    yield from [next(iter(batches))]
