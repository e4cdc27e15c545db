"""Where more weights stay than were asked, it is said, with the layer and the mend."""

import warnings
from dataclasses import replace

import pytest
import torch
from torch import nn

from cimlab.choices import choices
from cimlab.config.components import Component
from cimlab.config.hardware import load_cost_model, shipped
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.placement import place_network
from cimlab.hardware.attribution import step_energy
from cimlab.lab import Lab
from cimlab.network.errors import NetworkError
from cimlab.pruning.allocation import AllocationRule, Budget, BudgetCost
from cimlab.pruning.beyond import emptied, kept_beyond
from cimlab.pruning.granularities.filter import Filter
from cimlab.pruning.granularities.operation_unit import OperationUnit
from cimlab.pruning.granularities.row_segment import RowSegment
from cimlab.pruning.masks import PruningRule, make_masks
from cimlab.pruning.saliencies.l2 import L2
from tests.pruning.cases import network_of

RULE = PruningRule(OperationUnit(), L2(), CrossbarGeometry())
GEOMETRY = CrossbarGeometry(rows=16, cols=32, active_rows=4, columns_per_adc=2)
EVERYWHERE = ("prune.exempt_first=false", "prune.exempt_last=false")


def test_a_narrow_layer_that_keeps_two_thirds_is_named_with_its_share() -> None:
    masks = {"wide": torch.zeros(1, 100, dtype=torch.bool), "narrow": torch.ones(1, 3, dtype=torch.bool)}
    masks["wide"][0, :2] = True
    masks["narrow"][0, 0] = False
    line = kept_beyond(masks, Budget(0.03), [], RULE)
    assert line is not None
    assert line.startswith("3.88 % of the prunable weights are kept, not 3 %")  # 4 of 103
    assert "66.7 % of layer narrow" in line


@pytest.mark.parametrize("allocation", ["uniform", "global"])
def test_shares_that_are_too_small_for_one_more_unit_are_told_with_what_comes_nearer(
    allocation: AllocationRule,
) -> None:
    """Of ten filters, every layer may keep 19 %: one each."""
    matrices = [CrossbarMatrix(name, (10, 16)) for name in "01"]
    rule, budget = replace(RULE, granularity=Filter()), Budget(0.19, allocation)
    masks = make_masks(network_of(matrices, 0), matrices, rule, budget, torch.Generator())
    told = kept_beyond(masks, budget, matrices, rule)
    kept = {"uniform": 10, "global": 15}[allocation]  # two and three of 20
    assert told is not None
    assert told.startswith(f"{kept} % of the prunable weights are kept, not 19 %: units stay whole")
    assert ("so does prune.allocation=global" in told) == (allocation == "uniform")


def test_a_budget_that_is_kept_says_nothing() -> None:
    assert kept_beyond({"0": torch.arange(100).view(10, 10) < 5}, Budget(0.05), [], RULE) is None


@pytest.mark.parametrize("cost", ["steps", "energy"])
@pytest.mark.parametrize("name", choices("granularity"))
def test_a_budget_in_steps_is_met_or_told_with_the_share_that_the_arrays_take(
    name: str, cost: BudgetCost
) -> None:
    """Of every granularity; whole operation units meet it within one unit."""
    torch.manual_seed(0)
    network = nn.ModuleDict({layer: nn.Conv2d(8, 24, 3, bias=False) for layer in "ab"})
    matrices = [CrossbarMatrix("a", (24, 8, 3, 3), 1, 9), CrossbarMatrix("b", (24, 8, 3, 3), 1, 2)]
    granularity = Component("granularity", shipped("granularity", name), []).build()
    rule = PruningRule(granularity, L2(), GEOMETRY, step_energy(load_cost_model(), GEOMETRY))
    share = 0.6 if name == "balanced_segment" else 0.3  # it keeps one of the two columns of every ADC
    budget = Budget(share, layer_floor=0.0 if name == "operation_unit" else 0.01, cost=cost)
    masks = make_masks(network, matrices, rule, budget, torch.Generator())
    placed = place_network(matrices, masks, GEOMETRY, granularity.index)
    weights = {m.name: 1.0 if cost == "steps" else rule.joules_per_step(m) for m in matrices}
    left, whole, largest = (
        sum(weights[n] * p.counts.steps for n, p in placed.layers.items()),
        sum(weights[n] * p.counts.steps for n, p in placed.dense.items()),
        max(weights[m.name] * GEOMETRY.input_cycles * m.products for m in matrices),
    )
    told = kept_beyond(masks, budget, matrices, rule)
    if not 0.95 * share * whole <= left <= 1.05 * share * whole:
        assert told is not None
        assert told.startswith(f"{100 * left / whole:.3g} % of the prunable")
        assert f"kept, not {100 * share:g} %" in told
        assert ("by their energy in the dense network" in told) == (cost == "energy")
    else:
        assert told is None
    if name == "operation_unit":
        assert share * whole - largest <= left <= share * whole + 1e-9 * whole


def test_gathered_rows_share_no_step() -> None:
    """Every other row segment of one layer: half of the steps where rows are gathered, all of them where not."""
    matrix = CrossbarMatrix("fc", (GEOMETRY.operation_unit[1], 8 * GEOMETRY.active_rows))
    masks = {"fc": (torch.arange(matrix.rows) % 2 == 0).expand(matrix.weight_shape)}
    budget = Budget(0.5, cost="steps")
    rule = PruningRule(RowSegment(), L2(), GEOMETRY)
    told = kept_beyond(masks, budget, [matrix], rule)
    assert told is not None
    assert told.startswith("100 % of the prunable array steps are kept, not 50 %")
    assert "mapping.placement=gathered fills up those that share rows" in told
    assert kept_beyond(masks, budget, [matrix], replace(rule, placement="gathered")) is None


def test_a_lab_warns_where_units_are_too_coarse_and_only_there() -> None:
    torch.manual_seed(0)
    network, images = (
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 5)),
        torch.rand(2, 3, 4, 4),
    )
    with pytest.warns(UserWarning, match="of the prunable weights are kept, not 3 %"):
        Lab("granularity=filter", "prune.remaining=0.03", *EVERYWHERE).prune(network, images)
    with warnings.catch_warnings(action="error"):
        Lab("granularity=weight", "prune.remaining=0.5", *EVERYWHERE).prune(network, images)


def test_a_pattern_of_digital_layers_that_matches_none_is_refused() -> None:
    network, images = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Linear(8, 5)), torch.rand(2, 1, 4, 4)
    with pytest.raises(NetworkError, match="no layer or weight is called so; there are 1, 2"):
        Lab("analog.digital=[head]").on_arrays(network, {}, images)
    assert Lab("analog.digital=['2']").on_arrays(network, {}, images)(images).shape == (2, 5)


def test_layers_at_the_floor_are_named_where_one_threshold_left_them_there() -> None:
    half, bare = torch.arange(200).view(10, 20) < 100, torch.arange(200).view(10, 20) < 2
    masks = {"a": half, "grouped.1": bare, "grouped.2": bare}
    told = emptied(masks, Budget(0.2))
    assert told is not None
    assert told.startswith(
        "2 of 3 prunable layers keep no more than prune.layer_floor=0.01 of their weights (grouped.1, "
    )
    assert emptied(masks, Budget(0.2, "uniform")) is None
    assert emptied({"a": half}, Budget(0.2)) is None
    assert (
        emptied(masks, Budget(0.2, layer_floor=0.0)) is None
    )  # nobody asked for protection, and they keep some
