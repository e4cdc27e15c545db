"""The digital periphery on a GPU, one pass over memory each: quantise and pad, scale and add.

The Triton kernels equal those of `cimlab.analog.digital` bit for bit: IEEE division, and no product fused with a sum.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language
from jaxtyping import Float, Int
from torch import Tensor

tl: Any = triton.language
jit: Any = triton.jit
"""Untyped, because a kernel's values are neither what its annotations nor what Python's operators say."""

BLOCK = 1024
"""Values of a thread block."""

ROUNDING = tl.constexpr(1.5 * 2**23)
"""Added and taken away, it rounds to the nearest integer, ties to even, what is smaller than 2^22."""


def quantise(
    x: Float[Tensor, "planes height width"],
    scale: float,
    zero: int,
    bits: int,
    padding: tuple[int, int, int, int],
) -> tuple[Int[Tensor, "planes padded_height padded_width"], bool]:
    """Integers in the smallest type that holds them, `zero` around every plane; and whether there was a NaN."""
    left, right, top, bottom = padding
    planes, height, width = x.shape
    size = planes, height + top + bottom, width + left + right
    q = torch.empty(size, dtype=torch.uint8 if bits <= 8 else torch.int32, device=x.device)
    nan = torch.zeros(1, dtype=torch.int32, device=x.device)
    if q.numel():
        _quantise[(-(-q.numel() // BLOCK),)](
            x, q, nan, q.numel(), height, width, size[1], size[2], top, left, scale, float(zero),
            float(2**bits - 1), BLOCK=BLOCK, enable_fp_fusion=False,
        )  # fmt: skip
    return q, bool(nan)


def scale_and_add(
    codes: Int[Tensor, "out products"],
    constants: Float[Tensor, "4 out"],
    y: Float[Tensor, "images out pixels"],
) -> None:
    """Write y, contiguous; see `digital.scale_and_add`."""
    images, out, pixels = y.shape
    block = min(BLOCK, 1 << (pixels - 1).bit_length())
    if y.numel():
        _scale_and_add[images * out, -(-pixels // block)](
            codes, constants, y, out, pixels, images * pixels, BLOCK=block, enable_fp_fusion=False
        )


@jit
def _quantise(
    x, q, nan, count, height, width, padded_height, padded_width, top, left, scale, zero, highest,
    BLOCK: tl.constexpr,
):  # fmt: skip
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    plane_row, col = place // padded_width, place % padded_width - left
    plane, row = plane_row // padded_height, plane_row % padded_height - top
    inside = (place < count) & (row >= 0) & (row < height) & (col >= 0) & (col < width)
    value = tl.load(x + (plane * height + row) * width + col, mask=inside, other=0.0)
    broken = tl.max((value != value).to(tl.int32), 0)
    if broken:
        tl.atomic_or(nan, broken)
    level = tl.minimum(tl.maximum(tl.div_rn(value, scale), -65536.0), 65536.0)
    level = level + ROUNDING - ROUNDING + zero
    level = tl.minimum(tl.maximum(level, 0.0), highest)
    tl.store(q + place, level.to(tl.int32), mask=place < count)


@jit
def _scale_and_add(codes, constants, y, out, pixels, products, BLOCK: tl.constexpr):
    plane = tl.program_id(0).to(tl.int64)
    image, channel = plane // out, plane % out
    pixel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    code = tl.load(codes + channel * products + image * pixels + pixel, mask=pixel < pixels, other=0)
    own = constants + channel
    step, subtract = tl.load(own), tl.load(own + out)
    factor, bias = tl.load(own + 2 * out), tl.load(own + 3 * out)
    real = (step * code.to(tl.float64) - subtract) * factor + bias
    tl.store(y + plane * pixels + pixel, real.to(tl.float32), mask=pixel < pixels)
