"""Prices as arrays: what one action and one instance cost, by the component that they are charged to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.hardware.adc import AdcPrice
from cimlab.hardware.chip import Chip
from cimlab.hardware.technology import ACTIONS, COMPONENTS, INSTANCES, Technology

CHARGED = {"energy_j": ACTIONS, "area_m2": INSTANCES, "leakage_w": INSTANCES, "power_w": INSTANCES}
"""Figure of a component -> what it is charged for."""


@dataclass(frozen=True)
class AdcFigures:
    """The ADC at one resolution and node."""

    energy_j: float
    area_m2: float
    latency_s: float


@dataclass(frozen=True)
class Prices:
    """What one action and one instance cost, of a technology with an ADC price, as the chip uses them.

    One conversion of the default array, and the area of its ADC:

    >>> from cimlab.config.hardware import load_cost_model
    >>> prices = load_cost_model().prices
    >>> adc = prices.adc_figures(CrossbarGeometry())
    >>> print(f"{1e12 * prices.energy_j(adc)[ACTIONS.index('conversion'), COMPONENTS.index('adc')]:.3g} pJ")
    1.12 pJ
    >>> bool(prices.area_m2(adc)[INSTANCES.index("adc"), COMPONENTS.index("adc")] == adc.area_m2)
    True

    Raises:
        HardwareError: the ADC price lacks the resolution or the node.
    """

    technology: Technology
    adc: AdcPrice
    chip: Chip

    def adc_figures(self, geometry: CrossbarGeometry) -> AdcFigures:
        """What the ADC price says for this geometry's resolution at the technology's node."""
        bits, node = geometry.resolution_bits, self.technology.node_m
        return AdcFigures(
            float(self.adc.energy_j(bits, node)),
            float(self.adc.area_m2(bits, node)),
            float(self.adc.latency_s(bits, node)),
        )

    def energy_j(self, adc: AdcFigures) -> Float[np.ndarray, "actions components"]:
        """Joules of one action, by the component that it is charged to."""
        return self._with_adc("energy_j", "conversion", (1 - self.chip.adc_idle_share) * adc.energy_j)

    def area_m2(self, adc: AdcFigures) -> Float[np.ndarray, "instances components"]:
        """Square metres of one instance, by component."""
        return self._with_adc("area_m2", "adc", adc.area_m2)

    def leakage_w(self, adc: AdcFigures) -> Float[np.ndarray, "instances components"]:
        """Watts of one instance, whatever it does, by component."""
        return self._with_adc("leakage_w", "adc", self.chip.adc_idle_share * (adc.energy_j / adc.latency_s))

    @property
    def peak_w(self) -> Float[np.ndarray, "instances components"]:
        """Power at full traffic of the parts whose actions a network's counts don't tell."""
        return self._without_adc["power_w"]

    def _with_adc(self, figure: str, kind: str, value: float) -> Float[np.ndarray, "kinds components"]:
        prices = self._without_adc[figure].copy()
        prices[CHARGED[figure].index(kind), COMPONENTS.index("adc")] = value
        return prices

    @cached_property
    def _without_adc(self) -> dict[str, Float[np.ndarray, "kinds components"]]:
        """The technology's own figures; what an ADC takes is left at 0, as its resolution is not known yet."""
        found = {}
        for figure, kinds in CHARGED.items():
            prices = found[figure] = np.zeros((len(kinds), len(COMPONENTS)))
            for name, component in self.technology.components.items():
                for kind, quantity in getattr(component, figure).items():
                    prices[kinds.index(kind), COMPONENTS.index(name)] = quantity.value
        return found
