"""Throughput and energy over the chip's area, dense and pruned on the same silicon.

At the dense network's own area nothing is left to copy and every ratio flatters pruning; with ever more area both
networks get a copy for every product, and the ratio falls back to that of their steps. Hence a curve, not a point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.hardware.actions import PlacedLayer
from cimlab.hardware.cost import CostModel
from cimlab.network.off_arrays import NOTHING, OffArrays

LARGEST = 8.0
"""The largest chip of the curve, over the dense network with one copy of each layer."""
SMALLEST = 1 / LARGEST
"""The smallest: a network of which nothing is left would need no area at all."""
POINTS_PER_OCTAVE = 3


def over_area(
    model: CostModel,
    pruned: Sequence[PlacedLayer],
    dense: Sequence[PlacedLayer],
    geometry: CrossbarGeometry,
    off_arrays: OffArrays = NOTHING,
) -> list[dict[str, float | None]]:
    """One point an area, from the smallest chip that holds the pruned network (`SMALLEST` at least) to `LARGEST`.

    Where a network does not fit, its figures are None; so is the throughput of one of which nothing is left. There are
    no points where a floor plan sets the area.

    Of 4 full arrays one is left, for 8 products; at 1, 2, 4 and 8 times the dense area it has ever less left to gain:

    >>> from cimlab.config.hardware import load_cost_model
    >>> from cimlab.crossbar.matrix import CrossbarMatrix
    >>> from cimlab.crossbar.placement import place_dense
    >>> from cimlab.hardware.activity import ActivityFactors
    >>> geometry, fc = CrossbarGeometry(), [CrossbarMatrix("fc", (outputs, 128), products=8) for outputs in (16, 64)]
    >>> left, whole = ([PlacedLayer(m, place_dense(m, geometry), ActivityFactors())] for m in fc)
    >>> points = over_area(load_cost_model(), left, whole, geometry)
    >>> [p["images_per_s"] / p["dense_images_per_s"] for p in points if p["area_over_dense"] in (1, 2, 4, 8)]
    [4.0, 4.0, 2.0, 1.0]

    Args:
        model: technology, ADC price and chip; the chip's own area and number of arrays play no part.
        pruned, dense: the placed layers of both networks.
        geometry: the array.
        off_arrays: what both multiply digitally.
    """
    if model.chip.floor_plan is not None:
        return []
    any_size = replace(model.chip, max_arrays=None, area_m2=None)
    model = replace(model, chip=any_size)  # or it would reload both networks at every area
    own_m2, whole_m2 = (model.smallest_area_m2(layers, geometry) for layers in (pruned, dense))
    points = []
    for ratio in _areas(max(own_m2 / whole_m2, SMALLEST)):
        area_m2 = ratio * whole_m2
        point: dict[str, float | None] = {"area_over_dense": ratio, "area_m2": area_m2}
        for prefix, layers, least_m2 in (("", pruned, own_m2), ("dense_", dense, whole_m2)):
            fits = least_m2 <= area_m2 * (1 + 1e-9)
            found = model.report(layers, geometry, area_m2 * (1 + 1e-9), off_arrays) if fits else None
            rate = found.timing.images_per_s if found else np.inf
            point[f"{prefix}images_per_s"] = rate if np.isfinite(rate) else None
            point[f"{prefix}energy_j"] = found.total_energy_j if found else None
        points.append(point)
    return points


def _areas(smallest: float) -> list[float]:
    """From the smallest area on, and every whole fraction of an octave up to the largest.

    >>> _areas(1.4)[:3]
    [1.4, 1.5874..., 2.0]
    """
    first = int(np.floor(np.log2(smallest) * POINTS_PER_OCTAVE)) + 1
    last = round(np.log2(LARGEST) * POINTS_PER_OCTAVE)
    return [smallest, *(2.0 ** (i / POINTS_PER_OCTAVE) for i in range(first, last + 1))]
