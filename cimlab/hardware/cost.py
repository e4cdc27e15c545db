"""The cost model: action counts x prices -> energy, latency, area, leakage and throughput by layer and component."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil, floor, log10, sqrt

import numpy as np
from jaxtyping import Float, Int

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.placement import NetworkPlacement, Placement, place_dense
from cimlab.hardware.actions import (
    PlacedLayer,
    action_counts,
    array_instances,
    instance_counts,
    written_cells,
)
from cimlab.hardware.activity import ActivityFactors
from cimlab.hardware.adc import AdcPrice
from cimlab.hardware.chip import Chip
from cimlab.hardware.copies import ROUNDING, Room
from cimlab.hardware.errors import HardwareError
from cimlab.hardware.notes import price_notes
from cimlab.hardware.occupancy import LayerAdcs, adc_of_layers
from cimlab.hardware.prices import AdcFigures, Prices
from cimlab.hardware.report import CostComparison, HardwareReport
from cimlab.hardware.schedule import Timing, programming_seconds, schedule
from cimlab.hardware.technology import (
    ACTIONS,
    ARRAY_COMPONENTS,
    COMPONENTS,
    INSTANCES,
    Technology,
)
from cimlab.hardware.transport import Transport, transport
from cimlab.network.off_arrays import NOTHING, OffArrays
from cimlab.records.components import SUPPORT

ARRAY = CrossbarMatrix("array", (1, 1))
"""Any unpruned layer: what one array brings along does not depend on it."""

ADC = COMPONENTS.index("adc")
SUPPORT_COLUMNS = [COMPONENTS.index(name) for name in SUPPORT]


@dataclass(frozen=True, eq=False)
class _Built:
    """What stands on a chip.

    Args:
        area_m2: by layer and component; the last column is what no copy can use.
        leakage_w: the same in watts, of what leaks all the time.
        total_area_m2: of the chip, sum of parts.
        first_copies_m2: of one copy of each layer, without what no copy can use.
    """

    area_m2: Float[np.ndarray, "layers components"]
    leakage_w: Float[np.ndarray, "layers components"]
    total_area_m2: float
    first_copies_m2: float


@dataclass(frozen=True)
class CostModel:
    """A technology, an ADC price and a chip: everything but the network and the array's geometry.

    A full array takes 512 steps of 100 ns; its chip is twice as large as what it needs:

    >>> from cimlab.config.hardware import load_cost_model
    >>> model, geometry, matrix = load_cost_model(), CrossbarGeometry(), CrossbarMatrix("fc", (16, 128))
    >>> layers = [PlacedLayer(matrix, place_dense(matrix, geometry), ActivityFactors())]
    >>> model.report(layers, geometry)
    HardwareReport(energy_j=1.447e-08, images_per_s=1.953e+04, area_m2=1.316e-08, 1 layers, isaac32, isaac_table)
    >>> model.chip_area_m2(layers, geometry) / model.smallest_area_m2(layers, geometry)
    2.0

    Raises:
        HardwareError: the chip has a floor plan, and the technology no price of its wires.
    """

    technology: Technology
    adc: AdcPrice
    chip: Chip

    def __post_init__(self) -> None:
        if self.chip.floor_plan is not None and not self.technology.wires_by_length:
            raise HardwareError(
                f"chip.floor_plan needs the energy of wires by length, which technology {self.technology.name} lacks "
                "(components.interconnect.energy_j.bit_metre); use technology=neurosim22_chip, or chip.floor_plan=null"
            )

    @cached_property
    def prices(self) -> Prices:
        """What one action and one instance cost."""
        return Prices(self.technology, self.adc, self.chip)

    def report(
        self,
        layers: Sequence[PlacedLayer],
        geometry: CrossbarGeometry,
        area_m2: float | None = None,
        off_arrays: OffArrays = NOTHING,
    ) -> HardwareReport:
        """Price a network.

        Args:
            layers: the placed layers, in the order of computation.
            geometry: the array that they are placed on.
            area_m2: area of the chip, sum of parts; what the network leaves is spent on copies. None is a chip as
                large as one copy of each layer needs.
            off_arrays: what is multiplied digitally.

        Raises:
            HardwareError: the technology can't build the geometry, the ADC price lacks its resolution or node, the
                network does not fit the area, or its steps gather rows and the chip can't.
        """
        self.technology.check(geometry)
        if any(layer.placement.gathered for layer in layers):
            self.chip.refuse_to_gather()
        adc = self.prices.adc_figures(geometry)
        adcs = adc_of_layers(layers, geometry, self.chip, self.adc, self.technology.node_m)
        room = self._room(layers, geometry, adc, adcs.area_m2, area_m2)
        moved = self._moved(layers, geometry)
        timing = schedule(layers, geometry, self.chip, self.technology, adc.latency_s, room, moved)
        if timing is None:
            raise HardwareError(self._too_small(layers, room, self._links_m2(adc)))
        dynamic = self._actions(layers, geometry, adc, timing, moved) @ self.prices.energy_j(adc)
        dynamic[:, ADC] *= adcs.conversion_j / adc.energy_j
        built = self._built(layers, geometry, timing, adc, adcs, area_m2)
        return HardwareReport(
            technology=self.technology.name,
            adc_price=self.adc.name,
            adc_bits=geometry.resolution_bits,
            layers=tuple(layer.matrix.name for layer in layers),
            components=COMPONENTS,
            dynamic_j=dynamic,
            leakage_w=built.leakage_w,
            area_m2=built.area_m2,
            total_area_m2=built.total_area_m2,
            first_copies_m2=built.first_copies_m2,
            programming_j=timing.copies * self._programming_j(layers, geometry),
            programming_s=programming_seconds(geometry, self.chip, self.technology)
            if timing.all_arrays
            else 0.0,
            timing=timing,
            layout_factor=self.technology.layout_factor.value,
            operations=np.array(
                [2 * layer.matrix.weights * layer.matrix.macs_per_weight for layer in layers]
            ),
            operations_done=np.array(
                [2 * layer.placement.counts.weights_left * layer.matrix.macs_per_weight for layer in layers]
            ),
            off_arrays=off_arrays,
            mac_j=self.technology.digital_mac_j.value,
            counts=tuple(
                layer.placement.on(geometry, int(arrays), int(longest))
                for layer, arrays, longest in zip(layers, timing.arrays, timing.longest, strict=True)
            ),
            converted=np.array([_share_converted(layer, geometry) for layer in layers]),
            array_balance=timing.balance,
            notes=price_notes(self.technology, self.adc, self.chip, layers, geometry, timing, off_arrays),
        )

    def compare(
        self,
        matrices: Sequence[CrossbarMatrix],
        placement: NetworkPlacement,
        geometry: CrossbarGeometry,
        activities: Mapping[str, ActivityFactors] | None = None,
        dense_activities: Mapping[str, ActivityFactors] | None = None,
        off_arrays: OffArrays = NOTHING,
    ) -> CostComparison:
        """Price a placed network and the unpruned one on chips of the same area; raises as `report` does.

        Args:
            matrices: the network's layers in order.
            placement: where their weights are.
            geometry: the array.
            activities: by layer, for the network; assumed where absent.
            dense_activities: the same for the unpruned one; `activities` where absent.
            off_arrays: what both multiply digitally.
        """
        own, whole = placed_layers(matrices, placement, activities, dense_activities)
        area_m2 = self.chip_area_m2(whole, geometry)
        return CostComparison(
            self.report(own, geometry, area_m2, off_arrays), self.report(whole, geometry, area_m2, off_arrays)
        )

    def chip_area_m2(self, dense: Sequence[PlacedLayer], geometry: CrossbarGeometry) -> float:
        """Area of the chip that a network and the unpruned one are compared on, sum of parts."""
        moved = self._moved(dense, geometry)
        if moved is not None:
            return self._smallest_m2(dense, self._room_of(dense, geometry), moved.copies)
        if self.chip.area_m2 is not None:
            return self.chip.area_m2
        adc = self.prices.adc_figures(geometry)
        if self.chip.max_arrays is not None:
            return self.chip.max_arrays * self.array_area_m2(geometry) + self._links_m2(adc)
        return self.chip.area_over_dense * self.smallest_area_m2(dense, geometry)

    def smallest_area_m2(self, layers: Sequence[PlacedLayer], geometry: CrossbarGeometry) -> float:
        """Area of one copy of each layer on its fewest arrays, with all that stands around them."""
        return self._smallest_m2(layers, self._room_of(layers, geometry)) + self._links_m2(
            self.prices.adc_figures(geometry)
        )

    def array_area_m2(self, geometry: CrossbarGeometry) -> float:
        """Area of one array with its periphery and its share of a tile, without pruning support."""
        adc = self.prices.adc_figures(geometry)
        return float((self._plain_array(geometry) @ self.prices.area_m2(adc)).sum())

    def _moved(self, layers: Sequence[PlacedLayer], geometry: CrossbarGeometry) -> Transport | None:
        """What travels over the chip's floor plan, if it has one."""
        if self.chip.floor_plan is None:
            return None
        parts = (
            self._plain_array(geometry) @ self.prices.area_m2(self.prices.adc_figures(geometry))
        ).tolist()
        array_m2 = sum(m2 for name, m2 in zip(COMPONENTS, parts, strict=True) if name in ARRAY_COMPONENTS)
        side_m = sqrt(array_m2 * self.technology.layout_factor.value)
        return transport(layers, geometry, self.chip.floor_plan, side_m)

    def _room_of(self, layers: Sequence[PlacedLayer], geometry: CrossbarGeometry) -> Room:
        """Areas of the layers on a chip of any area."""
        adc_m2 = adc_of_layers(layers, geometry, self.chip, self.adc, self.technology.node_m).area_m2
        return self._room(layers, geometry, self.prices.adc_figures(geometry), adc_m2, None)

    def _actions(
        self,
        layers: Sequence[PlacedLayer],
        geometry: CrossbarGeometry,
        adc: AdcFigures,
        timing: Timing,
        moved: Transport | None,
    ) -> Float[np.ndarray, "layers actions"]:
        """How often each priced action happens for one image."""
        device, bits = self.technology.device, geometry.resolution_bits
        actions = action_counts(layers, geometry, self.chip, device, adc.latency_s, bits)
        actions[:, ACTIONS.index("loaded_bit")] = timing.loaded_bits
        actions[:, ACTIONS.index("cell_write")] = timing.cell_writes
        if moved is not None:
            actions[:, ACTIONS.index("port_bit")] = moved.port_bits
            actions[:, ACTIONS.index("bit_metre")] = moved.bit_metres
        return actions

    def _built(
        self,
        layers: Sequence[PlacedLayer],
        geometry: CrossbarGeometry,
        timing: Timing,
        adc: AdcFigures,
        adcs: LayerAdcs,
        area_m2: float | None,
    ) -> _Built:
        bits = geometry.resolution_bits
        instances = instance_counts(layers, timing.arrays, timing.copies, geometry, self.chip, bits)
        area, leakage = self._area(instances, adc, adcs.area_m2), instances @ self.prices.leakage_w(adc)
        leakage[:, ADC] *= adcs.built_j / adc.energy_j
        density = self._leakage_density(geometry, adc)
        leakage[:, SUPPORT_COLUMNS] += density * area[:, SUPPORT_COLUMNS]
        chip_m2 = float(area.sum())
        if area_m2 is not None and chip_m2 <= area_m2 * ROUNDING:
            chip_m2 = area_m2
        unused_m2 = max(0.0, chip_m2 - float(area.sum()))
        share = area.sum(1) / area.sum() if area.sum() else np.full(len(layers), 1 / max(1, len(layers)))
        return _Built(
            np.column_stack([area, share * unused_m2]),
            np.column_stack([leakage, share * unused_m2 * density]),
            chip_m2,
            float(area.sum() - ((timing.copies - 1) / timing.copies) @ area.sum(1)),
        )

    def _room(
        self,
        layers: Sequence[PlacedLayer],
        geometry: CrossbarGeometry,
        adc: AdcFigures,
        adc_m2: Float[np.ndarray, " layers"],
        area_m2: float | None,
    ) -> Room:
        prices = self.prices.area_m2(adc)
        each = self._area(array_instances(layers, geometry, self.chip, geometry.resolution_bits), adc, adc_m2)
        index = np.array([layer.placement.counts.index_bits for layer in layers], dtype=float)
        free = None if area_m2 is None else area_m2 - self._links_m2(adc)
        copy_m2 = index * prices[INSTANCES.index("index_bit")].sum()
        return Room(each.sum(1), copy_m2, free, self.array_area_m2(geometry))

    def _area(
        self,
        instances: Float[np.ndarray, "layers instances"],
        adc: AdcFigures,
        adc_m2: Float[np.ndarray, " layers"],
    ) -> Float[np.ndarray, "layers components"]:
        """Area by layer and component, with converters of each layer's own size."""
        area = instances @ self.prices.area_m2(adc)
        area[:, ADC] = instances[:, INSTANCES.index("adc")] * adc_m2
        return area

    def _links_m2(self, adc: AdcFigures) -> float:
        return self.chip.off_chip_links * float(self.prices.area_m2(adc)[INSTANCES.index("chip")].sum())

    def _smallest_m2(
        self, layers: Sequence[PlacedLayer], room: Room, copies: Int[np.ndarray, " layers"] | int = 1
    ) -> float:
        held = self.chip.readout == "held"
        fewest = [
            (p.row_groups if held and p.row_groups is not None else p.stripes).fewest.sum()
            for p in (layer.placement for layer in layers)
        ]
        return float((copies * (np.array(fewest, dtype=float) * room.array_m2 + room.copy_m2)).sum())

    def _too_small(self, layers: Sequence[PlacedLayer], room: Room, links_m2: float) -> str:
        assert room.area_m2 is not None
        chip, needed = self.chip, self._smallest_m2(layers, room)
        given = "area_m2" if chip.area_m2 is not None else "area_over_dense"
        value = getattr(chip, given)
        enough = (needed + links_m2) / (room.area_m2 + links_m2) * value * (1 + 1e-6)
        left_m2 = max(0.0, room.area_m2)  # the links alone may be larger
        arrays = int(left_m2 / room.array_m2.max())
        reload = f", or chip.max_arrays={arrays} to reload it in parts" if arrays else ""
        beside = f" beside {1e6 * links_m2:.4g} mm2 of links" if links_m2 else ""
        return (
            f"chip.{given}={value:g} leaves {1e6 * left_m2:.4g} mm2 for arrays{beside}, but one copy of each layer "
            f"needs {1e6 * needed:.4g} mm2; use chip.{given}={_above(enough)} or more{reload}"
        )

    def _programming_j(
        self, layers: Sequence[PlacedLayer], geometry: CrossbarGeometry
    ) -> Float[np.ndarray, " layers"]:
        """Energy of writing the cells of one copy."""
        cells = np.array([written_cells(layer, geometry, self.chip) for layer in layers], dtype=float)
        write_j = self.technology.components["weight_loading"].energy_j["cell_write"].value
        return cells * (self.chip.write_pulses * write_j)

    def _plain_array(self, geometry: CrossbarGeometry) -> Float[np.ndarray, " instances"]:
        if geometry not in self._plain_arrays:
            unpruned = PlacedLayer(ARRAY, place_dense(ARRAY, geometry), ActivityFactors())
            parts = array_instances([unpruned], geometry, self.chip, geometry.resolution_bits)[0]
            self._plain_arrays[geometry] = parts
        return self._plain_arrays[geometry]

    @cached_property
    def _plain_arrays(self) -> dict[CrossbarGeometry, Float[np.ndarray, " instances"]]:
        return {}

    def _leakage_density(self, geometry: CrossbarGeometry, adc: AdcFigures) -> float:
        """Leakage per area of arrays with their tiles, in W/m2.

        Area that no copy can use holds arrays all the same, and pruning support, whose leakage no source states, is
        taken to leak as densely: so chips of one area leak alike, and pruning gains or loses nothing by what is idle.
        """
        array = self._plain_array(geometry)
        return float((array @ self.prices.leakage_w(adc)).sum() / (array @ self.prices.area_m2(adc)).sum())


def _share_converted(layer: PlacedLayer, geometry: CrossbarGeometry) -> float:
    """Conversions over ADC slots of the executed steps: what is missing to 1 is ADCs that wait."""
    slots = layer.placement.counts.steps * geometry.columns_read
    return layer.placement.counts.adc_conversions / slots if slots else 1.0


def placed_layers(
    matrices: Sequence[CrossbarMatrix],
    placement: NetworkPlacement,
    activities: Mapping[str, ActivityFactors] | None = None,
    dense_activities: Mapping[str, ActivityFactors] | None = None,
) -> tuple[list[PlacedLayer], list[PlacedLayer]]:
    """The layers of a placed network and of the unpruned one, with what their cells and inputs hold.

    >>> fc = CrossbarMatrix("fc", (16, 128))
    >>> kept, whole = (place_dense(matrix, CrossbarGeometry()) for matrix in (CrossbarMatrix("fc", (4, 128)), fc))
    >>> placement = NetworkPlacement({"fc": kept}, {"fc": whole})
    >>> own, dense = placed_layers([fc], placement, activities={"fc": ActivityFactors(input_density=0.1)})
    >>> own[0].placement.counts.steps, dense[0].placement.counts.steps, dense[0].activity.input_density
    (128, 512, 0.1)

    Args:
        matrices: the layers, in the order of computation.
        placement: where their weights are.
        activities: by layer, for the network; assumed where absent.
        dense_activities: the same for the unpruned one; None takes `activities`.
    """
    own = dict(activities or {})
    whole = own if dense_activities is None else dict(dense_activities)

    def placed(places: Mapping[str, Placement], values: Mapping[str, ActivityFactors]) -> list[PlacedLayer]:
        return [PlacedLayer(m, places[m.name], values.get(m.name, ActivityFactors())) for m in matrices]

    return placed(placement.layers, own), placed(placement.dense, whole)


def _above(number: float) -> str:
    """Four digits, rounded up, so that the value is enough.

    >>> _above(1.00001)
    '1.001'
    """
    digit = 10.0 ** (floor(log10(number)) - 3)
    return f"{ceil(number / digit) * digit:.4g}"
