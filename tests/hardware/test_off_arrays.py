"""What is multiplied off the arrays: its price by hand, in every total, dense and pruned alike."""

import numpy as np
import pytest
import torch
from torch import nn

from cimlab.choices import choices
from cimlab.config.hardware import load_cost_model, load_technology
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.placement import NetworkPlacement, place_network
from cimlab.crossbar.units import UnitGrid
from cimlab.hardware.cost import placed_layers
from cimlab.hardware.equal_area import over_area
from cimlab.hardware.report import CostComparison
from cimlab.lab import Lab
from cimlab.network.off_arrays import NOTHING, DigitalProduct, OffArrays

BESIDE = OffArrays(
    digital=(DigitalProduct("first", 5000, 50, "left digital by analog.digital"),),
    dynamic=(DigitalProduct("attention", 3000),),
)
GEOMETRY = CrossbarGeometry()
MATRIX = CrossbarMatrix("layer", (32, 256), 1, 9)


def one_unit(matrix: CrossbarMatrix, geometry: CrossbarGeometry) -> UnitGrid:
    return UnitGrid(torch.arange(matrix.rows) // geometry.active_rows, torch.arange(matrix.cols) // 2)


def placed(digital: int) -> NetworkPlacement:
    mask = torch.zeros(32, 256, dtype=torch.bool)
    mask[:2, :16] = True  # one operation unit
    return place_network([MATRIX], {"layer": mask}, GEOMETRY, one_unit, "in_place", digital)


def compared(beside: OffArrays, technology: str = "isaac32") -> CostComparison:
    model = load_cost_model(technology)
    return model.compare([MATRIX], placed(beside.weights), GEOMETRY, off_arrays=beside)


@pytest.mark.parametrize("technology", choices("technology"))
def test_digital_products_are_in_every_total(technology: str) -> None:
    """8,000 multiply-accumulates at the technology's price, on top of what the arrays take."""
    joules = 8000 * load_technology(technology).digital_mac_j.value
    without, with_it = compared(NOTHING, technology), compared(BESIDE, technology)
    for before, after in ((without.pruned, with_it.pruned), (without.dense, with_it.dense)):
        for total in ("energy_j", "dynamic_j", "lone_energy_j"):
            assert after.totals()[total] == pytest.approx(before.totals()[total] + joules, rel=1e-12)
        assert after.total_energy_j == pytest.approx(sum(after.energy_by_component.values()), rel=1e-12)
        rows = after.layer_rows() + after.off_arrays_rows()
        assert after.total_energy_j == pytest.approx(sum(row["energy_j"] for row in rows), rel=1e-12)
        assert after.raw_ops_per_s == pytest.approx(
            before.raw_ops_per_s + 16000 * after.timing.images_per_s, rel=1e-12
        )
        same = ("area_m2", "leakage_w", "images_per_s", "latency_s", "arrays")
        assert all(after.totals()[name] == before.totals()[name] for name in same)
    assert with_it.ratios()["energy_j"] > without.ratios()["energy_j"]  # what can't be pruned is in both


def test_the_price_is_horowitzs_at_the_technologys_node() -> None:
    """0.2 pJ for 8-bit factors and 0.1 pJ for a 32-bit sum at 45 nm; to 32 nm by the energy polynomials of Stillmaker
    and Baas at 0.9 V, and from there to 22 nm by the step that the other figures of that file take."""
    old = np.polyval([1.018, -0.3107, 0.1539], 0.9)
    new = np.polyval([0.8367, -0.4341, 0.1701], 0.9)
    at_32 = load_technology("isaac32").digital_mac_j
    assert at_32.value == pytest.approx(0.3e-12 * new / old, rel=1e-3)
    assert "Horowitz" in at_32.source
    assert "Stillmaker" in at_32.source
    at_22 = load_technology("neurosim22_rram").digital_mac_j
    assert at_22.value == pytest.approx(at_32.value * 17.1 / 32.5, rel=1e-3)


def test_compression_is_over_all_weights_that_are_multiplied() -> None:
    """8,192 weights on arrays of which 32 stay, and 50 digital ones."""
    weights = compared(BESIDE).summary()["weight_counts"]
    assert weights == {
        "total": 8242, "on_arrays": 8192, "digital": 50, "left": 82, "remaining_all": 82 / 8242,
        "compression": 8242 / 82,
    }  # fmt: skip
    assert placed(50).weights == weights
    assert placed(0).weights["compression"] == 256


def test_prices_over_the_area_hold_digital_products_too() -> None:
    model, layers = load_cost_model(), placed_layers([MATRIX], placed(0))
    without, with_it = (over_area(model, *layers, GEOMETRY, beside) for beside in (NOTHING, BESIDE))
    joules = 8000 * model.technology.digital_mac_j.value
    before, after = without[-1]["energy_j"], with_it[-1]["energy_j"]
    assert before is not None
    assert after == pytest.approx(before + joules, rel=1e-12)


def test_what_is_assumed_of_digital_units_is_said_where_there_are_any() -> None:
    notes = compared(BESIDE).pruned.notes
    assert "50 digital weights, 5,000 multiply-accumulates: first (left digital by analog.digital)" in notes
    assert any("0.196 pJ" in note and "Horowitz" in note and "not counted" in note for note in notes)
    rate = 8000 * compared(BESIDE).pruned.timing.images_per_s
    assert any(f"{1e-9 * rate:.3g} G multiply-accumulates per second" in note for note in notes)
    assert not any("digital" in note or "45 nm" in note for note in compared(NOTHING).pruned.notes)


class Attends(nn.Module):
    """9 tokens of 8: scores and sums of one head."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        mixed = nn.functional.scaled_dot_product_attention(tokens, tokens, tokens)
        return self.head(mixed.mean(1))


def test_a_lab_prices_attention_and_a_layer_that_is_left_digital() -> None:
    """Attention: 9 x 9 x 8 for the scores, as many for the sums; `patches`: 9 products of 8 x 48 weights."""
    network, images = Attends().eval(), torch.rand(2, 3, 12, 12)
    words = ("prune.exempt_first=false", "prune.exempt_last=false", "prune.remaining=0.5")
    lab = Lab(*words, "analog.digital=[patches]")
    masks = lab.prune(network, images)
    assert list(masks) == ["head"]
    cost = lab.cost(network, masks, images)
    rows = {
        row["name"]: (row["component"], row["macs"], row["weights"]) for row in cost.pruned.off_arrays_rows()
    }
    assert rows == {
        "patches": ("digital_weights", 3456, 384),
        "the network": ("activation_products", 1296, 0),
    }
    mac = lab.cost_model.technology.digital_mac_j.value
    assert cost.pruned.energy_by_component["digital_weights"] == pytest.approx(3456 * mac)
    assert cost.dense.energy_by_component["activation_products"] == pytest.approx(1296 * mac)
    left = int(masks["head"].sum())
    assert cost.weights()["compression"] == (384 + 40) / (384 + left)
    assert lab.place(network, masks, images).weights == cost.weights()
    assert cost.summary()["sample"] == "image"
