"""Prune events equal the published formulae and end exactly at what was asked."""

from itertools import pairwise

import pytest
from conftest import Cimlab, one_line
from hypothesis import given, settings
from hypothesis import strategies as st

from cimlab.pruning.schedules import PruneEvent
from cimlab.training.methods.base import Method, MethodError, refuse_two, scheduling
from cimlab.training.methods.gradual import Gradual
from cimlab.training.methods.iterative import Iterative
from cimlab.training.methods.lsq import Lsq
from cimlab.training.methods.ste import Ste
from cimlab.training.settings import PEAK_SCALES, ScheduleSettings

REMAINING = st.floats(0.001, 1)
SCHEDULES = st.one_of(
    st.just({}),
    st.builds(Iterative, prune_rounds=st.integers(1, 30)).map(lambda method: {"iterative": method}),
    st.builds(Gradual, prune_events=st.integers(1, 50), prune_share=st.floats(0, 0.99)).map(
        lambda method: {"gradual": method}
    ),
)


@settings(max_examples=200, deadline=None)
@given(SCHEDULES, REMAINING)
def test_events_come_in_order_and_end_exactly_at_the_budget(
    methods: dict[str, Method], remaining: float
) -> None:
    events, _ = scheduling(methods, remaining)
    assert events[-1].remaining == remaining
    assert all(0 <= event.at < 1 for event in events)
    assert all(a.at <= b.at and a.remaining >= b.remaining for a, b in pairwise(events))


def test_without_a_method_everything_is_pruned_at_the_start() -> None:
    assert scheduling({}, 0.25) == ([PruneEvent(0.0, 0.25, done=1.0)], 1)


def test_two_methods_that_say_when_to_prune_are_refused() -> None:
    with pytest.raises(MethodError, match="gradual and iterative both say when to prune; choose one"):
        scheduling({"gradual": Gradual(), "iterative": Iterative()}, 0.25)


@given(st.integers(1, 12), REMAINING)
def test_iterative_rounds_prune_by_the_same_factor(rounds: int, remaining: float) -> None:
    """Han et al. 2015: after round i of n, remaining^(i / n) is left, so that each round keeps the same share."""
    events = Iterative(prune_rounds=rounds).events(remaining)
    left = [1.0, *(event.remaining for event in events)]
    assert [b / a for a, b in pairwise(left)] == pytest.approx([remaining ** (1 / rounds)] * rounds)
    assert [event.at for event in events] == pytest.approx([i / rounds for i in range(rounds)])


def test_iterative_worked_by_hand() -> None:
    """1/8 in three rounds: a half each time."""
    events = Iterative(prune_rounds=3).events(0.125)
    assert [event.remaining for event in events] == pytest.approx([0.5, 0.25, 0.125])


@given(st.integers(2, 40), REMAINING, st.floats(0, 0.99))
def test_gradual_follows_the_published_cubic(count: int, remaining: float, share: float) -> None:
    """Zhu and Gupta 2017, equation 1, from an initial sparsity of 0: s_t = s_f + (0 - s_f) (1 - t)^3."""
    final = 1 - remaining
    events = Gradual(prune_events=count, prune_share=share).events(remaining)
    for number, event in enumerate(events, start=1):
        assert 1 - event.remaining == pytest.approx(
            final + (0 - final) * (1 - number / count) ** 3, abs=1e-12
        )
        assert event.at == pytest.approx(share * (number - 1) / (count - 1))


def test_gradual_worked_by_hand() -> None:
    """Two events to 20 %: the first at t = 1/2 takes 80 % x (1 - 1/8) = 70 %."""
    events = Gradual(prune_events=2, prune_share=0.5).events(0.2)
    assert [event.at for event in events] == [0.0, 0.5]
    assert [event.remaining for event in events] == pytest.approx([0.3, 0.2])


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: ScheduleSettings(epochs=0), "greater than or equal to 1"),
        (lambda: ScheduleSettings(epochs=1, rate_scale=0.0), "greater than 0"),
        (lambda: Iterative(prune_rounds=0), "method.iterative.prune_rounds=0"),
        (lambda: Gradual(prune_events=0), "method.gradual.prune_events=0 must be 1 or more"),
        (lambda: Gradual(prune_share=1.0), "method.gradual.prune_share=1.0 must be from 0 to below 1"),
    ],
)
def test_a_plan_that_can_not_be_carried_out_is_refused(build, words: str) -> None:
    with pytest.raises(ValueError) as refusal:  # noqa: PT011
        build()
    assert words in str(refusal.value)


def test_more_rounds_than_epochs_are_refused_before_training(train: Cimlab) -> None:
    answer = train("method=[iterative]", "method.iterative.prune_rounds=3", "schedule.epochs=2")
    assert answer.code == 2
    assert "method.iterative.prune_rounds=3 must be from 1 to schedule.epochs=2" in one_line(answer.err)


def test_the_peak_of_retraining_is_the_rule_s_unless_given() -> None:
    for rate, scale in PEAK_SCALES.items():
        assert ScheduleSettings(epochs=1, rate=rate).peak_scale == scale
        assert ScheduleSettings(epochs=1, rate=rate, rate_scale=0.3).peak_scale == 0.3


def test_two_methods_that_round_are_refused() -> None:
    rounding = {"lsq": Lsq(hardware_aware=False), "ste": Ste(hardware_aware=False)}
    with pytest.raises(MethodError, match="lsq and ste both round weights and inputs; choose one"):
        refuse_two(rounding)
    for name, method in rounding.items():
        refuse_two({name: method, "gradual": Gradual()})


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ("method=[resizing]", "method.resizing.phases=[]"),
            "method.resizing.phases=[]: it would do nothing",
        ),
        (
            ("method=[distillation]", "+method.distillation.phases=[dense]"),
            "method.distillation.phases=[dense]: it has something to do in retrain alone",
        ),
        (("method=[gradual]", "+method.gradual.phases=[dense,retrain]"), "in retrain alone"),
    ],
)
def test_a_phase_in_which_a_method_has_nothing_to_do_is_refused(
    words: tuple[str, ...], told: str, train: Cimlab
) -> None:
    answer = train(*words)
    assert answer.code == 2
    assert told in one_line(answer.err)


def test_an_admm_of_no_step_is_refused(train: Cimlab) -> None:
    answer = train("method=[admm]", "method.admm.share=0.01", "schedule.epochs=1")
    assert answer.code == 2
    assert "method.admm.share=0.01 of" in answer.err
    assert "steps of retraining is none; use a larger share" in answer.err
