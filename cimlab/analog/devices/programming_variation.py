"""Cells are written off target: Gaussian, its spread a polynomial of the target, or log-normal.

No conductance is below 0. A cell that is to hold none can err upwards only: of N(0, s) the upper half stays, with a
mean of 0.4 s and a spread of 0.6 s. In a differential pair of such cells the mean drops out; with offset encoding it
stays in every sum, and a finite off state (`device=[on_off_ratio,programming_variation]`) leaves room below.

The polynomial is the form fitted to phase-change memory by Nandakumar et al. (ICECS 2019). Resistances of filamentary
RRAM spread by a factor, log-normally: commonly in the off state, at times in the on state (Karpov and Niraula,
"Log-normal statistics in filamentary RRAM devices and related systems").
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from cimlab.analog.devices.base import Conductances, DeviceEffect
from cimlab.analog.slicing import SlicedMatrix


@dataclass(frozen=True)
class ProgrammingVariation(DeviceEffect):
    """Programming error, drawn once a cell.

    Args:
        distribution: `gaussian` adds N(0, s(g)), down to 0 at the least; `lognormal` multiplies by exp(N(0, s(g))),
            so that the median is the target.
        sigma: coefficients of s(g) = sigma[0] + sigma[1] g + sigma[2] g^2 ..., g relative to the on state.
    """

    distribution: Literal["gaussian", "lognormal"] = "gaussian"
    sigma: tuple[float, ...] = (0.05,)
    stage: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not self.sigma or sum(self.sigma) < 0 or self.sigma[0] < 0:
            raise ValueError(
                f"sigma={list(self.sigma)} must start with 0 or more and not be negative at the on state"
            )

    def spread(self, conductance: Conductances) -> Conductances:
        """s(g), never below 0."""
        spread = torch.zeros_like(conductance)
        for coefficient in reversed(self.sigma):
            spread = spread * conductance + coefficient
        return spread.clamp(min=0)

    @property
    def chips_differ(self) -> bool:
        return any(self.sigma)

    def apply(
        self, conductance: Conductances, off: float, sliced: SlicedMatrix, generator: torch.Generator
    ) -> Conductances:
        error = torch.randn(conductance.shape, generator=generator) * self.spread(conductance)
        if self.distribution == "lognormal":
            return conductance * error.exp()
        return (conductance + error).clamp(min=0)
