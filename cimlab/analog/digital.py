"""What the digital periphery does around the arrays, one pass over memory each: quantise and pad, scale and add."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import njit, prange
from torch import Tensor

from cimlab.analog.threads import follow_torch
from cimlab.crossbar.inputs import InputQuantiser, largest_input

Padding = tuple[int, int, int, int]
"""Pixels left, right, above, below."""


def quantise_padded(
    x: Float[Tensor, "planes height width"], quantiser: InputQuantiser, padding: Padding
) -> tuple[Int[Tensor, "planes padded_height padded_width"], bool]:
    """`quantiser` with the integer of real zero around every plane; and whether there was anything not a number."""
    if x.is_cuda:
        from cimlab.analog import periphery  # Triton comes with torch on Linux alone

        return periphery.quantise(x, quantiser.scale, quantiser.zero, quantiser.bits, padding)
    left, right, top, bottom = padding
    planes, height, width = x.shape
    q = torch.empty(planes, height + top + bottom, width + left + right, dtype=torch.int32)
    scale, highest = np.float32(quantiser.scale), np.float32(largest_input(quantiser.bits))
    follow_torch()
    nan = _quantise(x.numpy(), scale, np.float32(quantiser.zero), highest, top, left, q.numpy())
    return q, bool(nan)


def scale_and_add(
    codes: Int[Tensor, "out products"],
    constants: Float[Tensor, "4 out"],
    y: Float[Tensor, "images out pixels"],
) -> None:
    """y = (step codes - subtract) factor + bias, in float64 until it is stored.

    Args:
        codes: shifted and added.
        constants: step, subtract, factor and bias of every output, float64.
        y: is written.
    """
    if y.is_cuda:
        from cimlab.analog import periphery

        periphery.scale_and_add(codes, constants, y)
        return
    follow_torch()
    _scale(codes.numpy(), constants.numpy(), y.numpy())


def scale_and_add_more(
    codes: Int[Tensor, "out products"],
    constants: Float[Tensor, "4 out"],
    subtract: Float[Tensor, "out products"],
    y: Float[Tensor, "images out pixels"],
) -> None:
    """`scale_and_add` with something to subtract from every product besides, in torch operations."""
    step, less, factor, bias = constants[:, :, None]
    real = (step * codes.double() - (less + subtract)) * factor + bias
    y.copy_(real.unflatten(1, y.shape[::2]).transpose(0, 1))


@contextmanager
def whole_float32() -> Generator[None]:
    """Convolutions in float32 as it is: cuDNN would round their inputs to TF32's 10 bits unasked."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


@njit(parallel=True, cache=True, nogil=True)
def _quantise(x, scale, zero, highest, top, left, q):
    planes, height, width = x.shape
    bad = 0
    for plane in prange(planes):
        out = q[plane]
        out[:] = np.int32(zero)
        found = 0
        for row in range(height):
            for col in range(width):
                value = x[plane, row, col]
                found += value != value
                level = np.rint(value / scale) + zero
                out[top + row, left + col] = np.int32(min(max(level, np.float32(0)), highest))
        bad += found
    return bad


@njit(parallel=True, cache=True, nogil=True)
def _scale(codes, constants, y):
    images, out, pixels = y.shape
    for place in prange(images * out):
        image, channel = place // out, place % out
        step, subtract, factor, bias = constants[:, channel]
        for pixel in range(pixels):
            y[image, channel, pixel] = (
                step * codes[channel, image * pixels + pixel] - subtract
            ) * factor + bias
