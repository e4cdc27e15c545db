"""ADC resolution by occupancy: narrow enough to be cheap, wide enough to lose nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cimlab.analog.adcs.ideal import IdealAdc
from cimlab.analog.convert import analog_layers, convert
from cimlab.analog.program import partial_sums
from cimlab.analog.settings import AnalogSettings
from cimlab.config.hardware import load_cost_model
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.placement import Placement, place, place_dense
from cimlab.crossbar.units import UnitGrid
from cimlab.hardware.actions import PlacedLayer
from cimlab.hardware.activity import ActivityFactors
from cimlab.hardware.chip import Chip
from cimlab.hardware.errors import HardwareError
from cimlab.hardware.occupancy import occupancy_bits
from cimlab.hardware.report import HardwareReport
from tests.crossbar import reference

ARRAY = CrossbarGeometry(rows=16, cols=32, active_rows=8, columns_per_adc=2, input_bits=4)


def weight_grid(matrix: CrossbarMatrix) -> UnitGrid:
    return UnitGrid(torch.arange(matrix.rows), torch.arange(matrix.cols))


def priced(placement: Placement, matrix: CrossbarMatrix, resolution: str) -> HardwareReport:
    model = replace(load_cost_model("isaac32", "sar"), chip=Chip(adc_resolution=resolution))  # ty: ignore[invalid-argument-type]
    return model.report([PlacedLayer(matrix, placement, ActivityFactors())], ARRAY)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 9), st.floats(0.02, 0.9), st.booleans(), st.integers(0, 2**31))
def test_columns_are_counted_by_the_cells_that_can_hold_more_than_zero(
    rows: int, cols: int, density: float, offset: bool, seed: int
) -> None:
    geometry = replace(ARRAY, signed_encoding="offset" if offset else "differential")
    matrix = CrossbarMatrix("layer", (cols, rows))
    kept = torch.rand(1, rows, cols, generator=torch.Generator().manual_seed(seed)) < density
    found = place(matrix, kept, geometry, weight_grid(matrix)).work.occupancy
    expected = []
    for group in reference.row_groups_of_matrix(rows, geometry):
        expected.append([0] * (geometry.active_rows + 1))
        for column in range(cols):
            held = sum(bool(kept[0, row, column]) for row in group)
            if held:
                expected[-1][len(group) if offset else held] += 1
    assert found.tolist() == [expected]
    full = torch.ones(1, rows, cols, dtype=torch.bool)
    dense = place_dense(matrix, geometry).work.occupancy
    assert dense.tolist() == place(matrix, full, geometry, weight_grid(matrix)).work.occupancy.tolist()


@pytest.mark.parametrize("encoding", ["differential", "offset", "twos_complement"])
def test_partial_sums_clipped_at_these_resolutions_are_what_they_were(encoding: str) -> None:
    """Every conversion of a converted network, over real inputs, at the bits that its own column is priced with."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(80, 6)).eval()
    masks = {n: torch.rand(network.get_parameter(f"{n}.weight").shape) > 0.7 for n in ("0", "3")}
    bits = 1 if encoding == "twos_complement" else 2
    geometry = replace(ARRAY, signed_encoding=encoding, cell_bits=bits)
    images, needed = torch.rand(2, 3, 6, 6), occupancy_bits(geometry)
    converted = convert(network, masks, geometry, AnalogSettings(), IdealAdc(), [images])
    seen, narrower = {}, 0
    for name, layer in analog_layers(converted).items():
        layer.register_forward_pre_hook(lambda _, x, name=name: seen.__setitem__(name, x[0].clone()))
    converted(images)
    for name, layer in analog_layers(converted).items():
        patches, sliced = layer.patches(layer.integers(seen[name])), layer.program.sliced
        for group, row_group, _, _, sums in partial_sums(patches, layer.program):
            rows = sliced.row_group_of == row_group
            read = sliced.converted[group, row_group]
            cells = rows.sum().expand(len(read)) if encoding == "offset" else sliced.kept[group, rows].sum(0)
            top = 2 ** torch.from_numpy(needed[cells.numpy()]) - 1
            assert torch.equal(sums[:, read].minimum(top[read].float()), sums[:, read])
            narrower += int((needed[cells.numpy()] < geometry.lossless_adc_bits)[read.numpy()].sum())
    assert narrower > 0 or encoding == "offset"


def test_converters_are_priced_at_the_bits_of_the_fullest_or_of_each_column() -> None:
    """One row group: 3 columns keep 1 weight (2 bits, charged as 4), one keeps 7 of 8 (5 bits: 7 x 3 = 21)."""
    matrix = CrossbarMatrix("layer", (4, 8), 1, 10)
    kept = torch.zeros(1, 8, 4, dtype=torch.bool)
    kept[0, 0, :3], kept[0, 1:, 3] = True, True
    placement = place(matrix, kept, ARRAY, weight_grid(matrix))
    whole, layer, column = (priced(placement, matrix, name) for name in ("geometry", "layer", "column"))
    adc, conversions = load_cost_model("isaac32", "sar").adc, placement.counts.adc_conversions
    four, five = (float(adc.energy_j(bits, 32e-9)) for bits in (4, 5))
    assert ARRAY.lossless_adc_bits == 5
    assert whole.energy_by_component["adc"] == pytest.approx(conversions * five)
    assert layer.energy_by_component["adc"] == pytest.approx(whole.energy_by_component["adc"])
    assert column.energy_by_component["adc"] == pytest.approx(conversions * (3 * four + five) / 4)
    kept[0, 4:, 3] = False  # 3 of 8: 9 fits 4 bits
    lighter = place(matrix, kept, ARRAY, weight_grid(matrix))
    whole, layer = (priced(lighter, matrix, name) for name in ("geometry", "layer"))
    assert layer.energy_by_component["adc"] == pytest.approx(lighter.counts.adc_conversions * four)
    assert layer.area_by_component["adc"] == pytest.approx(16 * float(adc.area_m2(4, 32e-9)))
    assert layer.timing.product_s[0] == whole.timing.product_s[0]
    assert any("4 to 4 bits" in note for note in layer.notes)


def test_conversions_that_zero_inputs_skip_are_those_of_their_row_group() -> None:
    """Two row groups of one column each: 7 weights (5 bits) that are fed zeros alone, and 1 weight (4 bits)."""
    matrix = CrossbarMatrix("layer", (1, 16), 1, 10)
    kept = torch.zeros(1, 16, 1, dtype=torch.bool)
    kept[0, :7], kept[0, 8] = True, True
    placement = place(matrix, kept, ARRAY, weight_grid(matrix))
    fed = ActivityFactors(zero_share=np.array([[1.0, 0.0]]))
    model = load_cost_model("isaac32", "sar")
    found = replace(model, chip=Chip(adc_resolution="column", skip_zero_inputs=True)).report(
        [PlacedLayer(matrix, placement, fed)], ARRAY
    )
    made = placement.counts.adc_conversions / 2
    assert found.energy_by_component["adc"] == pytest.approx(made * float(model.adc.energy_j(4, 32e-9)))


def test_idle_converters_leak_by_the_resolution_that_is_built() -> None:
    matrix = CrossbarMatrix("layer", (4, 8), 1, 10)
    kept = torch.zeros(1, 8, 4, dtype=torch.bool)
    kept[0, 0, :3], kept[0, 1:, 3] = True, True
    placed = PlacedLayer(matrix, place(matrix, kept, ARRAY, weight_grid(matrix)), ActivityFactors())
    layer, column = (
        replace(load_cost_model(), chip=Chip(adc_resolution=name, adc_idle_share=0.2)).report([placed], ARRAY)
        for name in ("layer", "column")
    )
    assert column.energy_by_component["adc"] < layer.energy_by_component["adc"]
    assert column.leakage_w.tolist() == layer.leakage_w.tolist()


@pytest.mark.parametrize("emptied", [1, 2])
def test_a_layer_that_keeps_nothing_is_said_to_need_no_converter(emptied: int) -> None:
    """Beside a layer of 8 x 3 = 24, which takes 5 bits, or alone."""
    matrix = CrossbarMatrix("layer", (4, 8))
    empty = place(matrix, torch.zeros(1, 8, 4, dtype=torch.bool), ARRAY, weight_grid(matrix))
    places = [empty] * emptied + [place_dense(matrix, ARRAY)] * (2 - emptied)
    layers = [PlacedLayer(matrix, placement, ActivityFactors()) for placement in places]
    model = replace(load_cost_model(), chip=Chip(adc_resolution="layer"))
    notes = "; ".join(model.report(layers, ARRAY).notes)
    assert ("5 to 5 bits" in notes) == (emptied == 1)
    assert "0 to" not in notes
    assert "0 bits" not in notes


def test_narrower_converters_than_lossy_ones_are_refused() -> None:
    matrix, lossy = CrossbarMatrix("layer", (4, 8)), replace(ARRAY, adc_bits=4)
    model = replace(load_cost_model(), chip=Chip(adc_resolution="column"))
    with pytest.raises(HardwareError, match=r"adc_bits=4 loses; use geometry.adc_bits=null"):
        model.report([PlacedLayer(matrix, place_dense(matrix, lossy), ActivityFactors())], lossy)
    assert np.all(np.diff(occupancy_bits(ARRAY)) >= 0)
