"""Voltage lost on wordlines and bitlines: an exact nodal solve, and a closed form fast enough for networks.

Drivers stand at column 0 and sense amplifiers (virtual ground) below the last row; every cell adds one wire
segment to its wordline and one to its bitline. The wordlines of the active row group are selected whatever
their input, all others are cut off by their access transistors, so that currents are linear in the inputs:
there is one effective conductance matrix. `exact_conductances` finds it by solving Kirchhoff's equations;
`fast_conductances` is their first order in the wire resistance r (relative to the on resistance),

    G_eff[i, j] = G[i, j] / (1 + r sum_j' min(j, j') G[i, j'] + r sum_i' min(d_i, d_i') G[i', j]),

with j counted from 1 and d_i the segments from row i to the sense amplifier, written as a quotient so that it
stays positive. All columns of an array are taken to conduct (sample and hold on every bitline).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import sparse
from scipy.sparse.linalg import splu
from torch import Tensor

from cimlab.analog.devices.base import Conductances, DeviceEffect
from cimlab.analog.slicing import SlicedMatrix


@dataclass(frozen=True)
class WireResistance(DeviceEffect):
    """Wire resistance, by the fast form.

    Args:
        relative: resistance of one wire segment over that of a fully on cell.
    """

    relative: float = 1e-5
    stage: ClassVar[int] = 4
    by_cell: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 <= self.relative < 1:
            raise ValueError(f"relative={self.relative} must be from 0 to below 1")

    @property
    def chips_differ(self) -> bool:
        return False

    def apply(
        self, conductance: Conductances, off: float, sliced: SlicedMatrix, generator: torch.Generator
    ) -> Conductances:
        g = sliced.geometry
        groups, physical, rows, cols = conductance.shape
        arrays = -(-cols // g.logical_cols)
        padded = torch.nn.functional.pad(conductance, (0, arrays * g.logical_cols - cols))
        by_array = padded.unflatten(3, (arrays, g.logical_cols)).permute(0, 3, 2, 4, 1).flatten(3)
        distance = g.rows - torch.arange(rows) % sliced.rows_held
        effective = torch.empty_like(by_array)
        for row_group in range(sliced.row_groups):
            own = (sliced.row_group_of == row_group).nonzero()[:, 0]
            effective[:, :, own] = fast_conductances(by_array[:, :, own], distance[own], self.relative)
        by_column = effective.unflatten(3, (g.logical_cols, physical)).permute(0, 4, 2, 1, 3)
        return by_column.reshape(groups, physical, rows, -1)[..., :cols]


def fast_conductances(
    conductance: Float[Tensor, "*arrays rows cols"], distance: Int[Tensor, " rows"], relative: float
) -> Float[Tensor, "*arrays rows cols"]:
    """The closed form above; `distance` is the number of segments from each row to the sense amplifier."""
    place = torch.arange(1, conductance.shape[-1] + 1)
    shared_wordline = torch.minimum(place[:, None], place).to(conductance)
    shared_bitline = torch.minimum(distance[:, None], distance).to(conductance)
    load = conductance @ shared_wordline + shared_bitline @ conductance
    return conductance / (1 + relative * load)


def exact_conductances(
    conductance: Float[Tensor, "rows cols"], distance: Int[Tensor, " rows"], relative: float
) -> Float[Tensor, "rows cols"]:
    """Currents at the virtual grounds for one volt on each wordline in turn, in float64.

    Args:
        conductance: cells of the selected rows, top to bottom.
        distance: segments from each row to the sense amplifier, falling.
        relative: resistance of one segment, above 0.
    """
    cells = conductance.double().numpy()
    rows, cols = cells.shape
    wordline = np.arange(rows * cols).reshape(rows, cols)
    bitline = wordline + rows * cols
    below = np.append(distance.numpy()[1:], 0)
    vertical = np.broadcast_to(1 / (relative * (distance.numpy() - below))[:, None], (rows, cols))
    horizontal = np.full((rows, cols), 1 / relative)
    branches = [
        (wordline, bitline, cells),
        (wordline[:, 1:], wordline[:, :-1], horizontal[:, 1:]),
        (bitline[:-1], bitline[1:], vertical[:-1]),
    ]
    a, b, g = (np.concatenate([branch[i].ravel() for branch in branches]) for i in range(3))
    to_source = np.zeros(2 * rows * cols)
    to_source[wordline[:, 0]] = 1 / relative
    to_source[bitline[-1]] = vertical[-1]
    off_diagonal = sparse.coo_matrix((-g, (a, b)), shape=(len(to_source),) * 2)
    symmetric = off_diagonal + off_diagonal.T
    diagonal = to_source - np.asarray(symmetric.sum(1)).ravel()
    matrix = (symmetric + sparse.diags(diagonal)).tocsc()
    drive = np.zeros((len(to_source), rows))
    drive[wordline[:, 0], np.arange(rows)] = 1 / relative
    voltage = splu(matrix).solve(drive)
    return torch.from_numpy((voltage[bitline[-1]] * vertical[-1][:, None]).T.copy())
