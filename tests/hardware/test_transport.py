"""Moving bits over a floor plan: counted by hand, never more where less is left, and refused where it does not fit."""

from dataclasses import replace
from functools import cache
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cimlab.config.hardware import load_chip, load_cost_model
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.placement import place, place_dense
from cimlab.crossbar.rules import PlacementMode
from cimlab.crossbar.units import UnitGrid
from cimlab.hardware.actions import PlacedLayer
from cimlab.hardware.activity import ActivityFactors
from cimlab.hardware.attribution import step_energy
from cimlab.hardware.cost import CostModel
from cimlab.hardware.errors import HardwareError
from cimlab.hardware.floor_plan import FloorPlan, Tile
from cimlab.hardware.transport import transport
from cimlab.records.components import SUPPORT

GEOMETRY = CrossbarGeometry(
    active_rows=128, cell_bits=1, signed_encoding="twos_complement", adc_bits=5
)  # 16 weights across
KERNEL = Tile(
    kernel=3, units_per_side=1, input_port_bits=64, output_port_bits=32, tree_bits=512, word_bits=20
)
PLAIN = Tile(kernel=1, units_per_side=2, input_port_bits=16, output_port_bits=8, tree_bits=128, word_bits=18)
PLAN = FloorPlan(
    arrays_per_side=2, word_bits=16, kernel_tile=KERNEL, plain_tile=PLAIN, bus_bits=100, buffer_port_bits=50,
    input_toggle=0.25, output_toggle=0.5,
)  # fmt: skip
CONV = CrossbarMatrix("conv", (32, 64, 3, 3), products=100)
HEAD = CrossbarMatrix("head", (10, 300))


def dense(matrix: CrossbarMatrix) -> PlacedLayer:
    return PlacedLayer(matrix, place_dense(matrix, GEOMETRY), ActivityFactors())


def test_a_convolution_and_a_head_by_hand() -> None:
    """Cycles, register bits and wires of two layers on arrays of 1 m, written out."""
    found = transport([dense(CONV), dense(HEAD)], GEOMETRY, PLAN, array_m=1.0)
    # conv: 64 rows a kernel position, 256 columns: 1 x 2 of a unit's 2 x 2 arrays, so that two copies share 9 units
    # head: 300 rows, 80 columns: 3 x 1 arrays, 2 x 1 units of a tile's 2 x 2: 4 copies
    assert found.copies.tolist() == [2, 4]
    assert found.tiles.tolist() == [1, 1]
    inputs, sums = 576 * 8 * 100, 32 * 100
    fetched, results = inputs / 3, sums * 8
    assert found.cycles[0] == pytest.approx(
        fetched / 64 + sums * 20 / 32 + (fetched + sums * 20) / 512  # register files and tree of a tile
        + fetched / 100 * 2 + results / 100 * 1  # a bus along 2 x 1 tiles
        + (fetched + results) / 50
    )  # fmt: skip
    assert found.port_bits[0] == 2 * (inputs + sums * 16 * 9) + fetched + sums * 20 + fetched + results
    tree = 5 * 2  # a tree over 4 x 4 places of 2 x 2 arrays: 2 x (1 + 1/2) + 2 units of 2 arrays
    assert found.bit_metres[0] == pytest.approx(
        0.25 * (inputs + fetched * tree + fetched * 1 * 6) + 0.5 * (sums * 16 * 9 + sums * 20 * tree)
    )
    rows, outputs = 300 * 8, 10
    assert found.cycles[1] == pytest.approx(
        rows / 16 + outputs * 18 / 8 + (rows + outputs * 18) / 128
        + rows / 100 * 2 + outputs * 8 / 100 + (rows + outputs * 8) / 50
    )  # fmt: skip
    assert found.port_bits[1] == 2 * (rows + outputs * 16 * 2) + 2 * rows + outputs * 18 + outputs * 8


def test_layers_are_copied_until_they_keep_up_and_their_tiles_are_full() -> None:
    layers = [
        dense(replace(CONV, name=f"conv{n}", products=products)) for n, products in enumerate((900, 500, 100))
    ]
    assert transport(layers, GEOMETRY, PLAN, 1.0).copies.tolist() == [10, 6, 2]  # 9, 5 and 1, in twos
    own = replace(PLAN, copies=(3, 2, 1))
    assert transport(layers, GEOMETRY, own, 1.0).copies.tolist() == [3, 2, 1]


def test_copies_of_another_network_are_refused_with_a_mend() -> None:
    with pytest.raises(
        HardwareError, match=r"copies holds 1 numbers for 2 layers; give one per layer, or .*=null"
    ):
        transport([dense(CONV), dense(HEAD)], GEOMETRY, replace(PLAN, copies=(1,)), 1.0)


def test_energy_of_steps_is_asked_of_one_layer_whatever_the_copies_of_a_network() -> None:
    model = on_plan()
    plan = model.chip.floor_plan
    assert plan is not None
    fixed = replace(model, chip=replace(model.chip, floor_plan=replace(plan, copies=(1, 2, 3))))
    assert step_energy(fixed, GEOMETRY)(CONV) == pytest.approx(step_energy(model, GEOMETRY)(CONV))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"bus_bits": 0}, "bus_bits=0 must be a number from 1"),
        ({"copies": (0,)}, "copies=0 must be a number from 1"),
        ({"input_toggle": 1.5}, r"input_toggle=1.5 must be a share, from 0 to 1"),
    ],
)
def test_a_slip_in_a_floor_plan_names_its_key(change: dict, complaint: str) -> None:
    with pytest.raises(HardwareError, match=complaint):
        replace(PLAN, **change)


@cache
def on_plan() -> CostModel:
    return load_cost_model("neurosim22_chip", "sar", "neurosim")


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["in_place", "compacted"]))
def test_less_kept_never_moves_more_and_never_costs_more(seed: int, mode: PlacementMode) -> None:
    """On the chip of the unpruned network: cycles, register bits, wires, time and the energy of what travels."""
    matrix = CrossbarMatrix("conv", (24, 40, 3, 3), products=50)
    generator = torch.Generator().manual_seed(seed)
    model, unit = on_plan(), UnitGrid(torch.arange(matrix.rows) // 128, torch.arange(matrix.cols))
    whole = dense(matrix)
    area_m2 = model.chip_area_m2([whole], GEOMETRY)
    kept = torch.ones(1, matrix.rows, matrix.cols, dtype=torch.bool)
    figures = []
    for _ in range(4):
        units = torch.rand(3, matrix.cols, generator=generator) < 0.6
        kept = kept & units.repeat_interleave(128, 0)[: matrix.rows]
        layer = PlacedLayer(matrix, place(matrix, kept, GEOMETRY, unit, mode), ActivityFactors())
        moved = transport([layer], GEOMETRY, PLAN, 1.0)
        report = model.report([layer], GEOMETRY, area_m2)
        travels = report.energy_by_component["interconnect"] + report.energy_by_component["input_buffer"]
        figures.append(
            [moved.cycles[0], moved.port_bits[0], moved.bit_metres[0], report.timing.interval_s, travels]
        )
        support_m2 = sum(report.area_by_component[name] for name in SUPPORT)
        assert area_m2 * (1 - 1e-9) <= report.total_area_m2 <= (area_m2 + support_m2) * (1 + 1e-9)
    assert all(b <= a * (1 + 1e-12) for one, two in pairwise(figures) for a, b in zip(one, two, strict=True))


def test_only_a_chip_with_a_floor_plan_moves_bits() -> None:
    layer = dense(CONV)
    hidden = replace(on_plan(), chip=load_chip("default")).report([layer], GEOMETRY)
    told = on_plan().report([layer], GEOMETRY)
    assert hidden.energy_by_component["interconnect"] == 0
    assert told.energy_by_component["interconnect"] > 0
    assert told.timing.layer_s[0] > 100 * told.timing.product_s[0] / told.timing.copies[0]
    assert any("chip.floor_plan" in note for note in told.notes)
    assert any("without chip.floor_plan: buffers and wires take no energy" in note for note in hidden.notes)


def test_a_floor_plan_without_a_price_of_wires_is_refused_with_a_mend() -> None:
    with pytest.raises(
        HardwareError, match=r"isaac32 lacks .*use technology=neurosim22_chip, or chip.floor_plan=null"
    ):
        load_cost_model("isaac32", "isaac_table", "neurosim")
