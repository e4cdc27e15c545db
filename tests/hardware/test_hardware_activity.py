"""What cells and inputs hold: exact from quantised weights, measured on images, and felt by the read energy alone."""

import pytest
import torch

from cimlab.config.hardware import load_cost_model
from cimlab.crossbar.activity import Activity, IntegerHistogram, LayerActivity
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.placement import place_dense
from cimlab.hardware.actions import PlacedLayer
from cimlab.hardware.activity import ActivityFactors, activity_factors
from cimlab.hardware.errors import HardwareError


def test_offset_encoding_stores_a_bias_where_a_weight_is_pruned() -> None:
    held = LayerActivity(IntegerHistogram.of(torch.tensor([127])))
    activity = Activity(8, 8, {"a": held})
    offset = CrossbarGeometry(signed_encoding="offset", columns_per_adc=8)
    (own,), (dense,) = (found.values() for found in activity_factors(activity, ["a"], offset))
    assert own.weights == "measured"
    assert own.zero_level == pytest.approx(2 / 3 / 4)  # 128 = 10 00 00 00 in 2-bit cells
    assert own.kept_level == pytest.approx(1.0)  # 255
    assert (dense.weights, dense.kept_level) == ("assumed", 0.5)
    assert activity_factors(activity, ["a"], CrossbarGeometry())[0]["a"].zero_level == 0


def test_what_was_not_measured_stays_assumed() -> None:
    fed = LayerActivity(inputs=IntegerHistogram.of(torch.tensor([0, 255, 0, 0])))
    own, _ = activity_factors(Activity(8, 8, {"a": fed}, input_density=0.3), ["a", "b"], CrossbarGeometry())
    assert (own["a"].input_density, own["a"].inputs, own["a"].weights) == (0.25, "measured", "assumed")
    assert (own["b"].input_density, own["b"].inputs) == (0.3, "assumed")


@pytest.mark.parametrize("technology", ["isaac32", "neurosim22_rram"])
def test_read_energy_follows_inputs_and_cells_and_nothing_else_does_but_the_wordline(technology: str) -> None:
    geometry, matrix = CrossbarGeometry(), CrossbarMatrix("layer", (16, 128))
    model = load_cost_model(technology)
    energy = [
        model.report([PlacedLayer(matrix, place_dense(matrix, geometry), a)], geometry).energy_by_component
        for a in (ActivityFactors(0.5, 0.5), ActivityFactors(0.25, 0.5), ActivityFactors(0.5, 0.1))
    ]
    assert energy[1]["cells"] == pytest.approx(energy[0]["cells"] / 2)
    assert energy[2]["cells"] < energy[0]["cells"]
    for name in set(energy[0]) - {"cells", "wordline_driver"}:
        assert energy[0][name] == energy[1][name] == energy[2][name]


def test_the_published_read_energy_is_met_at_its_own_reference() -> None:
    """Half the input bits 1 and cells at half scale on average: 30 pJ per 128 x 128 array and cycle."""
    geometry = CrossbarGeometry(signed_encoding="offset", input_bits=1)
    matrix = CrossbarMatrix("array", (geometry.logical_cols, 128))
    layer = PlacedLayer(matrix, place_dense(matrix, geometry), ActivityFactors(0.5, 0.5))
    assert load_cost_model().report([layer], geometry).energy_by_component["cells"] == pytest.approx(
        30e-12, rel=1e-4
    )


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_a_density_outside_0_to_1_is_refused(value: float) -> None:
    with pytest.raises(HardwareError, match="activity input_density"):
        ActivityFactors(input_density=value)
