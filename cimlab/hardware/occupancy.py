"""ADC resolution by occupancy: a column that keeps few weights in a row group has few sums to tell apart.

The resolutions lose nothing, so that what is computed stays what it was, bit for bit (`tests/hardware/
test_adc_occupancy.py` clips real partial sums at them).
"""

from __future__ import annotations

from collections.abc import Sequence

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
    return np.array([needed[x.placement.work.occupancy > 0].max(initial=0) for x in layers], dtype=np.int64)


def adc_of_layers(
    layers: Sequence[PlacedLayer], geometry: CrossbarGeometry, chip: Chip, adc: AdcPrice, node_m: float
) -> tuple[Float[np.ndarray, " layers"], Float[np.ndarray, " layers"]]:
    """Mean energy of a layer's conversions and the area of its converters.

    Columns of 4 weights need 4-bit converters instead of the geometry's 6 bits:

    >>> from cimlab.config.hardware import load_adc_price
    >>> from cimlab.crossbar.matrix import CrossbarMatrix
    >>> from cimlab.crossbar.placement import place_dense
    >>> from cimlab.hardware.activity import ActivityFactors
    >>> matrix, geometry, adc = CrossbarMatrix("fc", (8, 4)), CrossbarGeometry(), load_adc_price("isaac_table")
    >>> layers = [PlacedLayer(matrix, place_dense(matrix, geometry), ActivityFactors())]
    >>> chips = [Chip(adc_resolution=resolution) for resolution in ("geometry", "layer")]
    >>> [f"{1e12 * adc_of_layers(layers, geometry, chip, adc, 32e-9)[0][0]:.2f} pJ" for chip in chips]
    ['1.12 pJ', '0.74 pJ']

    Args:
        layers: the placed layers.
        geometry, chip: the accelerator.
        adc: price of a converter by its bits.
        node_m: process node.

    Raises:
        HardwareError: the geometry's own converters lose something, so that narrower ones have no meaning.
    """
    if chip.adc_resolution == "geometry":
        bits = np.full(len(layers), geometry.resolution_bits)
        return adc.energy_j(bits, node_m), adc.area_m2(bits, node_m)
    if geometry.resolution_bits < geometry.lossless_adc_bits:
        raise HardwareError(
            f"chip.adc_resolution={chip.adc_resolution} gives a column the ADC bits that lose nothing of its sums, but "
            f"geometry.adc_bits={geometry.adc_bits} loses; use geometry.adc_bits=null or chip.adc_resolution=geometry"
        )
    widest = layer_bits(layers, geometry)
    area_m2, energy_j = adc.area_m2(widest, node_m), adc.energy_j(widest, node_m)
    if chip.adc_resolution == "column":
        each_j = adc.energy_j(occupancy_bits(geometry), node_m)
        counts = np.array([layer.placement.work.occupancy for layer in layers], dtype=float)
        energy_j = counts @ each_j / np.maximum(counts.sum(1), 1)
    return energy_j, area_m2
