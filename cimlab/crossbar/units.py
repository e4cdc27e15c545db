"""Cutting a crossbar matrix into units, and moving numbers between weights and units.

A unit is the product of a set of rows and a set of columns, so that a grid is two label vectors. That covers
every granularity of the field, keeps a unit inside one array where it should be, and makes both directions
(reduce values to units, spread a decision back) vectorised tensor operations.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil

import torch
from jaxtyping import Int, Shaped
from torch import Tensor


@lru_cache(maxsize=256)  # layers of one shape are many, and labels are only read
def aligned_segments(length: int, period: int, size: int) -> Int[Tensor, " length"]:
    """Labels 0, 1, ... of segments of `size` that start afresh at every multiple of `period`.

    `period` is the array's height or width, so that a segment never straddles two arrays.

    >>> aligned_segments(7, 5, 2).tolist()
    [0, 0, 1, 1, 2, 3, 3]
    """
    index = torch.arange(length)
    return (index // period) * ceil(period / size) + (index % period) // size


def segment_sum(
    values: Shaped[Tensor, "..."], labels: Int[Tensor, " length"], segments: int, dim: int
) -> Shaped[Tensor, "..."]:
    """Sum `values` along `dim` (>= 0) over entries of equal label; that axis shrinks to `segments` long.

    >>> segment_sum(torch.tensor([1, 2, 3]), torch.tensor([0, 0, 1]), segments=2, dim=0).tolist()
    [3, 3]
    """
    length = values.shape[dim]
    if _is_identity(labels, segments):
        return values
    if segments == 1:
        return values.sum(dim, keepdim=True, dtype=values.dtype)
    if length % segments == 0 and torch.equal(labels, torch.arange(length) // (length // segments)):
        return values.unflatten(dim, (segments, length // segments)).sum(dim + 1, dtype=values.dtype)
    shape = list(values.shape)
    shape[dim] = segments
    return values.new_zeros(shape).index_add_(dim, labels.to(values.device), values)


def _is_identity(labels: Int[Tensor, " length"], segments: int) -> bool:
    """Whether every entry is its own segment, in order."""
    return segments == len(labels) and torch.equal(labels, torch.arange(segments))


@dataclass(frozen=True, eq=False)
class UnitGrid:
    """How a matrix of R x C weights is cut: unit (u, v) holds the rows labelled u and the columns labelled v.

    >>> grid = UnitGrid(row_of=torch.tensor([0, 0, 1]), col_of=torch.tensor([0, 1]))
    >>> sums = grid.reduce(torch.tensor([[[1, 2], [3, 4], [5, 6]]]))
    >>> sums.tolist(), grid.spread(sums).tolist()
    ([[[4, 6], [5, 6]]], [[[4, 6], [4, 6], [5, 6]]])

    Args:
        row_of: label of every row, each of 0 .. unit_rows - 1 in use.
        col_of: label of every column, each of 0 .. unit_cols - 1 in use.
    """

    row_of: Int[Tensor, " rows"]
    col_of: Int[Tensor, " cols"]

    @property
    def unit_rows(self) -> int:
        """Units one above the other."""
        return int(self.row_of.max()) + 1

    @property
    def unit_cols(self) -> int:
        """Units side by side."""
        return int(self.col_of.max()) + 1

    def sizes(self) -> Int[Tensor, "unit_rows unit_cols"]:
        """Weights in every unit."""
        return torch.outer(torch.bincount(self.row_of), torch.bincount(self.col_of))

    def reduce(
        self, values: Shaped[Tensor, "groups rows cols"]
    ) -> Shaped[Tensor, "groups unit_rows unit_cols"]:
        """Sum the values of each unit, in the dtype of `values`."""
        by_rows = segment_sum(values, self.row_of, self.unit_rows, 1)
        return segment_sum(by_rows, self.col_of, self.unit_cols, 2)

    def spread(
        self, units: Shaped[Tensor, "groups unit_rows unit_cols"]
    ) -> Shaped[Tensor, "groups rows cols"]:
        """Give every weight its unit's value."""
        by_rows = _is_identity(self.row_of, self.unit_rows)
        by_cols = _is_identity(self.col_of, self.unit_cols)
        rows = units if by_rows else units[:, self.row_of.to(units.device)]
        return rows if by_cols else rows[:, :, self.col_of.to(units.device)]
