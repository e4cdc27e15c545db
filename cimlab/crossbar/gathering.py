"""Which rows the steps of a layer drive together where a step may take them from several row groups of the matrix."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.tally import LayerMask, Work


@dataclass(frozen=True, eq=False)
class GatheredRows:
    """A layer whose mux positions have each moved the rows that they keep to their top.

    Args:
        mask: the kept weights, moved.
        source: row of the unpruned matrix that a position drives on each wordline, -1 where it drives none.
        geometry: the array, as high as whole steps are.
        work: of the mask under this geometry.
    """

    mask: LayerMask
    source: Int[np.ndarray, "groups rows positions"]
    geometry: CrossbarGeometry
    work: Work

    @classmethod
    def of(cls, mask: LayerMask, geometry: CrossbarGeometry) -> GatheredRows | None:
        """None where no step is saved, and of a layer that keeps every weight, which is laid as the unpruned one.

        32 x 4 weights keep every other row: 2 mux positions take one step each instead of two.

        >>> kept = np.zeros((1, 32, 4), np.uint8)
        >>> kept[:, ::2] = 1
        >>> rows = GatheredRows.of(LayerMask(kept), CrossbarGeometry())
        >>> int(rows.work.row_group_steps.sum()), rows.source[0, :4].tolist()
        (2, [[0, 0], [2, 2], [4, 4], [6, 6]])
        >>> GatheredRows.of(LayerMask(np.ones_like(kept)), CrossbarGeometry()) is None
        True

        Raises:
            GeometryError: the muxes are independent.
        """
        geometry.refuse_to_gather()
        if mask.weights_left == mask.kept.size:
            return None
        whole = replace(geometry, rows=geometry.rows - geometry.rows % geometry.active_rows)
        together, source = mask.gathered(geometry.operation_unit[1])
        work = together.work(whole)
        saved = mask.work(geometry).row_group_steps.sum() - work.row_group_steps.sum()
        return cls(together, source, whole, work) if saved > 0 else None
