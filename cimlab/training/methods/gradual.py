"""Gradual pruning: a little at a time along a cubic, so that the network recovers in between.

Zhu and Gupta, "To prune, or not to prune: exploring the efficacy of pruning for model compression",
arXiv:1710.01878 (2017), equation 1.
"""

from __future__ import annotations

from dataclasses import dataclass

from cimlab.pruning.schedules import PruneEvent, cubic_events
from cimlab.training.methods.base import Method


@dataclass(frozen=True, kw_only=True)
class Gradual(Method):
    """Prune in `prune_events` events.

    Args:
        prune_events: number of events.
        prune_share: fraction of the retraining over which they are spread; the rest recovers.
    """

    possible = ("retrain",)
    prune_events: int = 10
    prune_share: float = 0.6

    def __post_init__(self) -> None:
        if self.prune_events < 1:
            raise ValueError(f"method.gradual.prune_events={self.prune_events} must be 1 or more")
        if not 0 <= self.prune_share < 1:
            raise ValueError(f"method.gradual.prune_share={self.prune_share} must be from 0 to below 1")

    def events(self, remaining: float) -> list[PruneEvent]:
        return cubic_events(remaining, self.prune_events, self.prune_share)
