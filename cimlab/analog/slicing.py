"""Signed integer weights as cell levels on physical columns, and which of them take part in which step.

A column group that holds no kept weight in a row group is never converted, and a wordline that no kept weight
of a step needs is not driven: the same rule by which `cimlab.crossbar.placement` counts steps and cell reads.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from cimlab.crossbar.cells import Encoding, cell_levels
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.units import aligned_segments, segment_sum


@dataclass(frozen=True, eq=False)
class SlicedMatrix:
    """The cells of one layer.

    Args:
        geometry: the array.
        weights: the signed integers that the cells encode; 0 where nothing is kept.
        kept: the weight was left by pruning, even if its integer is 0.
        levels: cell levels by physical column of a logical one, 0 where a cell takes no part.
        coefficients: what one code of each physical column counts in the shift-and-add.
        bias: what every driven cell adds to its weight (offset encoding), removed digitally.
        driven: the wordline is on while the column is converted.
        converted: the row group of a column is converted at all.
        row_group_of: row group of every row.
        rows_held: rows of the matrix on one array.
    """

    geometry: CrossbarGeometry
    weights: Int[Tensor, "groups rows cols"]
    kept: Bool[Tensor, "groups rows cols"]
    levels: UInt8[Tensor, "groups physical rows cols"]
    coefficients: tuple[int, ...]
    bias: int
    driven: Bool[Tensor, "groups rows cols"]
    converted: Bool[Tensor, "groups row_groups cols"]
    row_group_of: Int[Tensor, " rows"]
    rows_held: int

    @property
    def row_groups(self) -> int:
        return self.converted.shape[1]

    @property
    def largest_sum(self) -> int:
        """The largest partial sum that ideal cells can give: all wordlines of a group fully on."""
        g = self.geometry
        rows = min(g.active_rows, int(torch.bincount(self.row_group_of).max()))
        return rows * (2**g.dac_bits - 1) * (2**g.cell_bits - 1)


def slice_weights(
    weights: Int[Tensor, "groups rows cols"],
    kept: Bool[Tensor, "groups rows cols"],
    geometry: CrossbarGeometry,
    rows_held: int | None = None,
) -> SlicedMatrix:
    """Cut integers into cells, as `cimlab.crossbar.cells` writes them; None is as many rows as an array has."""
    rows_held = rows_held or geometry.rows
    encoding = Encoding.of(geometry)
    weights = weights.where(kept, 0)
    row_group_of = aligned_segments(weights.shape[1], rows_held, geometry.active_rows)
    converted = segment_sum(kept.int(), row_group_of, int(row_group_of[-1]) + 1, 1) > 0
    driven = _driven(kept, converted, row_group_of, geometry)
    levels = (cell_levels(weights, geometry, 1) * driven[:, None]).to(torch.uint8)
    return SlicedMatrix(
        geometry, weights, kept, levels, encoding.coefficients, encoding.bias, driven, converted, row_group_of,
        rows_held,
    )  # fmt: skip


def _driven(
    kept: Bool[Tensor, "groups rows cols"],
    converted: Bool[Tensor, "groups row_groups cols"],
    row_group_of: Int[Tensor, " rows"],
    geometry: CrossbarGeometry,
) -> Bool[Tensor, "groups rows cols"]:
    """Which wordlines are on while a column is converted: those that any column that shares them needs.

    Lockstep muxes convert n neighbouring columns per step, and a step drives rows of its own. Independent muxes step
    through different columns at a time, so that a row group of an array is driven with one pattern for all of them
    (`Work.cells` counts so).
    """
    width = geometry.operation_unit[1] if geometry.mux_control == "lockstep" else geometry.logical_cols
    step = aligned_segments(kept.shape[2], geometry.logical_cols, width).expand(kept.shape)
    needs = torch.zeros(*kept.shape[:2], int(step.max()) + 1, dtype=torch.int32)
    needs = needs.scatter_add_(2, step, kept.int())
    return (needs.gather(2, step) > 0) & converted[:, row_group_of]
