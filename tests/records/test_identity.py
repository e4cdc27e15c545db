"""Every setting counts unless it is marked, wherever it lies; what does not count is named."""

from dataclasses import dataclass
from typing import Annotated, Any

import pytest

from cimlab.records.identity import (
    ALWAYS,
    NEVER,
    PRUNED,
    Counts,
    marks,
    only_where,
    selector,
    uncounted,
    unless,
    within,
)

NOTHING = frozenset[str]()


@dataclass
class Machine:
    precision: str = "32"
    threads: Annotated[int | None, NEVER] = None


@dataclass
class Schema:
    machine: Machine
    parts: Annotated[dict[str, Any], within(folder=NEVER)]
    adc: Annotated[int, only_where("converters")] = 4
    unit: Annotated[int, PRUNED] = 2
    comment: Annotated[str | None, NEVER] = None


CONFIG = {
    "machine": {"precision": "16", "threads": 4},
    "parts": {"folder": "/a", "size": 3},
    "adc": 5,
    "unit": 1,
    "comment": "why",
}


def counted(phase, *conditions: str) -> dict:
    return selector(ALWAYS, Schema, phase, frozenset(conditions))(CONFIG)


def test_what_is_not_marked_counts_and_marks_reach_into_nested_settings() -> None:
    assert counted("run") == {"machine": {"precision": "16"}, "parts": {"size": 3}, "unit": 1}
    assert counted("dense") == {"machine": {"precision": "16"}, "parts": {"size": 3}}


def test_a_condition_brings_its_settings_in_for_the_run_alone() -> None:
    assert counted("run", "converters")["adc"] == 5
    assert "adc" not in counted("dense", "converters")


def test_what_does_not_count_is_named_by_its_path() -> None:
    assert uncounted(CONFIG, Schema, NOTHING) == ["adc", "comment", "machine.threads", "parts.folder"]


def test_a_setting_without_a_mark_is_part_of_the_identity_and_a_mark_takes_it_out() -> None:
    """What a contributor does: one field in the schema, and nothing else."""

    @dataclass
    class Wider(Machine):
        new: int = 0
        quiet: Annotated[int, NEVER] = 0

    assert marks(Wider)["new"] == (ALWAYS, None)
    select = selector(ALWAYS, Wider, "run", NOTHING)
    assert select({"new": 1}) != select({"new": 2})
    assert select({"quiet": 1}) == select({"quiet": 2})


def test_a_setting_that_came_later_keeps_the_runs_that_did_as_it_now_says() -> None:
    @dataclass
    class Later(Machine):
        new: Annotated[int | None, unless(None)] = None

    select = selector(ALWAYS, Later, "run", NOTHING)
    before = {"precision": "16"}
    assert select({**before, "new": None}) == select(before)
    assert select({**before, "new": 0}) != select(before)
    assert select({**before, "new": 1}) != select({**before, "new": 2})
    assert uncounted({**before, "new": None}, Later, NOTHING) == ["new"]


@pytest.mark.parametrize("phase", ["dense", "run"])
def test_the_same_question_has_the_same_function_so_that_answers_can_be_kept(phase) -> None:
    assert selector(Counts(), Schema, phase, NOTHING) is selector(Counts(), Schema, phase, NOTHING)
