"""ADC resolution by occupancy: a column that keeps few weights in a row group has few sums to tell apart.

The resolutions lose nothing, so that what is computed stays what it was, bit for bit (`tests/hardware/
test_adc_occupancy.py` clips real partial sums at them).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.hardware.actions import PlacedLayer
from cimlab.hardware.adc import AdcPrice
from cimlab.hardware.chip import Chip
from cimlab.hardware.errors import HardwareError


def occupancy_bits(geometry: CrossbarGeometry) -> Int[np.ndarray, " active_rows_and_none"]:
    """Bits that lose nothing of a column with 0, 1, ... active_rows kept weights.

    >>> occupancy_bits(CrossbarGeometry(active_rows=4)).tolist()
    [0, 2, 3, 4, 4]
    """
    largest = (2**geometry.dac_bits - 1) * (2**geometry.cell_bits - 1)
    return np.array([(q * largest).bit_length() for q in range(geometry.active_rows + 1)])


def layer_bits(layers: Sequence[PlacedLayer], geometry: CrossbarGeometry) -> Int[np.ndarray, " layers"]:
    """Bits that lose nothing of the fullest column of each layer.

    >>> from cimlab.crossbar.matrix import CrossbarMatrix
    >>> from cimlab.crossbar.placement import place_dense
    >>> from cimlab.hardware.activity import ActivityFactors
    >>> matrix = CrossbarMatrix("fc", (8, 4))  # 4 rows: no column sums more than 4 x 3
    >>> layer = PlacedLayer(matrix, place_dense(matrix, CrossbarGeometry()), ActivityFactors())
    >>> layer_bits([layer], CrossbarGeometry()).tolist()
    [4]
    """
    needed = occupancy_bits(geometry)
    converted = [x.placement.work.occupancy.any((0, 1)) for x in layers]
    return np.array([needed[some].max(initial=0) for some in converted], dtype=np.int64)


@dataclass(frozen=True, eq=False)
class LayerAdcs:
    """The converters of every layer.

    Args:
        conversion_j: mean energy of the conversions that are made.
        built_j: energy of a conversion at the resolution that is built, which idle converters leak by.
        area_m2: of one converter.
    """

    conversion_j: Float[np.ndarray, " layers"]
    built_j: Float[np.ndarray, " layers"]
    area_m2: Float[np.ndarray, " layers"]


def adc_of_layers(
    layers: Sequence[PlacedLayer], geometry: CrossbarGeometry, chip: Chip, adc: AdcPrice, node_m: float
) -> LayerAdcs:
    """What a chip gives every layer to convert with.

    Columns of 4 weights need 4-bit converters instead of the geometry's 6 bits:

    >>> from cimlab.config.hardware import load_adc_price
    >>> from cimlab.crossbar.matrix import CrossbarMatrix
    >>> from cimlab.crossbar.placement import place_dense
    >>> from cimlab.hardware.activity import ActivityFactors
    >>> matrix, geometry, adc = CrossbarMatrix("fc", (8, 4)), CrossbarGeometry(), load_adc_price("isaac_table")
    >>> layers = [PlacedLayer(matrix, place_dense(matrix, geometry), ActivityFactors())]
    >>> chips = [Chip(adc_resolution=resolution) for resolution in ("geometry", "layer")]
    >>> [f"{1e12 * adc_of_layers(layers, geometry, chip, adc, 32e-9).conversion_j[0]:.2f} pJ" for chip in chips]
    ['1.12 pJ', '0.74 pJ']

    Args:
        layers: the placed layers.
        geometry, chip: the accelerator.
        adc: price of a converter by its bits.
        node_m: process node.

    Raises:
        HardwareError: the geometry's own converters lose something, so that narrower ones have no meaning.
    """
    narrowed = chip.adc_resolution != "geometry"
    if narrowed and geometry.resolution_bits < geometry.lossless_adc_bits:
        raise HardwareError(
            f"chip.adc_resolution={chip.adc_resolution} gives a column the ADC bits that lose nothing of its sums, but "
            f"geometry.adc_bits={geometry.adc_bits} loses; use geometry.adc_bits=null or chip.adc_resolution=geometry"
        )
    built = layer_bits(layers, geometry) if narrowed else np.full(len(layers), geometry.resolution_bits)
    built_j, area_m2 = adc.energy_j(built, node_m), adc.area_m2(built, node_m)
    if chip.adc_resolution != "column":
        return LayerAdcs(built_j, built_j, area_m2)
    each_j = adc.energy_j(occupancy_bits(geometry), node_m)
    made = np.array([_conversions_made(layer, chip) for layer in layers])
    total = made.sum(1)
    mean_j = np.divide(made @ each_j, total, out=np.zeros(len(layers)), where=total > 0)
    return LayerAdcs(mean_j, built_j, area_m2)


def _conversions_made(layer: PlacedLayer, chip: Chip) -> Float[np.ndarray, " active_rows_and_none"]:
    """Conversions of a mean input cycle by occupancy of the column, without those that zero inputs skip."""
    counts, skipped = layer.placement.work.occupancy, layer.activity.zero_share
    if not chip.skip_zero_inputs or skipped is None:
        return counts.sum((0, 1), dtype=float)
    return (counts * (1 - skipped[..., None])).sum((0, 1))
