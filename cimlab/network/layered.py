"""A network whose weights on arrays are layers that are called, whatever operation multiplies by them.

What quantises, counts or computes a layer then meets Linear and convolution layers alone: a functional call, an
attention's packed projection, a tied or a computed weight is given a layer of its own, which the forward pass is
led through. Layers that are plain already stay where they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cimlab.network.account import NetworkAccount, WeightProduct
from cimlab.network.batch import Batch, tensors
from cimlab.network.computed import ComputedWeights
from cimlab.network.errors import NetworkError
from cimlab.network.operand import Block
from cimlab.network.operations import Call, Factors, Operations
from cimlab.network.trace import casting_anew, opened, shadow
from cimlab.network.weights import parameters, stored_weight

CONVOLUTIONS: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


AUTOCAST = "call it outside of torch.autocast"
VALUES = (
    "make what it computes independent of the values of its input, and give it no tensor twice that was given once, or "
    "the other way round"
)
"""What helps where a network doesn't compute as it did."""


class LayeredNetwork(nn.Module):
    """The network with a layer for every weight on arrays; computes what the network computes.

    Args:
        network: a copy in evaluation mode.
        account: what it multiplies.
        made: name of a weight -> the layer made for it.
    """

    def __init__(self, network: nn.Module, account: NetworkAccount, made: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.network = network
        self.made = nn.ModuleDict({_key(name): layer for name, layer in made.items()})
        self.names = tuple(weight.name for weight in account.on_arrays)
        self.plain = tuple(name for name in self.names if name not in made)
        self.norms = {layer: norm for layer, norm in account.norms.items() if layer in self.plain}
        self._reads, self._copied = account.reads, account.copied
        self._led = {block for block, names in account.reads.items() if any(name in made for name in names)}

    def layers(self) -> dict[str, nn.Module]:
        """The layer of every weight on arrays, in the order of computation."""
        return {
            name: self.network.get_submodule(name) if name in self.plain else self.made[_key(name)]
            for name in self.names
        }

    def put(self, name: str, layer: nn.Module) -> None:
        """Put another layer in the place of one."""
        if name in self.plain:
            self.network.set_submodule(name, layer)
        else:
            self.made[_key(name)] = layer

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """What the network computes.

        Raises:
            NetworkError: it multiplies by a weight in a way that it did not when it was traced.
        """
        if not self._led:
            return self.network(*inputs, **named)
        autocast = any(map(torch.is_autocast_enabled, ("cpu", "cuda")))
        operations = Operations(self.network, partial(self._see, autocast), with_modules=False)
        with casting_anew(), operations.within([*tensors(inputs), *tensors(named)]), ExitStack() as stack:
            for (
                name
            ) in self.plain:  # what computes in their place may do so beyond torch, where nothing is followed
                layer = self.network.get_submodule(name)
                follow = layer.register_forward_hook(lambda _, __, y: operations.provenance.mark_inputs([y]))
                stack.callback(follow.remove)
            return self.network(*inputs, **named)

    def _see(self, autocast: bool, product: Call, factors: Factors | None) -> Tensor | None:
        if product.kind != "weight" or product.block is None:
            return None
        if product.block.multiplied and frozenset(product.block.parameters) in self._copied:
            return None
        if product.block not in self._reads:
            raise NetworkError(
                f"the forward pass multiplies by {', '.join(product.block.parameters)} in a way that it did not when "
                f"it was traced; {AUTOCAST if autocast else VALUES}"
            )
        if product.block not in self._led:
            return None
        if factors is None:
            raise NetworkError(f"{product.operation} can't be computed by a layer; write it with matmul")
        layers = [self.made[_key(name)] for name in self._reads[product.block]]
        return computed(layers, product.block, factors)


def computed(layers: list[nn.Module], block: Block, factors: Factors) -> Tensor:
    """A product, computed by the layers that its outputs are made of."""
    x = factors.inputs
    if block.convolution is not None:
        x = equivalent_input(x, block) if block.reading == "transposed" else x
        y = torch.cat([layer(x) for layer in layers], 1)
        return y if factors.bias is None else y + factors.bias.view(-1, *[1] * len(block.kernel))
    if factors.vector is not None and x.ndim == 1:
        x = x.unsqueeze(-1) if factors.on_left else x.unsqueeze(0)
    x = x.transpose(-1, -2) if factors.on_left else x
    if block.groups > 1:
        (layer,) = layers
        by_channel = layer(x.transpose(0, 1).flatten(1)[..., None])
        y = by_channel.view(x.shape[1], block.groups, -1).transpose(0, 1)
    else:
        y = torch.cat([layer(x) for layer in layers], -1)
    y = y.transpose(-1, -2) if factors.on_left else y
    y = y if factors.vector is None else y.reshape(factors.vector)
    y = y if factors.alpha == 1 else factors.alpha * y
    return y if factors.bias is None else y + factors.beta * factors.bias


def equivalent_input(x: Tensor, block: Block) -> Tensor:
    """The input of the convolution that a transposed one is: zeros between pixels, and around them.

    >>> from cimlab.network.operand import Convolution
    >>> call = Convolution((2,), (0,), (1,), (0,))
    >>> block = Block(("w",), False, 0, 1, 1, (2,), 1, "transposed", call)
    >>> equivalent_input(torch.tensor([[[1.0, 2.0]]]), block)
    tensor([[[0., 1., 0., 2., 0.]]])
    """
    c = block.convolution
    assert c is not None
    spread = x.new_zeros(*x.shape[:2], *((n - 1) * s + 1 for n, s in zip(x.shape[2:], c.stride, strict=True)))
    spread[(slice(None), slice(None), *(slice(None, None, s) for s in c.stride))] = x
    around: list[int] = []
    for k, p, d, more in zip(block.kernel, c.padding, c.dilation, c.output_padding, strict=True):
        around = [d * (k - 1) - p, d * (k - 1) - p + more, *around]
    return F.pad(spread, around)


def layered(network: nn.Module, account: NetworkAccount, batch: Batch) -> LayeredNetwork:
    """Give every weight on arrays a layer.

    Args:
        network: left as it is; the result shares its parameters where its layers are plain.
        account: what it multiplies.
        batch: what it is given; computed weights are read off its first sample.
    """
    copied = shadow(opened(network))
    weights = {weight.name: weight for weight in (*account.on_arrays, *account.digital)}
    apart = {weight.name for weight in account.on_arrays if not _is_plain(weight, copied, account)}
    needed = {name for names in account.reads.values() if apart & set(names) for name in names}
    values = (
        ComputedWeights(account, batch).values(network) if any(weights[n].computed for n in needed) else {}
    )
    stored = parameters(copied)
    made = {}
    for name in (name for name in weights if name in needed):
        weight = weights[name]
        own = values[name] if weight.computed else weight.block.layer_weight(stored_weight(stored, name))
        made[name] = _layer(weight, _held(weight.block, own).detach().clone())
    return LayeredNetwork(copied, account, made)


def layer_masks(masks: Mapping[str, Tensor], account: NetworkAccount) -> dict[str, Tensor]:
    """Masks of what is stored as masks of the layers' weights."""
    blocks = {weight.name: weight.block for weight in account.on_arrays}
    return {name: _held(blocks[name], blocks[name].layer_weight(mask)) for name, mask in masks.items()}


def _held(block: Block, weight: Tensor) -> Tensor:
    """As the layer made for it holds a weight: groups of matrices are a convolution of one pixel."""
    return weight[..., None] if block.groups > 1 and not block.kernel else weight


def _is_plain(weight: WeightProduct, network: nn.Module, account: NetworkAccount) -> bool:
    """Whether the weight is that of one Linear or convolution, which alone multiplies by it, when it is called."""
    if weight.computed or len(weight.layers) != 1 or weight.modules != (weight.name,):
        return False
    layer = network.get_submodule(weight.name)
    kind = next((k for k in (nn.Linear, *CONVOLUTIONS.values()) if isinstance(layer, k)), None)
    own_way = (
        kind is None or type(layer).forward is not kind.forward or "forward" in vars(layer)
        or type(layer).__call__ is not nn.Module.__call__ or bool(layer._forward_hooks or layer._forward_pre_hooks)
    )  # fmt: skip
    whole = getattr(layer, "weight", None) is not None and layer.weight.shape == weight.shape
    return whole and not own_way and getattr(layer, "padding_mode", "zeros") == "zeros"


def _layer(weight: WeightProduct, values: Tensor) -> nn.Module:
    """A Linear or convolution without bias that multiplies by these values."""
    inputs, groups, c = weight.groups * weight.channels, weight.groups, weight.convolution
    if c is None and groups == 1:
        layer: nn.Module = nn.Linear(inputs, weight.outputs, bias=False, device="meta")
    elif c is None:
        layer = nn.Conv1d(inputs, weight.outputs, 1, groups=groups, bias=False, device="meta")
    else:
        kind = CONVOLUTIONS[len(weight.kernel)]
        turned = weight.reading == "transposed"
        layer = kind(
            inputs, weight.outputs, weight.kernel, 1 if turned else c.stride, 0 if turned else c.padding, c.dilation,
            groups, bias=False, device="meta",
        )  # fmt: skip
    layer.weight = nn.Parameter(values, requires_grad=False)
    return layer.eval()


def _key(name: str) -> str:
    """A weight's name as a key of nn.ModuleDict, which takes no dots."""
    return name.replace(".", "/")


def array_layers(network: nn.Module, names: Iterable[str]) -> dict[str, nn.Module]:
    """The layers called so."""
    known = network.layers() if isinstance(network, LayeredNetwork) else dict(network.named_modules())
    return {name: known[name] for name in names}
