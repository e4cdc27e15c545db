"""Whose steps are they? The array steps of an unpruned layer, shared among units by the weights they hold.

A step reads one operation unit, so every weight of it answers for an equal share. A unit's share is what the
crossbar spends on it while its neighbours stay; the shares of a layer add up to its steps exactly.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.units import UnitGrid, aligned_segments


def unit_steps(
    matrix: CrossbarMatrix, grid: UnitGrid, geometry: CrossbarGeometry
) -> Float[Tensor, "unit_rows unit_cols"]:
    """Array steps per image that each unit answers for: row groups x mux positions x input cycles x products.

    Two column segments of 16 x 1 share the one step of an operation unit of 16 x 2, in 8 input cycles:

    >>> grid = UnitGrid(row_of=torch.zeros(16, dtype=torch.long), col_of=torch.arange(2))
    >>> unit_steps(CrossbarMatrix("fc", weight_shape=(2, 16)), grid, CrossbarGeometry()).tolist()
    [[4.0, 4.0]]

    Rows and columns share out independently, because an operation unit is the product of a row group and a step's
    columns; those at a ragged edge answer for more. Steps are those of lockstep muxes, in place.
    """
    m, n = geometry.operation_unit
    by_row = _shares(grid.row_of, aligned_segments(matrix.rows, geometry.rows, m))
    by_col = _shares(grid.col_of, aligned_segments(matrix.cols, geometry.logical_cols, n))
    return torch.outer(by_row, by_col) * (geometry.input_cycles * matrix.products)


def _shares(unit_of: Tensor, segment_of: Tensor) -> Float[Tensor, " units"]:
    """Each line of a segment answers for 1 / length of it; summed over the lines of each unit."""
    _, segment, lengths = torch.unique(segment_of, return_inverse=True, return_counts=True)
    return torch.bincount(unit_of, weights=1 / lengths[segment].double())
