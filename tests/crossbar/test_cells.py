"""Integer weights and the digits on physical columns, against arithmetic on single numbers."""

from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cimlab.crossbar.cells import Encoding, cell_levels, mean_levels, quantise_weights
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.inputs import InputQuantiser, input_digits, mean_digits

ENCODINGS = ("differential", "offset", "twos_complement")
PRECISIONS = [(8, 1), (8, 2), (8, 4), (8, 7), (4, 1), (5, 2), (16, 2), (2, 1)]


def array(weight_bits: int, cell_bits: int, encoding: Any) -> CrossbarGeometry:
    """A geometry of these cells; wide enough for any number of columns per weight."""
    return CrossbarGeometry(
        cols=2 * 3 * 4 * 5 * 7 * 16, columns_per_adc=1, weight_bits=weight_bits, cell_bits=cell_bits,
        signed_encoding=encoding,
    )  # fmt: skip


def slow_levels(weight: int, geometry: CrossbarGeometry) -> list[int]:
    """Digits in base 2^cell_bits, lowest first: of both magnitudes, of the biased weight, or of the modulus."""
    base = 2**geometry.cell_bits
    stored = {
        "differential": [max(weight, 0), max(-weight, 0)],
        "offset": [weight + 2 ** (geometry.weight_bits - 1)],
        "twos_complement": [weight if weight >= 0 else weight + 2**geometry.weight_bits],
    }[geometry.signed_encoding]
    digits = []
    for value in stored:
        for _ in range(geometry.slices):
            value, digit = divmod(value, base)
            digits.append(digit)
        assert value == 0
    return digits


@settings(max_examples=200, deadline=None)
@given(st.data(), st.sampled_from(ENCODINGS), st.sampled_from(PRECISIONS))
def test_levels_are_the_digits_and_their_weighted_sum_is_the_weight(
    data: st.DataObject, encoding: str, bits: tuple[int, int]
) -> None:
    assume(encoding != "twos_complement" or (bits[0] - 1) % bits[1] == 0)
    geometry = array(*bits, encoding)
    top = 2 ** (bits[0] - 1) - 1
    weights = data.draw(st.lists(st.integers(-top, top), min_size=1, max_size=6))
    levels = cell_levels(torch.tensor(weights), geometry)
    assert levels.T.tolist() == [slow_levels(weight, geometry) for weight in weights]
    means = [
        sum(slow_levels(w, geometry)) / geometry.columns_per_weight / (2 ** bits[1] - 1) for w in weights
    ]
    assert mean_levels(torch.tensor(weights), geometry).tolist() == pytest.approx(means)
    code = Encoding.of(geometry)
    sums = (levels * torch.tensor(code.coefficients)[:, None]).sum(0) - code.bias
    assert sums.tolist() == weights


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 255), min_size=1, max_size=6), st.sampled_from([1, 2, 3, 4, 8]))
def test_input_digits_add_up_to_the_input(values: list[int], dac_bits: int) -> None:
    geometry = CrossbarGeometry(dac_bits=dac_bits)
    digits = input_digits(torch.tensor(values), geometry)
    assert len(digits) == geometry.input_cycles
    again = [sum(int(d) << (dac_bits * t) for t, d in enumerate(column)) for column in digits.T]
    assert again == values
    if dac_bits == 1:
        ones = [bin(value).count("1") / 8 for value in values]
        assert mean_digits(torch.tensor(values), geometry).tolist() == pytest.approx(ones)


@pytest.mark.parametrize("scale", ["per_tensor", "per_channel"])
def test_one_outlier_stretches_the_steps_of_its_output_or_of_all(scale: Any) -> None:
    weight = torch.tensor([[0.5, -0.25], [8.0, 0.5]])
    integers, step = quantise_weights(weight, 8, scale)
    largest = [8.0, 8.0] if scale == "per_tensor" else [0.5, 8.0]
    assert step.tolist() == pytest.approx([value / 127 for value in largest])
    wanted = [[round(127 * w / top) for w in row] for row, top in zip(weight.tolist(), largest, strict=True)]
    assert integers.tolist() == wanted


def test_a_signed_input_is_fed_above_its_zero_point() -> None:
    quantiser = InputQuantiser.of_range(-1.0, 3.0, 8)
    fed = quantiser(torch.tensor([-1.0, 0.0, 3.0, 9.0]))
    assert fed.tolist() == [0, 64, 255, 255]
    assert float(quantiser.values(fed)[1]) == 0.0
