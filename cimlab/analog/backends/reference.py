"""The obviously right backend: one matrix product and one conversion at a time, in plain PyTorch."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from cimlab.analog import noise
from cimlab.analog.patches import Patches
from cimlab.analog.program import ArrayProgram, partial_sums


def reference(patches: Patches, program: ArrayProgram) -> Int[Tensor, "groups cols products"]:
    """Shifted and added codes, sum_g sum_t sum_s 2^(t dac_bits) coefficient_s code."""
    sliced, converter = program.sliced, program.converter
    dac = sliced.geometry.dac_bits
    groups, _, cols = sliced.converted.shape
    products = len(patches.base)
    total = torch.zeros(groups, products, cols, dtype=torch.int64)
    scale, offset = (
        t.expand(groups, sliced.row_groups, len(sliced.coefficients), cols)
        for t in (converter.scale, converter.offset)
    )
    for group, row_group, physical, cycle, sums in partial_sums(patches, program):
        if program.noise_levels:
            rows = sliced.row_group_of == row_group
            digits = patches.matrix(group)[:, rows] >> (cycle * dac) & (2**dac - 1)
            power = digits.double().square() @ sliced.driven[group, rows].double()
            seed = noise.stream(program.noise_seed, group, row_group, physical, cycle)
            drawn = noise.normal(seed, patches.first, products, torch.arange(cols))
            sums = sums + power.float().sqrt() * program.noise_levels * drawn
        place = group, row_group, physical
        codes = converter.codes(sums, scale[place], offset[place]).long()
        shifted = codes * (sliced.coefficients[physical] << (cycle * dac))
        total[group] += shifted * sliced.converted[group, row_group]
    return total.transpose(1, 2)
