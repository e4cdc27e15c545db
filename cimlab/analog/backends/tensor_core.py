"""The GPU backend: one Triton kernel from integer inputs to shifted and added codes.

A work item is the converted columns of one row group that fill the lanes of one tensor-core product: every physical
column of a logical one has its lane, and pruned units make no items. The wordlines are the product's inner dimension,
in 16-bit floats summed in float32, which is exact: digits are small integers, and cells are integers or come as two
halves whose sums stay on the grid of `Device.cells`. Noise, ADC and shift-and-add follow in registers. Partial sums
and codes never reach memory; what does is one integer a row group, column and product, added to the output
atomically, whose order can't show. Ideal cells and ADCs that are all alike take a shorter way, see `Shortcut`.
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

LANES = 128
"""Physical columns of a work item: two of the tensor core's tiles of 64."""

TILE, WARPS = 32, 8
"""Products of a thread block, and its warps: of 32 and 64 by 4 and 8, the fastest for ResNet-18 on an H200."""

NEXT_CYCLE_AT = 10
"""Bits of a partial sum below that of the next input cycle, where two share a product."""

FIRST, SECOND, GOLDEN = map(tl.constexpr, (noise.FIRST, noise.SECOND, noise.GOLDEN))
"""Of the noise's hash."""

ROUNDING = tl.constexpr(1.5 * 2**23)
"""Added, it leaves the nearest integer in the last bits of a float32, whose spacing is 1 there."""

ROUNDING_ERROR = 1e-4
"""More than float32 arithmetic can be off for codes below 2^10."""

ROUNDING_BITS = 0x4B400000
"""That number's own bits."""

MOST_ROWS = 128
"""Wordlines of a row group whose inputs one thread block holds in registers."""

EXACT_DIGIT_BITS = 5
"""Squares of digits, the power of read noise, are exact in 16-bit floats up to 2^11."""


@dataclass(frozen=True)
class Shortcut:
    """Fewer operations a conversion, for integer cells, 1-bit inputs and ADCs that are all alike.

    Two input cycles share a product: digits are b_t + 2^10 b_(t+1), as bits of a 16-bit float below 2^11, which stand
    for themselves times 2^-24, and their sums are told apart exactly. A code is the nearest integer to
    `gain` sum + `half`, read off the last bits of a float32. It is checked for every sum that the cells can give that
    this is the Converter's code.

    Args:
        gain, half: of all ADCs, `half` without the Converter's 1/2, for that is in the rounding, and clear of ties.
        clips: some sums exceed the highest code.
    """

    gain: float
    half: float
    clips: bool


@dataclass(frozen=True, eq=False)
class TensorCoreProgram:
    """An ArrayProgram as work items on a device. Lane = entry * planes + physical, planes a power of two.

    Args:
        program: what is computed.
        place: [item, 4] group, first row, rows, and nothing (alignment).
        column: [item, entry] row of the output that an entry adds to, -1 where there is none.
        cells: [item, half, lane, row] float16; one half where cells are integers.
        driven: [item, entry, row] float16, 1 where a wordline is on; empty without noise.
        scale, offset: [item, lane] ADC constants.
        seeds: [item, physical, cycle] noise streams; empty without noise.
        coefficients: [lane], 0 where there is no physical column.
        quantiles: of the normal distribution.
        shortcut: None where the arithmetic must be the Converter's own.
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
    shortcut: Shortcut | None


def supports(program: ArrayProgram) -> bool:
    """Row groups fit a thread block, and results 31 bits."""
    sliced, geometry = program.sliced, program.sliced.geometry
    result = sliced.row_groups * program.converter.top * 2 ** (geometry.input_bits + geometry.weight_bits)
    rows = int(torch.bincount(sliced.row_group_of).max())
    quiet = not program.noise_levels or geometry.dac_bits <= EXACT_DIGIT_BITS
    return rows <= MOST_ROWS and result < 2**31 and quiet


def lay_out(program: ArrayProgram, device: torch.device) -> TensorCoreProgram:
    """Cut the converted columns of every row group into work items, on the device."""
    sliced, geometry = program.sliced, program.sliced.geometry
    cols, physical = sliced.converted.shape[2], len(sliced.coefficients)
    planes = 1 << (physical - 1).bit_length()
    entries = LANES // planes
    rows_of = torch.bincount(sliced.row_group_of)
    starts = rows_of.cumsum(0) - rows_of
    depth = max(16, 1 << (int(rows_of.max()) - 1).bit_length())
    group, row_group, col = sliced.converted.nonzero(as_tuple=True)
    rank = sliced.converted.cumsum(2)[group, row_group, col] - 1
    items_of = -(-sliced.converted.sum(2) // entries)
    first_item = items_of.flatten().cumsum(0).view_as(items_of) - items_of
    item, entry = first_item[group, row_group] + rank // entries, rank % entries
    items = int(items_of.sum())

    place = torch.zeros(items, 4, dtype=torch.int32)
    place[item, :3] = torch.stack([group, starts[row_group], rows_of[row_group]], 1).int()
    column = torch.full((items, entries), -1, dtype=torch.int32)
    column[item, entry] = (group * cols + col).int()
    own = torch.arange(depth) < rows_of[row_group, None]
    rows = (starts[row_group, None] + torch.arange(depth)).where(own, 0)
    every = torch.arange(physical)
    whose = (group[:, None, None], every[:, None], rows[:, None], col[:, None, None])
    halves = _halves(program.values())
    cells = torch.zeros(items, len(halves), entries, planes, depth, dtype=torch.float16)
    for half, values in enumerate(halves):
        cells[item, half, entry, :physical] = (values[whose] * own[:, None]).half()
    constants = torch.zeros(2, items, entries, planes)
    full = (*sliced.converted.shape[:2], physical, cols)
    for constant, adc in zip(constants, (program.converter.scale, program.converter.offset), strict=True):
        constant[item, entry, :physical] = adc.expand(full)[group, row_group, :, col]
    noisy = bool(program.noise_levels)
    driven = torch.zeros(items * noisy, entries, depth, dtype=torch.float16)
    seeds = torch.zeros(items * noisy, physical, geometry.input_cycles, dtype=torch.int32)
    if noisy:
        driven[item, entry] = (sliced.driven[group[:, None], rows, col[:, None]] & own).half()
        unsigned = noise.streams(
            program.noise_seed, group[:, None, None], row_group[:, None, None], every[:, None],
            torch.arange(geometry.input_cycles),
        )  # fmt: skip
        seeds[item] = _signed(unsigned).to(torch.int32)
    coefficients = torch.zeros(entries, planes, dtype=torch.int32)
    coefficients[:, :physical] = torch.tensor(sliced.coefficients)
    quantiles = torch.from_numpy(noise.normal_quantiles())
    parts = (place, column, cells, driven, *constants, seeds, coefficients, quantiles)
    return TensorCoreProgram(
        program, *(part.to(device).contiguous() for part in parts), _shortcut(program, cells)
    )


def _shortcut(program: ArrayProgram, cells: Tensor) -> Shortcut | None:
    """The shortcut, where it is exact."""
    geometry, adc = program.sliced.geometry, program.converter
    bits = geometry.input_bits
    if program.cells is not None or program.noise_levels or not adc.uniform or not len(cells):
        return None
    largest = int(cells.sum(-1, dtype=torch.float32).max())
    if geometry.dac_bits > 1 or bits % 2 or bits > NEXT_CYCLE_AT or largest >= 2**NEXT_CYCLE_AT:
        return None
    sums = torch.arange(largest + 1, dtype=torch.float64)
    codes = adc.codes(sums, adc.scale, adc.offset).double()
    gain, exact = float(adc.scale), sums * float(adc.scale) + float(adc.offset)
    over = (exact - codes)[codes < adc.top]
    if not len(over):
        return None
    # between the sum that barely reaches its code and the sum that barely misses the next
    half = float(torch.tensor(float(adc.offset) - float(over.min() + over.max()) / 2, dtype=torch.float32))
    rounded = sums * gain + half
    sure = bool(((rounded - rounded.floor() - 0.5).abs() > ROUNDING_ERROR).all())
    same = bool((rounded.round().clamp(max=adc.top) == codes).all())
    return Shortcut(gain, half, float(rounded[-1].round()) > adc.top) if sure and same else None


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
    place = torch.int32 if len(patches.values) < 2**31 else torch.int64
    offset = patches.offset.to(place).contiguous()
    depth, entries = layout.cells.shape[-1], layout.column.shape[1]
    cycles, short = sliced.geometry.input_cycles, layout.shortcut
    _convert[len(layout.place), -(-products // TILE)](
        patches.values, patches.base.to(place), offset, layout.place, layout.column, layout.cells, layout.driven,
        layout.scale, layout.offset, layout.seeds, layout.coefficients, layout.quantiles, total,
        products, offset.shape[1], patches.first, program.noise_levels, float(program.converter.top),
        *((short.gain, short.half) if short else (0.0, 0.0)),
        CYCLES=cycles,
        SHORT=short is not None,
        CLIPS=short is not None and short.clips,
        BIAS=_signed((2**cycles - 1) * ROUNDING_BITS),
        NEXT_AT=NEXT_CYCLE_AT,
        DAC=sliced.geometry.dac_bits,
        PHYSICAL=len(sliced.coefficients),
        ENTRIES=entries,
        PLANES=LANES // entries,
        HALVES=layout.cells.shape[1],
        COLUMNS=cols,
        NOISE=bool(program.noise_levels),
        TABLE_SHIFT=32 - noise.TABLE_BITS,
        DEPTH=depth,
        TILE=TILE,
        num_warps=WARPS,
        enable_fp_fusion=False,
    )  # fmt: skip
    return total


def _signed(unsigned):
    """The 32-bit integer with the same bits."""
    return (unsigned & 0xFFFFFFFF) - ((unsigned >> 31 & 1) << 32)


@jit
def _mixed(h):
    """`noise.mixed` on unsigned 32-bit numbers, which wrap by themselves."""
    h = (h ^ (h >> 16)) * tl.full([], FIRST, tl.uint32)
    h = (h ^ (h >> 15)) * tl.full([], SECOND, tl.uint32)
    return h ^ (h >> 16)


@jit
def _convert(
    values, base, offset, place, column, cells, driven, scale, shift, seeds, coefficients, quantiles, total,
    products, rows_of_group, first, noise_levels, top, common_gain, common_half,
    CYCLES: tl.constexpr, DAC: tl.constexpr,
    SHORT: tl.constexpr, CLIPS: tl.constexpr, BIAS: tl.constexpr, NEXT_AT: tl.constexpr,
    PHYSICAL: tl.constexpr, ENTRIES: tl.constexpr, PLANES: tl.constexpr, HALVES: tl.constexpr,
    COLUMNS: tl.constexpr, NOISE: tl.constexpr, TABLE_SHIFT: tl.constexpr,
    DEPTH: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """One work item for a tile of products."""
    LANES: tl.constexpr = ENTRIES * PLANES
    item = tl.program_id(0).to(tl.int64)
    product = tl.program_id(1) * TILE + tl.arange(0, TILE)
    row, lane, entry = tl.arange(0, DEPTH), tl.arange(0, LANES), tl.arange(0, ENTRIES)
    group = tl.load(place + item * 4)
    start = group * rows_of_group + tl.load(place + item * 4 + 1)
    within, there = product < products, row < tl.load(place + item * 4 + 2)
    source = tl.load(offset + start + row, mask=there, other=0)
    patch = tl.load(base + product, mask=within, other=0)
    filled = there[:, None] & within[None, :]
    inputs = tl.load(values + (source[:, None] + patch[None, :]), mask=filled, other=0).to(tl.int32)
    tile = lane[:, None] * DEPTH + row[None, :]
    high = tl.load(cells + item * (HALVES * LANES * DEPTH) + tile)
    sum_of_codes = tl.zeros((LANES, TILE), tl.int32)
    if SHORT:
        both = inputs | (inputs << (NEXT_AT - 1))
        for done in range(0, CYCLES, 2):
            cycle = CYCLES - 2 - done
            digits = ((both >> cycle) & (1 + (1 << NEXT_AT))).to(tl.int16).to(tl.float16, bitcast=True)
            sums = tl.dot(high, digits)
            # the floor of sums / 2^10, in whole levels: half a level less nearly half of 2^10 of them, then rounded
            next_sums = tl.fma(sums, 2.0 ** (24 - NEXT_AT), 0.5 / (1 << NEXT_AT) - 0.5) + ROUNDING - ROUNDING
            sums = tl.fma(next_sums, -(2.0 ** (NEXT_AT - 24)), sums)
            codes = tl.fma(sums, common_gain * 2.0**24, common_half) + ROUNDING
            next_codes = tl.fma(next_sums, common_gain, common_half) + ROUNDING
            if CLIPS:
                codes = tl.minimum(codes, top + ROUNDING)
                next_codes = tl.minimum(next_codes, top + ROUNDING)
            both_codes = codes.to(tl.int32, bitcast=True) + next_codes.to(tl.int32, bitcast=True) * 2
            sum_of_codes = sum_of_codes * 4 + both_codes
        sum_of_codes -= BIAS
    else:
        gain = tl.load(scale + item * LANES + lane)[:, None]
        half = tl.load(shift + item * LANES + lane)[:, None]
        if HALVES == 2:
            low = tl.load(cells + item * (HALVES * LANES * DEPTH) + LANES * DEPTH + tile)
        if NOISE:
            own = item * ENTRIES + lane // PLANES
            on = tl.load(driven + own[:, None] * DEPTH + row[None, :])
            key = (tl.load(column + own) % COLUMNS).to(tl.uint32) * tl.full([], GOLDEN, tl.uint32)
            read = seeds + (item * PHYSICAL + lane % PLANES) * CYCLES
        for cycle in range(CYCLES):
            digits = ((inputs >> (cycle * DAC)) & ((1 << DAC) - 1)).to(tl.float16)
            sums = tl.dot(high, digits)
            if HALVES == 2:
                sums = tl.dot(low, digits, sums)
            if NOISE:
                deviation = tl.sqrt_rn(tl.dot(on, digits * digits)) * noise_levels
                seed = tl.load(read + cycle, mask=lane % PLANES < PHYSICAL, other=0).to(
                    tl.uint32, bitcast=True
                )
                state = _mixed((product + first).to(tl.uint32)[None, :] + seed[:, None])
                sums += deviation * tl.load(quantiles + (_mixed(state ^ key[:, None]) >> TABLE_SHIFT))
            # unfused, as the Converter says
            codes = tl.minimum(tl.maximum(sums * gain + half, 0.0), top).to(tl.int32)
            sum_of_codes += codes << (cycle * DAC)
    weighed = sum_of_codes * tl.load(coefficients + lane)[:, None]
    added = tl.sum(tl.reshape(weighed, (ENTRIES, PLANES, TILE)), 1)
    out = tl.load(column + item * ENTRIES + entry)
    kept = (out >= 0)[:, None] & within[None, :]
    tl.atomic_add(
        total + out.to(tl.int64)[:, None] * products + product[None, :], added, mask=kept, sem="relaxed"
    )
