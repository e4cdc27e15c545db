"""A technology: published energies, areas, latencies and leakages by component, each with its source.

Constants live in conf/technology/ alone. Every number there says per what it is charged (`conversion`, `row_drive`,
`tile`, ...), so that cost is one matrix product: action counts x energy per action. A number may come from another
node than the technology's; then the file also holds the scaling step, with its factors and their source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.hardware.errors import HardwareError, require_numbers

ACTIONS = (
    "cell_read", "cell_second", "row_drive", "active_row", "step", "conversion", "partial_sum_word",
    "register_bit", "input_bit", "output_bit", "port_bit", "bit_metre", "output", "index_bit", "selected_bit",
    "aligned_bit", "checked_bit", "loaded_bit", "cell_write",
)  # fmt: skip
"""What energy is charged for; `actions.py` says how each is counted."""
INSTANCES = (
    "cell",
    "row",
    "column",
    "array",
    "adc",
    "tile",
    "chip",
    "index_bit",
    "selector",
    "aligner",
    "detector",
)
"""What area, leakage and peak power are charged for."""

CHARGES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "cells": (("cell_read", "cell_second", "active_row"), ("cell",)),
    "wordline_driver": (("row_drive", "active_row"), ("row",)),
    "level_shifter": ((), ("array",)),
    "column_mux": (("conversion", "step"), ("column", "array")),
    "sample_hold": (("conversion",), ("column",)),
    "adc": (("conversion",), ("adc",)),
    "shift_add": (("conversion",), ("adc",)),
    "partial_sum_adder": (("partial_sum_word",), ("array", "tile")),
    "input_register": (("register_bit",), ("array",)),
    "output_register": (("conversion",), ("array", "tile")),
    "input_buffer": (("input_bit", "port_bit"), ("tile",)),
    "output_buffer": (("output_bit",), ("tile",)),
    "activation": (("output",), ("tile",)),
    "pooling": ((), ("tile",)),
    "interconnect": (("input_bit", "output_bit", "bit_metre"), ("tile",)),
    "index_memory": (("index_bit",), ("index_bit",)),
    "input_selection": (("selected_bit",), ("selector",)),
    "output_alignment": (("aligned_bit",), ("aligner",)),
    "zero_detection": (("checked_bit",), ("detector",)),
    "weight_loading": (("loaded_bit", "cell_write"), ("chip",)),
}
"""Component -> actions that may be charged to it, and instances. All are needed but those of `adc`, which come
from the ADC price; what a technology has not is 0 there, with the reason as its source."""
COMPONENTS = tuple(CHARGES)
ARRAY_COMPONENTS = (
    "cells", "wordline_driver", "level_shifter", "column_mux", "sample_hold", "adc", "shift_add", "input_register",
    "output_register",
)  # fmt: skip
"""Components that every array brings along; the others stand in the tile or on the chip."""
LATENCIES = {
    "cells": "a row group's bitlines settle",
    "shift_add": "one shift-and-add",
    "partial_sum_adder": "one addition",
    "input_buffer": "one access",
    "output_buffer": "one access",
    "interconnect": "bus and one hop",
    "weight_loading": "one programming pulse",
}


@dataclass(frozen=True)
class Quantity:
    """A number with its life story.

    Args:
        value: in SI units.
        source: a citation that a reader can open, or `assumed: ...`.
        node_m: node at which it was published, where that is not the technology's.
    """

    value: float
    source: str
    node_m: float | None = None


@dataclass(frozen=True)
class Component:
    """One part of the chip: quantities by what they are charged for.

    >>> from cimlab.config.hardware import load_technology
    >>> adder = load_technology("isaac32").components["shift_add"]
    >>> [f"{quantity.value:.3g}" for quantity in adder.quantities]  # J per conversion, m2 per ADC, s
    ['1.95e-14', '3e-11', '1e-09']
    """

    energy_j: Mapping[str, Quantity]
    area_m2: Mapping[str, Quantity]
    leakage_w: Mapping[str, Quantity]
    power_w: Mapping[str, Quantity]
    latency_s: Quantity | None

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        """All of them."""
        kinds = (self.energy_j, self.area_m2, self.leakage_w, self.power_w)
        found = [quantity for kind in kinds for quantity in kind.values()]
        return (*found, *([self.latency_s] if self.latency_s else []))


@dataclass(frozen=True)
class CellDevice:
    """What the published read energy assumes of inputs and weights, so that measured values can scale it.

    >>> device = CellDevice(*(Quantity(value, "assumed: an example") for value in (10e3, 1e6, 0.5, 0.5)))
    >>> [f"{1e6 * device.conductance_s(level):.1f} uS" for level in (0.0, 0.5, 1.0)]
    ['1.0 uS', '50.5 uS', '100.0 uS']

    Args:
        on_ohm, off_ohm: resistance of a full-scale and of an empty cell.
        reference_level: mean cell value, over full scale, at which `cells.energy_j` holds.
        reference_input_density: fraction of the driven rows whose input bit is 1, at which it holds.
    """

    on_ohm: Quantity
    off_ohm: Quantity
    reference_level: Quantity
    reference_input_density: Quantity

    def conductance_s(self, level: float) -> float:
        """Conductance of a cell of value `level` (0 to 1), linear between its ends."""
        off, on = 1 / self.off_ohm.value, 1 / self.on_ohm.value
        return off + (on - off) * level

    @property
    def reference_conductance_s(self) -> float:
        """Conductance of the cell that the published energy is of."""
        return self.conductance_s(self.reference_level.value)


@dataclass(frozen=True)
class Technology:
    """One self-consistent set of component figures.

    >>> from cimlab.config.hardware import load_technology
    >>> technology = load_technology("isaac32")
    >>> technology.latency_s("cells"), technology.limits["cell_bits"]
    (1e-07, (1.0, 4.0))

    Args:
        name: as reports print it.
        node_m: process node.
        components: one entry for each of `COMPONENTS` but `adc`.
        device: the memory cell.
        digital_mac_j: a multiply-accumulate of two 8-bit numbers in a digital unit.
        timing_margin: factor on the step time.
        layout_factor: bounding box of an array over the sum of its parts.
        limits: geometry field -> lowest and highest value that the figures cover.
        notes: what a reader must know, scaling steps included.
    """

    name: str
    node_m: float
    components: Mapping[str, Component]
    device: CellDevice
    digital_mac_j: Quantity
    timing_margin: Quantity
    layout_factor: Quantity
    limits: Mapping[str, tuple[float, float]]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, content: Mapping[str, Any], where: str) -> Technology:
        """Read and check the content of a technology file.

        Args:
            content: the file's mapping.
            where: the file, for messages.

        Raises:
            HardwareError: a component or number is missing, negative, not finite, or charged for what it can't be.
        """
        return _Reader(content, where).technology()

    @property
    def wires_by_length(self) -> bool:
        """Whether wires have an energy by length, as a floor plan needs it."""
        return "bit_metre" in self.components["interconnect"].energy_j

    def latency_s(self, component: str) -> float:
        """Latency of a component."""
        quantity = self.components[component].latency_s
        assert quantity is not None, component
        return quantity.value

    def check(self, geometry: CrossbarGeometry) -> None:
        """Refuse a geometry that the figures don't cover.

        Raises:
            HardwareError: names the field and the range.
        """
        for name, (low, high) in self.limits.items():
            value = getattr(geometry, name)
            if not low <= value <= high:
                raise HardwareError(
                    f"technology {self.name} can't build geometry.{name}={value}: its figures cover {low:g} to "
                    f"{high:g} (limits in conf/technology/{self.name}.yaml)"
                )


class _Reader:
    """Checks a technology file entry by entry, so that a mistake is met with its full key."""

    def __init__(self, content: Mapping[str, Any], where: str) -> None:
        self.content = content
        self.where = where

    def technology(self) -> Technology:
        """The checked technology.

        Raises:
            HardwareError: an entry is missing, foreign, or no quantity with a source.
        """
        known = {"name", "node_m", "notes", "limits", "scaling", "timing_margin", "layout_factor"}
        known |= {"device", "components", "digital_mac_j"}
        self._refuse_foreign("", self.content, known)
        components = self._mapping("components", self.content)
        self._refuse_foreign("components.", components, set(COMPONENTS) - {"adc"})
        self.node_m = self._number("node_m", self.content.get("node_m"))
        self.scaling = [self._scaling(i, entry) for i, entry in enumerate(self._list("scaling"))]
        device = self._mapping("device", self.content)
        read = {name: self._component(name, components) for name in COMPONENTS if name != "adc"}
        return Technology(
            name=str(self.content.get("name")),
            node_m=self.node_m,
            components=read,
            device=CellDevice(
                *(
                    self._quantity(f"device.{key}", device.get(key), above=0)
                    for key in ("on_ohm", "off_ohm", "reference_level", "reference_input_density")
                )
            ),
            digital_mac_j=self._digital_mac(),
            timing_margin=self._quantity("timing_margin", self.content.get("timing_margin"), above=0),
            layout_factor=self._quantity("layout_factor", self.content.get("layout_factor"), above=0),
            limits=self._limits(),
            notes=tuple(str(note) for note in self._list("notes")) + self._scaling_notes(read),
        )  # fmt: skip

    def _component(self, name: str, components: Mapping[str, Any]) -> Component:
        content, key = self._mapping(name, components, f"components.{name}"), f"components.{name}"
        self._refuse_foreign(f"{key}.", content, {"energy_j", "area_m2", "leakage_w", "power_w", "latency_s"})
        actions, instances = CHARGES[name]
        latency = None
        if name in LATENCIES:
            latency = self._quantity(f"{key}.latency_s", content.get("latency_s"), scaled="latency")
        return Component(
            energy_j=self._charges(f"{key}.energy_j", content.get("energy_j"), actions, "energy"),
            area_m2=self._charges(f"{key}.area_m2", content.get("area_m2"), instances, "area"),
            leakage_w=self._charges(
                f"{key}.leakage_w", content.get("leakage_w"), instances, None, needed=False
            ),
            power_w=self._charges(f"{key}.power_w", content.get("power_w"), instances, None, needed=False),
            latency_s=latency,
        )

    def _charges(
        self, key: str, content: Any, allowed: tuple[str, ...], scaled: str | None, needed: bool = True
    ) -> Mapping[str, Quantity]:
        if content is None and not (needed and allowed):
            return {}
        if not isinstance(content, Mapping) or not content:
            raise HardwareError(
                f"{self.where}: {key} is missing; give a number from 0 per {' or '.join(allowed)}"
            )
        self._refuse_foreign(f"{key}.", content, set(allowed))
        return {per: self._quantity(f"{key}.{per}", entry, scaled=scaled) for per, entry in content.items()}

    def _quantity(
        self, key: str, content: Any, above: float | None = None, scaled: str | None = None
    ) -> Quantity:
        if not isinstance(content, Mapping):
            missing = " is missing" if content is None else f"={content} has no source"
            raise HardwareError(f"{self.where}: {key}{missing}; give {{value: ..., source: ...}}")
        self._refuse_foreign(f"{key}.", content, {"value", "source", "node_m"})
        value = self._number(f"{key}.value", content.get("value"), above)
        source = content.get("source")
        if not isinstance(source, str) or not source.strip():
            raise HardwareError(f"{self.where}: {key}.source is missing; say where the number is from")
        node = content.get("node_m")
        if node is None or scaled is None:
            return Quantity(value, source)
        node = self._number(f"{key}.node_m", node, above=0)
        for entry in self.scaling:
            if abs(entry["from_node_m"] / node - 1) < 1e-6:
                return Quantity(value * entry[scaled], source, entry["from_node_m"])
        raise HardwareError(
            f"{self.where}: {key}.node_m={node} differs from node_m={self.node_m}, and scaling has no entry with "
            f"from_node_m={node}; add one with its source"
        )

    def _scaling(self, number: int, entry: Any) -> dict[str, Any]:
        key = f"scaling.{number}"
        if not isinstance(entry, Mapping) or not isinstance(entry.get("source"), str):
            raise HardwareError(f"{self.where}: {key} needs from_node_m, energy, area, latency and source")
        self._refuse_foreign(f"{key}.", entry, {"from_node_m", "energy", "area", "latency", "source"})
        factors = {
            name: self._number(f"{key}.{name}", entry.get(name), above=0)
            for name in ("from_node_m", "energy", "area", "latency")
        }
        return {**factors, "source": entry["source"]}

    def _digital_mac(self) -> Quantity:
        """With its scaling step as a part of its source: it matters only where something is computed digitally."""
        found = self._quantity("digital_mac_j", self.content.get("digital_mac_j"), above=0, scaled="energy")
        steps = [entry for entry in self.scaling if entry["from_node_m"] == found.node_m]
        scaled = [
            f"scaled from {s['from_node_m'] * 1e9:g} nm: x {s['energy']:g}, {s['source']}" for s in steps
        ]
        return replace(found, source="; ".join((found.source, *scaled)))

    def _scaling_notes(self, components: Mapping[str, Component]) -> tuple[str, ...]:
        used = {quantity.node_m for component in components.values() for quantity in component.quantities}
        return tuple(
            f"figures published at {entry['from_node_m'] * 1e9:g} nm are scaled to {self.node_m * 1e9:g} nm: energy x "
            f"{entry['energy']:g}, area x {entry['area']:g}, latency x {entry['latency']:g} ({entry['source']})"
            for entry in self.scaling
            if entry["from_node_m"] in used
        )

    def _limits(self) -> dict[str, tuple[float, float]]:
        limits = {}
        fields = CrossbarGeometry.__dataclass_fields__
        content = self._mapping("limits", self.content)
        self._refuse_foreign("limits.", content, set(fields))
        for name, span in content.items():
            if not isinstance(span, list | tuple) or len(span) != 2:
                raise HardwareError(f"{self.where}: limits.{name}={span} must be [lowest, highest]")
            low, high = (self._number(f"limits.{name}", end) for end in span)
            limits[name] = (low, high)
        return limits

    def _list(self, name: str) -> Sequence[Any]:
        """Entries that a technology may lack."""
        found = self.content.get(name) or []
        if not isinstance(found, list | tuple):
            raise HardwareError(f"{self.where}: {name}={found} must be a list")
        return found

    def _mapping(self, name: str, content: Mapping[str, Any], key: str | None = None) -> Mapping[str, Any]:
        found = content.get(name)
        if not isinstance(found, Mapping):
            raise HardwareError(
                f"{self.where}: {key or name} is missing; every technology needs it (0 if it has none)"
            )
        return found

    def _number(self, key: str, value: Any, above: float | None = None) -> float:
        require_numbers(f"{self.where}: {key}", value, above=above)
        return float(value)

    def _refuse_foreign(self, prefix: str, content: Mapping[str, Any], known: set[str]) -> None:
        for key in content:
            if key not in known:
                raise HardwareError(
                    f"{self.where}: unknown key {prefix}{key}; allowed: {', '.join(sorted(known))}"
                )
