"""What every granularity answers: how it cuts a crossbar matrix, and what the hardware must know of the cut.

Unit shapes are domain terms: m = active_rows and n = logical columns of the operation unit, cut so that a unit
never straddles an array (classic kernel, channel and filter units know no arrays and may).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import ceil
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.units import UnitGrid, aligned_segments


@dataclass(frozen=True)
class Look:
    """How a granularity is told apart in every figure and where it stands in every table.

    Args:
        place: finest first; leave gaps.
        colour: one that stays apart for every eye: Okabe and Ito's palette (2008), with grey in place of its yellow,
            which a thin line on paper loses.
        mark: a shape of Vega's by name, or an SVG path within -1 .. 1.
        dashed: the line, where another granularity has the same colour.
    """

    place: int
    colour: str
    mark: str
    dashed: bool = False


class Granularity(ABC):
    """A way of cutting a layer into pruning units.

    One of your own, which keeps or prunes pairs of weights down a column:

    >>> class Pair(Granularity):
    ...     def units(self, matrix, geometry):
    ...         return block_units(matrix, geometry, rows=2, cols=1)
    >>> grid = Pair().index(CrossbarMatrix("fc", (3, 4)), CrossbarGeometry())
    >>> grid.row_of.tolist(), grid.col_of.tolist()
    ([0, 0, 1, 1], [0, 1, 2])
    """

    look: ClassVar[Look] = Look(1000, "#7F7F7F", "circle")
    finer_and_skipped: ClassVar[bool] = False
    """Whether the unit is finer than an array and the crossbar skips what is pruned (CONCEPTS.md, section 3)."""
    classic: ClassVar[bool] = False
    """Whether it is structured pruning as it was done before crossbars: whole channels or filters."""

    @abstractmethod
    def units(self, matrix: CrossbarMatrix, geometry: CrossbarGeometry) -> UnitGrid:
        """The units that are kept or pruned as one."""

    def index(self, matrix: CrossbarMatrix, geometry: CrossbarGeometry) -> UnitGrid:
        """The units whose presence the hardware is told; the pruning units unless they are not skippable."""
        return self.units(matrix, geometry)

    def tiers(
        self,
        scores: Float[Tensor, "groups unit_rows unit_cols"],
        matrix: CrossbarMatrix,
        geometry: CrossbarGeometry,
    ) -> Int[Tensor, "groups unit_rows unit_cols"] | None:
        """Units that must share their fate carry the same tier, 0 the most salient; None leaves them free."""
        return None


def column_segments(matrix: CrossbarMatrix, geometry: CrossbarGeometry) -> UnitGrid:
    """Units of m x 1: one logical column's conversions for one row group.

    >>> grid = column_segments(CrossbarMatrix("fc", (3, 6)), CrossbarGeometry(active_rows=4))
    >>> grid.row_of.tolist(), grid.col_of.tolist()
    ([0, 0, 0, 0, 1, 1], [0, 1, 2])
    """
    return block_units(matrix, geometry, geometry.active_rows, 1)


def block_units(matrix: CrossbarMatrix, geometry: CrossbarGeometry, rows: int, cols: int) -> UnitGrid:
    """Units of rows x cols that start afresh at every array.

    >>> matrix = CrossbarMatrix("conv", weight_shape=(32, 16, 3, 3))  # 144 x 32
    >>> units = block_units(matrix, CrossbarGeometry(rows=128), rows=16, cols=2)
    >>> units.unit_rows, units.unit_cols, units.sizes().unique().tolist()
    (9, 16, [32])
    """
    return UnitGrid(
        aligned_segments(matrix.rows, geometry.rows, rows),
        aligned_segments(matrix.cols, geometry.logical_cols, cols),
    )


def balanced_tiers(scores: Float[Tensor, "..."], dim: int, members: int, stride: int) -> Int[Tensor, "..."]:
    """Rank of every unit in its balance group, scaled to 0 .. members - 1.

    A balance group is `members` units along `dim`, `stride` apart. Keeping the tiers below N then leaves N of
    every group, and ceil(N size / members) of a ragged one.

    >>> balanced_tiers(torch.tensor([0.1, 0.9, 0.5, 0.7, 0.2, 0.3]), 0, 4, 1).tolist()
    [3, 0, 2, 1, 2, 0]
    """
    length = scores.shape[dim]
    span = members * stride
    moved = scores.movedim(dim, -1)
    padded = torch.nn.functional.pad(moved, (0, ceil(length / span) * span - length), value=-torch.inf)
    groups = padded.unflatten(-1, (-1, members, stride))
    rank = torch.zeros_like(groups, dtype=torch.int32)
    for place in range(
        members
    ):  # a member's rank is the number of rivals above it; of equals, the earlier wins
        rival = groups[..., place : place + 1, :]
        rank[..., : place + 1, :] += rival > groups[..., : place + 1, :]
        rank[..., place + 1 :, :] += rival >= groups[..., place + 1 :, :]
    if length % span:
        there = (torch.arange(padded.shape[-1], device=scores.device) < length).int()
        sizes = there.view(-1, members, stride).sum(1, keepdim=True).clamp(min=1)
        rank = rank * members // sizes
    return rank.flatten(-3)[..., :length].movedim(-1, dim)
