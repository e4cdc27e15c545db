"""Gathered rows in prices: what a chip can't do is refused, what is assumed is told, the rest follows the counts."""

from dataclasses import replace

import pytest
import torch

from cimlab.config.errors import ConfigError
from cimlab.config.hardware import load_accelerator, load_chip, load_cost_model, refuse_unpriceable
from cimlab.crossbar.activity import Activity
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.rules import PlacementMode
from cimlab.hardware.chip import Chip
from cimlab.hardware.errors import HardwareError
from cimlab.hardware.price import NetworkShape, PrunedNetwork, price
from cimlab.hardware.report import CostComparison
from cimlab.pruning.granularities.row_segment import RowSegment

GEOMETRY = CrossbarGeometry()
MATRIX = CrossbarMatrix("fc", (16, 128), products=4)
EVERY_OTHER_ROW = {"fc": (torch.arange(128) % 2 == 0).expand(16, 128)}


def priced(placement: PlacementMode, chip: Chip | None = None, **geometry) -> CostComparison:
    shape = NetworkShape((MATRIX,), RowSegment().index, placement)
    accelerator = load_accelerator(replace(GEOMETRY, **geometry))
    chosen = accelerator if chip is None else replace(accelerator, chip=chip)
    return price(PrunedNetwork(shape, EVERY_OTHER_ROW), Activity(), chosen)


def test_half_of_the_row_segments_are_half_of_the_steps_conversions_and_time_where_rows_are_gathered() -> (
    None
):
    roomy = Chip(area_over_dense=2.5)  # two copies, and pruning support beside them
    compacted, gathered = (priced(mode, roomy).ratios() for mode in ("compacted", "gathered"))
    assert compacted["steps"] == 1
    assert (gathered["steps"], gathered["images_per_s"]) == (0.5, 2.0)
    adc = [priced(mode).pruned.energy_by_component["adc"] for mode in ("compacted", "gathered")]
    assert adc[1] == pytest.approx(adc[0] / 2)


@pytest.mark.parametrize("columns", [1, 8, 16])
def test_the_index_is_that_of_the_compacted_layer(columns: int) -> None:
    both = [
        PrunedNetwork(NetworkShape((MATRIX,), RowSegment().index, mode), EVERY_OTHER_ROW)
        .placed(replace(GEOMETRY, columns_per_adc=columns))
        .total.index_bits
        for mode in ("compacted", "gathered")
    ]
    assert both[0] == both[1] > 0


@pytest.mark.parametrize(
    ("chip", "mend"),
    [
        (Chip(readout="held"), "use chip.readout=per_step, or mapping.placement=compacted"),
        (Chip(skip_zero_inputs=True), "use chip.skip_zero_inputs=false, or mapping.placement=compacted"),
        (load_chip("neurosim"), "use chip.floor_plan=null, or mapping.placement=compacted"),
    ],
)
def test_a_chip_that_goes_by_row_groups_is_refused_with_the_mend(chip: Chip, mend: str) -> None:
    with pytest.raises(HardwareError, match=mend):
        chip.refuse_to_gather()
    if chip.floor_plan is None:  # a technology without wires by length refuses it first
        with pytest.raises(HardwareError, match=mend):
            priced("gathered", chip)
        priced("compacted", chip)


def test_it_is_refused_before_anything_is_trained() -> None:
    model = load_cost_model()
    refuse_unpriceable(model, GEOMETRY, "gathered")
    with pytest.raises(ConfigError, match="mux_control=lockstep"):
        refuse_unpriceable(model, replace(GEOMETRY, mux_control="independent"), "gathered")
    with pytest.raises(ConfigError, match="readout=per_step"):
        refuse_unpriceable(replace(model, chip=Chip(readout="held")), GEOMETRY, "gathered")


def test_which_sums_converters_see_is_told() -> None:
    notes = priced("gathered").pruned.notes
    (told,) = [note for note in notes if "mapping.placement=gathered" in note]
    assert told.startswith("steps of 1 of 1 layers drive rows gathered from several row groups")
    assert not [note for note in priced("compacted").pruned.notes if "gathered" in note]
