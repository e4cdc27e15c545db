"""A device as effects applied in the order in which physics applies them.

Conductances are relative: 1 is the fully on state, and levels are spaced evenly between off and on. A cell's
value in levels is its conductance over that spacing, which is what a partial sum adds up.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from math import floor, log2
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from cimlab.analog.slicing import SlicedMatrix

Conductances = Float[Tensor, "groups physical rows cols"]


@dataclass(frozen=True)
class DeviceEffect(ABC):
    """One non-ideality of stored conductances.

    `stage` orders effects as they happen to a cell, each at one of its own: 1 programming, 2 faults, 3 time, 4 wires.
    `by_cell` says that each cell suffers by itself, wherever it is.
    """

    stage: ClassVar[int]
    by_cell: ClassVar[bool] = True

    @property
    def chips_differ(self) -> bool:
        """Whether it draws anything, so that chips written alike come out unlike."""
        return True

    @abstractmethod
    def apply(
        self, conductance: Conductances, off: float, sliced: SlicedMatrix, generator: torch.Generator
    ) -> Conductances:
        """What becomes of the conductances.

        Args:
            conductance: relative to the on state.
            off: conductance of the off state.
            sliced: where the cells are.
            generator: of everything random.
        """


@dataclass(frozen=True)
class Device:
    """A memory technology.

    Args:
        on_off_ratio: on over off conductance; None is an off state that conducts nothing.
        effects: non-idealities, in any order, at most one of a kind.
        read_noise: standard deviation of a cell's current at every read, over the on current.
    """

    on_off_ratio: float | None = None
    effects: tuple[DeviceEffect, ...] = field(default=())
    read_noise: float = 0.0

    def __post_init__(self) -> None:
        if self.on_off_ratio is not None and not self.on_off_ratio > 1:
            raise ValueError(f"on_off_ratio={self.on_off_ratio} must be above 1")
        if self.read_noise < 0:
            raise ValueError(f"read_noise={self.read_noise} must be 0 or more")
        kinds = [type(effect).__name__ for effect in self.effects]
        twice = {kind for kind in kinds if kinds.count(kind) > 1}
        if twice:
            raise ValueError(f"device has {', '.join(sorted(twice))} more than once")

    @property
    def off(self) -> float:
        """Relative conductance of the off state."""
        return 0.0 if self.on_off_ratio is None else 1 / self.on_off_ratio

    @property
    def is_ideal(self) -> bool:
        """Cells are read as the integers that were written."""
        return self.on_off_ratio is None and not self.effects and not self.read_noise

    @property
    def chips_differ(self) -> bool:
        """One chip is not every chip: cells are written, or read, with errors that are drawn."""
        return self.read_noise > 0 or any(effect.chips_differ for effect in self.effects)

    def spacing(self, cell_bits: int) -> float:
        """Relative conductance from one level to the next."""
        return (1 - self.off) / (2**cell_bits - 1)

    def off_level(self, cell_bits: int) -> float:
        """What a cell at level 0 adds to a partial sum, in levels; the periphery removes its nominal value."""
        return self.off / self.spacing(cell_bits)

    def cells(
        self, sliced: SlicedMatrix, generator: torch.Generator
    ) -> Float[Tensor, "groups physical rows cols"]:
        """One draw of the cells' values in levels; 0 where the wordline is off.

        Values are rounded to a grid so fine that it doesn't matter (2^-10 of a level or finer for up to 1024
        active rows of 2-bit cells), and coarse enough that float32 adds a row group without rounding: all
        orders of addition, hence all backends, then agree to the last bit.
        """
        bits = sliced.geometry.cell_bits
        conductance = self.off + sliced.levels.float() * self.spacing(bits)
        for effect in sorted(self.effects, key=lambda e: (e.stage, type(e).__name__)):
            conductance = effect.apply(conductance, self.off, sliced, generator)
        values = conductance / self.spacing(bits) * sliced.driven[:, None]
        grid = exact_grid(values, sliced)
        return (values * grid).round() / grid


def exact_grid(values: Float[Tensor, "..."], sliced: SlicedMatrix) -> float:
    """The finest 2^q whose multiples float32 sums exactly over a row group: largest sum * 2^q <= 2^24."""
    g = sliced.geometry
    largest = g.active_rows * (2**g.dac_bits - 1) * max(float(values.abs().max()), 1.0)
    return 2.0 ** floor(23 - log2(largest))
