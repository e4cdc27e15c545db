"""The fast CPU backend for real cell values: partial sums by table look-up in float32, ADC fused.

Wordlines are taken four at a time: what the cells of 16 physical columns add up to for each of the 16 patterns of four
input bits is a table of 1 KB, made once for a batch of input vectors, and every partial sum is then one vector addition
for four wordlines of 16 columns. Columns that are never converted cost nothing. `Device.cells` puts values on a grid on
which float32 sums are exact, so that the order of addition doesn't show.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from numba import njit, prange
from torch import Tensor

from cimlab.analog import noise
from cimlab.analog.backends.microkernel import SUM_LANES, address, convert_sums, sum_cells
from cimlab.analog.patches import Patches
from cimlab.analog.program import ArrayProgram
from cimlab.analog.threads import follow_torch

PRODUCTS = 128
"""Input vectors for which a table is made: making it is then some 2 % of using it."""
QUAD = 4
"""Wordlines of a table."""
BYTE = 8
FOUR, EIGHT = (0,) * 4, (0,) * BYTE
"""Input bits that are summed at once: constants to the compiler."""
SPREAD = sum(
    (np.arange(256, dtype=np.uint64) >> np.uint64(b) & np.uint64(1)) << np.uint64(8 * b) for b in range(8)
)
"""Bit b of a byte as the lowest bit of byte b."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """The converted columns of one group in blocks of SUM_LANES physical columns, row group by row group.

    The lanes of a block are columns of one slice, or of several slices where a row group converts few columns; the
    blocks of the same columns follow each other.

    Args:
        start: first block of each row group.
        ends: the block is the last one of its columns.
        cells: values as [row, lane], block by block, flat.
        cells_start: where each block's cells begin.
        driven: the same with 1 where a wordline is on, only filled where there is read noise.
        column, physical: of each block's lanes; column is -1 where a lane has none.
        coefficient: of each block's lanes in the shift-and-add, 0 of a lane that is not used.
        scale, shift: float32 ADC constants of each block's lanes.
    """

    start: np.ndarray
    ends: np.ndarray
    cells: np.ndarray
    cells_start: np.ndarray
    driven: np.ndarray
    column: np.ndarray
    physical: np.ndarray
    coefficient: np.ndarray
    scale: np.ndarray
    shift: np.ndarray


@dataclass(frozen=True, eq=False)
class ConductanceProgram:
    """An ArrayProgram in the kernel's layout.

    Args:
        row_start: first row of each row group.
        blocks: by group.
        seeds: noise stream of every (group, row group, physical column, cycle).
    """

    program: ArrayProgram
    row_start: np.ndarray
    blocks: list[Blocks]
    seeds: np.ndarray


def lay_out(program: ArrayProgram) -> ConductanceProgram:
    """Lay the cells out for the kernel."""
    sliced, geometry = program.sliced, program.sliced.geometry
    group_of = sliced.row_group_of.numpy()
    row_start = np.append(np.flatnonzero(np.diff(group_of, prepend=-1)), len(group_of))
    blocks = [_blocks(program, group, row_start) for group in range(len(sliced.converted))]
    reads = (len(sliced.converted), sliced.row_groups, len(sliced.coefficients), geometry.input_cycles)
    seeds = np.zeros(reads, np.int64)
    if program.noise_levels:
        places = torch.meshgrid(*map(torch.arange, reads), indexing="ij")
        seeds = noise.streams(program.noise_seed, *places).numpy()
    return ConductanceProgram(program, row_start, blocks, seeds)


def _lanes(columns: np.ndarray, physical: int) -> tuple[np.ndarray, ...]:
    """Columns, slices and use of the lanes of a row group's blocks, and which blocks are the last of their columns."""
    width = min(SUM_LANES, 1 << max(0, len(columns) - 1).bit_length())
    together = SUM_LANES // width
    chunks, blocks = -(-len(columns) // width), -(-physical // together)
    padded = np.full(chunks * width, -1)
    padded[: len(columns)] = columns
    column = np.tile(padded.reshape(chunks, 1, width), (1, blocks, together))
    place = np.repeat(np.arange(blocks * together), width).reshape(1, blocks, SUM_LANES)
    place = np.broadcast_to(place, column.shape)
    used = (column >= 0) & (place < physical)
    ends = np.broadcast_to(np.arange(blocks) == blocks - 1, (chunks, blocks))
    lanes = (lane.reshape(-1, SUM_LANES) for lane in (column, place % physical, used))
    return (*lanes, ends.reshape(-1))


def _blocks(program: ArrayProgram, group: int, row_start: np.ndarray) -> Blocks:
    """Converted columns of one group with their cells and ADC constants."""
    sliced, converter = program.sliced, program.converter
    values = program.values()[group].permute(1, 0, 2).numpy()  # row, physical, column
    driven = sliced.driven[group].numpy()
    full = (*sliced.converted.shape[:2], len(sliced.coefficients), sliced.converted.shape[2])
    constants = [t.expand(full)[group].numpy() for t in (converter.scale, converter.offset)]
    lanes, parts = [], [[] for _ in range(4)]
    for g in range(sliced.row_groups):
        columns = sliced.converted[group, g].numpy().nonzero()[0]
        lanes.append(_lanes(columns, len(sliced.coefficients)))
        column, physical, used, _ = lanes[-1]
        rows = slice(row_start[g], row_start[g + 1])
        cells = values[rows][:, physical, column] * used  # row, block, lane
        parts[0].append(cells.transpose(1, 0, 2).ravel())
        if program.noise_levels:
            parts[1].append((driven[rows][:, column] * used).transpose(1, 0, 2).ravel())
        for part, constant in zip(parts[2:], constants, strict=True):
            part.append(constant[g][physical, column] * used)
    column, physical, used, ends = (np.concatenate(kind) for kind in zip(*lanes, strict=True))
    count = [len(kind[0]) for kind in lanes]
    sizes = np.repeat(np.diff(row_start) * SUM_LANES, count)
    coefficient = np.array(sliced.coefficients, np.int64)[physical] * used
    flat, on, scale, shift = (
        np.concatenate(part).astype(np.float32) if part else np.zeros(0, np.float32) for part in parts
    )
    start, cells_start = np.append(0, np.cumsum(count)), np.append(0, np.cumsum(sizes))
    return Blocks(start, ends, flat, cells_start, on, column, physical, coefficient, scale, shift)


def conductance(patches: Patches, layout: ConductanceProgram) -> Int[Tensor, "groups cols products"]:
    """Shifted and added codes, equal to `reference` bit for bit."""
    program, sliced = layout.program, layout.program.sliced
    groups, _, cols = sliced.converted.shape
    total = torch.zeros(groups, cols, len(patches.base), dtype=torch.int64)
    follow_torch()
    geometry = sliced.geometry
    for group, blocks in enumerate(layout.blocks):
        _run(
            geometry.input_cycles,
            geometry.dac_bits,
            patches.values.numpy(),
            patches.base.numpy(),
            patches.offset[group].contiguous().numpy(),
            layout.row_start,
            blocks.start,
            blocks.ends,
            blocks.cells,
            blocks.cells_start,
            blocks.driven,
            blocks.column,
            blocks.physical,
            blocks.coefficient.ravel(),
            blocks.scale.ravel(),
            blocks.shift.ravel(),
            np.float32(program.converter.top),
            np.float32(program.noise_levels),
            layout.seeds[group],
            noise.normal_quantiles(),
            SPREAD,
            patches.first,
            total[group].numpy(),
        )
    return total


@njit(parallel=True, cache=True, nogil=True)
def _run(
    cycles, dac, values, base, offset, row_start, block_start, ends, cells, cells_start, driven, column, physical,
    coefficient, scale, shift, top, noise_levels, seeds, quantiles, spread, counted, total,
):  # fmt: skip
    """All products of one group, PRODUCTS of them a task."""
    words = -(-cycles * dac // BYTE)
    most = -(-np.diff(row_start).max() // QUAD)
    for chunk in prange(-(-len(base) // PRODUCTS)):
        first = chunk * PRODUCTS
        own = base[first : first + PRODUCTS]
        index = np.empty(most * words * PRODUCTS, np.uint64)
        table = np.empty(most * 16 * SUM_LANES, np.float32)
        sums = np.empty(words * BYTE * SUM_LANES, np.float32)
        power = np.empty((PRODUCTS if noise_levels else 0, cycles, SUM_LANES), np.float32)
        result = np.empty(PRODUCTS * SUM_LANES, np.int64)
        for g in range(len(row_start) - 1):
            if block_start[g] == block_start[g + 1]:
                continue
            rows = row_start[g + 1] - row_start[g]
            quads = -(-rows // QUAD)
            _gather_bits(values, own, offset[row_start[g] : row_start[g + 1]], words, spread, index)
            result[:] = 0
            for b in range(block_start[g], block_start[g + 1]):
                _tabulate(cells[cells_start[b] : cells_start[b + 1]], rows, table)
                if noise_levels:
                    _squared_inputs(
                        values, own, offset[row_start[g] : row_start[g + 1]], cycles, dac,
                        driven[cells_start[b] : cells_start[b + 1]], power,
                    )  # fmt: skip
                for product in range(len(own)):
                    for word in range(words):
                        patterns = address(index, product * quads * words + word)
                        out = address(sums, word * BYTE * SUM_LANES)
                        if cycles * dac - word * BYTE <= len(FOUR):
                            sum_cells(FOUR, address(table, 0), patterns, quads, words, out)
                        else:
                            sum_cells(EIGHT, address(table, 0), patterns, quads, words, out)
                    if dac > 1:
                        _weigh(sums, cycles, dac)
                    if noise_levels:
                        _add_noise(
                            sums, power[product], first + product + counted, column[b], physical[b], noise_levels,
                            seeds[g], quantiles,
                        )  # fmt: skip
                    lanes = b * SUM_LANES
                    convert_sums(
                        address(sums, 0), cycles, dac, address(scale, lanes), address(shift, lanes), top,
                        address(coefficient, lanes), address(result, product * SUM_LANES),
                    )  # fmt: skip
                if ends[b]:
                    _hand_over(result, column[b], first, len(own), total)
                    result[:] = 0


@njit(cache=True, nogil=True)
def _gather_bits(values, base, offset, words, spread, index):
    """index[product, quad of rows] holds a byte for every input bit: that bit of four rows."""
    quads = -(-len(offset) // QUAD)
    for product in range(len(base)):
        for quad in range(quads):
            for word in range(words):
                bits = np.uint64(0)
                for i in range(quad * QUAD, min(len(offset), (quad + 1) * QUAD)):
                    byte = values[base[product] + offset[i]] >> (BYTE * word) & 255
                    bits |= spread[byte] << np.uint64(i - quad * QUAD)
                index[(product * quads + quad) * words + word] = bits


@njit(cache=True, nogil=True)
def _tabulate(cells, rows, table):
    """table[quad, pattern, lane]: what the cells of the quad's rows in the pattern add up to."""
    for quad in range(-(-rows // QUAD)):
        at = quad * 16 * SUM_LANES
        table[at : at + SUM_LANES] = 0
        for i in range(QUAD):
            row = (quad * QUAD + i) * SUM_LANES
            for pattern in range(1 << i):
                there, without = at + ((1 << i) + pattern) * SUM_LANES, at + pattern * SUM_LANES
                if quad * QUAD + i < rows:
                    for lane in range(SUM_LANES):
                        table[there + lane] = table[without + lane] + cells[row + lane]


@njit(cache=True, nogil=True)
def _weigh(sums, cycles, dac):
    """Sums of input bits to sums of input cycles, in place."""
    for cycle in range(cycles):
        for lane in range(SUM_LANES):
            total = np.float32(0)
            for bit in range((cycle + 1) * dac - 1, cycle * dac - 1, -1):
                total = total * np.float32(2) + sums[bit * SUM_LANES + lane]
            sums[cycle * SUM_LANES + lane] = total


@njit(cache=True, nogil=True)
def _hand_over(result, column, first, products, total):
    for lane in range(SUM_LANES):
        if column[lane] >= 0:
            for product in range(products):
                total[column[lane], first + product] += result[product * SUM_LANES + lane]


@njit(cache=True, nogil=True)
def _squared_inputs(values, base, offset, cycles, dac, driven, power):
    """power[product, cycle, lane]: sum of the squared inputs of the wordlines that are on."""
    for product in range(len(base)):
        power[product] = 0
        for i in range(len(offset)):
            value = values[base[product] + offset[i]]
            for cycle in range(cycles):
                digit = np.float32(value >> (cycle * dac) & ((1 << dac) - 1))
                if digit:
                    for lane in range(SUM_LANES):
                        power[product, cycle, lane] += digit * digit * driven[i * SUM_LANES + lane]


_mixed = njit(cache=True, nogil=True)(noise.mixed)
_GOLDEN, _TABLE_SHIFT = noise.GOLDEN, 32 - noise.TABLE_BITS


@njit(cache=True, nogil=True)
def _add_noise(sums, power, product, column, physical, noise_levels, seeds, quantiles):
    """`noise.normal`, number for number."""
    for cycle in range(len(power)):
        for lane in range(SUM_LANES):
            if column[lane] >= 0:
                state = _mixed(product + seeds[physical[lane], cycle])
                h = _mixed(state ^ (column[lane] * _GOLDEN))
                drawn = quantiles[h >> _TABLE_SHIFT]
                sums[cycle * SUM_LANES + lane] += np.sqrt(power[cycle, lane]) * noise_levels * drawn
