"""Bit planes of zeros: counted over real activations as a plain loop counts them, and charged as they were counted."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from cimlab.analog.adcs.ideal import IdealAdc
from cimlab.analog.convert import analog_layers, convert
from cimlab.analog.measure import layer_activities
from cimlab.analog.settings import AnalogSettings
from cimlab.config.hardware import load_cost_model
from cimlab.crossbar.activity import Activity, LayerActivity
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix, network_matrices
from cimlab.crossbar.placement import NetworkPlacement, place, place_dense
from cimlab.crossbar.units import UnitGrid, aligned_segments
from cimlab.crossbar.zero_planes import ZeroPlanes
from cimlab.hardware.activity import ActivityFactors, activity_factors
from cimlab.hardware.chip import Chip
from cimlab.hardware.cost import CostModel, placed_layers
from cimlab.hardware.errors import HardwareError

ARRAY = CrossbarGeometry(rows=16, cols=32, active_rows=4, columns_per_adc=2, input_bits=4)
"""Operation unit 4 x 2, 4 logical columns and 4 row groups an array."""


@cache
def skipping() -> CostModel:
    return replace(load_cost_model(), chip=Chip(skip_zero_inputs=True))


def zero_planes_one_by_one(
    inputs: list[list[int]], driven: list[bool], geometry: CrossbarGeometry
) -> list[int]:
    """Planes of zeros of every row group of one matrix, over products and input cycles."""
    found = []
    for array in range(0, len(driven), geometry.rows):
        for top in range(array, min(array + geometry.rows, len(driven)), geometry.active_rows):
            rows = range(top, min(top + geometry.active_rows, array + geometry.rows, len(driven)))
            zeros = 0
            for product in inputs:
                for cycle in range(geometry.input_cycles):
                    digits = [
                        product[r] // 2 ** (cycle * geometry.dac_bits) % 2**geometry.dac_bits for r in rows
                    ]
                    zeros += all(d == 0 or not driven[r] for r, d in zip(rows, digits, strict=True))
            found.append(zeros)
    return found


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_planes_are_those_of_a_plain_loop(data: st.DataObject) -> None:
    rows, products = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 4))
    dac_bits, active = data.draw(st.sampled_from([1, 2, 3])), data.draw(st.sampled_from([3, 4, 16]))
    geometry = replace(ARRAY, dac_bits=dac_bits, active_rows=active)
    generator = np.random.default_rng(data.draw(st.integers(0, 2**31)))
    inputs = generator.integers(0, 16, (1, products, rows)) * (generator.random((1, products, rows)) < 0.3)
    driven = generator.random((1, rows)) < 0.7
    found = ZeroPlanes.of(inputs, driven, geometry)
    assert found.by_row_group[0].tolist() == zero_planes_one_by_one(
        inputs[0].tolist(), driven[0].tolist(), geometry
    )
    assert found.by_plane.sum() == found.by_row_group.sum()
    assert ZeroPlanes.of_json(json.loads(json.dumps(found.to_json()))).to_json() == found.to_json()


def small_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 3, groups=2, stride=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(54, 5),
    ).eval()  # fmt: skip


def masks_of(network: nn.Module) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        name: torch.rand(network.get_parameter(f"{name}.weight").shape, generator=generator) > 0.8
        for name in ("0", "2", "5")
    }


def test_planes_of_a_network_are_those_of_the_bits_that_its_arrays_are_fed() -> None:
    """Brute force over what the wordlines of the converted network carry."""
    network, images = small_network(), torch.rand(3, 2, 8, 8)
    masks, matrices = masks_of(network), network_matrices(network, (2, 8, 8))
    measured = layer_activities(network, masks, images, ARRAY, AnalogSettings(), matrices=matrices)
    converted = convert(network, masks, ARRAY, AnalogSettings(), IdealAdc(), [images])
    fed: dict[str, Tensor] = {}
    layers = analog_layers(converted)
    for name, layer in layers.items():
        layer.register_forward_pre_hook(lambda _, inputs, name=name: fed.__setitem__(name, inputs[0].clone()))
    converted(images)
    for matrix in matrices:
        layer, planes = layers[matrix.name], measured[matrix.name].zero_planes
        assert planes is not None
        patches = layer.patches(layer.integers(fed[matrix.name]))
        driven = matrix.to_matrix(masks[matrix.name]).any(2)
        for group in range(matrix.groups):
            inputs = patches.matrix(group).tolist()
            assert planes.by_row_group[group].tolist() == zero_planes_one_by_one(
                inputs, driven[group].tolist(), ARRAY
            )
            assert planes.products == len(inputs)
    assert sum(planes.by_row_group.sum() for x in measured.values() if (planes := x.zero_planes)) > 0


def one_layer(
    planes: ZeroPlanes | None,
) -> tuple[CrossbarMatrix, NetworkPlacement, dict[str, ActivityFactors]]:
    """8 rows in 2 row groups, 4 columns in 2 steps; the first row group keeps one step."""
    matrix = CrossbarMatrix("layer", (4, 8), 1, 10)
    kept = torch.ones(1, 8, 4, dtype=torch.bool)
    kept[:, :4, 2:] = False
    grid = UnitGrid(aligned_segments(8, 16, 4), aligned_segments(4, 4, 2))
    placement = NetworkPlacement(
        {"layer": place(matrix, kept, ARRAY, grid)}, {"layer": place_dense(matrix, ARRAY)}
    )
    activity = Activity(input_bits=4, pruned={"layer": LayerActivity(zero_planes=planes)})
    return matrix, placement, activity_factors(activity, ["layer"], ARRAY)[0]


def test_skipped_steps_take_no_conversion_drive_or_time_and_are_watched_for() -> None:
    """Row group 0 (1 step) skips 1/2 of its planes, row group 1 (2 steps) 1/4: 2/3 of 3 steps are left."""
    planes = ZeroPlanes((4, 1, 4, 16), 5, np.array([[10, 5]]), np.array([15, 0, 0, 0]))
    matrix, placement, factors = one_layer(planes)
    layers, _ = placed_layers([matrix], placement, factors)
    plain, skipped = load_cost_model().report(layers, ARRAY), skipping().report(layers, ARRAY)
    left = (1 * 1 / 2 + 2 * 3 / 4) / 3
    for name in ("adc", "wordline_driver", "shift_add"):
        assert skipped.energy_by_component[name] == pytest.approx(left * plain.energy_by_component[name]), (
            name
        )
    assert skipped.energy_by_component["cells"] == pytest.approx(plain.energy_by_component["cells"])
    assert skipped.timing.product_s[0] == pytest.approx(left * plain.timing.product_s[0])
    assert skipped.energy_by_component["zero_detection"] == pytest.approx(8 * 4 * 10 * 0.567e-15)
    assert skipped.area_by_component["zero_detection"] == pytest.approx(16 * 0.614e-12)
    assert plain.energy_by_component["zero_detection"] == 0.0
    assert any("skip 33.3 % of array steps" in note for note in skipped.notes)


def test_planes_of_other_row_groups_skip_nothing_and_the_price_says_so() -> None:
    planes = ZeroPlanes((4, 1, 8, 16), 5, np.array([[10]]), np.array([10, 0, 0, 0]))
    matrix, placement, factors = one_layer(planes)
    layers, _ = placed_layers([matrix], placement, factors)
    found = skipping().report(layers, ARRAY)
    assert found.timing.product_s[0] == load_cost_model().report(layers, ARRAY).timing.product_s[0]
    assert any("1 of 1 layers were not measured" in note for note in found.notes)


def test_a_held_read_skips_nothing() -> None:
    with pytest.raises(HardwareError, match=r"skip_zero_inputs=true .* use chip\.readout=per_step"):
        Chip(skip_zero_inputs=True, readout="held")
