"""When to prune and how fast to learn meanwhile: plans over the retraining, as fractions of its length.

A schedule knows no trainer. It lists prune events at fractions of the retraining, and says at which rounds the
learning rate starts afresh; the callback in `cimlab/training/` turns fractions into steps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

RetrainRate = Literal["rewind", "fine_tune", "restart"]

DEFAULT_SCALE: dict[RetrainRate, float] = {"restart": 0.5, "rewind": 1.0, "fine_tune": 0.01}


@dataclass(frozen=True)
class PruneEvent:
    """Prune to `remaining` (fraction of prunable weights) when fraction `at` of the retraining is done."""

    at: float
    remaining: float


@dataclass(frozen=True)
class Schedule(ABC):
    """A prune-retrain plan.

    Args:
        epochs: retraining epochs in all.
        rate: `rewind` replays the tail of the dense learning-rate curve and `fine_tune` stays at its low end
            (Renda et al., ICLR 2020); `restart` runs the whole curve again (Le and Hua, ICLR 2021).
        rate_scale: multiplies the peak learning rate; for `fine_tune` it is the constant rate over the peak.
            None is 0.5 for restart (half the dense peak), 1 for rewind, 0.01 for fine_tune.
    """

    epochs: int
    rate: RetrainRate = "restart"
    rate_scale: float | None = None

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(f"schedule.epochs={self.epochs} must be 1 or more")
        if self.rate_scale is not None and not 0 < self.rate_scale <= 10:
            raise ValueError(f"schedule.rate_scale={self.rate_scale} must be above 0 and at most 10")

    @property
    def peak_scale(self) -> float:
        """The peak learning rate of retraining, over the dense one."""
        return DEFAULT_SCALE[self.rate] if self.rate_scale is None else self.rate_scale

    @property
    def rounds(self) -> int:
        """Equal parts of the retraining, each with a learning-rate curve of its own."""
        return 1

    @abstractmethod
    def events(self, remaining: float) -> list[PruneEvent]:
        """Prune events in order; the last one reaches `remaining`."""


@dataclass(frozen=True)
class OneShot(Schedule):
    """Prune once, then retrain."""

    def events(self, remaining: float) -> list[PruneEvent]:
        return [PruneEvent(0.0, remaining)]


@dataclass(frozen=True)
class Iterative(Schedule):
    """Prune by the same factor in each of `prune_rounds` rounds, retraining between them (Han et al., NeurIPS 2015).

    Args:
        prune_rounds: rounds; each gets epochs / prune_rounds epochs.
    """

    prune_rounds: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.prune_rounds <= self.epochs:
            raise ValueError(
                f"schedule.prune_rounds={self.prune_rounds} must be from 1 to schedule.epochs={self.epochs}"
            )

    @property
    def rounds(self) -> int:
        return self.prune_rounds

    def events(self, remaining: float) -> list[PruneEvent]:
        n = self.prune_rounds
        return [PruneEvent(i / n, remaining ** ((i + 1) / n)) for i in range(n)]


@dataclass(frozen=True)
class Gradual(Schedule):
    """Prune a little at a time along a cubic: s(t) = s_f (1 - (1 - t)^3) (Zhu and Gupta, arXiv:1710.01878, eq. 1).

    Args:
        prune_events: number of prune events.
        prune_share: fraction of the retraining over which they are spread; the rest recovers.
    """

    prune_events: int = 10
    prune_share: float = 0.6

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.prune_events < 1:
            raise ValueError(f"schedule.prune_events={self.prune_events} must be 1 or more")
        if not 0 <= self.prune_share < 1:
            raise ValueError(f"schedule.prune_share={self.prune_share} must be from 0 to below 1")

    def events(self, remaining: float) -> list[PruneEvent]:
        last = max(self.prune_events - 1, 1)
        ramp = [(i + 1) / self.prune_events for i in range(self.prune_events)]
        return [
            PruneEvent(self.prune_share * i / last, remaining + (1 - remaining) * (1 - t) ** 3)
            for i, t in enumerate(ramp)
        ]
