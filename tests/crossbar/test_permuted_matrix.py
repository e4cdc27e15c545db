"""Permuted rows and columns: the same weights elsewhere on the arrays, stored and found again."""

from dataclasses import asdict, replace
from math import ceil, log2

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.permutation import PermutationError, restored, stored
from cimlab.crossbar.placement import place
from cimlab.crossbar.units import UnitGrid, aligned_segments
from tests.crossbar.strategies import generator, geometries, matrices


@st.composite
def permuted(draw: st.DrawFn) -> CrossbarMatrix:
    """Any layer with its rows, its columns, both or neither in another order."""
    plain = draw(matrices())
    rows = draw(st.none() | st.permutations(range(plain.rows)).map(tuple))
    columns = draw(st.none() | st.permutations(range(plain.cols)).map(tuple))
    return replace(plain, row_permutation=rows, column_permutation=columns)


def by_hand(matrix: CrossbarMatrix, weight: torch.Tensor) -> list[list[list[float]]]:
    """Weight (row_permutation[i], column_permutation[j]) of the plain matrix at (i, j), one at a time."""
    plain = replace(matrix, row_permutation=None, column_permutation=None).to_matrix(weight).tolist()
    rows = matrix.row_permutation or tuple(range(matrix.rows))
    columns = matrix.column_permutation or tuple(range(matrix.cols))
    return [[[group[r][c] for c in columns] for r in rows] for group in plain]


@settings(max_examples=60, deadline=None)
@given(permuted(), st.integers(0, 2**31))
def test_a_permuted_matrix_is_the_plain_one_line_by_line_and_writes_back(
    matrix: CrossbarMatrix, seed: int
) -> None:
    weight = torch.randn(matrix.weight_shape, generator=generator(seed))
    read = matrix.to_matrix(weight)
    assert read.tolist() == by_hand(matrix, weight)
    assert torch.equal(matrix.to_weight(read), weight)
    inputs = torch.arange(matrix.channels).view(1, -1, *[1] * (len(matrix.weight_shape) - 2))
    assert torch.equal(matrix.to_matrix(inputs.expand(matrix.weight_shape))[0, :, 0], matrix.channel_of_row())
    first_row = replace(matrix, row_permutation=None).to_matrix(weight)[:, 0]
    plain_row = replace(matrix, row_permutation=None, column_permutation=None).to_matrix(weight)[:, 0]
    assert torch.equal(matrix.to_outputs(first_row), plain_row.flatten())


@settings(max_examples=40, deadline=None)
@given(permuted(), st.data())
def test_arrays_see_only_where_weights_are_and_the_order_is_counted_as_index(
    matrix: CrossbarMatrix, data: st.DataObject
) -> None:
    geometry = data.draw(geometries())
    random = generator(data.draw(st.integers(0, 2**31)))
    kept = torch.rand(matrix.weight_shape, generator=random) < 0.4
    index = UnitGrid(
        aligned_segments(matrix.rows, geometry.rows, geometry.active_rows), torch.arange(matrix.cols)
    )
    plain = replace(matrix, row_permutation=None, column_permutation=None)
    moved = torch.tensor(by_hand(matrix, kept))
    found, expected = (
        place(matrix, matrix.to_matrix(kept), geometry, index),
        place(plain, moved, geometry, index),
    )
    bits = matrix.rows * ceil(log2(matrix.rows)) if matrix.row_permutation else 0
    bits += matrix.cols * ceil(log2(matrix.cols)) if matrix.column_permutation else 0
    assert asdict(found.counts) == asdict(expected.counts) | {"index_bits": expected.counts.index_bits + bits}


def test_an_order_that_leaves_a_line_out_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="row_permutation of layer conv must hold each of 0 to 2 once"):
        CrossbarMatrix("conv", (4, 3), row_permutation=(0, 0, 2))


def test_what_is_stored_is_restored() -> None:
    plain = [CrossbarMatrix("a", (4, 3)), CrossbarMatrix("b", (2, 5, 3, 3)), CrossbarMatrix("c", (2, 2))]
    found = [
        replace(plain[0], row_permutation=(2, 0, 1)),
        replace(plain[1], column_permutation=(1, 0)),
        plain[2],
    ]
    content = stored(found)["permutation"]
    assert restored(plain, content) == found
    assert restored(plain[:1], content) == found[:1]  # a layer may be left out
    assert stored(plain) == {}
    assert restored(plain, None) == plain


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({}, "fits no such network"),
        (
            {"row_order": "channel_major", "layers": {"a": {"row_permutation": torch.arange(4)}}},
            "0 to 2 once",
        ),
        ({"row_order": "channel_major", "layers": {"a": {"row_permutation": "012"}}}, "fits no such network"),
        ({"row_order": "kernel_major", "layers": {}}, "set row_order=kernel_major"),
    ],
)
def test_an_order_of_another_network_is_refused(content: dict, expected: str) -> None:
    with pytest.raises(PermutationError, match=expected):
        restored([CrossbarMatrix("a", (4, 3))], content)
