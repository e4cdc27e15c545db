"""Studies that differ in their training methods alone, and what such a combination of methods is called."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from cimlab.records.record import GROUPS_BEFORE, content_hash
from cimlab.reporting.estimates import Estimate
from cimlab.reporting.studies import PER_STEP, Point, Study, change, differences

BASELINE = "one-shot"
"""Pruning once under one threshold: no method at all."""
VARIED = ("method.", "schedule._target_", "schedule.prune_", *(f"{group}." for group in GROUPS_BEFORE))
"""Settings, by the start of their names, that choose and tune methods, today and in records of the first schema."""


RATES = {"restart": "rate restarted", "rewind": "rate rewound", "fine_tune": "fine-tuned"}
"""Learning rates of retraining in words."""
BUDGET, RETRAINING, RATE = "prune.budget", "schedule.epochs", "schedule.rate"
"""Settings of what a budget counts, and for how many epochs and at which learning rates a network is retrained."""


def combination(study: Study) -> str:
    """A study's methods in words."""
    return " + ".join(study.methods) or BASELINE


def _rest(settings: dict[str, Any]) -> dict[str, Any]:
    """What has to be the same for two studies to stand in one comparison."""
    kept = {key: value for key, value in settings.items() if not key.startswith(VARIED) and key != "method"}
    if kept.get("prune.allocation") == "steps":
        kept["prune.allocation"] = "global"
    return kept


def families(found: list[Study]) -> list[list[Study]]:
    """Studies in groups that differ in their methods and learning rates alone, where some method was tried.

    In the order of `found`, but of networks with one name the most accurate first.
    """
    alike = _grouped(found, lambda settings: {k: v for k, v in _rest(settings).items() if k != RATE})
    groups = [group for group in alike if any(study.methods for study in group)]
    titles = [group[0].title for group in groups]
    return sorted(groups, key=lambda group: (titles.index(group[0].title), -group[0].dense.mean))


def network_told(family: list[Study]) -> str:
    """The network of studies that differ in their methods alone, in words that tell it from others of its name."""
    first = family[0]
    return f"{first.title} (dense {first.dense_told} %, {_retraining(first)} after pruning)"


def comparable(found: list[Study]) -> list[list[Study]]:
    """Studies in groups that differ in their methods, their budget and the length of their retraining alone."""
    told = (BUDGET, RETRAINING)
    return _grouped(found, lambda settings: {k: v for k, v in _rest(settings).items() if k not in told})


def foremost(family: list[Study]) -> list[Study]:
    """Of comparable studies with one budget and length of retraining the first; other methods are for T8 to compare."""
    chosen: dict[tuple[str, str], Study] = {}
    for study in family:
        chosen.setdefault((budget(study), _retraining(study)), study)
    return list(chosen.values())


def _grouped(found: list[Study], rest: Callable[[dict[str, Any]], dict[str, Any]]) -> list[list[Study]]:
    groups: dict[str, list[Study]] = defaultdict(list)
    for study in found:
        groups[content_hash(rest(study.settings))].append(study)
    return list(groups.values())


def budget(study: Study) -> str:
    """What a study's budget counts: weights, array steps or energy; of records from before, weights."""
    return str(study.settings.get(BUDGET, "weights"))


def _retraining(study: Study) -> str:
    """Of networks that were trained outside cimlab, nobody knows it."""
    epochs = study.settings.get(RETRAINING)
    return "retraining unrecorded" if epochs is None else f"{epochs} epochs"


def one_a_budget(family: list[Study]) -> list[Study]:
    """Of comparable studies the first of each budget: how long a network was retrained says nothing of its price."""
    first: dict[str, Study] = {}
    for study in family:
        first.setdefault(budget(study), study)
    return list(first.values())


def _beside_the_budget(family: list[Study]) -> list[list[str]]:
    """Of each of comparable studies, its methods and its retraining, where the others have another."""
    told = [kind for kind in (combination, _retraining) if len({*map(kind, family)}) > 1]
    return [[kind(study) for kind in told] for study in family]


def apart(family: list[Study]) -> list[str]:
    """What tells each of comparable studies from the others, in words: its budget, its methods, its retraining."""
    known = {*map(budget, family)} == {"weights"}
    return [
        ", ".join(more if known and more else [f"budget of {budget(study)}", *more])
        for study, more in zip(family, _beside_the_budget(family), strict=True)
    ]


def shares(family: list[Study]) -> list[str]:
    """What is kept a share of in each of comparable studies, and what else tells it apart: "energy, 20 epochs"."""
    beside = _beside_the_budget(family)
    return [", ".join([budget(study), *more]) for study, more in zip(family, beside, strict=True)]


def labels(family: list[Study]) -> dict[str, Study]:
    """Study by its combination in words; combinations that occur twice also say the settings that tell them apart."""
    alike: dict[tuple[str, ...], list[Study]] = defaultdict(list)
    for study in family:
        alike[study.methods].append(study)
    named = {}
    for same in alike.values():
        keys = sorted({key for other in same for key in differences(same[0], other)})
        for study in same:
            told = ", ".join(_setting(study, key) for key in keys)
            name = combination(study)
            named[f"{name} ({told})" if told else name] = study
    return named


def _setting(study: Study, key: str) -> str:
    value = study.settings.get(key)
    return RATES.get(str(value), str(value)) if key == RATE else f"{key}={value}"


def beside_one_shot(family: list[Study], point: Point) -> dict[str, tuple[Study, Estimate | None]]:
    """What each combination of methods changes at a point, in points of accuracy over pruning once under one threshold.

    Seed by seed, so that both start from the same dense network. Empty where one-shot pruning was not run at the point.

    Args:
        family: studies that differ in their methods alone.

    Returns:
        combination in words -> its study and the change; the baseline first, each method by itself, then combinations.
    """
    base = [r for study in family if not study.methods for r in study.points.get(point, ())]
    here = {label: study for label, study in labels(family).items() if point in study.points and base}
    return {
        label: (here[label], change(here[label].points[point], base))
        for label in sorted(here, key=lambda label: _place(label, here[label]))
    }


def _order(method: str) -> tuple[bool, str]:
    """Alphabetical, but how units are ranked last."""
    return method == PER_STEP, method


def _place(label: str, study: Study) -> tuple:
    return len(study.methods), [_order(name) for name in study.methods], label


def _joined(family: list[Study], beside: list[str]) -> str:
    """What tells studies of one budget apart; it ends in the epochs where those differ."""
    lengths = {*map(_retraining, family)}
    return " or ".join(beside) + (" of retraining" if len(lengths) > 1 else "")


def is_hollow(study: Study, family: list[Study]) -> bool:
    """Whether a study's marks are hollow in a figure of comparable ones: where its budget is not the first one's."""
    return budget(study) != budget(family[0])


def marks(family: list[Study]) -> str:
    """A note on comparable studies of one figure: over how many seeds, and whose marks are filled, whose hollow."""
    by_budget: dict[str, list[str]] = defaultdict(list)
    for study, beside in zip(family, _beside_the_budget(family), strict=True):
        by_budget[budget(study)] += [", ".join(beside)] if beside else []
    told = [
        ", ".join([f"budget of {counted}", *([_joined(family, beside)] if beside else [])])
        for counted, beside in by_budget.items()
    ]
    seeds = max(study.seeds for study in family)
    said = f"{family[0].title}, {'one seed' if seeds == 1 else f'up to {seeds} seeds'}"
    filled, *hollow = told
    return f"{said}; filled: {filled}; hollow: {', '.join(hollow)}." if hollow else f"{said}; {filled}."
