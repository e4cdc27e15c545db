"""The cost model: a hand-worked array, prices applied one by one, and the laws that hold whatever the numbers."""

from dataclasses import replace
from functools import cache
from math import ceil, log2
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from cimlab.choices import choices
from cimlab.config.hardware import load_cost_model, load_geometry, shipped
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix, account_matrices
from cimlab.crossbar.placement import NetworkPlacement, place, place_dense, place_network
from cimlab.crossbar.units import UnitGrid, aligned_segments
from cimlab.hardware.actions import PlacedLayer, action_counts, instance_counts
from cimlab.hardware.activity import ActivityFactors
from cimlab.hardware.chip import Chip
from cimlab.hardware.cost import CostModel
from cimlab.hardware.errors import HardwareError
from cimlab.hardware.report import HardwareReport
from cimlab.hardware.technology import ACTIONS, COMPONENTS, INSTANCES
from cimlab.network.account import account_of
from cimlab.records.components import SUPPORT

CHIPS = [name for name in choices("chip") if shipped("chip", name)["floor_plan"] is None]
"""A floor plan has laws of its own, in test_transport.py."""
MODELS = [(t, a, c) for t in choices("technology") for a in choices("adc_price") for c in CHIPS]
load = cache(load_cost_model)
SMALL = CrossbarGeometry(rows=16, cols=32, active_rows=8, columns_per_adc=2, input_bits=2)
"""Operation unit 8 x 2, 4 logical columns and 2 row groups an array: small enough to prune unit by unit."""


def units_of(matrix: CrossbarMatrix, geometry: CrossbarGeometry) -> UnitGrid:
    m, n = geometry.operation_unit
    return UnitGrid(
        aligned_segments(matrix.rows, geometry.rows, m),
        aligned_segments(matrix.cols, geometry.logical_cols, n),
    )


def segments_of(matrix: CrossbarMatrix, geometry: CrossbarGeometry) -> UnitGrid:
    rows = aligned_segments(matrix.rows, geometry.rows, geometry.active_rows)
    return UnitGrid(rows, torch.arange(matrix.cols))


@st.composite
def pruned_layers(draw: st.DrawFn) -> tuple[CrossbarMatrix, Tensor]:
    """A layer and its kept operation units, from one to all but one."""
    rows, cols = draw(st.integers(1, 60)), draw(st.integers(1, 30))
    matrix = CrossbarMatrix("layer", (cols, rows), 1, draw(st.integers(1, 50)))
    grid = units_of(matrix, SMALL)
    shape = (1, grid.unit_rows, grid.unit_cols)
    assume(shape[1] * shape[2] > 1)
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    units = torch.rand(shape, generator=generator) < draw(st.sampled_from([0.2, 0.6, 0.9]))
    units.view(-1)[draw(st.integers(0, units.numel() - 1))] = True
    units.view(-1)[units.numel() - 1] &= bool(units.view(-1)[:-1].any() & ~units.all())
    if units.all() or not units.any():
        units = torch.zeros(shape, dtype=torch.bool)
        units[0, 0, 0] = True
    return matrix, units


def report(
    model: CostModel,
    matrix: CrossbarMatrix,
    units: Tensor,
    geometry: CrossbarGeometry = SMALL,
    grid: UnitGrid | None = None,
) -> HardwareReport:
    grid = grid or units_of(matrix, geometry)
    placement = place(matrix, grid.spread(units), geometry, grid)
    return model.report([PlacedLayer(matrix, placement, ActivityFactors())], geometry)


# ---- worked by hand ----


def test_lossless_bits_steps_and_conversions_of_a_hand_worked_array() -> None:
    """128 x 16 weights on one default array: 16 rows on, 2-bit cells, 7 magnitude bits in differential pairs.

    Lossless: 16 x 1 x 3 + 1 = 49 sums need 6 bits. A weight takes ceil(7 / 2) x 2 = 8 columns, so an array of 128
    holds 16 weights a row; 128 / 8 = 16 bitlines are read, 2 weights, so 8 mux positions. 128 / 16 = 8 row
    groups; 8 x 8 steps x 8 input cycles = 512 steps; each converts 16 columns: 8192 conversions and drives 16
    rows: 8192 drives; every cell is read once a cycle: 128 x 128 x 8 = 131,072 reads. Partial sums: 7 x 16.
    """
    geometry = CrossbarGeometry()
    assert geometry.lossless_adc_bits == 6
    counts = place_dense(CrossbarMatrix("array", (16, 128)), geometry).counts
    assert (counts.arrays, counts.steps, counts.adc_conversions) == (1, 512, 8192)
    assert (counts.wordline_drives, counts.cell_reads, counts.partial_sum_adds) == (8192, 131072, 112)


def test_the_same_array_priced_by_hand() -> None:
    """isaac32 with its own ADC table, batch of one, 100 ns a step; every line written out."""
    geometry, matrix = CrossbarGeometry(), CrossbarMatrix("array", (16, 128))
    priced = load().report([PlacedLayer(matrix, place_dense(matrix, geometry), ActivityFactors())], geometry)
    energy = priced.energy_by_component
    off, on = 1 / 20e3, 1 / 1330  # half the cells of a pair hold 0.5, as the published read assumes of all
    assert energy["cells"] == pytest.approx(131072 * 1.8311e-15 * (off + (on - off) / 2) / ((off + on) / 2))
    assert energy["wordline_driver"] == pytest.approx(8192 * 0.390625e-12)
    assert energy["adc"] == pytest.approx(8192 * 1.125e-12)
    assert energy["sample_hold"] == pytest.approx(8192 * 0.97e-15)
    assert energy["shift_add"] == pytest.approx(8192 * 19.53125e-15)
    assert energy["partial_sum_adder"] == pytest.approx(112 * 2 * 79.7e-15)  # 23 bits: two 16-bit words
    assert energy["input_register"] == pytest.approx(8192 * 121.09375e-15)
    assert energy["output_register"] == pytest.approx(8192 * 22.4609375e-15)
    assert energy["input_buffer"] == pytest.approx(128 * 8 * 67.1875e-15)
    assert energy["output_buffer"] == pytest.approx(16 * 23 * 67.1875e-15)
    assert energy["activation"] == pytest.approx(16 * 0.26e-12)
    assert energy["interconnect"] == pytest.approx(128 * 8 * 54e-15 + 16 * 23 * 135e-15)
    assert all(energy[name] == 0 for name in (*SUPPORT, "weight_loading", "column_mux", "level_shifter"))
    latency = 512 * 100e-9 + 2e-9 + 1e-9 + 2e-9 + 2e-9
    assert priced.timing.latency_s == pytest.approx(latency)
    leakage_w = (0.46e-3 + 0.91e-6) / 96  # an array's share of a tile
    assert energy["leakage"] == pytest.approx(leakage_w * 512 * 100e-9)  # until the next image is done
    assert priced.lone_energy_j - priced.dynamic_j.sum() == pytest.approx(leakage_w * latency)
    assert priced.timing.images_per_s == pytest.approx(1 / (512 * 100e-9))
    area = priced.area_by_component
    assert area["adc"] == pytest.approx(16 * 627e-12)
    assert area["cells"] == pytest.approx(25e-12, rel=1e-4)
    assert area["wordline_driver"] == pytest.approx(128 * 0.166e-12)
    assert priced.effective_ops_per_s == pytest.approx(2 * 128 * 16 / (512 * 100e-9))


def test_programming_writes_the_kept_cells_of_all_copies_once_and_is_no_part_of_an_image() -> None:
    """3 of 4 units of 8 x 2 weights in 8 cells each, 120 pJ a cell; 16 rows one after another, 40 ns each."""
    matrix = CrossbarMatrix("layer", (4, 16), 1, 3)
    units = torch.tensor([[[True, True], [True, False]]])
    placement = place(matrix, units_of(matrix, SMALL).spread(units), SMALL, units_of(matrix, SMALL))
    model = replace(load(), chip=Chip(write_pulses=2))
    layers = [PlacedLayer(matrix, placement, ActivityFactors())]
    one = model.report(layers, SMALL)
    assert one.totals()["programming_j"] == pytest.approx(2 * 3 * 16 * 8 * 120e-12)
    assert one.totals()["programming_s"] == pytest.approx(2 * 16 * 40e-9)
    assert one.total_energy_j == load().report(layers, SMALL).total_energy_j
    three = model.report(layers, SMALL, 3.01 * model.smallest_area_m2(layers, SMALL))
    assert three.timing.copies.tolist() == [3]
    assert three.programming_j.sum() == pytest.approx(3 * one.programming_j.sum())
    index = "index_memory"  # every copy brings its own
    assert three.area_by_component[index] == pytest.approx(3 * one.area_by_component[index])


@pytest.mark.parametrize(("readout", "weights"), [("per_step", 2 * 2 + 1), ("held", 3 * 3)])
def test_offset_cells_that_are_read_are_written_with_their_bias_once_or_at_every_load(
    readout: Literal["per_step", "held"], weights: int
) -> None:
    """Two steps of 4 columns keep (0, 0) and (1, 1), and (2, 4): what is read together holds w + 128 or 128."""
    geometry = replace(SMALL, signed_encoding="offset")  # 4 cells a weight
    matrix, kept = CrossbarMatrix("layer", (8, 16)), torch.zeros(1, 16, 8, dtype=torch.bool)
    kept[0, [0, 1, 2], [0, 1, 4]] = True
    layer = PlacedLayer(
        matrix, place(matrix, kept, geometry, segments_of(matrix, geometry)), ActivityFactors()
    )
    chips = [Chip(readout=readout, max_arrays=arrays) for arrays in (None, 1)]
    fits, reloaded = (replace(load(), chip=chip).report([layer, layer], geometry) for chip in chips)
    assert fits.programming_j.tolist() == pytest.approx([weights * 4 * 120e-12] * 2)
    assert reloaded.timing.cell_writes.tolist() == [weights * 4] * 2


def test_offset_encoding_pays_for_the_sum_of_its_inputs_and_for_taking_it_out() -> None:
    """16 rows in 2 row groups, 4 columns, 3 products: an addition a row, and one a column and row group's sum."""
    matrix = CrossbarMatrix("layer", (4, 16), 1, 3)
    offset = replace(SMALL, signed_encoding="offset")
    words = ceil((2 + 8 + log2(16)) / 16)
    priced = report(load(), matrix, torch.ones(1, 2, 1, dtype=torch.bool), offset)
    joining, inputs, corrected = 4, 16, 2 * 4
    assert priced.energy_by_component["partial_sum_adder"] == pytest.approx(
        3 * (joining + inputs + corrected) * words * 79.7e-15
    )
    plain = report(load(), matrix, torch.ones(1, 2, 2, dtype=torch.bool))
    assert plain.energy_by_component["partial_sum_adder"] == pytest.approx(3 * joining * words * 79.7e-15)


def test_pruning_support_is_charged_on_its_own_lines() -> None:
    """One of 4 units pruned: 4 bits read in each of 2 cycles and 3 products; muxes follow the work."""
    matrix = CrossbarMatrix("layer", (4, 16), 1, 3)
    units = torch.tensor([[[True, True], [True, False]]])
    priced = report(load(), matrix, units)
    counts = priced.counts[0]
    assert counts.index_bits == 4
    energy = priced.energy_by_component
    assert energy["index_memory"] == pytest.approx(4 * 2 * 3 * 13.3e-15)
    assert energy["input_selection"] == pytest.approx(counts.wordline_drives * 2.94e-15)
    assert energy["output_alignment"] == pytest.approx(
        counts.adc_conversions * SMALL.lossless_adc_bits * 2.94e-15
    )
    assert priced.area_by_component["index_memory"] == pytest.approx(4 * 0.12817e-12)
    assert priced.area_by_component["input_selection"] == pytest.approx(16 * 2.9e-12)
    assert priced.support_energy_j == pytest.approx(sum(energy[name] for name in SUPPORT))


@pytest.mark.parametrize(("technology", "adc", "chip"), MODELS)
def test_every_component_is_its_actions_times_their_prices(technology: str, adc: str, chip: str) -> None:
    """The matrix product against a plain loop over components and charges."""
    model = load(technology, adc, chip)
    geometry = replace(load_geometry("isaac"), adc_bits=8)
    matrices = [CrossbarMatrix("a", (40, 300), 1, 7), CrossbarMatrix("b", (20, 64, 3, 3), 1, 4)]
    layers = [PlacedLayer(m, place_dense(m, geometry), ActivityFactors(0.3, 0.2)) for m in matrices]
    priced = model.report(layers, geometry)
    figures = model.prices.adc_figures(geometry)
    actions = action_counts(layers, geometry, model.chip, model.technology.device, figures.latency_s, 8)
    instances = instance_counts(layers, priced.timing.arrays, priced.timing.copies, geometry, model.chip, 8)
    for row in range(len(layers)):
        for column, name in enumerate(COMPONENTS):
            if name == "adc":
                energy = actions[row, ACTIONS.index("conversion")] * figures.energy_j
                area, leakage = instances[row, INSTANCES.index("adc")] * figures.area_m2, 0.0
            else:
                component = model.technology.components[name]
                energy = sum(actions[row, ACTIONS.index(k)] * q.value for k, q in component.energy_j.items())
                area = sum(instances[row, INSTANCES.index(k)] * q.value for k, q in component.area_m2.items())
                leakage = sum(
                    instances[row, INSTANCES.index(k)] * q.value for k, q in component.leakage_w.items()
                )
            assert priced.dynamic_j[row, column] == pytest.approx(energy, rel=1e-12)
            assert priced.area_m2[row, column] == pytest.approx(area, rel=1e-12)
            assert priced.leakage_w[row, column] == pytest.approx(leakage, rel=1e-12)


# ---- laws ----


@settings(max_examples=60, deadline=None)
@given(pruned_layers(), st.sampled_from(MODELS), st.integers(0, 2**31))
def test_pruning_a_unit_never_raises_energy_time_or_area(
    layer: tuple[CrossbarMatrix, Tensor], names: tuple[str, str, str], choice: int
) -> None:
    """Among pruned networks, whose index is the same; the first pruned unit also buys that index."""
    matrix, units = layer
    kept = units.nonzero()
    fewer = units.clone()
    fewer[tuple(kept[choice % len(kept)])] = False
    before, after = report(load(*names), matrix, units), report(load(*names), matrix, fewer)
    assert (after.energy_j <= before.energy_j * (1 + 1e-12)).all()
    assert after.total_energy_j < before.total_energy_j
    assert after.timing.latency_s <= before.timing.latency_s
    assert after.timing.layer_s.max() <= before.timing.layer_s.max()
    assert (after.area_m2 <= before.area_m2 * (1 + 1e-12)).all()


@settings(max_examples=60, deadline=None)
@given(pruned_layers(), st.sampled_from(MODELS))
def test_pruning_never_costs_more_than_dense_but_for_its_support_lines(
    layer: tuple[CrossbarMatrix, Tensor], names: tuple[str, str, str]
) -> None:
    matrix, units = layer
    pruned = report(load(*names), matrix, units)
    dense = load(*names).report([PlacedLayer(matrix, place_dense(matrix, SMALL), ActivityFactors())], SMALL)
    assert pruned.total_energy_j - pruned.support_energy_j <= dense.total_energy_j
    assert pruned.timing.latency_s <= dense.timing.latency_s


@settings(max_examples=60, deadline=None)
@given(pruned_layers(), st.integers(0, 2**31))
def test_pruning_a_column_segment_never_raises_energy_or_time_under_independent_adcs(
    layer: tuple[CrossbarMatrix, Tensor], choice: int
) -> None:
    geometry = replace(SMALL, mux_control="independent")
    matrix, _ = layer
    grid = segments_of(matrix, geometry)
    generator = torch.Generator().manual_seed(choice)
    units = torch.rand((1, grid.unit_rows, grid.unit_cols), generator=generator) < 0.6
    assume(bool(units.any()) and not bool(units.all()))
    fewer = units.clone()
    fewer[tuple(units.nonzero()[choice % int(units.sum())])] = False
    before, after = (report(load(), matrix, u, geometry, grid) for u in (units, fewer))
    assert (after.energy_j <= before.energy_j * (1 + 1e-12)).all()
    assert after.timing.latency_s <= before.timing.latency_s


@settings(max_examples=40, deadline=None)
@given(pruned_layers(), st.sampled_from(MODELS), st.integers(0, 2**31))
def test_a_network_pruned_to_one_unit_costs_what_one_unit_costs(
    layer: tuple[CrossbarMatrix, Tensor], names: tuple[str, str, str], choice: int
) -> None:
    """All that depends on the unit; accumulators and index are as large as the matrix that it was pruned from."""
    matrix, units = layer
    grid = units_of(matrix, SMALL)
    alone = torch.zeros_like(units)
    u, v = divmod(choice % units.numel(), grid.unit_cols)
    alone[0, u, v] = True
    height, width = int((grid.row_of == u).sum()), int((grid.col_of == v).sum())
    unit = CrossbarMatrix("unit", (width, height), 1, matrix.products)
    left = report(load(*names), matrix, alone)
    one = load(*names).report([PlacedLayer(unit, place_dense(unit, SMALL), ActivityFactors())], SMALL)
    of_matrix = [*SUPPORT, "output_buffer", "interconnect"]
    same = [i for i, name in enumerate(COMPONENTS) if name not in of_matrix]
    assert left.dynamic_j[0, same] == pytest.approx(one.dynamic_j[0, same])
    assert left.timing.product_s == pytest.approx(one.timing.product_s)
    assert left.timing.images_per_s == pytest.approx(one.timing.images_per_s)
    in_array = [i for i, name in enumerate(COMPONENTS) if name not in SUPPORT]
    assert left.area_m2[0, in_array] == pytest.approx(one.area_m2[0, in_array])


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.integers(1, 6), st.integers(1, 9), st.sampled_from(choices("adc_price")))
def test_halving_columns_per_adc_halves_time_and_doubles_adc_area(
    rows: int, full_arrays: int, products: int, adc: str
) -> None:
    matrix = CrossbarMatrix("layer", (16 * full_arrays, rows), 1, products)
    geometry = CrossbarGeometry(columns_per_adc=8)
    halved = replace(geometry, columns_per_adc=4)
    wide, narrow = (
        load("isaac32", adc).report([PlacedLayer(matrix, place_dense(matrix, g), ActivityFactors())], g)
        for g in (geometry, halved)
    )
    assert narrow.timing.product_s[0] == pytest.approx(wide.timing.product_s[0] / 2)
    assert narrow.area_by_component["adc"] == pytest.approx(2 * wide.area_by_component["adc"])
    assert narrow.energy_by_component["adc"] == pytest.approx(wide.energy_by_component["adc"])


@settings(max_examples=40, deadline=None)
@given(st.lists(pruned_layers(), min_size=1, max_size=4), st.sampled_from(MODELS), st.integers(1, 40))
def test_totals_are_the_sums_of_layers_and_of_components(
    network: list[tuple[CrossbarMatrix, Tensor]], names: tuple[str, str, str], capacity: int
) -> None:
    matrices = [replace(matrix, name=f"layer{i}") for i, (matrix, _) in enumerate(network)]
    kept = {
        m.name: m.to_weight(units_of(m, SMALL).spread(units))
        for m, (_, units) in zip(matrices, network, strict=True)
    }
    model = load(*names)
    model = replace(model, chip=replace(model.chip, max_arrays=capacity, bitlines_per_conversion_slot=1))
    placement = place_network(matrices, kept, SMALL, units_of)
    found = model.compare(matrices, placement, SMALL).pruned
    rows = found.layer_rows()
    assert found.total_energy_j == pytest.approx(sum(row["energy_j"] for row in rows))
    assert found.total_energy_j == pytest.approx(sum(found.energy_by_component.values()))
    assert found.total_area_m2 == pytest.approx(sum(row["area_m2"] for row in rows))
    assert found.total_area_m2 == pytest.approx(sum(found.area_by_component.values()))
    for row in rows:
        parts = sum(value for key, value in row.items() if key.startswith("energy_j/"))
        assert row["energy_j"] == pytest.approx(parts)
    assert np.isfinite(found.energy_j).all()
    assert (found.energy_j >= 0).all()


def test_an_array_that_waits_shows_up_as_imbalance() -> None:
    """Array 0 keeps both its row groups, array 1 one: the layer waits, and 3/4 of the array time is used."""
    matrix = CrossbarMatrix("layer", (4, 32))
    units = torch.tensor([[[True, True], [True, True], [True, True], [False, False]]])
    priced = report(load(), matrix, units)
    assert priced.array_balance[0] == pytest.approx(0.75)
    whole = report(load(), matrix, torch.ones_like(units))
    assert priced.timing.product_s[0] == whole.timing.product_s[0]


def test_an_adc_that_waits_shows_up_as_unused_slots() -> None:
    """In lockstep a step runs for one kept column as for two: half the slots convert nothing."""
    matrix = CrossbarMatrix("layer", (4, 8))
    grid = segments_of(matrix, SMALL)
    every_other = torch.tensor([[[True, False, True, False]]])
    lockstep = report(load(), matrix, every_other, SMALL, grid)
    assert lockstep.converted[0] == pytest.approx(0.5)
    balanced = torch.tensor([[[True, True, False, False]]])
    independent = report(load(), matrix, balanced, replace(SMALL, mux_control="independent"), grid)
    assert independent.converted[0] == pytest.approx(1.0)
    unbalanced = report(load(), matrix, every_other, replace(SMALL, mux_control="independent"), grid)
    assert unbalanced.converted[0] == pytest.approx(0.5)
    assert unbalanced.timing.product_s[0] == 2 * independent.timing.product_s[0]


def test_an_empty_layer_takes_no_energy_and_no_time() -> None:
    matrix = CrossbarMatrix("layer", (4, 32))
    priced = report(load(), matrix, torch.zeros(1, 4, 2, dtype=torch.bool))
    index = COMPONENTS.index("index_memory")
    assert np.delete(priced.dynamic_j[0], index).sum() == 0
    assert priced.timing.latency_s == 0
    assert np.delete(priced.area_m2[0], index).sum() == 0


def test_a_report_names_technology_adc_price_and_what_was_assumed() -> None:
    matrix = CrossbarMatrix("layer", (16, 128))
    geometry = CrossbarGeometry(active_rows=4, cell_bits=1, weight_bits=9)
    priced = load("neurosim22_rram", "isaac_table").report(
        [PlacedLayer(matrix, place_dense(matrix, geometry), ActivityFactors())], geometry
    )
    assert (priced.technology, priced.adc_price, priced.adc_bits) == ("neurosim22_rram", "isaac_table", 3)
    notes = " | ".join(priced.notes)
    for part in (
        "scaled to 22 nm",
        "carried to 22 nm",
        "4-bit ADC is charged",
        "input bit density assumed: 0.5",
    ):
        assert part in notes


def test_operations_of_a_transposed_convolution_are_what_it_multiplies_and_a_note_tells_what_arrays_read() -> (
    None
):
    """8 x 8 input pixels of 4 channels become 16 x 16 of 6, by 2 x 2 kernels: 64 x 96 macs, but 256 products."""
    network = nn.Sequential(nn.ConvTranspose2d(4, 6, 2, stride=2), nn.Conv2d(6, 2, 1))
    account = account_of(network, torch.empty(1, 4, 8, 8))
    up, last = matrices = account_matrices(account)
    layers = [PlacedLayer(m, place_dense(m, SMALL), ActivityFactors()) for m in matrices]
    priced = load().report(layers, SMALL)
    assert [row["macs"] for row in priced.layer_rows()] == [64 * 96, 256 * 12]
    assert [row["macs_left"] for row in priced.layer_rows()] == [64 * 96, 256 * 12]
    assert priced.operations.sum() == 2 * account.macs
    assert (up.products, last.products) == (256, 256)
    assert any(note.startswith("1 of 2 layers are transposed convolutions") for note in priced.notes)
    assert not any("transposed" in note for note in load().report(layers[1:], SMALL).notes)


def test_a_comparison_divides_by_the_unpruned_network_on_the_same_hardware() -> None:
    matrix = CrossbarMatrix("layer", (4, 16), 1, 3)
    half = torch.tensor([[[True, True], [False, False]]])
    grid = units_of(matrix, SMALL)
    placement = place_network([matrix], {"layer": matrix.to_weight(grid.spread(half))}, SMALL, units_of)
    compared = load().compare([matrix], placement, SMALL)
    assert compared.ratios()["area_m2"] == 1  # the same silicon, whatever order its parts are summed in
    assert compared.pruned.timing.copies.tolist() == [1]  # its index and selection leave no room for a second
    assert compared.dense.timing.copies.tolist() == [2]  # three products on two copies take two rounds
    assert compared.ratios()["images_per_s"] == pytest.approx(4 / 3)
    assert compared.pruned.energy_by_component["adc"] == pytest.approx(
        compared.dense.energy_by_component["adc"] / 2
    )
    assert compared.ratios()["effective_ops_per_s"] == pytest.approx(4 / 3)
    assert compared.ratios()["raw_ops_per_s"] == pytest.approx(2 / 3)
    untouched = NetworkPlacement(placement.dense, placement.dense)
    assert load().compare([matrix], untouched, SMALL).ratios() == pytest.approx(
        dict.fromkeys(compared.dense.totals().keys() - {"support_energy_j", "load_s"}, 1.0)
    )


def test_a_geometry_that_the_technology_cant_build_is_refused_before_any_pricing() -> None:
    geometry = CrossbarGeometry(dac_bits=4)
    matrix = CrossbarMatrix("layer", (16, 128))
    with pytest.raises(HardwareError, match="dac_bits=4"):
        load().report([PlacedLayer(matrix, place_dense(matrix, geometry), ActivityFactors())], geometry)


def test_a_held_read_drives_rows_once_and_waits_for_the_slower_of_read_and_conversions() -> None:
    """ISAAC: 128 rows driven once per 100 ns, 16 positions x 8 conversions x 0.78 ns = 100 ns."""
    geometry = replace(load_geometry("isaac"), adc_bits=8)
    matrix = CrossbarMatrix("array", (16, 128))
    layer = PlacedLayer(matrix, place_dense(matrix, geometry), ActivityFactors())
    held = load("isaac32", "isaac_table", "isaac").report([layer], geometry)
    assert held.timing.product_s[0] == pytest.approx(16 * 100e-9)
    assert held.energy_by_component["wordline_driver"] == pytest.approx(128 * 16 * 0.390625e-12)
    stepped = replace(load("isaac32", "isaac_table", "isaac"), chip=Chip()).report([layer], geometry)
    assert stepped.energy_by_component["wordline_driver"] == pytest.approx(16 * 128 * 16 * 0.390625e-12)
