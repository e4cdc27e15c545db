"""Bit planes that are zero in all rows of a row group: an input cycle of which nothing is driven needs no array step.

Counted exactly on calibration images: a digit is zero in every row where it is zero in the bitwise or of the rows'
integers. Rows in which the layer keeps no weight are never driven, and count as zero (Yang et al., "Sparse ReRAM
Engine", ISCA 2019, skips so). What is counted holds for arrays whose row groups are cut alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.tally import row_group_bounds

Cut = tuple[int, int, int, int]
WATCHED_IMAGES = 32
"""Images of a calibration batch whose bit planes are looked through, every product of theirs."""


def cut_of_planes(geometry: CrossbarGeometry) -> Cut:
    """What row groups and bit planes depend on: bits of an input, bits per cycle, rows driven at once, array rows.

    >>> cut_of_planes(CrossbarGeometry())
    (8, 1, 16, 128)
    """
    return geometry.input_bits, geometry.dac_bits, geometry.active_rows, geometry.rows


@dataclass(frozen=True, eq=False)
class ZeroPlanes:
    """How often the rows of a layer's row groups are all fed zero in an input cycle.

    Two products of 4 cycles; row groups of one row, which carry 2 and 4, and 0 and 1:

    >>> one_row = CrossbarGeometry(rows=1, active_rows=1, input_bits=4)
    >>> planes = ZeroPlanes.of(np.array([[[2, 0], [4, 1]]]), np.ones((1, 2), bool), one_row)
    >>> planes.share.tolist(), ZeroPlanes.of_json(planes.to_json()).by_plane.tolist()
    ([[0.75, 0.875]], [3, 3, 3, 4])

    Args:
        cut: as `cut_of_planes`.
        products: matrix-vector products that were watched.
        by_row_group: planes that were all zero, over all products and input cycles.
        by_plane: the same planes by input cycle, lowest digit first, over all row groups.
    """

    cut: Cut
    products: int
    by_row_group: Int[np.ndarray, "groups row_groups"]
    by_plane: Int[np.ndarray, " cycles"]

    @classmethod
    def of(
        cls,
        inputs: Int[np.ndarray, "groups products rows"],
        driven: Bool[np.ndarray, "groups rows"],
        geometry: CrossbarGeometry,
    ) -> ZeroPlanes:
        """Count the planes of some products.

        Args:
            inputs: integers on the wordlines.
            driven: rows that keep a weight.
            geometry: the array.
        """
        firsts = row_group_bounds(inputs.shape[2], geometry)[:-1]
        met = np.bitwise_or.reduceat(inputs * driven[:, None], firsts, axis=2)
        places = range(0, geometry.input_cycles * geometry.dac_bits, geometry.dac_bits)
        digit = 2**geometry.dac_bits - 1
        zero = np.stack([(met >> place & digit == 0).sum(1) for place in places])
        return cls(cut_of_planes(geometry), inputs.shape[1], zero.sum(0), zero.sum((1, 2)))

    def __add__(self, other: ZeroPlanes) -> ZeroPlanes:
        return ZeroPlanes(
            self.cut,
            self.products + other.products,
            self.by_row_group + other.by_row_group,
            self.by_plane + other.by_plane,
        )

    @property
    def share(self) -> Float[np.ndarray, "groups row_groups"]:
        """Of each row group's input cycles, those that need no step."""
        return self.by_row_group / (self.products * len(self.by_plane))

    def to_json(self) -> dict[str, Any]:
        """Plain lists, for a record."""
        return {
            "cut": list(self.cut), "products": self.products,
            "by_row_group": self.by_row_group.tolist(), "by_plane": self.by_plane.tolist(),
        }  # fmt: skip

    @classmethod
    def of_json(cls, content: Mapping[str, Any]) -> ZeroPlanes:
        """The inverse of `to_json`.

        Raises:
            ValueError, KeyError, TypeError: it is something else.
        """
        bits, dac, active, rows = (int(value) for value in content["cut"])
        by_row_group, by_plane = (
            np.array(content[key], dtype=np.int64) for key in ("by_row_group", "by_plane")
        )
        products = int(content["products"])
        if by_row_group.ndim != 2 or by_row_group.sum() != by_plane.sum() or products < 1:
            raise ValueError("planes by row group and by input cycle don't belong together")
        return cls((bits, dac, active, rows), products, by_row_group, by_plane)
