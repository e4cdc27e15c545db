"""The GPU backend: one Triton kernel from integer inputs to shifted and added codes.

A work item is up to 16 converted columns of one row group; pruned units make no items. Its wordlines are the
inner dimension of one tensor-core product of 16-bit floats, summed in float32, which is exact: digits are small
integers, and cells are integers or come as two halves whose sums stay on the grid of `Device.cells`. Noise,
ADC and shift-and-add follow in registers. Partial sums and codes never reach memory; what does is one integer
a row group, column and product, added to the output atomically, whose order can't show.

Checked against `reference` in Triton's interpreter (TRITON_INTERPRET=1) only. It has not run on a device yet,
and nothing is known of its speed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language
from jaxtyping import Int
from torch import Tensor

from cimlab.analog import noise
from cimlab.analog.patches import Patches
from cimlab.analog.program import ArrayProgram

tl: Any = triton.language
jit: Any = triton.jit
"""Untyped, because a kernel's values are neither what its annotations nor what Python's operators say."""

ENTRIES = 16
"""Columns of a work item: the smallest tile of a tensor core, so that pruned row groups fill it best."""

MOST_ROWS = 128
"""Wordlines of a row group whose inputs one thread block holds in registers."""

EXACT_DIGIT_BITS = 5
"""Squares of digits, the power of read noise, are exact in 16-bit floats up to 2^11."""


@dataclass(frozen=True, eq=False)
class TensorCoreProgram:
    """An ArrayProgram as work items on a device.

    Args:
        program: what is computed.
        place: [item, 4] group, first row, rows, and nothing (alignment).
        column: [item, entry] row of the output that an entry adds to, -1 where there is none.
        cells: [item, half, physical, entry, row] float16; one half where cells are integers.
        driven: [item, entry, row] float16, 1 where a wordline is on; empty without noise.
        scale, offset: [item, physical, entry] ADC constants.
        seeds: [item, physical, cycle] noise streams; empty without noise.
        coefficients: [physical].
        quantiles: of the normal distribution.
    """

    program: ArrayProgram
    place: Tensor
    column: Tensor
    cells: Tensor
    driven: Tensor
    scale: Tensor
    offset: Tensor
    seeds: Tensor
    coefficients: Tensor
    quantiles: Tensor


def supports(program: ArrayProgram) -> bool:
    """Row groups fit a thread block, and results 31 bits."""
    sliced, geometry = program.sliced, program.sliced.geometry
    result = sliced.row_groups * program.converter.top * 2 ** (geometry.input_bits + geometry.weight_bits)
    rows = int(torch.bincount(sliced.row_group_of).max())
    quiet = not program.noise_levels or geometry.dac_bits <= EXACT_DIGIT_BITS
    return rows <= MOST_ROWS and result < 2**31 and quiet


def lay_out(program: ArrayProgram, device: torch.device) -> TensorCoreProgram:
    """Cut the converted columns of every row group into work items, on the device."""
    sliced = program.sliced
    groups, row_groups, cols = sliced.converted.shape
    rows_of = torch.bincount(sliced.row_group_of)
    starts = rows_of.cumsum(0) - rows_of
    depth = max(16, 1 << (int(rows_of.max()) - 1).bit_length())
    items = [
        (group, row_group, chosen)
        for group in range(groups)
        for row_group in range(row_groups)
        for chosen in sliced.converted[group, row_group].nonzero()[:, 0].split(ENTRIES)
        if len(chosen)
    ]
    physical = len(sliced.coefficients)
    halves = _halves(program.values())
    place = torch.zeros(len(items), 4, dtype=torch.int32)
    column = torch.full((len(items), ENTRIES), -1, dtype=torch.int32)
    cells = torch.zeros(len(items), len(halves), physical, ENTRIES, depth, dtype=torch.float16)
    noisy = bool(program.noise_levels)
    driven = torch.zeros(len(items) * noisy, ENTRIES, depth, dtype=torch.float16)
    constants = torch.zeros(2, len(items), physical, ENTRIES)
    full = (groups, row_groups, physical, cols)
    adcs = torch.stack([t.expand(full) for t in (program.converter.scale, program.converter.offset)])
    for item, (group, row_group, chosen) in enumerate(items):
        first, rows, width = int(starts[row_group]), int(rows_of[row_group]), len(chosen)
        own = slice(first, first + rows)
        place[item, :3] = torch.tensor([group, first, rows])
        column[item, :width] = group * cols + chosen
        for half, values in enumerate(halves):
            cells[item, half, :, :width, :rows] = values[group, :, own][..., chosen].transpose(1, 2)
        constants[:, item, :, :width] = adcs[:, group, row_group][..., chosen]
        if noisy:
            driven[item, :width, :rows] = sliced.driven[group, own][:, chosen].T
    of_item = torch.tensor([item[:2] for item in items if noisy], dtype=torch.int64).reshape(-1, 2, 1, 1)
    reads = torch.arange(physical)[:, None], torch.arange(sliced.geometry.input_cycles)
    unsigned = noise.streams(program.noise_seed, of_item[:, 0], of_item[:, 1], *reads)
    seeds = (unsigned - (unsigned >> 31 << 32)).to(torch.int32)
    coefficients = torch.tensor(sliced.coefficients, dtype=torch.int32)
    quantiles = torch.from_numpy(noise.normal_quantiles())
    parts = (place, column, cells, driven, *constants, seeds, coefficients, quantiles)
    return TensorCoreProgram(program, *(part.to(device).contiguous() for part in parts))


def _halves(values: Tensor) -> list[Tensor]:
    """Values as a sum of 16-bit floats, exactly: one for integers up to 2^11, two on the grid of `Device.cells`."""
    high = values.half()
    low = (values - high.float()).half()
    assert torch.equal(high.float() + low.float(), values), "cells finer than their grid"
    return [high, low] if low.any() else [high]


def tensor_core(patches: Patches, layout: TensorCoreProgram) -> Int[Tensor, "groups cols products"]:
    """Shifted and added codes, equal to `reference` bit for bit."""
    program, sliced = layout.program, layout.program.sliced
    groups, _, cols = sliced.converted.shape
    products = len(patches.base)
    total = torch.zeros(groups, cols, products, dtype=torch.int32, device=patches.values.device)
    if not len(layout.place) or not products:
        return total
    offset = patches.offset.contiguous()
    depth = layout.cells.shape[-1]
    tile = 64 if depth > 32 else 128
    _convert[len(layout.place), -(-products // tile)](
        patches.values, patches.base, offset, layout.place, layout.column, layout.cells, layout.driven,
        layout.scale, layout.offset, layout.seeds, layout.coefficients, layout.quantiles, total,
        products, offset.shape[1], patches.first, program.noise_levels, float(program.converter.top),
        CYCLES=sliced.geometry.input_cycles,
        DAC=sliced.geometry.dac_bits,
        PHYSICAL=len(sliced.coefficients),
        HALVES=layout.cells.shape[1],
        COLUMNS=cols,
        NOISE=bool(program.noise_levels),
        TABLE_SHIFT=32 - noise.TABLE_BITS,
        DEPTH=depth,
        WIDTH=ENTRIES,
        TILE=tile,
        enable_fp_fusion=False,
    )  # fmt: skip
    return total


@jit
def _mixed(h):
    """`noise.mixed` on unsigned 32-bit numbers, which wrap by themselves."""
    h = (h ^ (h >> 16)) * tl.full([], 0x7FEB352D, tl.uint32)
    h = (h ^ (h >> 15)) * tl.full([], 0x846CA68B, tl.uint32)
    return h ^ (h >> 16)


@jit
def _convert(
    values, base, offset, place, column, cells, driven, scale, shift, seeds, coefficients, quantiles, total,
    products, rows_of_group, first, noise_levels, top,
    CYCLES: tl.constexpr, DAC: tl.constexpr, PHYSICAL: tl.constexpr, HALVES: tl.constexpr,
    COLUMNS: tl.constexpr, NOISE: tl.constexpr, TABLE_SHIFT: tl.constexpr,
    DEPTH: tl.constexpr, WIDTH: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """One work item for a tile of products. Multiply, add, clip, truncate unfused, as the Converter says."""
    item = tl.program_id(0).to(tl.int64)
    product = tl.program_id(1) * TILE + tl.arange(0, TILE)
    row, entry = tl.arange(0, DEPTH), tl.arange(0, WIDTH)
    group = tl.load(place + item * 4)
    start = group * rows_of_group + tl.load(place + item * 4 + 1)
    within, there = product < products, row < tl.load(place + item * 4 + 2)
    source = tl.load(offset + start + row, mask=there, other=0)
    patch = tl.load(base + product, mask=within, other=0)
    filled = there[:, None] & within[None, :]
    inputs = tl.load(values + source[:, None] + patch[None, :], mask=filled, other=0)
    out = tl.load(column + item * WIDTH + entry)
    tile = entry[:, None] * DEPTH + row[None, :]
    sum_of_codes = tl.zeros((WIDTH, TILE), tl.int32)
    for cycle in range(CYCLES):
        digits = ((inputs >> (cycle * DAC)) & ((1 << DAC) - 1)).to(tl.float16)
        if NOISE:
            on = tl.load(driven + item * (WIDTH * DEPTH) + tile)
            deviation = tl.sqrt_rn(tl.dot(on, digits * digits)) * noise_levels
        for j in tl.static_range(PHYSICAL):
            sums = tl.dot(tl.load(cells + ((item * HALVES) * PHYSICAL + j) * (WIDTH * DEPTH) + tile), digits)
            if HALVES == 2:
                rest = tl.load(cells + ((item * HALVES + 1) * PHYSICAL + j) * (WIDTH * DEPTH) + tile)
                sums = tl.dot(rest, digits, sums)
            if NOISE:
                seed = tl.load(seeds + (item * PHYSICAL + j) * CYCLES + cycle).to(tl.uint32, bitcast=True)
                state = _mixed((product + first).to(tl.uint32) + seed)[None, :]
                key = (out % COLUMNS).to(tl.uint32) * tl.full([], 0x9E3779B1, tl.uint32)
                drawn = tl.load(quantiles + (_mixed(state ^ key[:, None]) >> TABLE_SHIFT))
                sums += deviation * drawn
            gain = tl.load(scale + (item * PHYSICAL + j) * WIDTH + entry)[:, None]
            half = tl.load(shift + (item * PHYSICAL + j) * WIDTH + entry)[:, None]
            code = tl.minimum(tl.maximum(sums * gain + half, 0.0), top).to(tl.int32)
            sum_of_codes += (tl.load(coefficients + j) << (cycle * DAC)) * code
    kept = (out >= 0)[:, None] & within[None, :]
    tl.atomic_add(
        total + out.to(tl.int64)[:, None] * products + product[None, :],
        sum_of_codes,
        mask=kept,
        sem="relaxed",
    )
