"""Reducing to units and spreading back equal plain loops, whatever the labels."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cimlab.crossbar.units import UnitGrid, aligned_segments, segment_sum
from tests.crossbar.strategies import generator


@st.composite
def grids(draw: st.DrawFn) -> UnitGrid:
    """Labels in runs, evenly long or ragged, or in any order; each of 0 .. the largest in use."""

    def labels(length: int) -> torch.Tensor:
        if draw(st.booleans()):
            return aligned_segments(length, draw(st.integers(1, 8)), draw(st.integers(1, 5)))
        kinds = draw(st.integers(1, length))
        order = torch.randperm(length, generator=generator(draw(st.integers(0, 99))))
        return (torch.arange(length) % kinds)[order]

    return UnitGrid(labels(draw(st.integers(1, 12))), labels(draw(st.integers(1, 12))))


@settings(max_examples=100, deadline=None)
@given(grids(), st.integers(1, 3))
def test_reduce_and_spread_equal_plain_loops(grid: UnitGrid, groups: int) -> None:
    rows, cols = grid.row_of.tolist(), grid.col_of.tolist()
    values = torch.randint(-9, 9, (groups, len(rows), len(cols)), generator=generator(len(rows)))
    sums = torch.zeros(groups, grid.unit_rows, grid.unit_cols, dtype=torch.long)
    sizes = torch.zeros(grid.unit_rows, grid.unit_cols, dtype=torch.long)
    for r, u in enumerate(rows):
        for c, v in enumerate(cols):
            sums[:, u, v] += values[:, r, c]
            sizes[u, v] += 1
    assert torch.equal(grid.reduce(values), sums)
    assert torch.equal(grid.sizes(), sizes)
    spread = grid.spread(sums)
    for r, u in enumerate(rows):
        for c, v in enumerate(cols):
            assert torch.equal(spread[:, r, c], sums[:, u, v])


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 12))
def test_segments_are_cut_as_a_loop_would_cut_them(length: int, period: int, size: int) -> None:
    expected, label = [], -1
    for i in range(length):
        if i % period % size == 0:
            label += 1
        expected.append(label)
    assert aligned_segments(length, period, size).tolist() == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.int32, torch.int64, torch.float64])
def test_sums_keep_the_dtype(dtype: torch.dtype) -> None:
    for labels in ([0, 0, 0, 0], [0, 1, 2, 3], [0, 0, 1, 1], [1, 0, 1, 1]):
        summed = segment_sum(torch.ones(1, 4, 2, dtype=dtype), torch.tensor(labels), max(labels) + 1, 1)
        assert summed.dtype == dtype
        assert summed[0, :, 0].tolist() == [labels.count(label) for label in range(max(labels) + 1)]
