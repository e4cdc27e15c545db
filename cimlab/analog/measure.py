"""Counting what is written to cells and fed to wordlines: the activity by which a network is priced.

The network is computed in floating point on its rounded weights and inputs, which is what ideal cells and lossless
ADCs compute, at the speed of an ordinary forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from cimlab.analog.digital import whole_float32
from cimlab.analog.integers import LayerIntegers, WeightIntegers, network_integers, weight_integers_of
from cimlab.analog.layout import laid_out
from cimlab.analog.learned_steps import TrainedSteps
from cimlab.analog.patches import Patches, conv_places, linear_places
from cimlab.analog.settings import AnalogSettings
from cimlab.crossbar.activity import IntegerHistogram, LayerActivity
from cimlab.crossbar.cells import by_output
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import Convolution, CrossbarMatrix
from cimlab.crossbar.zero_planes import WATCHED_IMAGES, ZeroPlanes
from cimlab.network.batch import Batch, call
from cimlab.network.borrowed import borrowed
from cimlab.network.called import input_of

CHUNK_INPUTS = 1 << 23
"""Inputs that are gathered at a time."""


@whole_float32()
@torch.no_grad()
def layer_activities(
    network: nn.Module,
    masks: Mapping[str, Bool[Tensor, "..."]],
    images: Batch,
    geometry: CrossbarGeometry,
    settings: AnalogSettings,
    learned: TrainedSteps | None = None,
    matrices: Sequence[CrossbarMatrix] = (),
) -> dict[str, LayerActivity]:
    """Layer name -> its integers, over the kept weights and over every input of every product.

    Args:
        network: trained, in floating point; not changed.
        masks: layer name -> True where a weight is kept; a layer that is not named is whole.
        images: a batch of what the network is given, on which ranges are calibrated and inputs counted.
        geometry: gives the bits.
        settings: how to quantise.
        learned: steps that the network was trained with.
        matrices: layers whose bit planes of zeros are counted too, on the first `WATCHED_IMAGES` images.

    Raises:
        CellError: the network, its weights, its steps or the images can't be used; the message names the layer.
    """
    network, masks = laid_out(network, dict(masks), images, settings)
    folded, rounded = network_integers(network, geometry, settings, [images], learned)
    fed: dict[str, IntegerHistogram] = {}
    for name, own in rounded.items():
        kept = own.weights * masks[name].cpu() if name in masks else own.weights
        weight = kept * by_output(own.step, own.weights)
        own.layer.weight.copy_(weight.to(own.layer.weight))
    planes: dict[str, ZeroPlanes] = {}
    hooks = [
        own.layer.register_forward_pre_hook(_counting(name, own, fed), with_kwargs=True)
        for name, own in rounded.items()
    ]
    for matrix in matrices:
        own = rounded.get(matrix.name)
        if own is not None and matrix.plain.weight_shape == tuple(own.layer.weight.shape):
            driven = (
                matrix.plain.to_matrix(masks.get(matrix.name, torch.ones(own.weights.shape)).cpu())
                .bool()
                .any(2)
            )
            watch = _watching(matrix.plain, own, driven.numpy(), geometry, planes)
            hooks.append(own.layer.register_forward_pre_hook(watch, with_kwargs=True))
    try:
        with borrowed(folded):
            call(folded, images)
    finally:
        for hook in hooks:
            hook.remove()
    return {
        name: LayerActivity(_held(name, own, masks), fed.get(name), planes.get(name))
        for name, own in rounded.items()
    }


def weight_activities(
    network: nn.Module,
    masks: Mapping[str, Bool[Tensor, "..."]],
    geometry: CrossbarGeometry,
    settings: AnalogSettings,
    learned: TrainedSteps | None,
    shape: Batch,
) -> dict[str, LayerActivity]:
    """`layer_activities` without images: what cells hold, and nothing of what they are fed.

    `shape` is a batch of what the network is given, whose values mean nothing.
    """
    network, masks = laid_out(network, dict(masks), shape, settings)
    _, rounded = weight_integers_of(network, geometry, settings, learned)
    return {name: LayerActivity(_held(name, own, masks)) for name, own in rounded.items()}


def _held(name: str, own: WeightIntegers, masks: Mapping[str, Bool[Tensor, "..."]]) -> IntegerHistogram:
    return IntegerHistogram.of(own.weights[masks[name].cpu()] if name in masks else own.weights)


def _counting(
    name: str, own: LayerIntegers, fed: dict[str, IntegerHistogram]
) -> Callable[..., tuple[tuple[Tensor], dict[str, Tensor]]]:
    """A hook that rounds a layer's inputs and counts them; a layer that is called again counts again."""

    def hook(
        _module: nn.Module, inputs: tuple[Tensor, ...], named: dict[str, Tensor]
    ) -> tuple[tuple[Tensor], dict[str, Tensor]]:
        x = input_of(inputs, named)
        q = own.quantiser(x)
        counted = fed_integers(own.layer, q, own.quantiser.zero)
        fed[name] = fed[name] + counted if name in fed else counted
        return (own.quantiser.values(q).to(x.dtype),), {}

    return hook


def _watching(
    matrix: CrossbarMatrix,
    own: LayerIntegers,
    driven: Bool[np.ndarray, "groups rows"],
    geometry: CrossbarGeometry,
    planes: dict[str, ZeroPlanes],
) -> Callable[..., None]:
    """A hook that counts bit planes of zeros in a layer's rounded inputs."""

    def hook(_module: nn.Module, inputs: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
        q = own.quantiser(input_of(inputs, named).cpu())
        for patches in _patches(own.layer, q, own.quantiser.zero, matrix):
            fed = np.stack([patches.matrix(group).numpy() for group in range(matrix.groups)])
            counted = ZeroPlanes.of(fed, driven, geometry)
            known = planes.get(matrix.name)
            planes[matrix.name] = counted if known is None else known + counted

    return hook


def _patches(
    layer: Convolution | nn.Linear, q: Int[Tensor, "..."], zero: int, matrix: CrossbarMatrix
) -> Generator[Patches]:
    """The inputs of every product of the first images of a batch, some products at a time."""
    if isinstance(layer, nn.Linear):
        rows = (q[:WATCHED_IMAGES] if q.ndim > 1 else q).reshape(-1, q.shape[-1])
        values, places = rows.flatten(), linear_places(*rows.shape, matrix)
    else:
        q = (q if q.ndim == len(layer.kernel_size) + 2 else q[None])[:WATCHED_IMAGES]
        padded = functional.pad(q, layer._reversed_padding_repeated_twice, value=zero)
        values, places = padded.flatten(), conv_places(padded.shape, layer, matrix)
    base, offset = places
    for some in base.split(max(1, CHUNK_INPUTS // offset.numel())):
        yield Patches(values, some, offset)


def fed_integers(layer: Convolution | nn.Linear, q: Int[Tensor, "..."], zero: int) -> IntegerHistogram:
    """Integer inputs of all products of a layer: a convolution feeds a pixel once for every window that it lies in.

    Args:
        layer: gives kernel, stride, padding and dilation.
        q: inputs before padding.
        zero: what padding feeds.
    """
    if isinstance(layer, nn.Linear):
        return IntegerHistogram.of(q)
    padded = functional.pad(q, layer._reversed_padding_repeated_twice, value=zero)
    windows = zip(layer.kernel_size, layer.stride, layer.dilation, strict=True)
    size = padded.shape[-len(layer.kernel_size) :]
    uses = torch.ones(())
    for pixels, window in zip(size, windows, strict=True):
        uses = uses[..., None] * _uses(pixels, *window)
    return IntegerHistogram.of(padded, uses.expand(padded.shape))


def _uses(size: int, kernel: int, stride: int, dilation: int) -> Float[Tensor, " size"]:
    """Windows of one dimension that each padded place lies in."""
    windows = (size - dilation * (kernel - 1) - 1) // stride + 1
    places = torch.arange(windows)[:, None] * stride + torch.arange(kernel) * dilation
    return torch.bincount(places.flatten(), minlength=size).double()
