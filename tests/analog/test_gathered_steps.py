"""Layers whose steps drive gathered rows, against the packing rule and one conversion at a time, in plain loops."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from made_up_layers import SLOW, compiled_layers
from torch import nn

from cimlab.analog.adcs.base import AdcRange, Converter, adc_of_column
from cimlab.analog.adcs.full_scale import FullScaleAdc
from cimlab.analog.adcs.ideal import IdealAdc
from cimlab.analog.adcs.mse import MseAdc
from cimlab.analog.backends.choose import prepare
from cimlab.analog.backends.packed import pack, packed_histogram
from cimlab.analog.convert import analog_layers, convert, program_draw
from cimlab.analog.devices.base import Device
from cimlab.analog.devices.programming_variation import ProgrammingVariation
from cimlab.analog.devices.wire_resistance import WireResistance
from cimlab.analog.gathered import GatheredMatrix
from cimlab.analog.patches import Patches
from cimlab.analog.program import ArrayProgram, partial_sum_histogram
from cimlab.analog.settings import AnalogSettings, BackendName
from cimlab.analog.slicing import slice_weights
from cimlab.crossbar.cells import Encoding, cell_levels
from cimlab.crossbar.geometry import CrossbarGeometry, GeometryError
from cimlab.crossbar.rules import PlacementMode
from tests.crossbar import layout, reference

TWO_COLUMNS = CrossbarGeometry(rows=32, active_rows=8)


def one_conversion_at_a_time(
    patches: Patches, weights: torch.Tensor, kept: torch.Tensor, geometry: CrossbarGeometry, adc: Converter
) -> torch.Tensor:
    """Shifted and added codes, less what offset cells add, from the steps of `layout.gathered_of_stripe`."""
    encoding, levels = Encoding.of(geometry), cell_levels(weights, geometry, 1)
    groups, _, cols = weights.shape
    total = torch.zeros(groups, cols, len(patches.base), dtype=torch.int64)
    for group in range(groups):
        inputs = patches.matrix(group).long()
        mask = kept[group].tolist()
        for columns in reference.array_columns(cols, geometry):
            for block in layout.gathered_of_stripe(mask, columns, geometry):
                x = inputs[:, block.rows]
                for column in block.columns:
                    for physical, coefficient in enumerate(encoding.coefficients):
                        cells = levels[group, physical, block.rows, column].long()
                        for cycle in range(geometry.input_cycles):
                            shift = cycle * geometry.dac_bits
                            sums = (x >> shift & (2**geometry.dac_bits - 1)) @ cells
                            code = adc.codes(sums, adc.scale, adc.offset).long()
                            total[group, column] += coefficient * code << shift
                    total[group, column] -= encoding.bias * x.sum(1)
    return total


def on_arrays(layer: GatheredMatrix, adc: AdcRange, device: Device | None = None, **more) -> ArrayProgram:
    generator = torch.Generator().manual_seed(0)
    cells = None if device is None else device.cells(layer.sliced, generator)
    return ArrayProgram(layer.sliced, cells, adc.converter(layer.sliced, None, generator), **more)


def gathered(data: st.DataObject) -> tuple[GatheredMatrix, torch.Tensor, torch.Tensor, Patches]:
    """A random layer that gathers rows, its weights and what is kept of them, and inputs."""
    geometry, weights, kept, patches = data.draw(compiled_layers())
    geometry = replace(geometry, mux_control="lockstep")
    own = GatheredMatrix.of(weights, kept, geometry)
    if own is None:  # keep few rows of every position, so that they share steps
        kept = kept.clone()
        kept[:, 1 :: max(2, geometry.active_rows)] = False
        own = GatheredMatrix.of(weights, kept, geometry)
    if own is None:
        reject()
    return own, weights, kept, patches


def computed(
    name: BackendName, layer: GatheredMatrix, program: ArrayProgram, patches: Patches
) -> torch.Tensor:
    """What a backend gives, less what offset cells add."""
    apart, own = layer.program(program), layer.patches(patches)
    codes = layer.joined(prepare(apart, name, "layer")(own))
    inputs = torch.stack([own.matrix(group).long() for group in range(len(own.offset))])
    driven = layer.joined((inputs @ apart.sliced.driven.long()).transpose(1, 2))
    return codes - apart.sliced.bias * driven


@settings(SLOW, max_examples=25)
@given(st.data())
def test_lossless_adcs_give_the_product_of_the_unpruned_order(data: st.DataObject) -> None:
    layer, weights, kept, patches = gathered(data)
    program = on_arrays(layer, IdealAdc())
    assert program.is_exact
    masked = weights.where(kept, 0).long()
    expected = torch.stack([m.T @ patches.matrix(i).long().T for i, m in enumerate(masked)])
    for name in ("exact", "packed", "conductance", "reference"):
        assert torch.equal(computed(name, layer, program, patches), expected), name


@settings(SLOW, max_examples=25)
@given(st.data())
def test_lossy_adcs_convert_the_sums_of_the_steps_that_the_packing_rule_names(data: st.DataObject) -> None:
    layer, weights, kept, patches = gathered(data)
    patches = replace(patches, base=patches.base[:5])
    program = on_arrays(layer, FullScaleAdc())
    expected = one_conversion_at_a_time(
        patches, weights.where(kept, 0), kept, layer.sliced.geometry, program.converter
    )
    for name in ("packed", "conductance", "reference"):
        assert torch.equal(computed(name, layer, program, patches), expected), name


@settings(SLOW, max_examples=25)
@given(st.data())
def test_real_cells_and_unlike_adcs_are_the_same_in_every_backend(data: st.DataObject) -> None:
    layer, _, _, patches = gathered(data)
    device = Device(20.0, (ProgrammingVariation("gaussian", (0.1,)), WireResistance(1e-4)))
    for program in (
        on_arrays(layer, FullScaleAdc(0.1, 0.7), device, noise_levels=0.5, noise_seed=7),
        on_arrays(layer, FullScaleAdc(0.1, 0.7)),
    ):
        assert not program.converter.uniform
        names = ("conductance", "reference", *(("packed",) if program.cells is None else ()))
        one, *others = (computed(name, layer, program, patches) for name in names)
        assert all(torch.equal(one, other) for other in others)


@settings(SLOW, max_examples=25)
@given(st.data())
def test_the_histogram_counts_the_sums_of_gathered_rows(data: st.DataObject) -> None:
    layer, _, _, patches = gathered(data)
    program, own = layer.program(on_arrays(layer, IdealAdc())), layer.patches(patches)
    counted = packed_histogram(own, pack(program))
    assert torch.equal(counted, partial_sum_histogram(own, program))
    conversions = layer.sliced.converted.sum() * len(layer.sliced.coefficients)
    assert counted.sum() == conversions * len(own.base) * layer.sliced.geometry.input_cycles


def test_every_cell_has_the_adc_of_the_column_under_which_it_stands() -> None:
    """Positions are apart for backends alone: two that share converters share their errors."""
    kept = torch.zeros(1, 64, 4, dtype=torch.bool)
    kept[:, ::4] = True
    layer = GatheredMatrix.of(kept.int(), kept, TWO_COLUMNS)
    assert layer is not None
    program = on_arrays(layer, FullScaleAdc(gain_sigma=0.1))
    first, second = layer.program(program).converter.scale
    assert torch.equal(first, second)


def test_an_array_is_as_high_as_it_is_where_whole_steps_leave_wordlines_over() -> None:
    """16 of 20 wordlines hold a step, the topmost 20 segments of wire above the sense amplifiers."""
    geometry = CrossbarGeometry(rows=20, active_rows=16)
    wires = Device(effects=(WireResistance(1e-2),))
    kept = torch.zeros(1, 40, 2, dtype=torch.bool)
    kept[:, ::2] = True
    layer = GatheredMatrix.of(kept.int(), kept, geometry)
    assert layer is not None
    top = torch.ones(1, 16, 2, dtype=torch.int32)
    aligned = slice_weights(top, top > 0, geometry)
    own, other = (wires.cells(cells, torch.Generator()) for cells in (layer.sliced, aligned))
    assert torch.equal(own[:, :, :16], other)
    assert adc_of_column(layer.sliced)[0, :, 0, 0].tolist() == [0, geometry.columns_read]  # a step an array


def half_of_the_rows(weight: torch.Tensor) -> torch.Tensor:
    """Every other input channel or feature, which no aligned step is spared by."""
    mask = torch.ones_like(weight, dtype=torch.bool)
    mask[:, 1::2] = False
    return mask


def a_network() -> tuple[nn.Module, dict[str, torch.Tensor], torch.Tensor]:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 5)
    ).eval()
    masks = {name: half_of_the_rows(network.get_parameter(f"{name}.weight")) for name in ("0", "4")}
    with torch.no_grad():
        for name, mask in masks.items():
            network.get_parameter(f"{name}.weight").mul_(mask)
    return network, masks, torch.rand(6, 4, 6, 6)


@pytest.mark.parametrize("encoding", ["differential", "offset"])
def test_a_network_computes_the_same_until_its_converters_lose_something(encoding: str) -> None:
    network, masks, images = a_network()
    geometry = replace(TWO_COLUMNS, signed_encoding=encoding)
    few = replace(geometry, adc_bits=3)

    def outputs(array: CrossbarGeometry, adc: AdcRange, placement: PlacementMode) -> torch.Tensor:
        converted = convert(network, masks, array, AnalogSettings(), adc, [images], placement=placement)
        program_draw(converted, Device(), 0, 0)
        laid = [layer.mapping.gathered is not None for layer in analog_layers(converted).values()]
        assert laid == [placement == "gathered"] * 2
        return converted(images)

    aligned, gathered = (outputs(geometry, FullScaleAdc(), own) for own in ("in_place", "gathered"))
    assert torch.equal(aligned, gathered)
    lossy = [outputs(few, FullScaleAdc(), own) for own in ("in_place", "compacted", "gathered")]
    assert torch.equal(lossy[0], lossy[1])
    assert not torch.equal(lossy[0], lossy[2])


def test_ranges_are_calibrated_on_the_sums_that_are_converted() -> None:
    """18 of 36 rows lie in 4 of 5 row groups and fill 3 steps; every other one of 216 lies in 27 and fills 14."""
    network, masks, images = a_network()
    seen = []
    for placement in ("compacted", "gathered"):
        converted = convert(
            network, masks, TWO_COLUMNS, AnalogSettings(), MseAdc(), [images], placement=placement
        )
        histograms = [layer.histogram for layer in analog_layers(converted).values()]
        seen.append([int(own.sum()) for own in histograms if own is not None])
    (conv, linear), fewer = seen
    assert fewer == [conv * 3 // 4, linear * 14 // 27]


@pytest.mark.parametrize("encoding", ["differential", "offset"])
def test_what_driven_cells_add_is_taken_off_for_the_wordlines_that_gathered_steps_drive(
    encoding: str,
) -> None:
    """An on current of four off currents is three levels above one: whole levels, which are converted exactly."""
    network, masks, images = a_network()
    geometry = replace(TWO_COLUMNS, signed_encoding=encoding, adc_bits=6)
    converted = convert(
        network, masks, geometry, AnalogSettings(), FullScaleAdc(), [images], placement="gathered"
    )
    ideal = converted(images)
    program_draw(converted, Device(on_off_ratio=4.0), 0, 0)
    assert not any(layer.program.is_exact for layer in analog_layers(converted).values())
    assert torch.equal(converted(images), ideal)


def test_a_whole_layer_and_one_that_saves_no_step_stay_in_place() -> None:
    weights = torch.ones(1, 16, 4, dtype=torch.int32)
    for kept in (
        torch.ones(1, 16, 4, dtype=torch.bool),
        torch.arange(16).view(1, 16, 1).expand(1, 16, 4) < 8,
    ):
        assert GatheredMatrix.of(weights, kept, TWO_COLUMNS) is None


def test_independent_muxes_are_refused() -> None:
    weights = torch.ones(1, 16, 4, dtype=torch.int32)
    with pytest.raises(GeometryError, match="mux_control=lockstep"):
        GatheredMatrix.of(weights, weights > 0, replace(TWO_COLUMNS, mux_control="independent"))
