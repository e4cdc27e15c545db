"""When to prune: plans over the retraining, as fractions of its length; who carries them out turns these into steps."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PruneEvent:
    """Prune to `remaining` (fraction of the budget's whole) when fraction `at` of the retraining is done."""

    at: float
    remaining: float


def geometric_events(remaining: float, rounds: int) -> list[PruneEvent]:
    """By the same factor at the start of each of `rounds` equal rounds (Han et al., NeurIPS 2015).

    >>> [event.at for event in geometric_events(0.25, 2)], [event.remaining for event in geometric_events(0.25, 2)]
    ([0.0, 0.5], [0.5, 0.25])
    """
    return [PruneEvent(i / rounds, remaining ** ((i + 1) / rounds)) for i in range(rounds)]


def cubic_events(remaining: float, count: int, share: float) -> list[PruneEvent]:
    """`count` events over the first `share` of the retraining, along s(t) = s_f (1 - (1 - t)^3).

    s is the fraction pruned and s_f = 1 - remaining (Zhu and Gupta, arXiv:1710.01878, equation 1).

    >>> [(event.at, round(event.remaining, 3)) for event in cubic_events(0.1, count=3, share=0.5)]
    [(0.0, 0.367), (0.25, 0.133), (0.5, 0.1)]
    """
    last = max(count - 1, 1)
    ramp = [(i + 1) / count for i in range(count)]
    return [
        PruneEvent(share * i / last, remaining + (1 - remaining) * (1 - t) ** 3) for i, t in enumerate(ramp)
    ]
