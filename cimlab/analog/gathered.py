"""Steps that drive rows of several row groups of the matrix (`mapping.placement=gathered`), as arrays compute them.

The rows that a mux position keeps stand at its top, under the columns that it has in the unpruned matrix, so that each
position drives wordlines with inputs of its own. Onto which array a step is packed (`crossbar/compaction.py`) is a
matter of the price: as of compacted layers, converters and wires are those of a matrix whose columns stay in place. To
a backend every position is a group of few columns, whose rows find their inputs elsewhere in the same patch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor
from torch.nn import functional

from cimlab.analog.patches import Patches
from cimlab.analog.program import ArrayProgram
from cimlab.analog.slicing import SlicedMatrix, slice_weights
from cimlab.crossbar.gathering import GatheredRows
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.rules import PlacementMode
from cimlab.crossbar.tally import LayerMask


@dataclass(frozen=True, eq=False)
class GatheredMatrix:
    """The cells of one layer whose rows are gathered.

    Args:
        sliced: the cells with the rows of each mux position at its top.
        source: row of the unpruned matrix that a mux position drives on each wordline, the fullest to its end; 0
            where another drives none any more.
    """

    sliced: SlicedMatrix
    source: Int[Tensor, "groups rows positions"]

    @classmethod
    def of(
        cls,
        weights: Int[Tensor, "groups rows cols"],
        kept: Bool[Tensor, "groups rows cols"],
        geometry: CrossbarGeometry,
    ) -> GatheredMatrix | None:
        """None where gathering saves no step, so that the layer is not laid so.

        A mux position converts 2 columns. Here the first keeps rows 0 and 3, and these share a step:

        >>> weights = torch.tensor([[[5, 0], [0, 0], [0, 0], [0, 7]]])
        >>> geometry = CrossbarGeometry(rows=4, active_rows=2)
        >>> layer = GatheredMatrix.of(weights, weights != 0, geometry)
        >>> layer.sliced.weights[0].tolist(), layer.source[0].tolist()
        ([[5, 0], [0, 7]], [[0], [3]])

        Raises:
            GeometryError: the muxes are independent.
        """
        rows = GatheredRows.of(LayerMask.of(kept), geometry)
        if rows is None:
            return None
        # the fullest position, and one whole step: converters are made for its largest sum
        height = max(int((rows.source >= 0).sum(1).max()), min(geometry.active_rows, kept.shape[1]))
        moved = torch.from_numpy(rows.mask.kept[:, :height]).bool()
        source = torch.from_numpy(rows.source[:, :height]).long().clamp(min=0)
        places = _of_columns(source, kept.shape[2], geometry)
        sliced = slice_weights(weights.gather(1, places), moved, geometry, rows.geometry.rows)
        return cls(sliced, source)

    def program(self, layer: ArrayProgram) -> ArrayProgram:
        """What the arrays of the layer hold, each mux position as a group: [group, position] in one."""
        whole, converter = layer.sliced, layer.converter
        sliced = replace(
            whole,
            weights=self._apart(whole.weights),
            kept=self._apart(whole.kept),
            levels=self._apart(whole.levels),
            driven=self._apart(whole.driven),
            converted=self._apart(whole.converted),
        )
        if not converter.uniform:
            converter = replace(
                converter, scale=self._apart(converter.scale), offset=self._apart(converter.offset)
            )
        cells = None if layer.cells is None else self._apart(layer.cells)
        return replace(layer, sliced=sliced, cells=cells, converter=converter)

    def patches(self, patches: Patches) -> Patches:
        """Where the rows of each position find their inputs."""
        source = self.source.transpose(1, 2).to(patches.offset.device)
        offset = patches.offset[:, None].expand(*source.shape[:2], -1).gather(2, source)
        return replace(patches, offset=offset.flatten(0, 1).contiguous())

    def joined(self, values: Shaped[Tensor, "positions width *more"]) -> Shaped[Tensor, "groups cols *more"]:
        """The positions side by side again."""
        groups, _, cols = self.sliced.converted.shape
        return values.reshape(groups, -1, *values.shape[2:])[:, :cols]

    def driven(self, rows: int) -> Bool[Tensor, "groups rows cols"]:
        """Where a weight of the unpruned matrix is on a driven wordline while its column is converted."""
        own = self.sliced.driven
        places = _of_columns(self.source, own.shape[2], self.sliced.geometry)
        found = torch.zeros(len(own), rows, own.shape[2], dtype=torch.int32)
        return found.scatter_add_(1, places, own.int()) > 0

    def _apart(self, values: Shaped[Tensor, "groups *between cols"]) -> Shaped[Tensor, "..."]:
        """The columns of each mux position as a group; those that the last one lacks hold nothing."""
        positions, width = self.source.shape[2], self.sliced.geometry.operation_unit[1]
        padded = functional.pad(values, (0, positions * width - values.shape[-1]))
        return padded.unflatten(-1, (positions, width)).movedim(-2, 1).flatten(0, 1).contiguous()


def laid(
    weights: Int[Tensor, "groups rows cols"],
    kept: Bool[Tensor, "groups rows cols"],
    geometry: CrossbarGeometry,
    placement: PlacementMode,
) -> tuple[SlicedMatrix, GatheredMatrix | None]:
    """A layer's cells under a placement, and where its steps take their rows if they are gathered.

    Raises:
        GeometryError: the placement is gathered, and the muxes are independent.
    """
    gathered = GatheredMatrix.of(weights, kept, geometry) if placement == "gathered" else None
    return slice_weights(weights, kept, geometry) if gathered is None else gathered.sliced, gathered


def _of_columns(
    source: Int[Tensor, "groups rows positions"], cols: int, geometry: CrossbarGeometry
) -> Int[Tensor, "groups rows cols"]:
    """The source of each column's rows."""
    return source.repeat_interleave(geometry.operation_unit[1], 2)[..., :cols]
