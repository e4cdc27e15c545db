"""The integer matrix product: what lossless ADCs and ideal cells give, without simulating them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import njit, prange
from torch import Tensor

from cimlab.analog.patches import Patches
from cimlab.analog.program import ArrayProgram
from cimlab.analog.threads import follow_torch

BLOCK = 1024
"""Products a matrix product: a few MB of im2col matrix, which stays in the cache."""


def exact(patches: Patches, program: ArrayProgram) -> Int[Tensor, "groups cols products"]:
    """x @ (w + bias of the encoding), in float32 where all sums stay below 2^24 and float64 otherwise."""
    sliced, geometry = program.sliced, program.sliced.geometry
    stored = sliced.weights + sliced.bias * sliced.driven
    bound = int(stored.abs().sum(1).max()) * (2**geometry.input_bits - 1)
    number = torch.float32 if bound < 2**24 else torch.float64
    where = patches.values.device
    matrices = stored.to(where, number).transpose(1, 2).contiguous()
    products = len(patches.base)
    whole = torch.int32 if bound < 2**31 else torch.int64
    total = torch.empty(*matrices.shape[:2], products, dtype=whole, device=where)
    for group, matrix in enumerate(matrices):
        for start in range(0, products, BLOCK):
            block = slice(start, start + BLOCK)
            total[group, :, block] = matrix @ gather(patches, patches.base[block], group, number)
    return total


def gather(
    patches: Patches, base: Int[Tensor, " products"], group: int, number: torch.dtype
) -> Float[Tensor, "rows products"]:
    """The transposed im2col matrix of some products of a group."""
    if patches.values.is_cuda:
        return replace(patches, base=base).matrix(group).T.to(number)
    offset = patches.offset[group].contiguous()
    rows = torch.empty(len(offset), len(base), dtype=number)
    follow_torch()
    _gather(patches.values.numpy(), base.numpy(), offset.numpy(), rows.numpy())
    return rows


@njit(parallel=True, cache=True, nogil=True)
def _gather(values, base, offset, out):
    """Row by row, stretches of neighbouring pixels as one copy."""
    start = np.append(np.append(0, np.flatnonzero(np.diff(base) != 1) + 1), len(base))
    for row in prange(len(offset)):
        for run in range(len(start) - 1):
            first, source = start[run], base[start[run]] + offset[row]
            for step in range(start[run + 1] - first):
                out[row, np.uint64(first + step)] = values[np.uint64(source + step)]
