"""What the digital periphery does around the arrays, one pass over memory each: quantise and pad, scale and add."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import njit, prange
from torch import Tensor

from cimlab.analog.quantise import InputQuantiser
from cimlab.analog.threads import follow_torch

Padding = tuple[int, int, int, int]
"""Pixels left, right, above, below."""


def quantise_padded(
    x: Float[Tensor, "planes height width"], quantiser: InputQuantiser, padding: Padding
) -> tuple[Int[Tensor, "planes padded_height padded_width"], bool]:
    """`quantiser` with the integer of real zero around every plane; and whether there was anything not a number."""
    if x.is_cuda:
        return quantise_on_device(x, quantiser, padding)
    left, right, top, bottom = padding
    planes, height, width = x.shape
    q = torch.empty(planes, height + top + bottom, width + left + right, dtype=torch.int32)
    scale, highest = np.float32(quantiser.scale), np.float32(2**quantiser.bits - 1)
    follow_torch()
    nan = _quantise(x.numpy(), scale, np.float32(quantiser.zero), highest, top, left, q.numpy())
    return q, bool(nan)


def scale_and_add(
    codes: Int[Tensor, "out products"],
    step: float,
    subtract: Float[Tensor, " out"],
    factor: Float[Tensor, " out"],
    bias: Float[Tensor, " out"],
    y: Float[Tensor, "images out pixels"],
) -> None:
    """y = (step codes - subtract) factor + bias, in float64 until it is stored."""
    if y.is_cuda:
        y.copy_(scaled_on_device(codes, step, subtract, factor, bias, y))
        return
    constants = (t.double().numpy() for t in (subtract, factor, bias))
    follow_torch()
    _scale(codes.numpy(), step, *constants, y.numpy())


def quantise_on_device(
    x: Float[Tensor, "planes height width"], quantiser: InputQuantiser, padding: Padding
) -> tuple[Int[Tensor, "planes padded_height padded_width"], bool]:
    """`quantise_padded` in torch operations, bit for bit; a device divides by a tensor, not by its reciprocal."""
    levels = (x / x.new_tensor(quantiser.scale)).round().add(quantiser.zero)
    q = levels.clamp(0, 2**quantiser.bits - 1).to(torch.int32)
    return torch.nn.functional.pad(q, padding, value=quantiser.zero), bool(x.isnan().any())


def scaled_on_device(
    codes: Int[Tensor, "out products"],
    step: float,
    subtract: Float[Tensor, " out"] | Float[Tensor, "out products"],
    factor: Float[Tensor, " out"],
    bias: Float[Tensor, " out"],
    y: Float[Tensor, "images out pixels"],
) -> Float[Tensor, "images out pixels"]:
    """What `scale_and_add` writes into `y`, in torch operations, float64, bit for bit; products may differ."""
    constants = (t.to(y.device).double().reshape(len(codes), -1) for t in (subtract, factor, bias))
    less, times, plus = constants
    real = (step * codes.double() - less) * times + plus
    return real.unflatten(1, y.shape[::2]).transpose(0, 1)


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
def _scale(codes, step, subtract, factor, bias, y):
    images, out, pixels = y.shape
    for place in prange(images * out):
        image, channel = place // out, place % out
        for pixel in range(pixels):
            level = step * codes[channel, image * pixels + pixel] - subtract[channel]
            y[image, channel, pixel] = level * factor[channel] + bias[channel]
