"""Steps shared among units, against a loop over weights, and against what the unpruned layer takes."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cimlab.crossbar.attribution import unit_steps
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.placement import place_dense
from cimlab.crossbar.units import UnitGrid
from tests.crossbar import reference
from tests.crossbar.strategies import geometries, matrices


def labels(draw: st.DrawFn, length: int) -> torch.Tensor:
    """Any partition of the lines, each label in use."""
    drawn = torch.tensor(draw(st.lists(st.integers(0, 4), min_size=length, max_size=length)))
    return torch.unique(drawn, return_inverse=True)[1]


@st.composite
def grids(draw: st.DrawFn, matrix: CrossbarMatrix) -> UnitGrid:
    return UnitGrid(labels(draw, matrix.rows), labels(draw, matrix.cols))


def by_hand(matrix: CrossbarMatrix, grid: UnitGrid, geometry: CrossbarGeometry) -> torch.Tensor:
    """Every weight answers for 1 / (weights of its operation unit) steps, for each input cycle and product."""
    share = torch.zeros(grid.unit_rows, grid.unit_cols, dtype=torch.double)
    for rows in reference.row_groups_of_matrix(matrix.rows, geometry):
        for columns in reference.array_columns(matrix.cols, geometry):
            steps: dict[int, list[int]] = {}
            for col in columns:
                steps.setdefault(reference.mux_position_of(col, geometry), []).append(col)
            for together in steps.values():
                for row in rows:
                    for col in together:
                        share[grid.row_of[row], grid.col_of[col]] += 1 / (len(rows) * len(together))
    return share * geometry.input_cycles * matrix.products


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_units_answer_for_the_steps_of_their_weights(data: st.DataObject) -> None:
    matrix, geometry = data.draw(matrices()), replace(data.draw(geometries()), mux_control="lockstep")
    grid = data.draw(grids(matrix))
    steps = unit_steps(matrix, grid, geometry)
    torch.testing.assert_close(steps, by_hand(matrix, grid, geometry))
    dense = place_dense(matrix, geometry).counts.steps
    assert float(steps.sum()) * matrix.groups == pytest.approx(dense)
