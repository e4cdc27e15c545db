"""The integer matrix product: what lossless ADCs and ideal cells give, without simulating them."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Int
from torch import Tensor

from cimlab.analog.patches import Patches
from cimlab.analog.program import ArrayProgram

BLOCK = 4096
"""Products a matrix product: a few MB of im2col matrix, which stays in the cache."""


def exact(patches: Patches, program: ArrayProgram) -> Int[Tensor, "groups cols products"]:
    """x @ (w + bias of the encoding), in float32 where all sums stay below 2^24 and float64 otherwise."""
    sliced, geometry = program.sliced, program.sliced.geometry
    stored = sliced.weights + sliced.bias * sliced.driven
    bound = int(stored.abs().sum(1).max()) * (2**geometry.input_bits - 1)
    number = torch.float32 if bound < 2**24 else torch.float64
    matrices = stored.to(number)
    products = len(patches.base)
    total = torch.empty(*matrices.shape[::2], products, dtype=torch.int64)
    for group, matrix in enumerate(matrices):
        for start in range(0, products, BLOCK):
            block = slice(start, start + BLOCK)
            part = replace(patches, base=patches.base[block])
            total[group, :, block] = (part.matrix(group).to(number) @ matrix).T
    return total
