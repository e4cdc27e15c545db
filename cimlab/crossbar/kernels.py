"""Loops over the bytes of a mask, which the compiler turns into vector instructions; `tally.py` says what they count.

Masks are (groups, rows, cols) with 1 where a weight is kept, segments (groups, row groups, cols); `bounds` are the
first rows of the row groups and the end, as `tally.row_group_bounds` gives them.
"""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def or_rows(kept, bounds):  # pragma: no cover - compiled
    """1 where a column has a kept weight in a row group: the segments.

    >>> or_rows(np.array([[[1, 1, 0], [1, 0, 0], [0, 0, 0], [0, 0, 1]]], np.uint8), np.array([0, 2, 4])).tolist()
    [[[1, 1, 0], [0, 0, 1]]]
    """
    groups, _, cols = kept.shape
    out = np.zeros((groups, len(bounds) - 1, cols), np.uint8)
    for p in range(groups):
        for g in range(len(bounds) - 1):
            for r in range(bounds[g], bounds[g + 1]):
                for c in range(cols):
                    out[p, g, c] |= kept[p, r, c]
    return out


@njit(cache=True, nogil=True)
def any_in_step(kept, width):  # pragma: no cover - compiled
    """1 where a row has a kept weight in a step of `width` columns.

    >>> any_in_step(np.array([[[1, 1, 0], [0, 0, 0]]], np.uint8), 2).tolist()
    [[[1, 0], [0, 0]]]
    """
    groups, rows, cols = kept.shape
    steps = -(-cols // width)
    out = np.zeros((groups, rows, steps), np.uint8)
    for p in range(groups):
        for r in range(rows):
            for s in range(steps):
                found = np.uint8(0)
                for c in range(s * width, min(cols, (s + 1) * width)):
                    found |= kept[p, r, c]
                out[p, r, s] = found
    return out


@njit(cache=True, nogil=True)
def gather_rows(kept, width):  # pragma: no cover - compiled
    """The rows that keep a weight in a step of `width` columns, moved to its top; and which rows these are, else -1.

    >>> rows, source = gather_rows(np.array([[[0, 0, 1], [1, 0, 0], [0, 1, 0]]], np.uint8), 2)
    >>> rows.tolist(), source.tolist()
    ([[[1, 0, 1], [0, 1, 0], [0, 0, 0]]], [[[1, 0], [2, -1], [-1, -1]]])
    """
    groups, rows, cols = kept.shape
    steps = -(-cols // width)
    out = np.zeros((groups, rows, cols), np.uint8)
    source = np.full((groups, rows, steps), -1, np.int32)
    for p in range(groups):
        top = np.zeros(steps, np.int64)
        for r in range(rows):
            for s in range(steps):
                found = np.uint8(0)
                for c in range(s * width, min(cols, (s + 1) * width)):
                    found |= kept[p, r, c]
                    out[p, top[s], c] = kept[p, r, c]
                if found:
                    source[p, top[s], s] = r
                    top[s] += 1
    return out, source


@njit(cache=True, nogil=True)
def sum_rows(touched, bounds):  # pragma: no cover - compiled
    """Rows of a row group that are touched, by step.

    >>> sum_rows(np.array([[[1, 0], [1, 0], [0, 0], [0, 1]]], np.uint8), np.array([0, 2, 4])).tolist()
    [[[2, 0], [0, 1]]]
    """
    groups, _, steps = touched.shape
    out = np.zeros((groups, len(bounds) - 1, steps), np.int32)
    for p in range(groups):
        for g in range(len(bounds) - 1):
            for r in range(bounds[g], bounds[g + 1]):
                for s in range(steps):
                    out[p, g, s] += touched[p, r, s]
    return out


@njit(cache=True, nogil=True)
def sum_in_step(segments, width):  # pragma: no cover - compiled
    """Segments with a kept weight, by row group and step of `width` columns.

    >>> sum_in_step(np.array([[[1, 1, 0], [0, 0, 1]]], np.uint8), 2).tolist()
    [[[2, 0], [0, 1]]]
    """
    groups, row_groups, cols = segments.shape
    steps = -(-cols // width)
    out = np.zeros((groups, row_groups, steps), np.int32)
    for p in range(groups):
        for g in range(row_groups):
            for s in range(steps):
                for c in range(s * width, min(cols, (s + 1) * width)):
                    out[p, g, s] += segments[p, g, c]
    return out


@njit(cache=True, nogil=True)
def lockstep_totals(rows, columns, columns_per_adc):  # pragma: no cover - compiled
    """Mux positions executed in every array column, rows driven and cells read, where all ADCs take one position.

    >>> steps, drives, cells = lockstep_totals(np.array([[[2, 0], [0, 1]]]), np.array([[[2, 0], [0, 1]]]), 2)
    >>> steps.tolist(), drives, cells
    ([[[1], [1]]], 3, 5)
    """
    groups, row_groups, steps = rows.shape
    array_cols = -(-steps // columns_per_adc)
    executed = np.zeros((groups, row_groups, array_cols), np.int64)
    drives, cells = 0, 0
    for p in range(groups):
        for g in range(row_groups):
            for a in range(array_cols):
                for s in range(a * columns_per_adc, min(steps, (a + 1) * columns_per_adc)):
                    executed[p, g, a] += columns[p, g, s] > 0
                    drives += rows[p, g, s]
                    cells += np.int64(rows[p, g, s]) * columns[p, g, s]
    return executed, drives, cells


@njit(cache=True, nogil=True)
def held_totals(rows, columns):  # pragma: no cover - compiled
    """Columns converted, cells read and rows driven, where bitlines are held until the ADCs have been through.

    >>> held_totals(np.array([[[2], [1]]]), np.array([[[2], [1]]]))
    (3, 5, 3)
    """
    converted, cells, drives = 0, 0, 0
    groups, row_groups, array_cols = rows.shape
    for p in range(groups):
        for g in range(row_groups):
            for a in range(array_cols):
                converted += columns[p, g, a]
                drives += rows[p, g, a]
                cells += np.int64(rows[p, g, a]) * columns[p, g, a]
    return converted, cells, drives


@njit(cache=True, nogil=True)
def column_totals(segments):  # pragma: no cover - compiled
    """Additions that join each column's row groups, and columns that have any.

    >>> column_totals(np.array([[[1, 1, 0], [1, 0, 0]]], np.uint8))
    (1, 2)
    """
    groups, row_groups, cols = segments.shape
    kept, outputs = 0, 0
    for p in range(groups):
        used = np.zeros(cols, np.uint8)
        for g in range(row_groups):
            for c in range(cols):
                kept += segments[p, g, c]
                used[c] |= segments[p, g, c]
        outputs += used.sum()
    return kept - outputs, outputs


@njit(cache=True, nogil=True)
def busiest_adc(segments, n, columns_per_adc):  # pragma: no cover - compiled
    """Kept columns of the busiest ADC; ADC j of an array serves columns j, j + n, j + 2n, ...

    >>> busiest_adc(np.array([[[1, 1, 1, 0], [0, 1, 0, 0]]], np.uint8), 2, 2).tolist()
    [[[2], [1]]]
    """
    groups, row_groups, cols = segments.shape
    width = n * columns_per_adc
    array_cols = -(-cols // width)
    executed = np.zeros((groups, row_groups, array_cols), np.int64)
    for p in range(groups):
        for g in range(row_groups):
            for a in range(array_cols):
                kept_of_adc = np.zeros(n, np.int64)
                for c in range(a * width, min(cols, (a + 1) * width)):
                    kept_of_adc[(c - a * width) % n] += segments[p, g, c]
                executed[p, g, a] = kept_of_adc.max()
    return executed


@njit(cache=True, nogil=True)
def any_in_unit(kept, row_of, col_of, unit_rows, unit_cols):  # pragma: no cover - compiled
    """1 where a unit holds a kept weight; `row_of` and `col_of` say in which unit a row and a column lie.

    >>> kept = np.array([[[1, 0], [0, 0], [0, 0]]], np.uint8)
    >>> any_in_unit(kept, np.array([0, 0, 1]), np.array([0, 1]), 2, 2).tolist()
    [[[1, 0], [0, 0]]]
    """
    groups, rows, cols = kept.shape
    units = np.zeros((groups, unit_rows, unit_cols), np.uint8)
    for p in range(groups):
        by_row = np.zeros((unit_rows, cols), np.uint8)
        for r in range(rows):
            u = row_of[r]
            for c in range(cols):
                by_row[u, c] |= kept[p, r, c]
        for u in range(unit_rows):
            for c in range(cols):
                units[p, u, col_of[c]] |= by_row[u, c]
    return units
