"""The two phases of a run, each one fit: dense training, and pruning with retraining.

A fit on several devices has followers; each calls the same function as rank 0, from its own seat.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from cimlab.pruning.masks import Masks
from cimlab.training.callbacks import CimMapping, Judge
from cimlab.training.fit import Phase, Seat, Training, fit
from cimlab.training.learning_rate import dense_curve, retrain_curve
from cimlab.training.methods.base import Method, Part, Rounding, Subject, scheduling
from cimlab.training.prune_retrain import PruneRetrain
from cimlab.training.settings import ScheduleSettings
from cimlab.training.tracking import Tracker

Methods = dict[str, Method]
MappingOf = Callable[[Subject, Callable[[], Masks], Tracker, int], CimMapping]
"""What is mapped, the masks at the time of asking, a tracker, epochs of earlier phases -> what maps during a fit."""


@dataclass(frozen=True, eq=False)
class Watch:
    """Who looks on.

    Args:
        tracker: where metrics are shown.
        mapping: makes what maps the network on its arrays during a fit.
        judge: may end the retraining early.
    """

    tracker: Tracker
    mapping: MappingOf
    judge: Judge | None = None


@dataclass(frozen=True, eq=False)
class Retrained:
    """What retraining leaves besides the network's weights.

    Args:
        pruning: masks, and the weights right after the last pruning.
        roundings: how the network computes besides in floating point.
    """

    pruning: PruneRetrain
    roundings: list[Rounding]


def dense_phase(training: Training, later: int, methods: Methods, folder: Path, run: str) -> Phase:
    """The dense phase, kept in the folder of its network; `later` are the epochs of retraining that follow."""
    recipe, at_work = training.recipe, named(methods, "dense")
    return Phase("dense", recipe.epochs, 0, dense_curve(recipe), folder, run, at_work, later)


def retrain_phase(
    training: Training, schedule: ScheduleSettings, methods: Methods, folder: Path, run: str
) -> Phase:
    """The retraining, kept in the run's folder."""
    _, rounds = scheduling(methods, 1.0)
    curve = retrain_curve(training.recipe, schedule, rounds, start_of(methods))
    return Phase(
        "retrain", schedule.epochs, training.recipe.epochs, curve, folder, run, named(methods, "retrain")
    )


def named(methods: Methods, phase: str) -> tuple[str, ...]:
    """The methods at work in a phase."""
    return tuple(name for name, method in methods.items() if phase in method.phases)


def start_of(methods: Methods) -> float:
    """Fraction of the retraining before anything is pruned."""
    return max((method.start for method in methods.values()), default=0.0)


def parts_in(phase: str, methods: Methods, subject: Subject) -> list[Part]:
    """What the methods do in a phase."""
    made = [method.part(subject) for method in methods.values() if phase in method.phases]
    return [part for part in made if part is not None]


def fit_dense(
    subject: Subject, methods: Methods, training: Training, phase: Phase, watch: Watch, seat: Seat
) -> None:
    """Train the network that pruning starts from."""
    parts = parts_in("dense", methods, subject)
    mapping = watch.mapping(subject, dict, watch.tracker, phase.first_epoch)
    fit(subject.network, training, phase, parts, [*parts, mapping], watch.tracker, seat)


def fit_pruned(
    subject: Subject, methods: Methods, training: Training, phase: Phase, watch: Watch, seat: Seat
) -> Retrained:
    """Prune at the events of the schedule, and retrain."""
    events, _ = scheduling(methods, subject.budget.remaining)
    pruning = PruneRetrain(
        subject.prunable,
        subject.rule,
        subject.budget,
        events,
        subject.seed,
        training.recipe.gradient_batches,
        start_of(methods),
    )
    parts = parts_in("retrain", methods, replace(subject, masks=lambda: pruning.masks))
    mapping = watch.mapping(subject, lambda: pruning.masks, watch.tracker, phase.first_epoch)
    before = [part for part in parts if not part.after_pruning]
    callbacks = [*before, pruning, *(part for part in parts if part.after_pruning), mapping]
    fit(subject.network, training, phase, parts, callbacks, watch.tracker, seat, watch.judge)
    return Retrained(pruning, [part.rounding for part in parts if part.rounding is not None])
