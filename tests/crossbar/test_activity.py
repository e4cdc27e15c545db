"""Histograms of integers: what follows from them is what follows from the integers one by one."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cimlab.crossbar.activity import (
    Activity,
    IntegerHistogram,
    LayerActivity,
    mean_cell_level,
    mean_input_digit,
)
from cimlab.crossbar.cells import mean_levels
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.inputs import mean_digits

WEIGHTS = st.lists(st.integers(-127, 127), max_size=40)
CELLS = [CrossbarGeometry(), CrossbarGeometry(cell_bits=4), CrossbarGeometry(signed_encoding="offset")]


@settings(max_examples=100, deadline=None)
@given(WEIGHTS, WEIGHTS, st.sampled_from(CELLS))
def test_mean_levels_of_a_histogram_are_those_of_its_integers(
    one: list[int], other: list[int], geometry: CrossbarGeometry
) -> None:
    histogram = IntegerHistogram.of(torch.tensor(one)) + IntegerHistogram.of(torch.tensor(other))
    both = torch.tensor(one + other, dtype=torch.int64)
    assert histogram.total == len(both)
    expected = float(mean_levels(both, geometry).mean()) if len(both) else 0.0
    assert mean_cell_level(histogram, geometry) == pytest.approx(expected)


@pytest.mark.parametrize("dac_bits", [1, 2, 4])
def test_digits_of_any_dac_follow_from_the_inputs(dac_bits: int) -> None:
    geometry = CrossbarGeometry(dac_bits=dac_bits)
    inputs = torch.randint(256, (500,), generator=torch.Generator().manual_seed(0))
    found = mean_input_digit(IntegerHistogram.of(inputs), geometry)
    assert found == pytest.approx(float(mean_digits(inputs, geometry).mean()))


def test_an_integer_counts_as_often_as_it_is_said_to() -> None:
    histogram = IntegerHistogram.of(torch.tensor([5, 7]), torch.tensor([3, 0]))
    assert (histogram.values.tolist(), histogram.counts.tolist()) == ([5], [3])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-40_000, 40_000), max_size=20))
def test_what_a_record_keeps_reads_back_the_same(integers: list[int]) -> None:
    layer = LayerActivity(IntegerHistogram.of(torch.tensor(integers)), None)
    activity = Activity(16, 8, {"a": layer}, {"a": LayerActivity()}, 7, 0.25, ("assumed",))
    again = Activity.of_json(json.loads(json.dumps(activity.to_json())))
    assert again.to_json() == activity.to_json()
    assert again.pruned["a"].weights is not None
    assert again.pruned["a"].weights.total == len(integers)
    assert again.pruned["a"].inputs is None


@pytest.mark.parametrize(
    "damaged", [{"counts": [1]}, {"values": [1, 1], "counts": [1, 2]}, {"first": 0, "counts": [-1]}]
)
def test_a_damaged_histogram_is_no_histogram(damaged: dict) -> None:
    with pytest.raises((ValueError, KeyError)):
        IntegerHistogram.of_json(damaged)


def test_another_precision_rounds_again_and_says_so() -> None:
    layer = LayerActivity(
        IntegerHistogram.of(torch.tensor([127, -64, 3])), IntegerHistogram.of(torch.tensor([255, 100]))
    )
    activity = Activity(8, 8, {"a": layer}, {"a": layer})
    four = activity.at(CrossbarGeometry(weight_bits=4, input_bits=4, columns_per_adc=8, cell_bits=3))
    weights, inputs = four.pruned["a"].weights, four.pruned["a"].inputs
    assert weights is not None
    assert inputs is not None
    assert (weights.values.tolist(), inputs.values.tolist()) == ([-4, 0, 7], [6, 15])
    assert "measured at weight_bits=8 and input_bits=8" in four.notes[-1]
    assert activity.at(CrossbarGeometry()) is activity
