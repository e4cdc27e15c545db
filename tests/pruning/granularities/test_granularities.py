"""Every granularity in the folder cuts a matrix as the table in CONCEPTS.md, section 3 says.

A new file in cimlab/pruning/granularities/ is found by itself; it must tile the matrix and respect the arrays.
"""

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.units import UnitGrid
from cimlab.pruning.granularities.base import balanced_tiers
from cimlab.pruning.granularities.block import Block
from cimlab.pruning.granularities.pattern import Pattern
from tests.crossbar import reference
from tests.crossbar.strategies import generator, geometries, matrices
from tests.pruning.cases import ALL, GRANULARITY_FILES, ROOT, fitting_geometries

CLASSIC = {"kernel", "channel", "filter"}  # know no arrays, and may straddle them


def table(name: str, geometry: CrossbarGeometry) -> tuple[int, int]:
    """Rows x columns of a whole unit: CONCEPTS.md, section 3, row by row."""
    m, n = geometry.operation_unit
    height, width = geometry.rows, geometry.cols // geometry.columns_per_weight
    block = ALL["block"]
    assert isinstance(block, Block)
    return {
        "weight": (1, 1),
        "row_segment": (1, n),
        "column_segment": (m, 1),
        "balanced_segment": (m, 1),
        "operation_unit": (m, n),
        "block": (block.rows, block.cols),
        "array_row": (1, width),
        "array_column": (height, 1),
        "crossbar": (height, width),
        "pattern": (1, 1),
    }[name]


def runs(length: int, period: int, size: int) -> list[list[int]]:
    """0 .. length - 1 in runs of `size` that start afresh at every multiple of `period`."""
    cut: list[list[int]] = []
    for i in range(length):
        if i % period % size == 0:
            cut.append([])
        cut[-1].append(i)
    return cut


def classic_runs(name: str, view: CrossbarMatrix) -> tuple[list[list[int]], list[list[int]]]:
    """Rows and columns of kernel, channel and filter units, from what they are in the weight tensor."""
    taps = view.rows // view.channels
    by_channel = [
        [c * taps + t if view.row_order == "channel_major" else t * view.channels + c for t in range(taps)]
        for c in range(view.channels)
    ]
    all_columns, single_columns = [list(range(view.cols))], [[c] for c in range(view.cols)]
    return {
        "kernel": (by_channel, single_columns),
        "channel": (by_channel, all_columns),
        "filter": ([list(range(view.rows))], single_columns),
    }[name]


def units_of(grid: UnitGrid) -> set[tuple[tuple[int, ...], tuple[int, ...]]]:
    """(rows, columns) of every unit."""
    rows, cols = grid.row_of.tolist(), grid.col_of.tolist()
    return {
        (
            tuple(r for r, label in enumerate(rows) if label == u),
            tuple(c for c, label in enumerate(cols) if label == v),
        )
        for u, v in product(range(grid.unit_rows), range(grid.unit_cols))
    }


@pytest.mark.parametrize("name", GRANULARITY_FILES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_units_and_index_tile_the_matrix_exactly_once(name: str, data: st.DataObject) -> None:
    geometry, matrix = data.draw(fitting_geometries(ALL[name])), data.draw(matrices())
    for grid in (ALL[name].units(matrix, geometry), ALL[name].index(matrix, geometry)):
        assert (len(grid.row_of), len(grid.col_of)) == (matrix.rows, matrix.cols)
        cells = [cell for rows, cols in units_of(grid) for cell in product(rows, cols)]
        assert sorted(cells) == list(product(range(matrix.rows), range(matrix.cols)))
        assert int(grid.sizes().min()) >= 1
        assert len(units_of(grid)) == grid.unit_rows * grid.unit_cols


@pytest.mark.parametrize("name", [name for name in GRANULARITY_FILES if name not in CLASSIC])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_no_unit_straddles_an_array(name: str, data: st.DataObject) -> None:
    geometry, matrix = data.draw(fitting_geometries(ALL[name])), data.draw(matrices())
    width = geometry.cols // geometry.columns_per_weight
    for rows, cols in units_of(ALL[name].units(matrix, geometry)):
        assert len({(r // geometry.rows, c // width) for r, c in product(rows, cols)}) == 1


@pytest.mark.parametrize("name", sorted(CLASSIC))
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_classic_units_are_kernels_channels_and_filters(name: str, data: st.DataObject) -> None:
    geometry, matrix = data.draw(geometries()), data.draw(matrices())
    rows, cols = classic_runs(name, matrix)
    expected = {(tuple(r), tuple(c)) for r, c in product(rows, cols)}
    assert units_of(ALL[name].units(matrix, geometry)) == expected


ALIGNED = (
    "weight", "row_segment", "column_segment", "balanced_segment", "operation_unit", "block", "array_row",
    "array_column", "crossbar", "pattern",
)  # fmt: skip


@pytest.mark.parametrize("name", ALIGNED)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_aligned_units_have_the_shape_of_the_table(name: str, data: st.DataObject) -> None:
    geometry, matrix = data.draw(fitting_geometries(ALL[name])), data.draw(matrices())
    height, width = table(name, geometry)
    expected = {
        (tuple(r), tuple(c))
        for r, c in product(
            runs(matrix.rows, geometry.rows, height),
            runs(matrix.cols, geometry.cols // geometry.columns_per_weight, width),
        )
    }
    assert units_of(ALL[name].units(matrix, geometry)) == expected


def test_every_granularity_of_the_contract_is_there_with_its_choice() -> None:
    assert set(GRANULARITY_FILES) >= {*ALIGNED, *CLASSIC}
    choices = {path.stem for path in (ROOT / "conf" / "granularity").glob("*.yaml")}
    assert choices == set(GRANULARITY_FILES)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_balanced_segments_leave_the_same_number_under_every_adc(data: st.DataObject) -> None:
    """N of every full group of columns that share an ADC, ceil(N size / columns_per_adc) of a ragged one."""
    geometry, matrix = data.draw(geometries()), data.draw(matrices())
    balanced = ALL["balanced_segment"]
    grid = balanced.units(matrix, geometry)
    random = generator(data.draw(st.integers(0, 2**31)))
    scores = torch.rand((matrix.groups, grid.unit_rows, grid.unit_cols), generator=random)
    tiers = balanced.tiers(scores, matrix, geometry)
    assert tiers is not None
    per_adc = geometry.columns_per_adc
    for n_kept in range(per_adc + 1):
        kept = tiers < n_kept
        for columns in reference.array_columns(matrix.cols, geometry):
            for adc in range(geometry.operation_unit[1]):
                served = [c for c in columns if reference.adc_of(c, geometry) == adc]
                expected = -(-n_kept * len(served) // per_adc)
                assert len(served) < per_adc or expected == n_kept
                assert torch.all(kept[:, :, served].sum(-1) == expected)


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 20), st.integers(1, 5), st.integers(1, 3), st.integers(0, 2**31))
def test_tiers_are_the_ranks_of_a_sort(length: int, members: int, stride: int, seed: int) -> None:
    scores = torch.randint(4, (2, length), generator=generator(seed)).float()  # with many ties
    tiers = balanced_tiers(scores, 1, members, stride)
    for line, found in zip(scores.tolist(), tiers.tolist(), strict=True):
        for first in (s + o for s in range(0, length, members * stride) for o in range(stride)):
            group = list(range(first, min(first + members * stride, length), stride))
            ranked = sorted(group, key=lambda i: (-line[i], i))
            assert [found[i] for i in ranked] == [r * members // len(group) for r in range(len(group))]


def test_a_block_or_pattern_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="block rows=0 cols=4: both must be 1 or more"):
        Block(0, 4)
    with pytest.raises(ValueError, match="pattern m=1 must be 2 or more"):
        Pattern(1)
    with pytest.raises(ValueError, match=r"pattern m=3 must divide geometry\.active_rows=16"):
        Pattern(3).units(CrossbarMatrix("fc", (4, 4)), CrossbarGeometry())
