"""Every matrix product and convolution that a network computes, caught as an operation, whatever module calls it.

This is the arithmetic below modules: `F.linear`, `x @ W`, attention and einsum all arrive as a few products. Composite
operations are taken apart, attention into its two products (torch's MATH backend).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from cimlab.network.errors import NetworkError
from cimlab.network.operand import Block, Convolution, kernel_block, matrix_block
from cimlab.network.provenance import Origin, Provenance
from cimlab.network.readers import Readers

aten = torch.ops.aten

MATRIX_PRODUCTS = {
    # where the left and the right factor stand among the arguments
    aten.mm: (0, 1), aten.bmm: (0, 1), aten.mv: (0, 1), aten.dot: (0, 1), aten.vdot: (0, 1),
    aten.addmm: (1, 2), aten.baddbmm: (1, 2), aten.addmv: (1, 2), aten.addbmm: (1, 2), aten._addmm_activation: (1, 2),
    aten.addmm_: (1, 2), aten.baddbmm_: (1, 2), aten.addmv_: (1, 2), aten.addbmm_: (1, 2),
}  # fmt: skip
CONVOLUTIONS = (aten.convolution, aten._convolution, aten.convolution_overrideable)
OPAQUE = (
    "_trilinear", "conv_tbc", "lstm", "gru", "rnn_tanh", "rnn_relu", "mkldnn_rnn_layer", "_cudnn_rnn", "miopen_rnn",
    "_scaled_mm", "_int_mm", "_weight_int8pack_mm", "_weight_int4pack_mm", "_grouped_mm", "_sparse_mm", "sspaddmm",
    "smm", "_native_multi_head_attention", "_transformer_encoder_layer_fwd", "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention", "_flash_attention_forward", "_efficient_attention_forward",
    "_cdist_forward", "_euclidean_dist",
)  # fmt: skip
"""Operations of aten that hold products inside themselves."""


@dataclass(frozen=True)
class Call:
    """One product as it is computed.

    Args:
        kind: `weight` (of parameters with inputs), `dynamic` (both factors depend on inputs), `fixed` (of a constant
            with inputs), `once` (of nothing that depends on inputs), `opaque` (an operation that can't be read).
        module: the innermost module that computes it.
        operation: as torch calls it.
        macs: multiply-accumulates; 0 where opaque.
        products: matrix-vector products, for a weight or a constant.
        block: the weights, for a weight.
        weights: how many weights or constants one product reads.
    """

    kind: str
    module: str
    operation: str
    macs: int
    products: int = 0
    block: Block | None = None
    weights: int = 0


@dataclass(frozen=True, eq=False)
class Factors:
    """A matrix product with a weight or a convolution, as it is called, for whoever computes it in another way.

    Args:
        inputs: the factor that depends on the network's inputs.
        weight: the other, outputs first but for a transposed convolution.
        on_left: of a matrix product, the weight stands on the left.
        bias, beta, alpha: the result is beta bias + alpha product.
        vector: shape of the result where a factor is a vector.
    """

    inputs: Tensor
    weight: Tensor
    on_left: bool = False
    bias: Tensor | None = None
    beta: float = 1.0
    alpha: float = 1.0
    vector: tuple[int, ...] | None = None


class Operations(TorchDispatchMode):
    """Sees every product while it is active.

    Args:
        network: its parameters are the weights; its modules are told of while `within` lasts.
        see: told every product and its factors; may answer with the product's result, for it to be taken.
        with_modules: whether calls name the module that they are from, and what reads them is found out.
    """

    supports_higher_order_operators = True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled in here, and torch would import its compiler (4 s) only to keep out of it."""
        return False

    def __init__(
        self,
        network: nn.Module,
        see: Callable[[Call, Factors | None], Tensor | None],
        with_modules: bool = True,
    ) -> None:
        super().__init__()
        self._with_modules = with_modules
        self.readers = Readers()
        self.network = network
        self.see = see
        self.provenance = Provenance(dict(network.named_parameters()), dict(network.named_buffers()))
        self._computations: dict[tuple[str, ...], list[str]] = {}
        self._modules = [""]
        self._on_meta = any(p.is_meta for p in network.parameters())
        self._as_meta: dict[int, tuple[Tensor, Tensor]] = {}

    @contextmanager
    def within(self, inputs: list[Tensor]) -> Generator[None]:
        """Active, with attention taken apart; `inputs` is what the network is about to be given."""
        self.provenance.mark_inputs(inputs)
        with ExitStack() as stack:
            for name, module in self.network.named_modules() if self._with_modules else ():
                stack.callback(module.register_forward_pre_hook(self._enter(name), prepend=True).remove)
                stack.callback(module.register_forward_hook(self._leave, always_call=True).remove)
            fast = torch.backends.mha.get_fastpath_enabled()
            torch.backends.mha.set_fastpath_enabled(False)
            stack.callback(torch.backends.mha.set_fastpath_enabled, fast)
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            if any(isinstance(module, nn.RNNBase) for module in self.network.modules()):
                stack.enter_context(torch.backends.mkldnn.flags(enabled=False))  # would hide their products
            if "torch._dynamo" in sys.modules:  # imported by whatever is compiled; it takes seconds
                stack.enter_context(torch.compiler.set_stance("force_eager"))
            stack.enter_context(self)
            yield

    def _enter(self, name: str) -> Callable[..., None]:
        def enter(*_: Any) -> None:
            # a layer under torch.vmap sees no values, only the operation that is left of it does: a function's
            mapped = torch._C._functorch.maybe_current_level() is not None
            self._modules.append(self._modules[-1] if mapped else name)

        return enter

    def _leave(self, *_: Any) -> None:
        self._modules.pop()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._on_meta:
            args, kwargs = self._moved(args), self._moved(kwargs)
        packet = getattr(func, "_overloadpacket", None)
        if packet in (aten.linear, aten.matmul, *MATRIX_PRODUCTS) and any(
            t.is_nested for t in tensors_in(args)
        ):
            raise NetworkError(
                f"products of nested tensors can't be counted ({self._modules[-1] or 'the network'}); pad them, as "
                "torch.nested.to_padded_tensor does"
            )
        if self._with_modules:
            self.readers.read(self._modules[-1], packet, args, tensors_in((args, kwargs)))
        if packet in MATRIX_PRODUCTS:
            return self._matrix_product(packet, func, args, kwargs)
        if packet in CONVOLUTIONS:
            return self._convolution(func, args, kwargs)
        if torch.is_inference_mode_enabled() and hasattr(func, "decompose"):
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        used = [*tensors_in((args, kwargs))]
        result = func(*args, **kwargs)
        self._look_inside(func, used, any(isinstance(value, torch.ScriptObject) for value in args))
        changes = func._schema.is_mutable if hasattr(func, "_schema") else False
        self.provenance.follow(used, tensors_in(result), (str(func), args, kwargs), changes)
        return result

    def _look_inside(self, func: Any, used: list[Tensor], packed: bool) -> None:
        """Tell of an operation that may hold products which can't be seen; quantised ones pack their weights."""
        full = str(func.name())
        namespace, _, name = full.rpartition("::")
        own = namespace not in ("aten", "prim", "prims", "profiler")
        if not own and name.partition(".")[0] not in OPAQUE:
            return
        origins = [self.provenance.of(t) for t in used]
        names = [n for t, o in zip(used, origins, strict=True) if t.ndim > 1 for n in o.parameters]
        if any(o.inputs for o in origins) and (names or packed or not own or "attention" in name):
            block = Block(tuple(dict.fromkeys(names)), True, None, 0, 0)
            self.see(Call("opaque", self._modules[-1], full, 0, 0, block), None)

    def _matrix_product(self, packet: Any, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        left, right = (args[place] for place in MATRIX_PRODUCTS[packet])
        origins = self.provenance.of(left), self.provenance.of(right)
        # a vector is a matrix of one row or column
        rows = left.unsqueeze(0) if left.ndim == 1 else left
        columns = right.unsqueeze(-1) if right.ndim == 1 else right
        macs = rows.numel() * columns.shape[-1]
        added = args[0] if MATRIX_PRODUCTS[packet][0] else None
        beta, alpha = float(kwargs.get("beta", 1)), float(kwargs.get("alpha", 1))
        on_left = not origins[0].inputs
        weight, inputs = (rows, right) if on_left else (columns, left)
        products = macs // max(1, _distinct(weight))

        def compute() -> Tensor:
            return func(*args, **kwargs)

        dimensions = (-2, -1) if on_left else (-1, -2)
        call = self._call(
            packet, origins, macs, products, _distinct(weight),
            lambda origin: matrix_block(weight, origin, *dimensions),
        )  # fmt: skip
        vector = None
        if packet in (aten.mv, aten.addmv, aten.addmv_, aten.dot, aten.vdot):
            vector = (len(left),) if left.ndim == 2 else ()
        by_output = weight if on_left else weight.transpose(-1, -2)
        factors = Factors(inputs, by_output, on_left, added, beta, alpha, vector)
        if packet in (aten.addbmm, aten.addbmm_, aten._addmm_activation):  # compute more than the product
            factors = None
        into = args[0] if str(packet).endswith("_") else kwargs.get("out")
        return self._seen(call, factors, compute, args, into)

    def _convolution(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        x, weight, bias, stride, padding, dilation, transposed, output_padding, groups = args[:9]
        dims = weight.ndim - 2

        def each(values: Any) -> tuple[int, ...]:
            return tuple(values) if len(values) == dims else tuple(values) * dims

        convolution = Convolution(each(stride), each(padding), each(dilation), each(output_padding))
        pixels = x.shape[0] * prod(image_size(x.shape[2:], weight.shape[2:], convolution, transposed))
        origins = self.provenance.of(x), self.provenance.of(weight)
        # a transposed convolution multiplies every input pixel, its equivalent convolution every output pixel
        computed = x.shape[0] * prod(x.shape[2:]) if transposed else pixels

        def compute() -> Tensor:
            return func(*args, **kwargs)

        call = self._call(
            func._overloadpacket, origins, computed * weight.numel(), pixels, weight.numel(),
            lambda origin: kernel_block(weight, origin, groups, transposed, convolution),
        )  # fmt: skip
        return self._seen(call, Factors(x, weight, bias=bias), compute, args, kwargs.get("out"))

    def _call(
        self,
        packet: Any,
        origins: tuple[Origin, Origin],
        macs: int,
        products: int,
        weights: int,
        block: Callable[[Origin], Block],
    ) -> Call:
        module, operation = self._modules[-1], str(packet).removeprefix("aten.")
        on_inputs = [origin.inputs for origin in origins]
        if all(on_inputs):
            return Call("dynamic", module, operation, macs)
        if not any(on_inputs):
            return Call("once", module, operation, macs)
        static = origins[on_inputs.index(False)]
        if not static.parameters:
            return Call("fixed", module, operation, macs, products, None, weights)
        return Call(
            "weight", module, operation, macs, products, self._told_apart(block(static), static), weights
        )

    def _told_apart(self, block: Block, origin: Origin) -> Block:
        """The block with the number of its computation, among those of the same parameters."""
        if not origin.computed:
            return block
        known = self._computations.setdefault(origin.parameters, [])
        if origin.how not in known:
            known.append(origin.how)
        return replace(block, computation=known.index(origin.how), multiplied=origin.multiplied)

    def _seen(
        self,
        call: Call,
        factors: Factors | None,
        compute: Callable[[], Tensor],
        args: tuple[Any, ...],
        into: Tensor | None,
    ) -> Tensor:
        if call.kind != "once" and any(tensor.is_complex() for tensor in tensors_in(args)):
            # cells hold real numbers, and a complex product is several real ones
            operation = f"{call.operation} of complex numbers"
            call, factors = replace(call, kind="opaque", operation=operation, macs=0, products=0), None
        result = self.see(call, factors)
        if result is None:
            result = compute()
        elif into is not None:  # whoever asked for the product reads it there
            result = into.resize_(result.shape).copy_(result)
        if self._with_modules and call.kind == "weight":
            self.readers.gave(call.module, result)
        self.provenance.follow(
            tensors_in(args), [result], (call.operation, args), into is not None, product=call.kind == "once"
        )
        return result

    def _moved(self, values: Any) -> Any:
        """Tensors that a network keeps outside its parameters and buffers, without their values."""
        if isinstance(values, Tensor):
            if values.is_meta or values.ndim == 0:
                return values
            kept = self._as_meta.setdefault(id(values), (values, values.to("meta")))
            return kept[1]
        if isinstance(values, tuple | list):
            return type(values)(self._moved(value) for value in values)
        if isinstance(values, dict):
            return {key: self._moved(value) for key, value in values.items()}
        return values


def image_size(
    size: Sequence[int], kernel: Sequence[int], call: Convolution, transposed: bool
) -> tuple[int, ...]:
    """Output pixels of a convolution, by dimension.

    >>> image_size((8, 8), (3, 3), Convolution((2, 2), (1, 1), (1, 1), (0, 0)), False)
    (4, 4)
    """
    each = zip(size, kernel, call.stride, call.padding, call.dilation, call.output_padding, strict=True)
    if transposed:
        return tuple((n - 1) * s - 2 * p + d * (k - 1) + more + 1 for n, k, s, p, d, more in each)
    return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d, _ in each)


def _distinct(operand: Tensor) -> int:
    """Elements of a matrix operand; a matrix that is repeated over a batch counts once."""
    repeated = operand.ndim == 3 and operand.stride(0) == 0
    return operand[0].numel() if repeated else operand.numel()


def tensors_in(values: Any) -> Iterator[Tensor]:
    """All tensors in nested tuples, lists and dictionaries."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, tuple | list):
        for value in values:
            yield from tensors_in(value)
    elif isinstance(values, dict):
        for value in values.values():
            yield from tensors_in(value)
