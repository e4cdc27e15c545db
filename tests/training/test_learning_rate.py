"""Learning-rate curves equal their formulae, and every retraining round begins where its rule says."""

from math import cos, pi

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cimlab.pruning.schedules import geometric_events
from cimlab.training.learning_rate import dense_curve, retrain_curve
from cimlab.training.settings import Curve, Recipe, RetrainRate, ScheduleSettings

PROGRESS = st.floats(0, 1)
RECIPES = st.builds(
    Recipe,
    epochs=st.integers(1, 200),
    curve=st.sampled_from(["one_cycle", "cosine", "constant"]),
    warmup=st.floats(0, 0.9),
)


@settings(max_examples=200, deadline=None)
@given(RECIPES, PROGRESS)
def test_a_rate_is_never_negative_nor_above_the_peak(recipe: Recipe, progress: float) -> None:
    assert 0 <= dense_curve(recipe)(progress) <= 1


@settings(max_examples=200, deadline=None)
@given(RECIPES, PROGRESS)
def test_dense_curves_equal_their_formulae(recipe: Recipe, progress: float) -> None:
    w = recipe.warmup
    expected = {
        "one_cycle": (1 - progress) / (1 - w),
        "cosine": 0.5 * (1 + cos(pi * (progress - w) / (1 - w))),
        "constant": 1.0,
    }[recipe.curve]
    if progress < w:
        expected = progress / w
    assert dense_curve(recipe)(progress) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("curve", "end"), [("one_cycle", 0.0), ("cosine", 0.0), ("constant", 1.0)])
def test_a_curve_peaks_after_the_warm_up_and_ends_low(curve: Curve, end: float) -> None:
    rate = dense_curve(Recipe(epochs=10, curve=curve, warmup=0.25))
    assert (rate(0.0), rate(0.25)) == (0.0, 1.0)
    assert rate(1.0) == pytest.approx(end, abs=1e-12)


@settings(max_examples=200, deadline=None)
@given(RECIPES, PROGRESS)
def test_restart_runs_the_whole_curve_again_at_half_the_peak(recipe: Recipe, progress: float) -> None:
    rate = retrain_curve(recipe, ScheduleSettings(epochs=3, rate="restart"))
    assert rate(progress) == 0.5 * dense_curve(recipe)(progress)


@settings(max_examples=200, deadline=None)
@given(RECIPES, PROGRESS, st.integers(1, 300))
def test_rewind_replays_the_end_of_the_dense_curve(recipe: Recipe, progress: float, epochs: int) -> None:
    """Renda et al. 2020: e retraining epochs replay the last e of the dense epochs, at most all of them."""
    rate = retrain_curve(recipe, ScheduleSettings(epochs=epochs, rate="rewind"))
    replayed = min(epochs, recipe.epochs)
    epoch = recipe.epochs - replayed + progress * replayed
    assert rate(progress) == pytest.approx(dense_curve(recipe)(min(1.0, epoch / recipe.epochs)), abs=1e-9)


def test_fine_tuning_stays_at_the_low_end() -> None:
    rate = retrain_curve(Recipe(epochs=10), ScheduleSettings(epochs=3, rate="fine_tune"))
    assert {rate(step / 10) for step in range(11)} == {0.01}


@pytest.mark.parametrize("rule", ["restart", "rewind"])
def test_every_round_begins_its_curve_at_the_step_of_its_prune_event(rule: RetrainRate) -> None:
    """Steps are whole, progress is a rounded fraction: no first step of a round may fall to the round before."""
    for rounds in range(1, 61):
        schedule = ScheduleSettings(epochs=60, rate=rule)
        rate = retrain_curve(Recipe(epochs=60, curve="cosine", warmup=0.0), schedule, rounds)
        steps = rounds * 7
        begins = [rate(round(event.at * steps) / steps) for event in geometric_events(0.1, rounds)]
        assert begins == pytest.approx([rate(0.0)] * rounds, rel=1e-6), rounds
        assert rate(1.0) == pytest.approx(0.0, abs=1e-12)


@settings(max_examples=200, deadline=None)
@given(st.floats(0, 0.9), st.integers(1, 5), st.integers(0, 4), st.floats(0, 0.99))
def test_rounds_restart_where_the_schedule_prunes(
    start: float, rounds: int, number: int, within: float
) -> None:
    """Events are spread over what ADMM leaves; a rate that started afresh elsewhere would meet no new masks."""
    recipe, schedule = Recipe(epochs=10, warmup=0.2), ScheduleSettings(epochs=10, rate="restart")
    number = min(number, rounds - 1)
    length = (1 - start) / rounds
    begins, ends = start + number * length if number else 0.0, start + (number + 1) * length
    rate = retrain_curve(recipe, schedule, rounds, start)(begins + within * (ends - begins))
    assert rate == pytest.approx(0.5 * dense_curve(recipe)(within), abs=1e-6)
    assert retrain_curve(recipe, schedule, rounds, 0.0)(within) == pytest.approx(
        retrain_curve(recipe, schedule, rounds)(within)
    )
