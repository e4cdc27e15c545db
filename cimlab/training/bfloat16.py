"""bfloat16 products on processors that have none: computed in float32, with the same numbers, at float32's speed.

A product of two bfloat16 numbers (8 bits of mantissa each) is exact in float32, and bfloat16 instructions add such
products up in float32 before they round the sum to bfloat16 (Intel, BFLOAT16 Hardware Numerics Definition, 2018). So
float32 kernels on the same operands, their result rounded, differ in the order of the sums alone. Torch's own kernels
for processors without these instructions are some ten times slower than that; fused attention is left to them. Its
fused transformer layer, which it takes in tests, is out of autocast's reach here and runs in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

BFLOAT16 = "bf16-mixed"
"""Lightning's name of autocast to bfloat16."""
PRODUCTS = frozenset(
    getattr(torch.ops.aten, name).default
    for name in ("convolution", "convolution_backward", "mm", "addmm", "bmm", "baddbmm")
)
"""What convolutions, linear layers and products of activations come down to, forwards and backwards."""


def lacking() -> bool:
    """Whether torch has no bfloat16 kernels for this processor (they need AVX-512)."""
    return torch.backends.cpu.get_cpu_capability() == "AVX2"


def products_in_float32(precision: str, compiled: bool) -> AbstractContextManager[Any]:
    """What to train and test within: `ProductsInFloat32` where it helps, nothing elsewhere.

    Args:
        precision: of the trainer.
        compiled: whether the network is; torch then writes the kernels.
    """
    helps = precision == BFLOAT16 and not compiled and lacking()
    return ProductsInFloat32() if helps else nullcontext()


class ProductsInFloat32(TorchDispatchMode):
    """Within it, products of bfloat16 matrices on the processor are computed by float32 kernels and then rounded.

    >>> ones = torch.ones(2, 300, dtype=torch.bfloat16)
    >>> with ProductsInFloat32():
    ...     (ones @ ones.T)[0]
    tensor([300., 300.], dtype=torch.bfloat16)
    """

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Called by torch for each operator; in inference mode also for those that come down to others."""
        kwargs = kwargs or {}
        if func in PRODUCTS:
            return _in_float32(func, args, kwargs) if any(map(_rounded, args)) else func(*args, **kwargs)
        with self:
            parts = func.decompose(*args, **kwargs)
        return func(*args, **kwargs) if parts is NotImplemented else parts


def _rounded(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype == torch.bfloat16 and value.device.type == "cpu"


def _in_float32(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    widened = [value.float() if _rounded(value) else value for value in args]
    return tree_map_only(Tensor, lambda result: result.to(torch.bfloat16), func(*widened, **kwargs))
