"""The fast CPU backend for real cell values: partial sums in float32 registers and cache lines, ADC fused.

For every input vector, row group and cycle, the cells of each wordline that is on are added to a row of partial
sums, one vector instruction for many physical columns; wordlines at zero (most of them, in a ReLU network) and
columns that are never converted cost nothing. `Device.cells` puts values on a grid on which float32 sums are
exact, so that the order of addition doesn't show.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from numba import njit, prange
from torch import Tensor

from cimlab.analog import noise
from cimlab.analog.patches import Patches
from cimlab.analog.program import ArrayProgram
from cimlab.analog.threads import follow_torch


@dataclass(frozen=True, eq=False)
class ConductanceProgram:
    """An ArrayProgram in the kernel's layout, one group a list entry.

    Args:
        row_start: first row of each row group.
        entry_start: by group, where each row group's converted columns begin in `column`.
        column: by group, converted columns, row group by row group.
        cells: by group, values as [row, entry of its row group, physical], flat.
        cells_start: by group, where each row's cells begin.
        driven: by group, 1 where a wordline is on, as [row, entry], flat, only filled where there is read noise.
        scale, offset: by group, float32 ADC constants of [entry, physical].
        seeds: noise stream of every (group, row group, physical column, cycle).
    """

    program: ArrayProgram
    row_start: np.ndarray
    entry_start: list[np.ndarray]
    column: list[np.ndarray]
    cells: list[np.ndarray]
    cells_start: list[np.ndarray]
    driven: list[np.ndarray]
    scale: list[np.ndarray]
    offset: list[np.ndarray]
    seeds: np.ndarray


def lay_out(program: ArrayProgram) -> ConductanceProgram:
    """Lay the cells out for the kernel."""
    sliced, geometry = program.sliced, program.sliced.geometry
    group_of = sliced.row_group_of.numpy()
    row_start = np.append(np.flatnonzero(np.diff(group_of, prepend=-1)), len(group_of))
    parts: list[list[np.ndarray]] = [[] for _ in range(7)]
    for group in range(len(sliced.converted)):
        for part, layout in zip(parts, _entries(program, group, row_start), strict=True):
            part.append(layout)
    reads = (len(sliced.converted), sliced.row_groups, len(sliced.coefficients), geometry.input_cycles)
    seeds = np.zeros(reads, np.int64)
    if program.noise_levels:
        for place in np.ndindex(*reads):
            seeds[place] = noise.stream(program.noise_seed, *place)
    return ConductanceProgram(program, row_start, *parts, seeds)


def _entries(program: ArrayProgram, group: int, row_start: np.ndarray) -> tuple[np.ndarray, ...]:
    """Converted columns of one group with their cells and ADC constants, row group by row group."""
    sliced, converter = program.sliced, program.converter
    values = program.values()[group].permute(1, 2, 0).numpy()
    row_group, column = (t.numpy() for t in sliced.converted[group].nonzero(as_tuple=True))
    entry_start = np.searchsorted(row_group, np.arange(sliced.row_groups + 1))
    cells, driven = [], []
    for g in range(sliced.row_groups):
        rows, own = slice(row_start[g], row_start[g + 1]), column[entry_start[g] : entry_start[g + 1]]
        cells += list(values[rows][:, own].reshape(row_start[g + 1] - row_start[g], -1))
        driven.append(sliced.driven[group].numpy()[rows][:, own].astype(np.float32).ravel())
    cells_start = np.append(0, np.cumsum([len(row) for row in cells])).astype(np.int64)
    full = (*sliced.converted.shape[:2], len(sliced.coefficients), sliced.converted.shape[2])
    scale, offset = (
        np.ascontiguousarray(t.expand(full)[group].permute(0, 2, 1).numpy()[row_group, column])
        for t in (converter.scale, converter.offset)
    )
    return entry_start, column, np.concatenate(cells), cells_start, np.concatenate(driven), scale, offset


def conductance(patches: Patches, layout: ConductanceProgram) -> Int[Tensor, "groups cols products"]:
    """Shifted and added codes, equal to `reference` bit for bit."""
    program, sliced = layout.program, layout.program.sliced
    groups, _, cols = sliced.converted.shape
    total = torch.zeros(groups, cols, len(patches.base), dtype=torch.int64)
    follow_torch()
    geometry = sliced.geometry
    for group in range(groups):
        _run(
            patches.values.numpy(),
            patches.base.numpy(),
            patches.offset[group].contiguous().numpy(),
            layout.row_start,
            layout.entry_start[group],
            layout.column[group],
            layout.cells[group],
            layout.cells_start[group],
            layout.driven[group],
            layout.scale[group],
            layout.offset[group],
            np.array(sliced.coefficients, dtype=np.int64),
            geometry.input_cycles,
            geometry.dac_bits,
            np.float32(program.converter.top),
            np.float32(program.noise_levels),
            layout.seeds[group],
            noise.normal_quantiles(),
            patches.first,
            total[group].numpy(),
        )
    return total


@njit(parallel=True, cache=True, nogil=True)
def _run(
    values, base, offset, row_start, entry_start, column, cells, cells_start, driven, scale, shift,
    coefficients, cycles, dac, top, noise_levels, seeds, quantiles, counted, total,
):  # fmt: skip
    k = len(coefficients)
    widest = np.diff(entry_start).max() * k
    for chunk in prange(-(-len(base) // 64)):
        sums = np.empty(widest, np.float32)
        power = np.empty(widest // k, np.float32)
        codes = np.empty(widest, np.int64)
        for product in range(chunk * 64, min(len(base), (chunk + 1) * 64)):
            for g in range(len(entry_start) - 1):
                entries = entry_start[g + 1] - entry_start[g]
                if entries == 0:
                    continue
                codes[:] = 0
                for cycle in range(cycles):
                    sums[:] = 0
                    power[:] = 0
                    for i in range(row_start[g], row_start[g + 1]):
                        digit = values[base[product] + offset[i]] >> (cycle * dac) & ((1 << dac) - 1)
                        if digit:
                            level = np.float32(digit)
                            row = cells[cells_start[i] : cells_start[i] + entries * k]
                            for j in range(len(row)):
                                sums[j] += level * row[j]
                            if noise_levels:
                                at = (cells_start[row_start[g]] // k) + (i - row_start[g]) * entries
                                for e in range(entries):
                                    power[e] += level * level * driven[at + e]
                    if noise_levels:
                        _add_noise(sums, power, product + counted, column[entry_start[g] :], entries, k,
                                   noise_levels, seeds[g, :, cycle], quantiles)  # fmt: skip
                    _convert(sums, scale, shift, entry_start[g], entries, k, top, cycle * dac, codes)
                for e in range(entries):
                    result = 0
                    for j in range(k):
                        result += coefficients[j] * codes[e * k + j]
                    total[column[entry_start[g] + e], product] += result


@njit(cache=True, nogil=True)
def _convert(sums, scale, shift, first, entries, k, top, power, codes):
    """Add the codes of one cycle, shifted."""
    gains = scale[first : first + entries].reshape(-1)
    shifts = shift[first : first + entries].reshape(-1)
    for j in range(entries * k):
        level = sums[j] * gains[j] + shifts[j]
        codes[j] += np.int64(min(max(level, np.float32(0)), top)) << power


@njit(cache=True, nogil=True)
def _mixed(counter):
    h = counter & 0xFFFFFFFF
    h = (h ^ (h >> 16)) * 0x7FEB352D & 0xFFFFFFFF
    h = (h ^ (h >> 15)) * 0x846CA68B & 0xFFFFFFFF
    return h ^ (h >> 16)


@njit(cache=True, nogil=True)
def _add_noise(sums, power, product, column, entries, k, noise_levels, seeds, quantiles):
    """`noise.normal`, number for number; the sizes of shift and table are theirs."""
    for j in range(k):
        state = _mixed(product + seeds[j])
        for e in range(entries):
            h = _mixed(state ^ (column[e] * 0x9E3779B1))
            sums[e * k + j] += np.sqrt(power[e]) * noise_levels * quantiles[h >> 20]
