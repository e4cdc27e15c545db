"""Time: pipelines, copies within a budget, reloading, batches; each against a plain search or a hand-worked case."""

from dataclasses import replace
from itertools import product as combinations

import numpy as np
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
from cimlab.hardware.schedule import balanced_copies, ceil_division, segment_layers

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
    """One array each, 512 steps a product: 10 and 3 products."""
    slow, fast = CrossbarMatrix("slow", (16, 128), 1, 10), CrossbarMatrix("fast", (16, 128), 1, 3)
    timing = report([slow, fast], Chip()).timing
    assert timing.product_s == pytest.approx([512 * STEP_S] * 2)
    assert timing.images_per_s == pytest.approx(1 / (10 * 512 * STEP_S))
    assert timing.latency_s == pytest.approx(13 * 512 * STEP_S, rel=1e-3)


def test_a_batch_spreads_the_first_latency() -> None:
    matrices = [CrossbarMatrix("a", (16, 128), 1, 10), CrossbarMatrix("b", (16, 128), 1, 3)]
    one, many = report(matrices, Chip()), report(matrices, Chip(batch=50))
    assert many.timing.batch_s == pytest.approx(one.timing.latency_s + 49 * 10 * 512 * STEP_S)
    assert many.energy_by_component["leakage"] < one.energy_by_component["leakage"]
    assert many.energy_by_component["adc"] == one.energy_by_component["adc"]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(1, 12), st.integers(1, 4)), min_size=1, max_size=3),
    st.integers(0, 12),
)
def test_copies_are_the_best_that_an_exhaustive_search_finds(
    layers: list[tuple[int, int, int]], spare: int
) -> None:
    product_s = np.array([float(t) for t, _, _ in layers])
    products = np.array([p for _, p, _ in layers])
    arrays = np.array([a for _, _, a in layers])
    copies = balanced_copies(product_s, products, arrays, spare)
    assert ((copies - 1) * arrays).sum() <= spare
    best = min(
        float((ceil_division(products, np.array(tried)) * product_s).max())
        for tried in combinations(*(range(1, spare // int(a) + 2) for a in arrays))
        if ((np.array(tried) - 1) * arrays).sum() <= spare
    )
    assert (ceil_division(products, copies) * product_s).max() == pytest.approx(best)


def test_copies_cost_area_but_no_dynamic_energy() -> None:
    matrices = [CrossbarMatrix("a", (16, 128), 1, 10), CrossbarMatrix("b", (16, 128), 1, 3)]
    plain, doubled = report(matrices, Chip()), report(matrices, Chip(duplication_arrays=1))
    assert doubled.timing.copies.tolist() == [2, 1]
    assert doubled.timing.images_per_s == pytest.approx(2 * plain.timing.images_per_s)
    assert doubled.dynamic_j == pytest.approx(plain.dynamic_j)
    assert doubled.area_by_component["adc"] == pytest.approx(1.5 * plain.area_by_component["adc"])


def test_an_area_budget_buys_the_arrays_that_fit_it() -> None:
    matrices = [CrossbarMatrix("a", (16, 128), 1, 10), CrossbarMatrix("b", (16, 128), 1, 3)]
    array_m2 = load_cost_model().array_area_m2(GEOMETRY)
    assert report(matrices, Chip(duplication_area_m2=0.9 * array_m2)).timing.copies.tolist() == [1, 1]
    assert report(matrices, Chip(duplication_area_m2=1.1 * array_m2)).timing.copies.tolist() == [2, 1]
    both = Chip(duplication_area_m2=10 * array_m2, duplication_arrays=1)
    assert report(matrices, both).timing.copies.tolist() == [2, 1]
    full = Chip(duplication_arrays=10, max_arrays=2)
    assert report(matrices, full).timing.copies.tolist() == [1, 1]


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


def test_compacted_arrays_execute_the_steps_of_all_that_they_hold() -> None:
    """4 arrays of 8 row groups, one kept in each: compacted to one array, which needs their steps one after another."""
    matrix = CrossbarMatrix("tall", (16, 512))
    grid = UnitGrid(aligned_segments(512, 128, 16), aligned_segments(16, 16, 16))
    units = torch.zeros(1, 32, 1, dtype=torch.bool)
    units[0, ::8] = True
    kept = grid.spread(units)
    model = load_cost_model()
    times = {}
    for mode in ("in_place", "compacted"):
        placement = place(matrix, kept, GEOMETRY, grid, mode)
        times[mode] = model.report([PlacedLayer(matrix, placement, ActivityFactors())], GEOMETRY)
    assert [times[m].counts[0].arrays for m in times] == [4, 1]
    assert times["in_place"].timing.product_s[0] == pytest.approx(8 * 8 * STEP_S)
    assert times["compacted"].timing.product_s[0] == pytest.approx(4 * 8 * 8 * STEP_S)
