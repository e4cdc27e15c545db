"""Cells that can't be written: stuck fully on or fully off, independently of each other."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from cimlab.analog.devices.base import Conductances, DeviceEffect
from cimlab.analog.slicing import SlicedMatrix


@dataclass(frozen=True)
class StuckAtFaults(DeviceEffect):
    """Stuck cells.

    Args:
        stuck_on: probability that a cell is stuck in the on state.
        stuck_off: probability that it is stuck in the off state.
    """

    stuck_on: float = 0.001
    stuck_off: float = 0.001
    stage: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if self.stuck_on < 0 or self.stuck_off < 0 or self.stuck_on + self.stuck_off > 1:
            raise ValueError(
                f"stuck_on={self.stuck_on} and stuck_off={self.stuck_off} must be 0 or more and together at most 1"
            )

    @property
    def chips_differ(self) -> bool:
        return self.stuck_on + self.stuck_off > 0

    def apply(
        self, conductance: Conductances, off: float, sliced: SlicedMatrix, generator: torch.Generator
    ) -> Conductances:
        luck = torch.rand(conductance.shape, generator=generator)
        faulty_on = conductance.masked_fill(luck < self.stuck_on, 1.0)
        return faulty_on.masked_fill((luck >= self.stuck_on) & (luck < self.stuck_on + self.stuck_off), off)
