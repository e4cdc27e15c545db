"""Iterative pruning: by the same factor in every round, with retraining between rounds.

Han et al., "Learning both weights and connections for efficient neural networks", NeurIPS 2015. Each round has a
learning-rate curve of its own; with `schedule.rate=rewind` it is the tail of the dense one (Renda et al., ICLR 2020).
"""

from __future__ import annotations

from dataclasses import dataclass

from cimlab.pruning.schedules import PruneEvent, geometric_events
from cimlab.training.methods.base import Method, MethodError, Subject


@dataclass(frozen=True, kw_only=True)
class Iterative(Method):
    """Prune in `prune_rounds` rounds.

    Args:
        prune_rounds: rounds; each gets schedule.epochs / prune_rounds epochs.
    """

    possible = ("retrain",)
    prune_rounds: int = 3

    def __post_init__(self) -> None:
        if self.prune_rounds < 1:
            raise ValueError(f"method.iterative.prune_rounds={self.prune_rounds} must be 1 or more")

    @property
    def rounds(self) -> int:
        return self.prune_rounds

    def events(self, remaining: float) -> list[PruneEvent]:
        return geometric_events(remaining, self.prune_rounds)

    def check(self, subject: Subject) -> None:
        if self.prune_rounds > subject.epochs:
            raise MethodError(
                f"method.iterative.prune_rounds={self.prune_rounds} must be from 1 to schedule.epochs={subject.epochs}"
            )
