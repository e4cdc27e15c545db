"""A chip with every array at work: power, area, operations per second and per joule, as papers state them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.placement import place_dense
from cimlab.hardware.actions import PlacedLayer, action_counts, instance_counts
from cimlab.hardware.activity import ActivityFactors
from cimlab.hardware.cost import CostModel
from cimlab.hardware.schedule import layer_ways
from cimlab.hardware.technology import ARRAY_COMPONENTS, COMPONENTS, INSTANCES


@dataclass(frozen=True)
class Peak:
    """Figures of a number of arrays at full load; SI units.

    >>> macro = Peak(power_w={"adc": 3e-3, "cells": 1e-3}, area_m2={"adc": 2e-8, "cells": 1e-8}, ops_per_s=2e10)
    >>> f"{macro.ops_per_s / macro.total_power_w / 1e12:.0f} TOPS/W, {1e6 * macro.total_area_m2:.2f} mm2"
    '5 TOPS/W, 0.03 mm2'

    Args:
        power_w, area_m2: by component.
        ops_per_s: operations (2 x MACs) per second.
    """

    power_w: dict[str, float]
    area_m2: dict[str, float]
    ops_per_s: float

    @property
    def total_power_w(self) -> float:
        """Power of all components."""
        return sum(self.power_w.values())

    @property
    def total_area_m2(self) -> float:
        """Area of all components."""
        return sum(self.area_m2.values())


def peak(
    model: CostModel,
    geometry: CrossbarGeometry,
    arrays: int,
    tiles: int = 0,
    links: int = 0,
    activity: ActivityFactors | None = None,
) -> Peak:
    """Arrays that each hold a full matrix and never wait, with the tiles and links around them.

    >>> from cimlab.config.hardware import load_cost_model
    >>> found = peak(load_cost_model(), CrossbarGeometry(), arrays=96)
    >>> f"{found.ops_per_s / 1e9:.0f} GOPS, {1e3 * found.total_power_w:.0f} mW"
    '8 GOPS, 26 mW'

    Array parts are charged by their actions, so that the same prices are checked that a network pays; parts of the
    tile and the chip, whose actions depend on the traffic, by their published power.

    Args:
        model: technology, ADC price and chip.
        geometry: the array.
        arrays: how many.
        tiles: tiles whose periphery is counted; links: off-chip link blocks.
        activity: of inputs and cells.

    Raises:
        HardwareError: as `CostModel.report`.
    """
    model.technology.check(geometry)
    matrix = CrossbarMatrix("array", (geometry.logical_cols, geometry.rows))
    layer = PlacedLayer(matrix, place_dense(matrix, geometry), activity or ActivityFactors())
    adc, bits = model.prices.adc_figures(geometry), geometry.resolution_bits
    actions = action_counts([layer], geometry, model.chip, model.technology.device, adc.latency_s, bits)
    one = np.ones(1, dtype=np.int64)
    instances = instance_counts([layer], one, one, geometry, model.chip, bits)
    margin = model.technology.timing_margin.value
    ways = layer_ways(
        layer.placement,
        geometry,
        model.chip,
        model.technology.latency_s("cells") * margin,
        adc.latency_s * margin,
    )
    product_s = float(ways.product_s[0])
    power = (actions @ model.prices.energy_j(adc))[0] / product_s * arrays
    power[[i for i, name in enumerate(COMPONENTS) if name not in ARRAY_COMPONENTS]] = 0.0
    instances = instances[0] * arrays
    instances[INSTANCES.index("tile")], instances[INSTANCES.index("chip")] = tiles, links
    power += instances @ model.prices.peak_w
    area = instances @ model.prices.area_m2(adc)
    operations = 2 * matrix.weights * arrays
    return Peak(
        dict(zip(COMPONENTS, power.tolist(), strict=True)),
        dict(zip(COMPONENTS, area.tolist(), strict=True)),
        operations / product_s,
    )
