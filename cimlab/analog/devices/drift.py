"""Retention drift, G(t) = G0 (t / t0)^-nu, each cell with its own exponent, whatever its state.

The form for phase-change memory in Nandakumar et al. (ICECS 2019), whose exponents grow towards the off state.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from cimlab.analog.devices.base import Conductances, DeviceEffect
from cimlab.analog.slicing import SlicedMatrix


@dataclass(frozen=True)
class Drift(DeviceEffect):
    """Drift, uncompensated.

    Args:
        time_s: seconds from programming to reading.
        reference_s: t0, when the programmed conductance was verified.
        nu: mean exponent.
        nu_sigma: its standard deviation from cell to cell; exponents below 0 count as 0.
    """

    time_s: float = 86400.0
    reference_s: float = 20.0
    nu: float = 0.05
    nu_sigma: float = 0.01
    stage: ClassVar[int] = 3

    def __post_init__(self) -> None:
        if not self.time_s >= self.reference_s > 0:
            raise ValueError(
                f"time_s={self.time_s} must be at least reference_s={self.reference_s}, and that above 0"
            )
        if self.nu < 0 or self.nu_sigma < 0:
            raise ValueError(f"nu={self.nu} and nu_sigma={self.nu_sigma} must be 0 or more")

    @property
    def chips_differ(self) -> bool:
        return self.nu_sigma > 0

    def apply(
        self, conductance: Conductances, off: float, sliced: SlicedMatrix, generator: torch.Generator
    ) -> Conductances:
        nu = self.nu + self.nu_sigma * torch.randn(conductance.shape, generator=generator)
        return conductance * (self.time_s / self.reference_s) ** -nu.clamp(min=0)
