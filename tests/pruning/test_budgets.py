"""Budgets in array steps and in energy: what was asked for is what the arrays take."""

import pytest
import torch
from torch import nn

from cimlab.config.hardware import load_cost_model
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.placement import place_network
from cimlab.hardware.attribution import step_energy
from cimlab.pruning.allocation import Budget, PruningError
from cimlab.pruning.granularities.operation_unit import OperationUnit
from cimlab.pruning.masks import PruningRule, make_masks
from cimlab.pruning.saliencies.l2 import L2


@pytest.fixture(scope="module")
def two_layers() -> tuple[nn.Module, list[CrossbarMatrix], PruningRule]:
    """Equal layers of whole operation units, of which the first does nine times the products."""
    torch.manual_seed(0)
    network = nn.ModuleDict({name: nn.Linear(128, 64, bias=False) for name in "ab"})
    matrices = [CrossbarMatrix("a", (64, 128), 1, 9), CrossbarMatrix("b", (64, 128), 1, 1)]
    geometry = CrossbarGeometry()
    return (
        network,
        matrices,
        PruningRule(OperationUnit(), L2(), geometry, step_energy(load_cost_model(), geometry)),
    )


@pytest.mark.parametrize("cost", ["steps", "energy"])
@pytest.mark.parametrize("rule", ["global", "uniform"])
@pytest.mark.parametrize("remaining", [0.1, 0.5])
def test_a_budget_is_of_what_it_names(two_layers, cost, rule, remaining) -> None:
    """Whole operation units answer for whole steps, so what was asked for is what the arrays then take."""
    network, matrices, pruning = two_layers
    masks = make_masks(network, matrices, pruning, Budget(remaining, rule, cost=cost), torch.Generator())
    placed = place_network(matrices, masks, pruning.geometry, OperationUnit().index)
    left = placed.total.steps / placed.dense_total.steps
    if cost == "energy":
        compared = load_cost_model().compare(matrices, placed, pruning.geometry)
        pruned, dense = (r.dynamic_j.sum() for r in (compared.pruned, compared.dense))
        support = compared.pruned.support_energy_j
        left = (pruned - support) / dense
    assert remaining - 0.02 < left < remaining + 0.02


def test_under_a_budget_of_steps_the_layer_of_many_products_gives_up_more(two_layers) -> None:
    network, matrices, pruning = two_layers
    kept = {
        cost: make_masks(network, matrices, pruning, Budget(0.3, cost=cost), torch.Generator())
        for cost in ("weights", "steps")
    }
    shares = {cost: float(masks["a"].float().mean()) for cost, masks in kept.items()}
    assert shares["steps"] < 0.8 * shares["weights"]
    assert float(kept["steps"]["b"].float().mean()) > float(kept["weights"]["b"].float().mean())


def test_a_budget_below_the_floors_is_refused_in_one_line(two_layers) -> None:
    network, matrices, pruning = two_layers
    with pytest.raises(
        PruningError, match=r"remaining=0.01 of the steps is below .* use prune.remaining of 0\.\d+"
    ):
        make_masks(network, matrices, pruning, Budget(0.01, layer_floor=0.2, cost="steps"), torch.Generator())
