"""The cost model: action counts x prices -> energy, latency, area, leakage and throughput by layer and component."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from jaxtyping import Float

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.placement import NetworkPlacement, Placement
from cimlab.hardware.actions import PlacedLayer, action_counts, instance_counts
from cimlab.hardware.activity import ASSUMED, ActivityFactors
from cimlab.hardware.adc import AdcPrice
from cimlab.hardware.chip import Chip
from cimlab.hardware.report import CostComparison, HardwareReport
from cimlab.hardware.schedule import schedule
from cimlab.hardware.technology import (
    ACTIONS,
    ARRAY_COMPONENTS,
    COMPONENTS,
    INSTANCES,
    Component,
    Technology,
)


@dataclass(frozen=True)
class AdcFigures:
    """The ADC at one resolution and node."""

    energy_j: float
    area_m2: float
    latency_s: float


@dataclass(frozen=True)
class CostModel:
    """A technology, an ADC price and a chip: everything but the network and the array's geometry."""

    technology: Technology
    adc: AdcPrice
    chip: Chip

    def report(self, layers: Sequence[PlacedLayer], geometry: CrossbarGeometry) -> HardwareReport:
        """Price a network.

        Args:
            layers: the placed layers, in the order of computation.
            geometry: the array that they are placed on.

        Raises:
            HardwareError: the technology can't build the geometry, or the ADC price lacks its resolution or node.
        """
        self.technology.check(geometry)
        adc, bits = self.adc_figures(geometry), geometry.resolution_bits
        area_per_instance = self.area_prices(adc)
        timing = schedule(
            layers, geometry, self.chip, self.technology, adc.latency_s,
            self.array_area_m2(geometry),
        )  # fmt: skip
        actions = action_counts(layers, geometry, self.chip, self.technology.device, adc.latency_s, bits)
        actions[:, ACTIONS.index("loaded_bit")] = timing.loaded_bits
        actions[:, ACTIONS.index("cell_write")] = timing.cell_writes
        instances = instance_counts(layers, timing.copies, geometry, self.chip, bits)
        return HardwareReport(
            technology=self.technology.name,
            adc_price=self.adc.name,
            adc_bits=bits,
            layers=tuple(layer.matrix.name for layer in layers),
            components=COMPONENTS,
            dynamic_j=actions @ self.energy_prices(adc),
            leakage_w=instances @ self._leakage_prices,
            area_m2=instances @ area_per_instance,
            timing=timing,
            batch=self.chip.batch,
            layout_factor=self.technology.layout_factor.value,
            operations=np.array([2 * layer.matrix.weights * layer.matrix.products for layer in layers]),
            operations_done=np.array(
                [2 * layer.placement.counts.weights_left * layer.matrix.products for layer in layers]
            ),
            counts=tuple(layer.placement.counts for layer in layers),
            converted=np.array([_share_converted(layer, geometry) for layer in layers]),
            array_balance=np.array([_array_balance(layer) for layer in layers]),
            notes=self._notes(layers, geometry),
        )

    def compare(
        self,
        matrices: Sequence[CrossbarMatrix],
        placement: NetworkPlacement,
        geometry: CrossbarGeometry,
        activities: Mapping[str, ActivityFactors] | None = None,
        dense_activities: Mapping[str, ActivityFactors] | None = None,
    ) -> CostComparison:
        """Price a placed network and the unpruned one on the same hardware; raises as `report` does.

        Args:
            matrices: the network's layers in order.
            placement: where their weights are.
            geometry: the array.
            activities: by layer, for the network; assumed where absent.
            dense_activities: the same for the unpruned one; `activities` where absent.
        """
        own = dict(activities or {})
        whole = own if dense_activities is None else dict(dense_activities)

        def placed(
            places: Mapping[str, Placement], values: Mapping[str, ActivityFactors]
        ) -> list[PlacedLayer]:
            return [PlacedLayer(m, places[m.name], values.get(m.name, ActivityFactors())) for m in matrices]

        return CostComparison(
            self.report(placed(placement.layers, own), geometry),
            self.report(placed(placement.dense, whole), geometry),
        )

    def adc_figures(self, geometry: CrossbarGeometry) -> AdcFigures:
        """What the ADC price says for this geometry's resolution at the technology's node."""
        bits, node = geometry.resolution_bits, self.technology.node_m
        return AdcFigures(
            float(self.adc.energy_j(bits, node)),
            float(self.adc.area_m2(bits, node)),
            float(self.adc.latency_s(bits, node)),
        )

    def array_area_m2(self, geometry: CrossbarGeometry) -> float:
        """Area of one array with its own periphery, the tile's share left out."""
        per_array = {
            "cell": geometry.rows * geometry.cols, "row": geometry.rows, "column": geometry.cols, "array": 1,
            "adc": self.chip.adcs_per_array(geometry),
        }  # fmt: skip
        prices = self.area_prices(self.adc_figures(geometry))
        chosen = [COMPONENTS.index(name) for name in ARRAY_COMPONENTS]
        amounts = np.array([per_array.get(name, 0) for name in INSTANCES], dtype=float)
        return float((amounts @ prices)[chosen].sum())

    def energy_prices(self, adc: AdcFigures) -> Float[np.ndarray, "actions components"]:
        prices = self._energy_without_adc.copy()
        prices[ACTIONS.index("conversion"), COMPONENTS.index("adc")] = adc.energy_j
        return prices

    def area_prices(self, adc: AdcFigures) -> Float[np.ndarray, "instances components"]:
        prices = self._area_without_adc.copy()
        prices[INSTANCES.index("adc"), COMPONENTS.index("adc")] = adc.area_m2
        return prices

    @cached_property
    def _energy_without_adc(self) -> Float[np.ndarray, "actions components"]:
        return self._prices("energy_j", ACTIONS)

    @cached_property
    def _area_without_adc(self) -> Float[np.ndarray, "instances components"]:
        return self._prices("area_m2", INSTANCES)

    @cached_property
    def _leakage_prices(self) -> Float[np.ndarray, "instances components"]:
        return self._prices("leakage_w", INSTANCES)

    @cached_property
    def peak_prices(self) -> Float[np.ndarray, "instances components"]:
        """Power at full traffic of the parts whose actions a network's counts don't tell."""
        return self._prices("power_w", INSTANCES)

    def _prices(self, figure: str, kinds: tuple[str, ...]) -> np.ndarray:
        assert figure in {f.name for f in fields(Component)}
        prices = np.zeros((len(kinds), len(COMPONENTS)))
        for name, component in self.technology.components.items():
            for kind, quantity in getattr(component, figure).items():
                prices[kinds.index(kind), COMPONENTS.index(name)] = quantity.value
        return prices

    def _notes(self, layers: Sequence[PlacedLayer], geometry: CrossbarGeometry) -> tuple[str, ...]:
        notes = [*self.technology.notes, *self.adc.notes(geometry.resolution_bits, self.technology.node_m)]
        if any(layer.activity.inputs == ASSUMED for layer in layers):
            density = {layer.activity.input_density for layer in layers if layer.activity.inputs == ASSUMED}
            notes.append(f"input bit density assumed: {', '.join(f'{d:g}' for d in sorted(density))}")
        if any(layer.activity.weights == ASSUMED for layer in layers):
            level = {layer.activity.kept_level for layer in layers if layer.activity.weights == ASSUMED}
            notes.append(
                f"mean value of kept cells assumed: {', '.join(f'{v:g}' for v in sorted(level))} of full scale"
            )
        return tuple(notes)


def _share_converted(layer: PlacedLayer, geometry: CrossbarGeometry) -> float:
    """Conversions over ADC slots of the executed steps: what is missing to 1 is ADCs that wait."""
    slots = layer.placement.counts.steps * geometry.columns_read
    return layer.placement.counts.adc_conversions / slots if slots else 1.0


def _array_balance(layer: PlacedLayer) -> float:
    """Mean steps of the working arrays over those of the busiest: what is missing to 1 is arrays that wait."""
    steps = layer.placement.work.steps_per_array
    working = int((steps > 0).sum())
    return float(steps.sum() / (working * steps.max())) if working else 1.0
