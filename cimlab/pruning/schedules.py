"""When to prune: plans over the retraining, as fractions of its length; who carries them out turns these into steps."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PruneEvent:
    """A time to prune.

    Args:
        at: fraction of the retraining before it.
        remaining: fraction of the budget's whole that it leaves.
        done: share of the pruning that is done by then, for layers whose own fractions lead elsewhere.
    """

    at: float
    remaining: float
    done: float


def step_at(fraction: float, steps: int) -> int:
    """The optimiser step before which `fraction` of so many is done; the last at the latest, for none comes after it.

    >>> step_at(0.5, steps=40), step_at(0.99, steps=40)
    (20, 39)
    """
    return min(round(fraction * steps), steps - 1)


def geometric_events(remaining: float, rounds: int) -> list[PruneEvent]:
    """By the same factor at the start of each of `rounds` equal rounds (Han et al., NeurIPS 2015).

    >>> [event.at for event in geometric_events(0.25, 2)], [event.remaining for event in geometric_events(0.25, 2)]
    ([0.0, 0.5], [0.5, 0.25])
    """
    return [_geometric(remaining, (i + 1) / rounds, i / rounds) for i in range(rounds)]


def _geometric(final: float, part: float, at: float) -> PruneEvent:
    """After `part` of the rounds; where nothing is pruned in all, a factor of 1 does equal parts of it."""
    remaining = final**part
    return PruneEvent(at, remaining, (1 - remaining) / (1 - final) if final < 1 else part)


def cubic_events(remaining: float, count: int, share: float) -> list[PruneEvent]:
    """`count` events over the first `share` of the retraining, along s(t) = s_f (1 - (1 - t)^3).

    s is the fraction pruned and s_f = 1 - remaining (Zhu and Gupta, arXiv:1710.01878, equation 1). Each event is one
    ahead of theirs, whose first prunes nothing: of `count`, event i from 0 comes when i / (count - 1) of the ramp is
    done, and prunes to where the cubic is at t = (i + 1) / count.

    >>> [(event.at, round(event.remaining, 3)) for event in cubic_events(0.1, count=3, share=0.5)]
    [(0.0, 0.367), (0.25, 0.133), (0.5, 0.1)]
    """
    last = max(count - 1, 1)
    left = [(1 - (i + 1) / count) ** 3 for i in range(count)]
    return [
        PruneEvent(share * i / last, remaining + (1 - remaining) * to_do, 1 - to_do)
        for i, to_do in enumerate(left)
    ]
