"""Folding a BatchNorm into the convolution or linear layer in front of it, as inference on arrays does.

w' = w gamma / sqrt(var + eps), b' = (b - mean) gamma / sqrt(var + eps) + beta. A norm is folded only where the
traced graph shows that it alone reads the layer's output; any other stays what it is, a digital affine map.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn

from cimlab.network.borrowed import copied, unmoved_randomness
from cimlab.network.layered import LayeredNetwork
from cimlab.network.trace import shadow

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def fold_batch_norms(network: nn.Module) -> nn.Module:
    """A copy in evaluation mode whose foldable norms are gone (nn.Identity), with the same outputs."""
    folded = copied(network).eval()
    inner = folded.network if isinstance(folded, LayeredNetwork) else folded
    for layer_name, norm_name in _pairs(folded):
        layer, norm = inner.get_submodule(layer_name), inner.get_submodule(norm_name)
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
        _fold(layer, norm)
        inner.set_submodule(norm_name, nn.Identity())
    return folded


def output_factors(network: nn.Module) -> dict[str, Float[Tensor, " out"]]:
    """What folding multiplies each output's weights by, for every layer that has a norm to fold."""
    inner = network.network if isinstance(network, LayeredNetwork) else network
    norms = {layer: inner.get_submodule(norm) for layer, norm in _pairs(network)}
    return {name: _factor(norm) for name, norm in norms.items() if isinstance(norm, _NORMS)}


def _factor(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> Float[Tensor, " out"]:
    assert norm.running_var is not None
    factor = (norm.running_var + norm.eps).rsqrt()
    return factor * norm.weight if norm.affine else factor


def _pairs(network: nn.Module) -> list[tuple[str, str]]:
    """(layer, norm) names; both are called once, and the norm alone reads the layer.

    Where torch.fx can't follow the forward pass, none: every norm then stays what it is.
    """
    if isinstance(network, LayeredNetwork):
        return [pair for pair in _pairs(network.network) if pair[0] in network.plain]
    if not any(isinstance(module, _NORMS) for module in network.modules()):
        return []
    try:
        with unmoved_randomness(network):
            graph = fx.Tracer().trace(shadow(network))  # a module may keep the proxies that it is given
    except Exception:  # whatever the forward pass makes of a proxy
        return []
    calls = [str(node.target) for node in graph.nodes if node.op == "call_module"]
    pairs = []
    for node in graph.nodes:
        if node.op != "call_module" or not isinstance(network.get_submodule(str(node.target)), _NORMS):
            continue
        source = node.args[0]
        if not isinstance(source, fx.Node) or source.op != "call_module" or len(source.users) != 1:
            continue
        names = str(source.target), str(node.target)
        norm = network.get_submodule(names[1])
        tracks = isinstance(norm, _NORMS) and norm.running_mean is not None
        once = all(calls.count(name) == 1 for name in names)
        if tracks and once and isinstance(network.get_submodule(names[0]), (nn.Conv2d, nn.Linear)):
            pairs.append(names)
    return pairs


@torch.no_grad()
def _fold(layer: nn.Conv2d | nn.Linear, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
    assert norm.running_mean is not None
    factor = _factor(norm)
    shift: Tensor | float = norm.bias if norm.affine else 0.0
    bias = torch.zeros_like(norm.running_mean) if layer.bias is None else layer.bias
    layer.weight.mul_(factor.view(-1, *[1] * (layer.weight.ndim - 1)))
    layer.bias = nn.Parameter((bias - norm.running_mean) * factor + shift)
