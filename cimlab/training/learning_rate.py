"""Learning rate over time, as pure functions from progress (0 to 1) to a fraction of the peak."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, floor, pi

from cimlab.training.settings import Recipe, ScheduleSettings

RateCurve = Callable[[float], float]

ROUNDING = 1e-9  # a share of the training that is a whole number may fall short of it by rounding alone


def dense_curve(recipe: Recipe) -> RateCurve:
    """Linear warm-up, then `one_cycle` falls linearly to 0, `cosine` as half a cosine, `constant` not at all.

    >>> [round(dense_curve(Recipe(epochs=10))(t), 2) for t in (0.1, 0.2, 0.6, 1.0)]
    [0.5, 1.0, 0.5, 0.0]
    """

    def curve(progress: float) -> float:
        if progress < recipe.warmup:
            return progress / recipe.warmup
        falling = (progress - recipe.warmup) / (1 - recipe.warmup)
        match recipe.curve:
            case "one_cycle":
                return max(0.0, 1 - falling)
            case "cosine":
                return (1 + cos(pi * min(falling, 1.0))) / 2
            case _:
                return 1.0

    return curve


def retrain_curve(
    recipe: Recipe, schedule: ScheduleSettings, rounds: int = 1, start: float = 0.0
) -> RateCurve:
    """The schedule's rule: each round restarts, replays the dense curve's tail, or stays low.

    Args:
        recipe: the dense recipe.
        schedule: epochs and rule.
        rounds: equal parts of the retraining, each with a curve of its own.
        start: fraction of the retraining after which prune events are spread; what comes before belongs to the
            first round.
    """
    dense = dense_curve(recipe)
    round_epochs = schedule.epochs / rounds
    tail = min(1.0, round_epochs / recipe.epochs)

    def curve(progress: float) -> float:
        scheduled = max(0.0, progress - start) / (1 - start) * rounds
        rounds_done = min(floor(scheduled + ROUNDING), rounds - 1)
        in_round = max(0.0, scheduled - rounds_done)
        if not rounds_done:
            in_round = min(1.0, progress * rounds / (1 + start * (rounds - 1)))
        match schedule.rate:
            case "restart":
                return schedule.peak_scale * dense(in_round)
            case "rewind":
                return schedule.peak_scale * dense(1 - tail + tail * in_round)
            case _:
                return schedule.peak_scale

    return curve
