"""Studies that differ in their training methods alone, and what such a combination of methods is called."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from cimlab.records.record import GROUPS_BEFORE, content_hash
from cimlab.reporting.studies import Study, differences

BASELINE = "one-shot"
"""Pruning once under one threshold: no method at all."""
VARIED = ("method.", "schedule._target_", "schedule.prune_", *(f"{group}." for group in GROUPS_BEFORE))
"""Settings, by the start of their names, that choose and tune methods, today and in records of the first schema."""


def combination(study: Study) -> str:
    """A study's methods in words."""
    return " + ".join(study.methods) or BASELINE


def _rest(settings: dict[str, Any]) -> dict[str, Any]:
    """What has to be the same for two studies to stand in one comparison."""
    kept = {key: value for key, value in settings.items() if not key.startswith(VARIED) and key != "method"}
    if kept.get("prune.allocation") == "steps":
        kept["prune.allocation"] = "global"
    return kept


def with_methods(study: Study, found: list[Study]) -> list[Study]:
    """Studies that differ from a study in their methods alone."""
    rest = _rest(study.settings)
    return [other for other in found if other is not study and _rest(other.settings) == rest]


def families(found: list[Study]) -> list[list[Study]]:
    """Studies in groups that differ in their methods alone, where some method was tried."""
    groups: dict[str, list[Study]] = defaultdict(list)
    for study in found:
        groups[content_hash(_rest(study.settings))].append(study)
    return [group for group in groups.values() if any(study.methods for study in group)]


def labels(family: list[Study]) -> dict[str, Study]:
    """Study by its combination in words; combinations that occur twice also say the settings that tell them apart."""
    alike: dict[tuple[str, ...], list[Study]] = defaultdict(list)
    for study in family:
        alike[study.methods].append(study)
    named = {}
    for same in alike.values():
        keys = sorted({key for other in same for key in differences(same[0], other)})
        for study in same:
            told = ", ".join(f"{key}={study.settings.get(key)}" for key in keys)
            name = combination(study)
            named[f"{name} ({told})" if told else name] = study
    return named
