"""The fast CPU backend for integer cells: bit-packed inputs and cells, AND + popcount, ADC and shift-add fused.

Input vectors go through in blocks of 32. A block's im2col rows are gathered and transposed to bit planes of
16 wordlines a word (some ten KB, which stay in the first-level cache), then every kept physical column of every
row group runs over them in `microkernel`. Skipped columns cost nothing: each row group lists those it converts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from numba import njit, prange
from torch import Tensor

from cimlab.analog.adcs.base import Converter
from cimlab.analog.backends.microkernel import (
    LANE_ROWS,
    LANES,
    address,
    convert_narrow,
    convert_wide,
    store_sums,
    transpose_bits,
)
from cimlab.analog.patches import Patches
from cimlab.analog.program import ArrayProgram
from cimlab.analog.slicing import SlicedMatrix
from cimlab.analog.threads import follow_torch

CHUNK = 8
"""Blocks that one thread takes at a time."""


@dataclass(frozen=True, eq=False)
class PackedProgram:
    """An ArrayProgram in the kernel's layout, one group a list entry.

    Args:
        shape: tuples whose lengths are input cycles, bits per cycle and bits per cell: constants to the compiler.
        word_start: first word (of up to 16 wordlines) of each row group.
        row_start: first row of each word.
        entry_start: by group, where each row group's converted columns begin in `column`.
        column: by group, converted columns, row group by row group.
        bits: by group, cell bits of each entry as [physical, cell bit, word], every 16 bits twice.
        bits_start: by group, where each entry's bits begin.
        scale, offset: by group, float32 ADC constants of [entry, physical].
        fixed: (factor, offset, shift) of the ADC in 16-bit integers, or None.
    """

    program: ArrayProgram
    shape: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    word_start: np.ndarray
    row_start: np.ndarray
    entry_start: list[np.ndarray]
    column: list[np.ndarray]
    bits: list[np.ndarray]
    bits_start: list[np.ndarray]
    scale: list[np.ndarray]
    offset: list[np.ndarray]
    fixed: tuple[int, int, int] | None


def supports(program: ArrayProgram) -> bool:
    """Cells are integers, and partial sums and results fit 16 and 31 bits."""
    geometry = program.sliced.geometry
    code = min(program.converter.top, program.sliced.largest_sum)
    result = program.sliced.row_groups * code * 2 ** (geometry.input_bits + geometry.weight_bits)
    return (
        program.cells is None
        and not program.noise_levels
        and program.sliced.largest_sum < 2**16
        and result < 2**31
    )


def pack(program: ArrayProgram) -> PackedProgram:
    """Lay the cells out for the kernel."""
    sliced, geometry = program.sliced, program.sliced.geometry
    group_of = sliced.row_group_of.numpy()
    starts = np.flatnonzero(np.diff(group_of, prepend=-1))
    ends = np.append(starts[1:], len(group_of))
    words = -(-(ends - starts) // LANE_ROWS)
    word_start = np.append(0, np.cumsum(words))
    first_rows = [np.arange(s, e, LANE_ROWS) for s, e in zip(starts, ends, strict=True)]
    row_start = np.append(np.concatenate(first_rows), len(group_of))
    planes = _cell_planes(sliced, row_start)
    parts: list[list[np.ndarray]] = [[] for _ in range(6)]
    for group in range(len(planes)):
        for part, layout in zip(parts, _entries(planes[group], program, group, word_start), strict=True):
            part.append(layout)
    shape = (0,) * geometry.input_cycles, (0,) * geometry.dac_bits, (0,) * geometry.cell_bits
    fixed = fixed_point(program.converter, sliced)
    return PackedProgram(program, shape, word_start, row_start, *parts, fixed)


def _cell_planes(sliced: SlicedMatrix, row_start: np.ndarray) -> np.ndarray:
    """Bit planes of the cells, 16 wordlines a word: [group, col, physical, cell bit, word], uint32 held twice."""
    groups, physical, _, cols = sliced.levels.shape
    planes = np.empty((groups, cols, physical, sliced.geometry.cell_bits, len(row_start) - 1), np.uint32)
    for group in range(groups):
        _fill_planes(sliced.levels[group].numpy(), row_start, planes[group])
    return planes


@njit(cache=True)
def _fill_planes(levels: np.ndarray, row_start: np.ndarray, planes: np.ndarray) -> None:
    """Planes [col, physical, cell bit, word] of one group's levels [physical, row, col]; rows are read in order."""
    words = np.empty(levels.shape[2], np.uint32)
    for physical in range(levels.shape[0]):
        for word in range(planes.shape[3]):
            for bit in range(planes.shape[2]):
                words[:] = 0
                for row in range(row_start[word], row_start[word + 1]):
                    place = np.uint32(row - row_start[word])
                    for col in range(len(words)):
                        on = np.uint32(levels[physical, row, col] >> np.uint8(bit)) & np.uint32(1)
                        words[col] |= on << place
                for col in range(len(words)):
                    planes[col, physical, bit, word] = words[col] | words[col] << np.uint32(16)


def _entries(
    planes: np.ndarray, program: ArrayProgram, group: int, word_start: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Converted columns of one group, and their bits and ADC constants, row group by row group."""
    sliced, converter = program.sliced, program.converter
    row_group, column = (t.numpy() for t in sliced.converted[group].nonzero(as_tuple=True))
    entry_start = np.searchsorted(row_group, np.arange(sliced.row_groups + 1))
    bits = [
        planes[c, :, :, word_start[r] : word_start[r + 1]].ravel()
        for r, c in zip(row_group, column, strict=True)
    ]
    bits_start = np.append(0, np.cumsum([len(b) for b in bits])).astype(np.int64)
    full = (*sliced.converted.shape[:2], len(sliced.coefficients), sliced.converted.shape[2])
    scale, offset = (
        t.expand(full)[group].permute(0, 2, 1).numpy()[row_group, column]
        for t in (converter.scale, converter.offset)
    )
    flat = np.concatenate(bits) if bits else np.zeros(0, np.uint32)
    return entry_start, column, flat, bits_start, np.ascontiguousarray(scale), np.ascontiguousarray(offset)


def fixed_point(converter: Converter, sliced: SlicedMatrix) -> tuple[int, int, int] | None:
    """(factor, offset, shift) with code = min((S factor + offset) >> shift, top) for every possible S, all in 16 bits.

    For a given factor and shift, each S with its code bounds the offset from both sides. None where no offset
    is left, where ADCs differ, or where sums of codes need more than 16 bits.
    """
    if not converter.uniform or converter.top >= 2**16:
        return None
    geometry = sliced.geometry
    sums = torch.arange(sliced.largest_sum + 1)
    codes = converter.codes(sums, converter.scale, converter.offset).long().numpy()
    cycles = sum(2 ** (t * geometry.dac_bits) for t in range(geometry.input_cycles))
    if codes.max() * cycles >= 2**16:
        return None
    s = np.arange(sliced.largest_sum + 1)
    clipped = codes == converter.top
    for shift in range(15, -1, -1):
        for factor in (int(2**shift / converter.step), int(2**shift / converter.step) + 1):
            low = max(0, int((codes * 2**shift - s * factor).max()))
            above = ((codes + 1) * 2**shift - s * factor)[~clipped]
            high = 2**16 - int(s[-1]) * factor
            if len(above):
                high = min(high, int(above.min()))
            if low < high:
                return factor, low, shift
    return None


def _inputs(patches: Patches, layout: PackedProgram, group: int) -> tuple[Any, ...]:
    """What every kernel over a group begins with: its shape, its images, and where its rows and words lie."""
    return (
        *layout.shape,
        patches.values.numpy(),
        patches.base.numpy(),
        patches.offset[group].contiguous().numpy(),
        layout.word_start,
        layout.row_start,
        layout.entry_start[group],
    )


def packed(patches: Patches, layout: PackedProgram) -> Int[Tensor, "groups cols products"]:
    """Shifted and added codes, equal to `reference` bit for bit."""
    sliced = layout.program.sliced
    groups, _, cols = sliced.converted.shape
    total = torch.zeros(groups, cols, len(patches.base), dtype=torch.int32)
    follow_torch()
    coefficients = np.array(sliced.coefficients, dtype=np.int64)
    factor, start, shift = layout.fixed or (0, 0, 0)
    for group in range(groups):
        _run(
            *_inputs(patches, layout, group),
            layout.column[group],
            layout.bits[group],
            layout.bits_start[group],
            layout.scale[group],
            layout.offset[group],
            coefficients,
            layout.fixed is not None,
            factor,
            start,
            shift,
            layout.program.converter.top,
            total[group].numpy(),
        )
    return total


@njit(parallel=True, cache=True, nogil=True)
def _run(
    cycles, dac, cells, values, base, offset, word_start, row_start, entry_start, column, bits, bits_start,
    scale, shift, coefficients, narrow, factor, start, down, top, total,
):  # fmt: skip
    """All blocks of one group, CHUNK of them a task."""
    planes = len(cycles) * len(dac)
    blocks = -(-len(base) // LANES)
    for chunk in prange(-(-blocks // CHUNK)):
        inputs = np.empty(len(row_start) * planes * LANES, np.uint16)
        sums = np.empty(total.shape[0] * LANES, np.int32)
        for block in range(chunk * CHUNK, min(blocks, (chunk + 1) * CHUNK)):
            first = block * LANES
            filled = min(LANES, len(base) - first)
            _pack_inputs(
                cycles,
                dac,
                values,
                base[first : first + filled],
                offset,
                word_start,
                row_start,
                entry_start,
                inputs,
            )
            sums[:] = 0
            for g in range(len(entry_start) - 1):
                words = word_start[g + 1] - word_start[g]
                at = word_start[g] * planes * LANES
                for e in range(entry_start[g], entry_start[g + 1]):
                    out = column[e] * LANES
                    cell = bits_start[e]
                    for j in range(len(coefficients)):
                        if narrow:
                            convert_narrow(
                                cycles, dac, cells, address(inputs, at), address(bits, cell), words,
                                factor, start, down, top, address(sums, out), coefficients[j],
                            )  # fmt: skip
                        else:
                            convert_wide(
                                cycles, dac, cells, address(inputs, at), address(bits, cell), words,
                                scale[e, j], shift[e, j], np.float32(top), address(sums, out), coefficients[j],
                            )  # fmt: skip
                        cell += len(cells) * words
            for c in range(total.shape[0]):
                for lane in range(filled):
                    total[c, first + lane] = sums[c * LANES + lane]


def packed_histogram(patches: Patches, layout: PackedProgram) -> Int[Tensor, " sums"]:
    """How often each partial sum is converted, equal to `partial_sum_histogram`."""
    histogram = torch.zeros(layout.program.sliced.largest_sum + 1, dtype=torch.int64)
    follow_torch()
    for group in range(len(layout.column)):
        histogram += torch.from_numpy(
            _count(
                *_inputs(patches, layout, group),
                layout.bits[group],
                layout.bits_start[group],
                len(layout.program.sliced.coefficients),
                len(histogram),
            )
        )
    return histogram


@njit(parallel=True, cache=True, nogil=True)
def _count(
    cycles, dac, cells, values, base, offset, word_start, row_start, entry_start, bits, bits_start, physical, size
):  # fmt: skip
    """The histogram of one group, a block a task; neighbouring lanes count apart, so that equal sums don't wait."""
    planes = len(cycles) * len(dac)
    blocks = -(-len(base) // LANES)
    counts = np.zeros((blocks, 4, size), np.int64)
    for block in prange(blocks):
        inputs = np.empty(len(row_start) * planes * LANES, np.uint16)
        sums = np.empty(len(cycles) * LANES, np.uint16)
        own = base[block * LANES : (block + 1) * LANES]
        _pack_inputs(cycles, dac, values, own, offset, word_start, row_start, entry_start, inputs)
        for g in range(len(entry_start) - 1):
            words = word_start[g + 1] - word_start[g]
            at = word_start[g] * planes * LANES
            for e in range(entry_start[g], entry_start[g + 1]):
                for j in range(physical):
                    cell = bits_start[e] + j * len(cells) * words
                    store_sums(
                        cycles, dac, cells, address(inputs, at), address(bits, cell), words, address(sums, 0)
                    )
                    for cycle in range(len(cycles)):
                        for lane in range(len(own)):
                            counts[block, lane & 3, sums[cycle * LANES + lane]] += 1
    return counts.sum(0).sum(0)


@njit(cache=True, nogil=True)
def _runs(base, run_start):
    """Lanes at which a stretch of neighbouring pixels begins; their number. Stretches are gathered as one copy."""
    runs = 0
    for lane in range(len(base)):
        if lane == 0 or base[lane] != base[lane - 1] + 1:
            run_start[runs] = lane
            runs += 1
    run_start[runs] = len(base)
    return runs


@njit(cache=True, nogil=True)
def _pack_inputs(cycles, dac, values, base, offset, word_start, row_start, entry_start, inputs):
    """Gather a block's rows and transpose them: inputs[row group][plane, word, lane], a bit a wordline."""
    planes = len(cycles) * len(dac)
    gathered = np.zeros(LANE_ROWS * LANES, np.uint16)
    run_start = np.empty(LANES + 1, np.int64)
    runs = _runs(base, run_start)
    for g in range(len(entry_start) - 1):
        if entry_start[g] == entry_start[g + 1]:
            continue
        words = word_start[g + 1] - word_start[g]
        for w in range(words):
            first = row_start[word_start[g] + w]
            rows = row_start[word_start[g] + w + 1] - first
            for i in range(rows):
                for run in range(runs):
                    lane = run_start[run]
                    source = base[lane] + offset[first + i]
                    for step in range(run_start[run + 1] - lane):
                        gathered[np.uint64(i * LANES + lane + step)] = values[np.uint64(source + step)]
            at = (word_start[g] * planes + w) * LANES
            transpose_bits(cycles, dac, address(gathered, 0), rows, address(inputs, at), words)
