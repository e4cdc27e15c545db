"""ADMM against its equations, one weight at a time, and what it is for: units that end up near zero."""

import pytest
import torch
from torch import nn

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.pruning.admm import Admm
from cimlab.pruning.allocation import Budget
from cimlab.pruning.masks import PruningRule
from cimlab.pruning.saliencies.random import Random
from tests.pruning.cases import ALL, network_of

VIEWS = [CrossbarMatrix("0", (8, 16)), CrossbarMatrix("1", (4, 3, 3, 3))]
RULE = PruningRule(ALL["column_segment"], Random(), CrossbarGeometry(rows=16, active_rows=4))


def weights(network: nn.Module) -> dict[str, torch.Tensor]:
    return {view.name: network.get_parameter(f"{view.name}.weight") for view in VIEWS}


def projected(values: dict[str, torch.Tensor], remaining: float) -> dict[str, torch.Tensor]:
    """The units of highest mean square over all layers, until the next would exceed the budget, in plain Python."""
    units = []
    for view in VIEWS:
        matrix, grid = view.to_matrix(values[view.name])[0], RULE.granularity.units(view, RULE.geometry)
        for u in range(grid.unit_rows):
            for v in range(grid.unit_cols):
                rows, cols = (grid.row_of == u).nonzero().flatten(), (grid.col_of == v).nonzero().flatten()
                unit = matrix[rows][:, cols]
                units.append((float(unit.square().mean()), unit.numel(), view.name, rows, cols))
    left = int(remaining * sum(v.weights for v in VIEWS))
    masks = {view.name: torch.zeros(view.rows, view.cols) for view in VIEWS}
    for _, size, name, rows, cols in sorted(units, key=lambda unit: -unit[0]):
        if size > left:
            break
        left -= size
        masks[name][rows[:, None], cols] = 1
    return {v.name: values[v.name] * v.to_weight(masks[v.name][None]) for v in VIEWS}


def test_targets_duals_and_gradients_follow_the_equations() -> None:
    network = network_of(VIEWS, 0)
    admm = Admm(VIEWS, RULE, Budget(0.4, layer_floor=0.0))
    own = weights(network)
    duals = {name: torch.zeros_like(weight) for name, weight in own.items()}
    last_rho = None
    for rho in (0.1, 0.1, 0.3):
        before = {name: weight.detach().clone() for name, weight in own.items()}
        admm.update(network, rho)
        targets = projected({n: w + duals[n] for n, w in before.items()}, 0.4)
        factor = 1.0 if last_rho is None else last_rho / rho
        duals = {n: (duals[n] + before[n] - targets[n]) * factor for n in own}
        for name, weight in own.items():
            assert torch.equal(weight, before[name])  # the projection leaves the network alone
            torch.testing.assert_close(admm.targets[name], targets[name])
            torch.testing.assert_close(admm.duals[name], duals[name])
            weight.grad = torch.ones_like(weight)
        admm.pull(network)
        for name, weight in own.items():
            assert weight.grad is not None
            torch.testing.assert_close(weight.grad, 1 + rho * (before[name] - targets[name] + duals[name]))
            with torch.no_grad():
                weight.sub_(0.1 * weight.grad)
        last_rho = rho
    admm.release()
    for weight in own.values():
        weight.grad = torch.ones_like(weight)
    admm.pull(network)
    assert all(bool((weight.grad == 1).all()) for weight in own.values() if weight.grad is not None)


def test_the_pull_empties_what_will_be_pruned() -> None:
    network = network_of(VIEWS, 0)
    budget = Budget(0.4, layer_floor=0.0)
    admm, own = Admm(VIEWS, RULE, budget), weights(network)

    def share_lost() -> float:
        values = {n: w.detach() for n, w in own.items()}
        kept = projected(values, 0.4)
        return float(
            sum((values[n] - kept[n]).square().sum() for n in own)
            / sum(w.square().sum() for w in values.values())
        )

    start = share_lost()
    for _ in range(10):
        admm.update(network, 0.5)
        for _ in range(20):
            for weight in own.values():
                weight.grad = torch.zeros_like(weight)
            admm.pull(network)
            with torch.no_grad():
                for weight in own.values():
                    assert weight.grad is not None
                    weight.sub_(0.2 * weight.grad)
    assert start > 0.1
    assert share_lost() == pytest.approx(0, abs=1e-3)


def test_the_parts_of_a_packed_projection_are_pulled_too() -> None:
    """Rows of a parameter have no gradient of their own."""
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(16, num_heads=2)
    matrices = [CrossbarMatrix(f"in_proj_weight.{part}", (16, 16)) for part in "qkv"]
    attention.in_proj_weight.grad = torch.zeros(48, 16)
    admm = Admm(matrices, RULE, Budget(remaining=0.3))
    admm.update(attention, rho=0.5)
    admm.pull(attention)
    for number, matrix in enumerate(matrices):
        rows = slice(16 * number, 16 * number + 16)
        weight, target = attention.in_proj_weight[rows], admm.targets[matrix.name]
        expected = 0.5 * (weight - target + admm.duals[matrix.name])
        assert torch.allclose(attention.in_proj_weight.grad[rows], expected)
        assert expected.any()
