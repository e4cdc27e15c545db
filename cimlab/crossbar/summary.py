"""The counts of a placed network as a record and a report hold them: plain values, beside the unpruned network's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.placement import NetworkPlacement


def counts_summary(
    matrices: Sequence[CrossbarMatrix], placement: NetworkPlacement, geometry: CrossbarGeometry
) -> dict[str, Any]:
    """Counts per image of the network and its layers, the unpruned network's, their ratios, and utilisation.

    >>> from cimlab.crossbar.placement import place_network
    >>> matrices = [CrossbarMatrix("fc", (10, 32))]
    >>> placed = place_network(matrices, {}, CrossbarGeometry(), None)
    >>> found = counts_summary(matrices, placed, CrossbarGeometry())
    >>> found["total"]["steps"], found["ratio"]["steps"], round(found["utilisation"], 3)
    (80, 1.0, 0.156)

    Args:
        matrices: the layers on arrays.
        placement: where their weights are.
        geometry: of the arrays.
    """
    total, dense = asdict(placement.total), asdict(placement.dense_total)
    return {
        "geometry": asdict(geometry),
        "total": total,
        "dense": dense,
        "ratio": {name: total[name] / dense[name] for name in total if dense[name]},
        "utilisation": total["weights_left"] * geometry.columns_per_weight / total["cells"],
        "layers": {matrix.name: _layer(matrix, placement) for matrix in matrices},
    }


def _layer(matrix: CrossbarMatrix, placement: NetworkPlacement) -> dict[str, Any]:
    shape = {name: getattr(matrix, name) for name in ("groups", "rows", "cols", "products")}
    counts = placement.layers[matrix.name].counts
    return {**shape, **asdict(counts), "dense_steps": placement.dense[matrix.name].counts.steps}
