"""The accelerator as one value: geometry, technology, ADC price and chip. A price is a question about it.

It knows nothing of a network. Two accelerators that are equal give the same price, so that a run can be priced on
as many of them as anybody likes (`cimlab.hardware.price`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.hardware.adc import AdcPrice
from cimlab.hardware.chip import Chip
from cimlab.hardware.technology import Technology

if TYPE_CHECKING:
    from cimlab.hardware.cost import CostModel


@dataclass(frozen=True)
class Accelerator:
    """Everything that is built.

    >>> from cimlab.config.hardware import load_accelerator
    >>> geometry = CrossbarGeometry()
    >>> load_accelerator(geometry).model.prices.adc_figures(geometry).energy_j  # of a 6-bit conversion
    1.125e-12
    >>> load_accelerator(CrossbarGeometry(rows=4, active_rows=4)).check()
    Traceback (most recent call last):
    cimlab.hardware.errors.HardwareError: technology isaac32 can't build geometry.rows=4: its figures cover 8 to 1024...

    Args:
        geometry: one array and its periphery.
        technology: energies, areas and times of the components.
        adc_price: energy, area and time of a conversion.
        chip: how arrays are put together.
    """

    geometry: CrossbarGeometry
    technology: Technology
    adc_price: AdcPrice
    chip: Chip

    @cached_property
    def model(self) -> CostModel:
        """What turns counts into energy, area and time."""
        from cimlab.hardware.cost import CostModel  # here: it brings torch, which words are refused without

        return CostModel(self.technology, self.adc_price, self.chip)

    def check(self) -> None:
        """Refuse before any compute what could not be priced after it.

        Raises:
            HardwareError: the technology, the ADC price or the chip does not cover the geometry.
        """
        self.technology.check(self.geometry)
        self.model.prices.adc_figures(self.geometry)
        self.chip.adcs_per_array(self.geometry)
