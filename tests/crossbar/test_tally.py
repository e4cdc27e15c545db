"""The compiled counts equal a slow count of every step, array and row, and the closed form of a dense layer."""

from dataclasses import dataclass, field
from math import ceil
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cimlab.crossbar.geometry import CrossbarGeometry, GeometryError
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.placement import place_dense
from cimlab.crossbar.tally import LayerMask, Work, dense_work, row_group_bounds
from cimlab.crossbar.units import UnitGrid, aligned_segments

TOTALS = ("columns", "cells", "drives", "held_cells", "held_drives", "partial_sum_adds", "outputs")


@st.composite
def geometries(draw: st.DrawFn, mux: tuple[str, ...] = ("lockstep", "independent")) -> CrossbarGeometry:
    while True:
        fields: dict[str, Any] = {
            "rows": draw(st.sampled_from([8, 12, 16, 30])),
            "cols": draw(st.sampled_from([8, 16, 32, 64])),
            "active_rows": draw(st.sampled_from([1, 3, 4, 8])),
            "columns_per_adc": draw(st.sampled_from([1, 2, 4, 8])),
            "mux_control": draw(st.sampled_from(mux)),
            "weight_bits": draw(st.sampled_from([3, 4, 5])),
            "cell_bits": draw(st.sampled_from([1, 2])),
            "signed_encoding": draw(st.sampled_from(["differential", "offset"])),
        }
        try:
            return CrossbarGeometry(**fields)
        except GeometryError:
            continue


@st.composite
def masks(draw: st.DrawFn) -> Tensor:
    """Random masks of every density, from none to all."""
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 24)))
    density = draw(st.sampled_from([0.0, 0.05, 0.4, 0.9, 1.0]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    return torch.rand(shape, generator=generator) < density


@dataclass
class SlowWork:
    """The same counts, one row, column and step at a time."""

    columns: int = 0
    cells: int = 0
    drives: int = 0
    held_cells: int = 0
    held_drives: int = 0
    partial_sum_adds: int = 0
    outputs: int = 0
    steps: dict[tuple[int, int, int], int] = field(default_factory=dict)


def slow_work(kept: Tensor, geometry: CrossbarGeometry) -> SlowWork:
    groups, rows, cols = kept.shape
    found = SlowWork()
    for p in range(groups):
        groups_of_column = [0] * cols
        for array_row in range(ceil(rows / geometry.rows)):
            for first in range(0, geometry.rows, geometry.active_rows):
                top = array_row * geometry.rows + first
                members = [
                    top + i
                    for i in range(geometry.active_rows)
                    if first + i < geometry.rows and top + i < rows
                ]
                if members:
                    _slow_row_group(found, kept[p], p, array_row, members, geometry, groups_of_column)
        found.partial_sum_adds += sum(max(0, g - 1) for g in groups_of_column)
        found.outputs += sum(g > 0 for g in groups_of_column)
    return found


def _slow_row_group(
    found: SlowWork,
    kept: Tensor,
    p: int,
    array_row: int,
    members: list[int],
    geometry: CrossbarGeometry,
    groups_of_column: list[int],
) -> None:
    n, cols = geometry.operation_unit[1], kept.shape[1]
    for array_col in range(ceil(cols / geometry.logical_cols)):
        first = array_col * geometry.logical_cols
        mine = range(first, min(cols, first + geometry.logical_cols))
        alive = [c for c in mine if any(bool(kept[r, c]) for r in members)]
        for c in alive:
            groups_of_column[c] += 1
        steps: dict[int, list[int]] = {}
        taken = [0] * n
        for c in alive:
            adc = (c - first) % n
            step = taken[adc] if geometry.mux_control == "independent" else (c - first) // n
            taken[adc] += 1
            steps.setdefault(step, []).append(c)
        for columns in steps.values():
            read = columns if geometry.mux_control == "lockstep" else alive
            rows = sum(any(bool(kept[r, c]) for c in read) for r in members)
            found.columns += len(columns)
            found.drives += rows
            found.cells += rows * len(columns)
        wide = sum(any(bool(kept[r, c]) for c in alive) for r in members)
        found.held_drives += wide
        found.held_cells += wide * len(alive)
        key = (p, array_row, array_col)
        found.steps[key] = found.steps.get(key, 0) + len(steps)


def same(work: Work, slow: SlowWork) -> None:
    assert {name: getattr(work, name) for name in TOTALS} == {name: getattr(slow, name) for name in TOTALS}
    for place_of, steps in slow.steps.items():
        assert work.steps_per_array[place_of] == steps, place_of
    assert work.steps_per_array.size == len(slow.steps)


@settings(max_examples=150, deadline=None)
@given(masks(), geometries())
def test_the_compiled_counts_equal_the_slow_ones(kept: Tensor, geometry: CrossbarGeometry) -> None:
    same(LayerMask.of(kept).work(geometry), slow_work(kept, geometry))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3), st.integers(1, 70), st.integers(1, 40), geometries())
def test_the_closed_form_of_a_dense_layer_equals_its_count(
    groups: int, rows: int, cols: int, geometry: CrossbarGeometry
) -> None:
    dense = dense_work(groups, rows, cols, geometry)
    counted = LayerMask.of(torch.ones(groups, rows, cols, dtype=torch.bool)).work(geometry)
    assert [getattr(dense, n) for n in TOTALS] == [getattr(counted, n) for n in TOTALS]
    assert np.array_equal(dense.row_group_steps, counted.row_group_steps)


@settings(max_examples=60, deadline=None)
@given(masks(), st.lists(geometries(), min_size=2, max_size=4))
def test_reductions_kept_from_one_geometry_do_not_leak_into_the_next(
    kept: Tensor, sweep: list[CrossbarGeometry]
) -> None:
    shared = LayerMask.of(kept)
    for geometry in sweep:
        fresh, again = LayerMask.of(kept).work(geometry), shared.work(geometry)
        assert [getattr(fresh, n) for n in TOTALS] == [getattr(again, n) for n in TOTALS]
        assert np.array_equal(fresh.row_group_steps, again.row_group_steps)


@settings(max_examples=80, deadline=None)
@given(masks(), geometries(), st.sampled_from([1, 2, 4]), st.sampled_from([1, 3]))
def test_units_kept_are_those_with_any_weight(
    kept: Tensor, geometry: CrossbarGeometry, height: int, width: int
) -> None:
    _, rows, cols = kept.shape
    grid = UnitGrid(
        aligned_segments(rows, geometry.rows, height), aligned_segments(cols, geometry.logical_cols, width)
    )
    slow = set()
    for p, r, c in kept.nonzero().tolist():
        slow.add((p, int(grid.row_of[r]), int(grid.col_of[c])))
    assert {tuple(u) for u in np.argwhere(LayerMask.of(kept).units(grid)).tolist()} == slow


def test_independent_adcs_count_a_layer_whose_columns_end_inside_an_array() -> None:
    """5 columns on an array of 8: the case in which a padded layer once had more steps than its arrays."""
    geometry = CrossbarGeometry(
        rows=8, cols=16, active_rows=4, columns_per_adc=4, mux_control="independent", weight_bits=3, cell_bits=2,
        signed_encoding="differential",
    )  # fmt: skip
    kept = torch.zeros(1, 8, 5, dtype=torch.bool)
    kept[0, 0, [0, 2, 4]] = True  # ADC 0 serves columns 0, 2, 4, 6; ADC 1 the odd ones
    work = LayerMask.of(kept).work(geometry)
    assert geometry.logical_cols == 8
    assert work.steps_per_array.tolist() == [[[3]]]


@pytest.mark.parametrize(
    ("rows", "bounds"),
    [(10, [0, 3, 6, 8, 10]), (8, [0, 3, 6, 8]), (2, [0, 2]), (16, [0, 3, 6, 8, 11, 14, 16])],
)
def test_row_groups_start_afresh_at_every_array(rows: int, bounds: list[int]) -> None:
    geometry = CrossbarGeometry(rows=8, cols=128, active_rows=3)
    assert row_group_bounds(rows, geometry).tolist() == bounds


def test_a_dense_layer_needs_no_index() -> None:
    matrix = CrossbarMatrix("layer", (20, 30))
    assert place_dense(matrix, CrossbarGeometry()).counts.index_bits == 0
