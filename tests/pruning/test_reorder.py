"""The search for permutations: it never loses magnitude, finds what was planted, and repeats itself."""

import copy
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrize

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.network.account import account_of
from cimlab.network.computed import ComputedWeights
from cimlab.pruning.allocation import Budget
from cimlab.pruning.masks import PruningRule, make_masks
from cimlab.pruning.reorder import Lines, Reordered, exchange, reorder
from cimlab.pruning.saliencies.l1 import L1
from cimlab.pruning.saliencies.l2 import L2
from tests.crossbar.strategies import generator
from tests.pruning.cases import ALL, GRANULARITY_FILES, network_of

GEOMETRY = CrossbarGeometry(rows=32, active_rows=8)  # operation unit 8 x 2


def kept_by_hand(
    network: nn.Module, found: Reordered, rule: PruningRule, budget: Budget, power: int
) -> float:
    """Magnitude of the weights that pruning keeps, over all, weight by weight."""
    masks = make_masks(network, found.matrices, rule, budget, generator(0))
    kept = total = 0.0
    for name, mask in masks.items():
        weight = network.get_parameter(f"{name}.weight").detach().flatten().tolist()
        for value, stays in zip(weight, mask.flatten().tolist(), strict=True):
            total += abs(value) ** power
            kept += abs(value) ** power * stays
    return kept / total


@pytest.mark.parametrize("name", GRANULARITY_FILES)
@pytest.mark.parametrize("saliency", [L1(), L2()])
def test_what_pruning_keeps_never_falls_and_is_what_is_told(name: str, saliency: L1 | L2) -> None:
    views = [
        CrossbarMatrix("0", (20, 3, 3, 3)),
        CrossbarMatrix("1", (24, 20)),
        CrossbarMatrix("2", (6, 1, 3, 3), 6),
    ]
    network, rule, budget = network_of(views, 1), PruningRule(ALL[name], saliency, GEOMETRY), Budget(0.3)
    found = reorder(network, views, rule, budget, Lines(), seed=0)
    assert found.after >= found.before
    plain = replace_all(found, views)
    assert found.before == pytest.approx(
        kept_by_hand(network, plain, rule, budget, saliency.additive_power or 0)
    )
    assert found.after == pytest.approx(
        kept_by_hand(network, found, rule, budget, saliency.additive_power or 0)
    )
    if name in ("operation_unit", "column_segment", "row_segment"):
        assert found.after > found.before
    if name in ("weight", "kernel", "channel", "filter", "pattern"):
        assert found.matrices == views
    assert reorder(network, views, rule, budget, Lines(), seed=0) == found


def replace_all(found: Reordered, views: list[CrossbarMatrix]) -> Reordered:
    return replace(found, matrices=views)


@pytest.mark.parametrize("name", ["operation_unit", "column_segment", "row_segment"])
def test_most_of_what_was_scattered_is_gathered_again(name: str) -> None:
    """Whole units of large weights, a quarter of the matrix, their rows and columns shuffled."""
    view = CrossbarMatrix("0", (32, 64))
    grid = ALL[name].units(view, GEOMETRY)
    random = generator(3)
    units = grid.unit_rows * grid.unit_cols
    blocks = (torch.randperm(units, generator=random) < units // 4).view(1, grid.unit_rows, grid.unit_cols)
    planted = grid.spread(blocks).float() + 0.01 * torch.rand(1, 64, 32, generator=random)
    rows = torch.randperm(64, generator=random) if grid.unit_rows < 64 else torch.arange(64)
    columns = torch.randperm(32, generator=random) if grid.unit_cols < 32 else torch.arange(32)
    network = nn.Sequential(nn.Linear(64, 32))
    with torch.no_grad():
        network.get_parameter("0.weight").copy_(view.to_weight(planted[:, rows][:, :, columns]))
    rule, budget = PruningRule(ALL[name], L2(), GEOMETRY), Budget(0.25)
    found = reorder(network, [view], rule, budget, Lines(rounds=20), seed=0)
    assert found.before < 0.7
    assert found.after > 0.8


def test_only_the_lines_that_may_move_do() -> None:
    views = [CrossbarMatrix("0", (32, 64))]
    network, rule = network_of(views, 0), PruningRule(ALL["operation_unit"], L2(), GEOMETRY)
    for lines in (Lines(rows=False), Lines(columns=False)):
        (matrix,) = reorder(network, views, rule, Budget(0.2), lines, seed=0).matrices
        assert (matrix.row_permutation is not None) == lines.rows
        assert (matrix.column_permutation is not None) == lines.columns


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 12), st.integers(1, 4), st.integers(0, 2**31))
def test_exchanging_lines_loses_nothing_and_no_line(length: int, units: int, seed: int) -> None:
    random = generator(seed)
    worth = torch.rand(length, units, generator=random)
    unit_of = torch.arange(length) % units
    line = exchange(worth, unit_of, random)
    assert sorted(line.tolist()) == list(range(length))
    before = sum(float(worth[p, unit_of[p]]) for p in range(length))
    assert sum(float(worth[i, unit_of[p]]) for p, i in enumerate(line.tolist())) >= before - 1e-5


def test_lines_are_exchanged_for_what_the_product_takes_not_for_what_is_stored() -> None:
    """A gain per output, learned apart from the directions: the same network folded gets the same orders."""

    class Gain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.logspace(-2, 2, 32)[torch.randperm(32)][:, None])

        def forward(self, stored: torch.Tensor) -> torch.Tensor:
            return self.gain * stored

    torch.manual_seed(0)
    computed = nn.Sequential(nn.Linear(64, 32, bias=False))
    folded = copy.deepcopy(computed)
    gain = Gain()
    folded[0].weight.data = gain(folded[0].weight.data).detach()
    parametrize.register_parametrization(computed[0], "weight", gain)
    matrices, inputs = [CrossbarMatrix("0", (32, 64))], torch.randn(4, 64)
    rule, budget = PruningRule(ALL["operation_unit"], L2(), GEOMETRY), Budget(0.2)
    of_computed = replace(rule, computed=ComputedWeights(account_of(computed, inputs), inputs))
    plain = reorder(folded, matrices, rule, budget, Lines(), seed=0)
    assert plain.after > plain.before
    found = reorder(computed, matrices, of_computed, budget, Lines(), seed=0)
    assert (found.before, found.after) == (pytest.approx(plain.before), pytest.approx(plain.after))
