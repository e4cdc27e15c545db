"""The account of a network: every product of a sample, by class, and every parameter that takes no part in any.

`on_arrays`: weights that crossbars can hold. `digital`: static weights that are left digital, each with its reason.
`off_arrays`: these, products of two activations and the rest, in plain numbers. The sum over all of products times
weights is what torch.utils.flop_counter counts.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from cimlab.network.batch import Batch, sample_of, sampled_too
from cimlab.network.errors import NetworkError
from cimlab.network.off_arrays import DigitalProduct, OffArrays
from cimlab.network.operand import Block, Convolution, Reading
from cimlab.network.operations import Call
from cimlab.network.pieces import Piece, Stored, Use, pieces, sites
from cimlab.network.trace import opened, traced
from cimlab.network.weights import matches

CHOSEN = "left digital by analog.digital"


@dataclass(frozen=True)
class WeightProduct:
    """One weight and its products with activations.

    Args:
        name: of the weight, as masks and matrices call it.
        parameters: what it is stored in; several where it is computed from them.
        layers: names of the layers whose weight it is, more than one where tied.
        modules: innermost modules that multiply by it.
        shape: of the stored weight, or of its rows.
        outputs, channels, kernel, groups: all outputs; inputs of one group; sizes of a kernel; groups.
        reading: order of the stored weight.
        products: matrix-vector products of one image.
        macs: multiply-accumulates of one image.
        computed: the forward pass computes it from what is stored.
        convolution: strides and paddings, for a convolution.
        reason: why it is left digital; None on arrays.
    """

    name: str
    parameters: tuple[str, ...]
    layers: tuple[str, ...]
    modules: tuple[str, ...]
    shape: tuple[int, ...]
    outputs: int
    channels: int
    kernel: tuple[int, ...]
    groups: int
    reading: Reading
    products: int
    macs: int
    computed: bool = False
    convolution: Convolution | None = None
    reason: str | None = None

    @property
    def block(self) -> Block:
        """How products read it."""
        return Block(
            self.parameters, self.computed, 0, self.outputs, self.channels, self.kernel, self.groups, self.reading,
            self.convolution,
        )  # fmt: skip

    @property
    def weights(self) -> int:
        """Weights that one product reads."""
        return self.block.weights


@dataclass(frozen=True)
class NetworkAccount:
    """Everything that one sample multiplies.

    Args:
        on_arrays, digital: weights, in the order in which they are first used.
        off_arrays: the digital ones, products of two activations and whatever else is beside the arrays, in plain
            numbers.
        reads: block of a product -> names of the weights that its outputs are made of, in order.
        norms: module that multiplies -> the batch norm that alone reads what it computes.
        copied: parameters from which weights are computed that every sample gets a copy of, as the queries of latent
            tokens: their products are those of two activations.
    """

    on_arrays: tuple[WeightProduct, ...]
    digital: tuple[WeightProduct, ...]
    off_arrays: OffArrays
    reads: Mapping[Block, tuple[str, ...]] = field(default_factory=dict)
    norms: Mapping[str, str] = field(default_factory=dict)
    copied: frozenset[frozenset[str]] = frozenset()

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one sample, all classes."""
        return sum(product.macs for product in self.on_arrays) + self.off_arrays.macs

    @property
    def tied(self) -> dict[str, str]:
        """Name of a layer -> name of the weight that it shares with another layer."""
        return {
            layer: weight.name for weight in self.on_arrays for layer in weight.layers if layer != weight.name
        }


def account_of(network: nn.Module, batch: Batch, digital: Sequence[str] = ()) -> NetworkAccount:
    """Trace the network and sort what it multiplies.

    Args:
        network: any module; left as it is.
        batch: what it is given; its values are read only if the network reads them.
        digital: names or glob patterns of weights, layers or modules that are left digital by choice.

    Raises:
        NetworkShapeError: the network can't compute such a batch.
        NetworkError: an operation can't be counted, or a name in `digital` is nothing's.
    """
    network = opened(network)
    patterns = [str(pattern) for pattern in digital]
    trace = traced(network, batch)
    opaque = [product for product in trace.second if product.kind == "opaque"]
    _refuse_opaque(opaque, patterns)
    per_image, once, across = _per_image(trace.first, trace.second)
    found = pieces([use for call, use in per_image if call.kind == "weight"], Stored(network))
    weights = [_weight(piece) for piece in found]
    weights += [_fixed(call, use) for call, use in per_image if call.kind == "fixed"]
    weights += [_uncounted(call, network) for call in opaque]
    _refuse_unknown(network, weights, patterns)
    chosen = [_left_digital(weight, patterns) for weight in weights]
    digital_ones = tuple(weight for weight in chosen if weight.reason is not None)
    on_arrays = tuple(weight for weight in chosen if weight.reason is None)
    off_arrays = OffArrays(
        _digital(network, on_arrays, digital_ones),
        _work((call.module, use.macs) for call, use in per_image if call.kind == "dynamic"),
        _tables(network, chosen),
        once,
        *sample_of(batch),
        across,
        sampled_too(batch) if across else (),
    )
    copied = frozenset(
        frozenset(call.block.parameters) for call, _ in per_image if call.kind == "dynamic" and call.block
    )
    return NetworkAccount(on_arrays, digital_ones, off_arrays, sites(found), trace.norms, copied)


def _digital(
    network: nn.Module, on_arrays: Iterable[WeightProduct], digital: Iterable[WeightProduct]
) -> tuple[DigitalProduct, ...]:
    """Digital weights as they are counted: a value once, on the arrays if it is there too."""
    free = {name: parameter.numel() for name, parameter in network.named_parameters()}
    whole = dict(free)
    for weight in on_arrays:
        _take(free, weight)
    found = []
    for weight in digital:
        names = weight.parameters
        untouched = all(free[name] == whole[name] for name in names)
        there = weight.weights if weight.computed and untouched else sum(free[name] for name in names)
        own = min(weight.weights, there)
        _take(free, weight)
        found.append(DigitalProduct(weight.name, weight.macs, own, weight.reason or ""))
    return tuple(found)


def _take(free: dict[str, int], weight: WeightProduct) -> None:
    """Take the values of a weight from what is left of its parameters, the fullest first."""
    wanted = weight.weights
    for name in sorted(weight.parameters, key=free.__getitem__, reverse=True):
        taken = min(free[name], wanted)
        free[name] -= taken
        wanted -= taken


def _tables(network: nn.Module, weights: Iterable[WeightProduct]) -> tuple[tuple[str, int], ...]:
    """Parameters of two or more dimensions that no product reads, and embeddings of a weight that one does."""
    used = {name for weight in weights for name in weight.parameters}
    read = [(name, p.numel()) for name, p in network.named_parameters() if p.ndim > 1 and name not in used]
    own = {id(parameter) for name, parameter in network.named_parameters() if name in used}
    lookups = (nn.Embedding, nn.EmbeddingBag)
    tied = [n for n, m in network.named_modules() if isinstance(m, lookups) and id(m.weight) in own]
    return (*read, *((name, 0) for name in tied))


def _per_image(
    one: list[Call], two: list[Call]
) -> tuple[list[tuple[Call, Use]], tuple[DigitalProduct, ...], tuple[str, ...]]:
    """What a sample takes of every product, by its first call; what one takes beyond that: it is computed once; and the
    modules of which two samples take more than twice as much.

    Raises:
        NetworkError: a weight is copied for every sample, so that a batch multiplies by another one than a sample does.
    """
    sums: dict[object, list[list[int]]] = {}
    firsts: dict[object, tuple[Call, dict[str, None]]] = {}
    alone: list[tuple[str, int]] = []
    for samples, seen in enumerate((one, two)):
        for call in seen:
            if call.kind == "opaque":
                continue
            key = call.block or (call.kind, call.module, call.operation)
            total = sums.setdefault(key, [[0, 0], [0, 0]])[samples]
            total[0] += call.products
            total[1] += call.macs
            firsts.setdefault(key, (call, {}))[1][call.module] = None
    nothing = Block((), True, None, 0, 0)
    found, across = _copies(sums, firsts), list[str]()
    for key, (call, modules) in firsts.items():
        (products, macs), (products_of_two, macs_of_two) = sums[key]
        if call.block is not None and not 0 < macs <= macs_of_two:
            raise NetworkError(_copied(call, call.block) if macs else _not_alone(call, call.block))
        each = 0 if call.kind == "once" else _of_a_sample(macs, macs_of_two)
        across += [module or "the network" for module in modules if each and macs_of_two > 2 * macs]
        alone.append((call.module, macs - each))
        if each:
            use = Use(call.block or nothing, tuple(modules), _of_a_sample(products, products_of_two), each)
            found.append((call, use))
    return found, _work(alone), tuple(dict.fromkeys(across))


def _copies(sums: dict[object, list[list[int]]], firsts: dict[object, Any]) -> list[tuple[Call, Use]]:
    """Take out the products with what parameters give when they are multiplied, where every sample gets a copy of it,
    and give them as those of two activations, which they then are."""
    apart: dict[tuple[str, str, frozenset[str]], list[Any]] = {}
    for key, (call, _) in firsts.items():
        (_, macs), (_, macs_of_two) = sums[key]
        if call.block is not None and call.block.multiplied and not 0 < macs <= macs_of_two:
            apart.setdefault((call.module, call.operation, frozenset(call.block.parameters)), []).append(key)
    found = []
    for keys in apart.values():
        one, two = (sum(sums[key][samples][1] for key in keys) for samples in (0, 1))
        if one > 0 and two == 2 * one:
            call, _ = firsts[keys[0]]
            found.append((replace(call, kind="dynamic"), Use(call.block, (call.module,), 0, one)))
            for key in keys:
                del firsts[key]
    return found


def _of_a_sample(one: int, two: int) -> int:
    """What a second sample adds; where samples are multiplied by each other, what one alone takes, which is less."""
    return max(0, min(two - one, one))


def _copied(call: Call, block: Block) -> str:
    return (
        f"{_multiplied(call, block)} is copied for every sample of a batch, so that its products can't be counted; "
        "multiply by it without a copy, as torch.stack([x @ w for w in W], 1) does where x.unsqueeze(1) @ W copies"
    )


def _not_alone(call: Call, block: Block) -> str:
    return (
        f"{_multiplied(call, block)} is multiplied for two samples and not for one, so that its products can't be "
        "counted; give a batch with the samples in dimension 0 (for recurrent layers, batch_first=True)"
    )


def _multiplied(call: Call, block: Block) -> str:
    names = " and ".join(block.parameters)
    return f"{names}, multiplied by {call.module or 'the network'} ({call.operation}),"


def _weight(piece: Piece) -> WeightProduct:
    block = piece.block
    modules = tuple(dict.fromkeys(module for use in piece.uses for module in use.modules))
    products = sum(use.products for use in piece.uses)
    macs = sum(use.macs * block.weights // use.block.weights for use in piece.uses)
    return WeightProduct(
        piece.name, block.parameters, piece.layers, modules, piece.shape, block.outputs, block.channels,
        block.kernel, block.groups, block.reading, products, macs, block.computed, block.convolution,
        piece.reason,
    )  # fmt: skip


def _fixed(call: Call, use: Use) -> WeightProduct:
    """A product with a buffer or a constant, which is no weight of the layer that it is in and not called so."""
    name = f"constant of {call.module or 'the network'}"
    return WeightProduct(
        name, (), (call.module,), use.modules, (call.weights,), 1, call.weights, (), 1, "outputs_first", use.products,
        use.macs,
        reason="multiplies by a buffer or constant, which is no parameter",
    )  # fmt: skip


def _uncounted(call: Call, network: nn.Module) -> WeightProduct:
    """An operation that was left digital because its products can't be counted; the weights that it holds are."""
    names = () if call.block is None else call.block.parameters
    held = sum(network.get_parameter(name).numel() for name in names)
    return WeightProduct(
        call.module or "the network", names, (call.module,), (call.module,), (held,), held, 1, (), 1, "outputs_first",
        0, 0, reason=f"{CHOSEN}; its operation {call.operation} is not counted",
    )  # fmt: skip


def _work(products: Iterable[tuple[str, int]]) -> tuple[DigitalProduct, ...]:
    """Multiply-accumulates by module."""
    found: dict[str, int] = {}
    for module, macs in products:
        if macs:
            found[module or "the network"] = found.get(module or "the network", 0) + macs
    return tuple(DigitalProduct(name, macs) for name, macs in found.items())


def _left_digital(weight: WeightProduct, patterns: Iterable[str]) -> WeightProduct:
    names = (weight.name, *weight.layers, *weight.parameters)
    chosen = any(matches(pattern, name) for pattern in patterns for name in names)
    return replace(weight, reason=CHOSEN) if chosen and weight.reason is None else weight


def _refuse_opaque(opaque: list[Call], patterns: Iterable[str]) -> None:
    left = [call for call in opaque if not any(matches(p, name) for p in patterns for name in _owners(call))]
    if not left:
        return
    named = dict.fromkeys(f"{call.module or 'the network'} ({call.operation})" for call in left)
    owners = ",".join(dict.fromkeys(_owners(call)[0] or "*" for call in left))
    raise NetworkError(
        f"products that can't be counted: {', '.join(named)}; write them with torch.nn.functional.linear, conv2d or "
        f"matmul of real numbers, or leave them digital and uncounted with analog.digital=[{owners}]"
    )


def _owners(call: Call) -> list[str]:
    """What leaves an operation digital: its module, or a weight that the network itself multiplies by."""
    held = () if call.module or call.block is None else call.block.parameters
    return [*held, call.module]


def _refuse_unknown(network: nn.Module, weights: list[WeightProduct], patterns: Iterable[str]) -> None:
    """A misspelt name would leave its layer on the arrays without a word."""
    known = [
        *(weight.name for weight in weights), *(name for name, _ in network.named_modules() if name),
        *(name for name, _ in network.named_parameters(remove_duplicate=False)),
    ]  # fmt: skip
    for pattern in patterns:
        if pattern == "*" or any(matches(pattern, name) for name in known):
            continue
        near = difflib.get_close_matches(pattern, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        named = list(dict.fromkeys(weight.name for weight in weights))
        there = ", ".join(named[:8]) + (f" and {len(named) - 8} more" if len(named) > 8 else "")
        raise NetworkError(
            f"analog.digital=[{pattern}]: no layer or weight is called so{hint}; there are {there}"
        )
