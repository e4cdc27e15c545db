"""Folding a BatchNorm into the convolution or linear layer in front of it, as inference on arrays does.

w' = w gamma / sqrt(var + eps), b' = (b - mean) gamma / sqrt(var + eps) + beta. A norm is folded only where the trace
of the network shows that it alone reads the layer's output; any other stays what it is, a digital affine map.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from cimlab.crossbar.matrix import MAPPED_LAYERS, Convolution
from cimlab.network.borrowed import copied
from cimlab.network.layered import LayeredNetwork


def fold_batch_norms(network: nn.Module) -> nn.Module:
    """A copy in evaluation mode, with the same outputs, whose foldable norms are gone.

    Only of a network with a layer for every weight is it known what reads its layers; another keeps its norms.
    """
    folded = copied(network).eval()
    for layer_name, norm_name, norm in _pairs(folded):
        assert isinstance(folded, LayeredNetwork)
        layer = folded.network.get_submodule(layer_name)
        assert isinstance(layer, (*MAPPED_LAYERS,))
        _fold(layer, norm)
        if type(norm).forward in (_BatchNorm.forward, nn.SyncBatchNorm.forward):
            folded.network.set_submodule(norm_name, nn.Identity())
        else:  # it does more, as with an activation behind
            _change_nothing(norm)
    return folded


def output_factors(network: nn.Module) -> dict[str, Float[Tensor, " out"]]:
    """What folding multiplies each output's weights by, for every layer that has a norm to fold."""
    return {layer: _factor(norm) for layer, _, norm in _pairs(network)}


def _factor(norm: _BatchNorm) -> Float[Tensor, " out"]:
    assert norm.running_var is not None
    factor = (norm.running_var + norm.eps).rsqrt()
    return factor * norm.weight if norm.affine else factor


def _pairs(network: nn.Module) -> list[tuple[str, str, _BatchNorm]]:
    """Names of layers and of the norms that alone read them, which have statistics of their own."""
    if not isinstance(network, LayeredNetwork):
        return []
    norms = [(layer, name, network.network.get_submodule(name)) for layer, name in network.norms.items()]
    return [
        (layer, name, norm)
        for layer, name, norm in norms
        if isinstance(norm, _BatchNorm) and norm.running_mean is not None
    ]


@torch.no_grad()
def _fold(layer: Convolution | nn.Linear, norm: _BatchNorm) -> None:
    assert norm.running_mean is not None
    factor = _factor(norm)
    shift: Tensor | float = norm.bias if norm.affine else 0.0
    bias = torch.zeros_like(norm.running_mean) if layer.bias is None else layer.bias
    layer.weight.mul_(factor.view(-1, *[1] * (layer.weight.ndim - 1)))
    layer.bias = nn.Parameter((bias - norm.running_mean) * factor + shift)


@torch.no_grad()
def _change_nothing(norm: _BatchNorm) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.register_parameter("weight", None)
    norm.register_parameter("bias", None)
    norm.running_mean.zero_()
    norm.running_var.fill_(1 - norm.eps)
