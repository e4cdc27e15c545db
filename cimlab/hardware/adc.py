"""Analog-to-digital converters: what one conversion costs, by resolution, rate and node.

The ADC dominates a compute-in-memory chip, and honest sources differ tenfold, so the model is a choice of its own
and every report names it. All models answer for arrays of bits, rates and nodes at once. Below the lowest
resolution that a source covers, the converter of that lowest resolution is charged (a real design would use it too);
above the highest, the request is refused.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Real

from cimlab.hardware.errors import HardwareError, require_numbers

Values = Real[np.ndarray, "..."] | float | int
Results = Float[np.ndarray, "..."]

SNDR_DB_PER_BIT, SNDR_DB_OFFSET = 20 * math.log10(2), 10 * math.log10(1.5)
"""SNDR of an ideal converter with a full-scale sine: 6.02 b + 1.76 dB (Bennett, Bell Syst. Tech. J. 27, 1948)."""


@dataclass(frozen=True, kw_only=True)
class AdcPrice(ABC):
    """Costs of one conversion.

    >>> from cimlab.config.hardware import load_adc_price
    >>> adc = load_adc_price("isaac_table")
    >>> [f"{1e12 * adc.energy_j(bits, 32e-9):.2f} pJ, {1e12 * adc.area_m2(bits, 32e-9):.0f} um2" for bits in (6, 8)]
    ['1.12 pJ, 627 um2', '1.56 pJ, 1200 um2']
    >>> print(*adc.notes(3, 32e-9))
    3 bits would do, but isaac_table starts at 4: a 4-bit ADC is charged

    Args:
        name: as reports print it.
        source: where the numbers are from.
        bits: lowest and highest resolution that the source covers.
        nodes_m: lowest and highest process node it covers.
        rate_hz: conversions per second at which the converter is built; None is the source's own rate.
    """

    name: str
    source: str
    bits: tuple[int, int]
    nodes_m: tuple[float, float]
    rate_hz: float | None = None

    def __post_init__(self) -> None:
        require_numbers(f"adc_price {self.name}: bits", *self.bits, low=1)
        require_numbers(f"adc_price {self.name}: nodes_m", *self.nodes_m, above=0)
        if self.rate_hz is not None:
            require_numbers(f"adc_price {self.name}: rate_hz", self.rate_hz, above=0)

    def energy_j(self, bits: Values, node_m: Values, rate_hz: Values | None = None) -> Results:
        """Energy of one conversion.

        Raises:
            HardwareError: bits, node or rate lie beyond the source.
        """
        return self._energy_j(*self._checked(bits, node_m, rate_hz))

    def area_m2(self, bits: Values, node_m: Values, rate_hz: Values | None = None) -> Results:
        """Area of one converter; raises as `energy_j` does."""
        return self._area_m2(*self._checked(bits, node_m, rate_hz))

    def latency_s(self, bits: Values, node_m: Values, rate_hz: Values | None = None) -> Results:
        """Time from one conversion to the next; raises as `energy_j` does."""
        used, _, rate = self._checked(bits, node_m, rate_hz)
        return 1 / rate + 0 * used

    def notes(self, bits: int, node_m: float) -> list[str]:
        """What a reader must know of the numbers at this resolution and node."""
        if bits < self.bits[0]:
            return [
                f"{bits} bits would do, but {self.name} starts at {self.bits[0]}: a {self.bits[0]}-bit ADC is charged"
            ]
        return []

    @abstractmethod
    def _energy_j(self, bits: Results, node_m: Results, rate_hz: Results) -> Results: ...

    @abstractmethod
    def _area_m2(self, bits: Results, node_m: Results, rate_hz: Results) -> Results: ...

    @abstractmethod
    def fastest_hz(self, bits: Values) -> Results:
        """Highest rate that the source covers."""

    def _checked(
        self, bits: Values, node_m: Values, rate_hz: Values | None
    ) -> tuple[Results, Results, Results]:
        wanted = np.asarray(bits, dtype=float)
        if np.any(~np.isfinite(wanted)) or np.any(wanted > self.bits[1]):
            raise HardwareError(
                f"adc_price {self.name} covers {self.bits[0]} to {self.bits[1]} bits, not {_worst(wanted):g}; lower "
                f"geometry.adc_bits (or active_rows, cell_bits), or choose another adc_price"
            )
        node = np.asarray(node_m, dtype=float)
        low, high = self.nodes_m
        tolerance = 1e-6
        outside = ~((node >= low * (1 - tolerance)) & (node <= high * (1 + tolerance)))
        if np.any(outside):
            raise HardwareError(
                f"adc_price {self.name} covers nodes from {low * 1e9:g} to {high * 1e9:g} nm, not "
                f"{node[outside].flat[0] * 1e9:g} nm; choose a technology of such a node, or another adc_price"
            )
        used = np.maximum(wanted, self.bits[0])
        fastest = self.fastest_hz(used)
        own = fastest if self.rate_hz is None else self.rate_hz
        rate = np.asarray(own if rate_hz is None else rate_hz, dtype=float)
        if np.any(~(rate > 0)) or np.any(rate > fastest * (1 + tolerance)):
            raise HardwareError(
                f"adc_price {self.name} converts at up to {np.min(fastest):g} Hz at {_worst(used)} bits, not at "
                f"{_worst(rate):g} Hz; lower adc_price.rate_hz"
            )
        return used, node, rate


@dataclass(frozen=True, kw_only=True)
class TableAdc(AdcPrice):
    """A table by resolution at one node, carried to others by the exponents of a regression.

    >>> from cimlab.config.hardware import load_adc_price
    >>> [f"{1e12 * load_adc_price('isaac_table').energy_j(8, node_m):.2f} pJ" for node_m in (32e-9, 22e-9)]
    ['1.56 pJ', '0.77 pJ']

    Args:
        table: bits -> {energy_j, area_m2}.
        node_m: node of the table.
        table_rate_hz: rate of the table.
        energy_node_exponent, area_node_exponent: cost ~ node ** exponent.
        scaling_source: where the exponents are from.
    """

    table: dict[int, dict[str, float]]
    node_m: float
    table_rate_hz: float
    energy_node_exponent: float
    area_node_exponent: float
    scaling_source: str

    def __post_init__(self) -> None:
        super().__post_init__()
        for bits in range(self.bits[0], self.bits[1] + 1):
            row = self.table.get(bits, {})
            for key in ("energy_j", "area_m2"):
                where = f"adc_price {self.name}: table.{bits}.{key}"
                if key not in row:
                    raise HardwareError(f"{where} is missing; give a number above 0")
                require_numbers(where, row[key], above=0)

    def notes(self, bits: int, node_m: float) -> list[str]:
        moved = (
            f"{self.name} is a table at {self.node_m * 1e9:g} nm, carried to {node_m * 1e9:g} nm by energy ~ node^"
            f"{self.energy_node_exponent:g}, area ~ node^{self.area_node_exponent:g} ({self.scaling_source})"
        )
        return super().notes(bits, node_m) + ([] if math.isclose(node_m, self.node_m) else [moved])

    def fastest_hz(self, bits: Values) -> Results:
        return self.table_rate_hz + 0.0 * np.asarray(bits, dtype=float)

    def _energy_j(self, bits: Results, node_m: Results, rate_hz: Results) -> Results:
        return self._column("energy_j", bits) * (node_m / self.node_m) ** self.energy_node_exponent

    def _area_m2(self, bits: Results, node_m: Results, rate_hz: Results) -> Results:
        return self._column("area_m2", bits) * (node_m / self.node_m) ** self.area_node_exponent

    def _column(self, key: str, bits: Results) -> Results:
        """Whole bits by look-up; what lies between two entries on the straight line between them."""
        known = sorted(self.table)
        return np.interp(bits, known, [self.table[b][key] for b in known])


@dataclass(frozen=True, kw_only=True)
class MurmannAdc(AdcPrice):
    """Best published efficiency by rate and resolution, from Murmann's ADC survey.

    >>> from cimlab.config.hardware import load_adc_price
    >>> [f"{1e12 * load_adc_price('murmann').energy_j(8, 32e-9, rate_hz):.2f} pJ" for rate_hz in (1.28e9, 1e10)]
    ['1.93 pJ', '7.51 pJ']

    The Schreier figure of merit FOMS is bounded by the rate and by the resolution; E = 1/2 10^((SNDR - FOMS) / 10),
    corrected for node and resolution by regression; area follows from node, rate and energy. Form and fit are those of
    Andrulis, Chen, Lee, Emer and Sze, "Modeling analog-digital-converter energy and area for compute-in-memory
    accelerator design", arXiv:2404.06553 (2024), distributed as hwcomponents-adc 1.0.21.

    Args:
        foms_intercept_db, foms_per_ln_hz: FOMS bound by rate, intercept + slope ln f.
        foms_max_intercept_db, foms_max_per_bit: FOMS bound by resolution, intercept + slope ceil(b).
        energy_intercept, energy_per_ln_nm, energy_per_ln_bits, energy_residual: ln of the correction, energy in pJ.
        area_intercept, area_per_ln_nm, area_per_ln_hz, area_per_ln_pj: ln of the area in square micrometres.
        highest_rate_hz: end of the survey.
    """

    foms_intercept_db: float
    foms_per_ln_hz: float
    foms_max_intercept_db: float
    foms_max_per_bit: float
    energy_intercept: float
    energy_per_ln_nm: float
    energy_per_ln_bits: float
    energy_residual: float
    area_intercept: float
    area_per_ln_nm: float
    area_per_ln_hz: float
    area_per_ln_pj: float
    highest_rate_hz: float

    def __post_init__(self) -> None:
        super().__post_init__()
        for key, value in vars(self).items():
            if key.startswith(("foms_", "energy_", "area_")):
                require_numbers(f"adc_price {self.name}: {key}", value, low=-math.inf)

    def fastest_hz(self, bits: Values) -> Results:
        return self.highest_rate_hz + 0.0 * np.asarray(bits, dtype=float)

    def _energy_j(self, bits: Results, node_m: Results, rate_hz: Results) -> Results:
        by_rate = self.foms_intercept_db + self.foms_per_ln_hz * np.log(rate_hz)
        by_bits = self.foms_max_intercept_db + self.foms_max_per_bit * np.ceil(bits)
        sndr = SNDR_DB_PER_BIT * bits + SNDR_DB_OFFSET
        ideal = 0.5 * 10 ** ((sndr - np.minimum(by_rate, by_bits)) / 10)
        correction = (
            self.energy_intercept
            + self.energy_per_ln_nm * np.log(node_m * 1e9)
            + self.energy_per_ln_bits * np.log(bits)
            + self.energy_residual
        )
        return ideal * np.exp(correction) * 1e-12

    def _area_m2(self, bits: Results, node_m: Results, rate_hz: Results) -> Results:
        log_area = (
            self.area_intercept
            + self.area_per_ln_nm * np.log(node_m * 1e9)
            + self.area_per_ln_hz * np.log(rate_hz)
            + self.area_per_ln_pj * np.log(self._energy_j(bits, node_m, rate_hz) * 1e12)
        )
        return np.exp(log_area) * 1e-12


@dataclass(frozen=True, kw_only=True)
class SarAdc(AdcPrice):
    """NeuroSim's successive-approximation converter: power and area linear in bits, b + 1 clock cycles.

    The current that the bitline draws while it converts is charged to the cells, not here.

    >>> from cimlab.config.hardware import load_adc_price
    >>> [f"{1e9 * load_adc_price('sar').latency_s(bits, 32e-9):.0f} ns" for bits in (5, 8)]
    ['6 ns', '9 ns']

    Args:
        corners: one entry per node: node_m, watt_per_bit, watt, m2_per_bit, m2.
        clock_s: one comparison.
        measured_area_bits: highest resolution at which area was measured; the line continues beyond.
    """

    corners: list[dict[str, float]]
    clock_s: float
    measured_area_bits: int

    def __post_init__(self) -> None:
        super().__post_init__()
        require_numbers(f"adc_price {self.name}: clock_s", self.clock_s, above=0)
        for number, corner in enumerate(self.corners):
            for key in ("node_m", "watt_per_bit", "watt", "m2_per_bit", "m2"):
                where = f"adc_price {self.name}: corners.{number}.{key}"
                if key not in corner:
                    raise HardwareError(f"{where} is missing; give a number from 0")
                require_numbers(where, corner[key])

    def notes(self, bits: int, node_m: float) -> list[str]:
        beyond = [
            f"area of the {self.name} ADC beyond {self.measured_area_bits} bits continues its measured line"
        ]
        return super().notes(bits, node_m) + (beyond if bits > self.measured_area_bits else [])

    def fastest_hz(self, bits: Values) -> Results:
        return 1 / ((np.asarray(bits, dtype=float) + 1) * self.clock_s)

    def _energy_j(self, bits: Results, node_m: Results, rate_hz: Results) -> Results:
        power = self._at(node_m, "watt_per_bit") * bits + self._at(node_m, "watt")
        return power * (bits + 1) * self.clock_s

    def _area_m2(self, bits: Results, node_m: Results, rate_hz: Results) -> Results:
        return self._at(node_m, "m2_per_bit") * bits + self._at(node_m, "m2")

    def _at(self, node_m: Results, key: str) -> Results:
        """The corner's value; only nodes that were measured exist."""
        known = np.array([corner["node_m"] for corner in self.corners])
        distance = np.abs(node_m[..., None] / known - 1)
        if np.any(distance.min(-1) > 1e-6):
            nodes = ", ".join(f"{node * 1e9:g}" for node in known)
            raise HardwareError(
                f"adc_price {self.name} was measured at {nodes} nm and nowhere between; choose a technology of such a "
                "node, or another adc_price"
            )
        return np.array([corner[key] for corner in self.corners])[distance.argmin(-1)]


def _worst(values: np.ndarray) -> float:
    """The value that a message quotes."""
    return float(values[~np.isfinite(values)].flat[0] if np.any(~np.isfinite(values)) else values.max())
