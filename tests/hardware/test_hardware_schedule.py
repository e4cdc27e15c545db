"""Time: pipelines, reloading, batches, arrays that are not merged; each against a hand-worked case."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cimlab.config.hardware import load_cost_model
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.placement import place, place_dense
from cimlab.crossbar.units import UnitGrid, aligned_segments
from cimlab.hardware.actions import PlacedLayer
from cimlab.hardware.activity import ActivityFactors
from cimlab.hardware.chip import Chip
from cimlab.hardware.report import HardwareReport
from cimlab.hardware.schedule import segment_layers

GEOMETRY = CrossbarGeometry()
STEP_S = 100e-9  # isaac32


def report(
    matrices: list[CrossbarMatrix], chip: Chip, geometry: CrossbarGeometry = GEOMETRY
) -> HardwareReport:
    model = replace(load_cost_model(), chip=chip)
    return model.report(
        [PlacedLayer(m, place_dense(m, geometry), ActivityFactors()) for m in matrices], geometry
    )


def test_throughput_is_that_of_the_slowest_layer_and_latency_the_sum() -> None:
    """One array each, 512 steps per product: 10 and 3 products."""
    slow, fast = CrossbarMatrix("slow", (16, 128), 1, 10), CrossbarMatrix("fast", (16, 128), 1, 3)
    timing = report([slow, fast], Chip()).timing
    assert timing.product_s == pytest.approx([512 * STEP_S] * 2)
    assert timing.images_per_s == pytest.approx(1 / (10 * 512 * STEP_S))
    assert timing.latency_s == pytest.approx(13 * 512 * STEP_S, rel=1e-3)


def test_a_network_larger_than_the_chip_is_reloaded_and_pays_for_it() -> None:
    """Two layers of one array on a chip of one: 2 x 2048 weights of 8 bits loaded, 8 cells each written."""
    matrices = [CrossbarMatrix("a", (16, 128), 1, 10), CrossbarMatrix("b", (16, 128), 1, 3)]
    fits, small = report(matrices, Chip()), report(matrices, Chip(max_arrays=1))
    assert small.timing.segments == 2
    bits, cells = 2 * 2048 * 8, 2 * 2048 * 8
    loading = small.energy_by_component["weight_loading"]
    assert loading == pytest.approx(bits * 8e-12 + cells * 120e-12)
    assert fits.energy_by_component["weight_loading"] == 0
    assert small.timing.load_s == pytest.approx(2 * 128 * 40e-9)  # a row at a time, slower than the memory
    assert small.timing.images_per_s < fits.timing.images_per_s
    assert small.area_by_component["cells"] == pytest.approx(fits.area_by_component["cells"] / 2)


def test_a_slow_memory_bounds_the_load() -> None:
    matrices = [CrossbarMatrix("a", (16, 128)), CrossbarMatrix("b", (16, 128))]
    timing = report(matrices, Chip(max_arrays=1, dram_bits_per_s=1e6)).timing
    assert timing.load_s == pytest.approx(2 * 2048 * 8 / 1e6)


def test_a_batch_shares_one_load() -> None:
    matrices = [CrossbarMatrix("a", (16, 128), 1, 10), CrossbarMatrix("b", (16, 128), 1, 3)]
    one, ten = (report(matrices, Chip(max_arrays=1, batch=b)) for b in (1, 10))
    loading = [r.energy_by_component["weight_loading"] for r in (one, ten)]
    assert loading[1] == pytest.approx(loading[0] / 10)
    assert ten.timing.images_per_s > one.timing.images_per_s


def test_a_layer_larger_than_the_chip_runs_in_passes() -> None:
    """Four arrays on a chip of one: four loads, and the image passes four times."""
    matrix = CrossbarMatrix("wide", (64, 128), 1, 5)
    fits, small = report([matrix], Chip()), report([matrix], Chip(max_arrays=1))
    assert small.timing.segments == 4
    assert small.timing.layer_s[0] == pytest.approx(4 * fits.timing.layer_s[0], rel=1e-3)
    assert small.timing.load_s == pytest.approx(4 * 128 * 40e-9)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 20), min_size=1, max_size=12), st.integers(1, 15))
def test_segments_keep_the_order_and_the_capacity(arrays: list[int], capacity: int) -> None:
    segments = segment_layers(arrays, capacity)
    assert [layer for segment in segments for layer in segment] == list(range(len(arrays)))
    assert all(sum(arrays[i] for i in s) <= capacity or len(s) == 1 for s in segments)


@pytest.mark.parametrize("chip", ["default", "isaac"])
def test_compacted_arrays_execute_the_steps_of_all_that_they_hold(chip: str) -> None:
    """4 arrays of 8 row groups, one kept in each: on one array their steps (or held reads) follow one another."""
    matrix = CrossbarMatrix("tall", (16, 512))
    grid = UnitGrid(aligned_segments(512, 128, 16), aligned_segments(16, 16, 16))
    units = torch.zeros(1, 32, 1, dtype=torch.bool)
    units[0, ::8] = True
    model, times = load_cost_model(chip=chip), {}
    for mode in ("in_place", "compacted"):
        placement = place(matrix, grid.spread(units), GEOMETRY, grid, mode)
        times[mode] = model.report([PlacedLayer(matrix, placement, ActivityFactors())], GEOMETRY)
    assert [times[m].counts[0].arrays for m in times] == [4, 1]
    steps = 8 if chip == "default" else 1  # held: 8 steps of 8 conversions last 50 ns, the read 100 ns
    assert times["in_place"].timing.product_s[0] == pytest.approx(steps * 8 * STEP_S)
    assert times["compacted"].timing.product_s[0] == pytest.approx(4 * steps * 8 * STEP_S)
    assert times["compacted"].counts[0].critical_steps == 4 * 8 * 8


def test_arrays_are_not_merged_where_the_chip_has_room_for_them() -> None:
    """One product an image: copies can't help, so the four row groups stay on four arrays if the area allows."""
    matrix = CrossbarMatrix("tall", (16, 512))
    grid = UnitGrid(aligned_segments(512, 128, 16), aligned_segments(16, 16, 16))
    units = torch.zeros(1, 32, 1, dtype=torch.bool)
    units[0, ::8] = True
    model, placement = load_cost_model(), place(matrix, grid.spread(units), GEOMETRY, grid, "compacted")
    layers, array_m2 = [PlacedLayer(matrix, placement, ActivityFactors())], model.array_area_m2(GEOMETRY)
    for room, arrays in ((1.2, 1), (2.4, 2), (4.8, 4), (20, 4)):
        laid = model.report(layers, GEOMETRY, room * array_m2)
        assert (laid.timing.arrays[0], laid.counts[0].arrays) == (arrays, arrays)
        assert laid.timing.product_s[0] == pytest.approx(4 / arrays * 8 * 8 * STEP_S)
        assert laid.counts[0].critical_steps * STEP_S == pytest.approx(laid.timing.product_s[0])
