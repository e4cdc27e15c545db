"""What cells and inputs hold: exact from quantised weights, measured on images, and felt by the read energy alone."""

from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from cimlab.config.hardware import load_cost_model
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.placement import place_dense
from cimlab.hardware.actions import PlacedLayer
from cimlab.hardware.activity import Activity, cell_levels, input_densities, with_input_densities
from cimlab.hardware.errors import HardwareError

ENCODINGS = ("differential", "offset", "twos_complement")


def slow_level(weight: float, largest: float, geometry: CrossbarGeometry) -> float:
    """Mean cell value of one weight, from its digits in base 2^cell_bits."""
    top = 2 ** (geometry.weight_bits - 1) - 1
    value = round(weight / largest * top)
    if geometry.signed_encoding == "differential":
        stored = abs(value)
    elif geometry.signed_encoding == "offset":
        stored = value + 2 ** (geometry.weight_bits - 1)
    else:
        stored = value if value >= 0 else value + 2**geometry.weight_bits
    base, digits = 2**geometry.cell_bits, []
    for _ in range(geometry.slices):
        stored, digit = divmod(stored, base)
        digits.append(digit)
    assert stored == 0
    return sum(digits) / (base - 1) / geometry.columns_per_weight


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(-127, 127), min_size=1, max_size=8),
    st.sampled_from(ENCODINGS),
    st.sampled_from([(8, 1, 8), (8, 2, 4), (8, 4, 2), (4, 1, 4)]),
)
def test_cell_levels_are_the_digits_of_the_quantised_weights(
    values: list[int], encoding: Any, bits: tuple[int, int, int]
) -> None:
    assume(encoding != "twos_complement" or (bits[0] - 1) % bits[1] == 0)
    geometry = CrossbarGeometry(
        cols=840, columns_per_adc=1, weight_bits=bits[0], cell_bits=bits[1], signed_encoding=encoding
    )
    weights = torch.tensor([v / 127 for v in values], dtype=torch.float64)
    found = cell_levels(weights, torch.tensor(1.0, dtype=torch.float64), geometry)
    assert found.tolist() == pytest.approx([slow_level(w, 1.0, geometry) for w in weights.tolist()])


def test_offset_encoding_stores_a_bias_where_a_weight_is_pruned() -> None:
    weight, kept = torch.tensor([[1.0, -1.0]]), torch.tensor([[True, False]])
    offset = CrossbarGeometry(signed_encoding="offset", columns_per_adc=8)
    activity = Activity().with_weights(weight, kept, offset)
    assert activity.weights == "measured"
    assert activity.zero_level == pytest.approx(2 / 3 / 4)  # 128 = 10 00 00 00 in 2-bit cells
    assert activity.kept_level == pytest.approx(1.0)  # 255
    assert Activity().with_weights(weight, kept, CrossbarGeometry()).zero_level == 0


def test_input_density_is_the_share_of_ones_that_a_layer_receives() -> None:
    """Inputs 0, 1, 2, 3 of 3 as 2-bit numbers: 00 01 10 11, half ones; the second layer sees only full scale."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False), nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        for layer in (network[1], network[2]):
            assert isinstance(layer, nn.Linear)
            layer.weight.fill_(1.0)
    network.train()
    images = torch.tensor([0.0, 1.0, 2.0, 3.0]).view(1, 1, 2, 2)
    assert input_densities(network, images, ["1", "2"], 2) == {"1": 0.5, "2": 1.0}
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())


def test_measured_densities_are_marked_and_the_others_stay_assumed() -> None:
    found = with_input_densities({"a": Activity(), "b": Activity()}, {"a": 0.1})
    assert (found["a"].input_density, found["a"].inputs) == (0.1, "measured")
    assert (found["b"].input_density, found["b"].inputs) == (0.5, "assumed")


@pytest.mark.parametrize("technology", ["isaac32", "neurosim22_rram"])
def test_read_energy_follows_inputs_and_cells_and_nothing_else_does_but_the_wordline(technology: str) -> None:
    geometry, matrix = CrossbarGeometry(), CrossbarMatrix("layer", (16, 128))
    model = load_cost_model(technology)
    energy = [
        model.report([PlacedLayer(matrix, place_dense(matrix, geometry), a)], geometry).energy_by_component
        for a in (Activity(0.5, 0.5), Activity(0.25, 0.5), Activity(0.5, 0.1))
    ]
    assert energy[1]["cells"] == pytest.approx(energy[0]["cells"] / 2)
    assert energy[2]["cells"] < energy[0]["cells"]
    for name in set(energy[0]) - {"cells", "wordline_driver"}:
        assert energy[0][name] == energy[1][name] == energy[2][name]


def test_the_published_read_energy_is_met_at_its_own_reference() -> None:
    """Half the input bits 1 and cells at half scale on average: 30 pJ per 128 x 128 array and cycle."""
    geometry = CrossbarGeometry(signed_encoding="offset", input_bits=1)
    matrix = CrossbarMatrix("array", (geometry.logical_cols, 128))
    layer = PlacedLayer(matrix, place_dense(matrix, geometry), Activity(0.5, 0.5))
    assert load_cost_model().report([layer], geometry).energy_by_component["cells"] == pytest.approx(
        30e-12, rel=1e-4
    )


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_a_density_outside_0_to_1_is_refused(value: float) -> None:
    with pytest.raises(HardwareError, match="activity input_density"):
        Activity(input_density=value)


def test_inputs_of_a_compiled_network_are_measured_as_those_of_the_plain_one() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 36, 4)).eval()
    images = torch.rand(2, 1, 8, 8)
    plain = input_densities(network, images, ["0", "3"], 8)
    network.compile(backend="eager")
    with torch.no_grad():
        network(images)  # compiled before there was a hook
    assert set(plain) == {"0", "3"}
    assert input_densities(network, images, ["0", "3"], 8) == plain
