"""Masks reach the budget, never give back what was pruned, and hold through every optimiser step."""

import copy
from collections.abc import Callable
from itertools import pairwise
from math import floor
from typing import get_args

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.network.masks import MaskError
from cimlab.pruning.allocation import AllocationRule, Budget, PruningError, erk_densities
from cimlab.pruning.granularities.pattern import Pattern
from cimlab.pruning.masks import (
    MaskHolder,
    Masks,
    PruningRule,
    layer_weight,
    make_masks,
    weights_left,
)
from cimlab.pruning.saliencies.l1 import L1
from cimlab.pruning.saliencies.l2 import L2
from cimlab.pruning.saliencies.random import Random
from cimlab.pruning.saliencies.taylor import Taylor
from tests.crossbar import reference
from tests.crossbar.strategies import generator
from tests.pruning.cases import ALL, GRANULARITY_FILES, fitting_geometries, layer_lists, network_of

RULES = list(get_args(AllocationRule))


def decisions(network: nn.Module, view: CrossbarMatrix, rule: PruningRule) -> list[int]:
    """Weights of everything that the allocation decides as one: units, or tiers of units that share their fate."""
    grid = rule.granularity.units(view, rule.geometry)
    values = view.to_matrix(layer_weight(network, view.name).detach())
    scores = rule.saliency.unit_scores(values, None, grid, generator(0))
    sizes = grid.sizes().expand_as(scores).flatten()
    tiers = rule.granularity.tiers(scores, view, rule.geometry)
    return (sizes if tiers is None else torch.bincount(tiers.flatten(), sizes.double()).long()).tolist()


@pytest.mark.parametrize("allocation", RULES)
@pytest.mark.parametrize("name", GRANULARITY_FILES)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_the_budget_is_reached_within_one_unit(
    name: str, allocation: AllocationRule, data: st.DataObject
) -> None:
    """Never one unit or more below the budget; above it only by what the layer floor protects.

    The floor protects, in each layer, at most `layer_floor` of its weights or its best unit, whichever is more.
    A unit is what is decided as one: for balanced segments and patterns a tier, one more kept of every group.
    """
    rule = PruningRule(ALL[name], L1(), data.draw(fitting_geometries(ALL[name])))
    views, remaining = data.draw(layer_lists()), data.draw(st.floats(0.02, 1))
    layer_floor = data.draw(st.sampled_from([0.0, 0.01, 0.2]))
    layer_remaining = {"0": 0.5} if allocation == "per_layer" else {}
    budget = Budget(remaining, allocation, layer_floor, layer_remaining)
    network = network_of(views, data.draw(st.integers(0, 2**31)))
    units = [decisions(network, view, rule) for view in views]
    try:
        masks = make_masks(network, views, rule, budget, generator(0))
    except PruningError:
        assert layer_floor == 0  # the floor keeps every layer connected
        return
    kept = [int(masks[view.name].sum()) for view in views]
    assert min(kept) > 0
    protected = [
        max(floor(layer_floor * v.weights + 1e-9), max(u)) if layer_floor else 0
        for v, u in zip(views, units, strict=True)
    ]
    if allocation in ("global", "steps"):
        target = floor(remaining * sum(v.weights for v in views) + 1e-9)
        assert target - max(map(max, units)) < sum(kept) <= max(target, sum(protected))
        return
    densities = {
        "uniform": [remaining] * len(views),
        "erk": erk_densities([v.weight_shape for v in views], remaining),
        "per_layer": [0.5, *[remaining] * (len(views) - 1)],
    }[allocation]
    for view, unit, left, density, safe in zip(views, units, kept, densities, protected, strict=True):
        target = floor(density * view.weights + 1e-9)
        assert target - max(unit) < left <= max(target, safe)


@pytest.mark.parametrize("name", GRANULARITY_FILES)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_masks_are_whole_units_and_what_was_pruned_stays_pruned(name: str, data: st.DataObject) -> None:
    """Three events; in between every weight, the pruned ones too, moves at random."""
    chosen = ALL[name]
    rule = PruningRule(
        chosen, data.draw(st.sampled_from([L1(), L2(), Random()])), data.draw(fitting_geometries(chosen))
    )
    views, seed = data.draw(layer_lists()), data.draw(st.integers(0, 2**31))
    allocation: AllocationRule = data.draw(st.sampled_from(["global", "uniform", "erk"]))
    history: list[Masks] = []
    for event, remaining in enumerate((0.7, 0.4, 0.15)):
        network = network_of(views, seed + event)
        before = history[-1] if history else None
        masks = make_masks(network, views, rule, Budget(remaining, allocation), generator(event), before)
        for view in views:
            assert masks[view.name].shape == view.weight_shape
            assert masks[view.name].dtype == torch.bool
            matrix, grid = view.to_matrix(masks[view.name]), chosen.units(view, rule.geometry)
            units = grid.reduce(matrix.long())
            assert torch.all((units == 0) | (units == grid.sizes()))
            assert before is None or not torch.any(masks[view.name] & ~before[view.name])
        history.append(masks)
    assert [weights_left(m) for m in history] == sorted(map(weights_left, history), reverse=True)


@pytest.mark.parametrize("saliency", [L1(), L2()])
def test_hardware_aware_masks_keep_the_most_saliency_per_step(saliency: L1 | L2) -> None:
    """Two equal layers, one with four times the products: there, a unit has to be worth four times as much."""
    views = [CrossbarMatrix("0", (16, 32), products=4), CrossbarMatrix("1", (16, 32))]
    network, geometry = network_of(views, 0), CrossbarGeometry(rows=32, active_rows=8)
    rule = PruningRule(ALL["operation_unit"], saliency, geometry)
    masks = make_masks(network, views, rule, Budget(0.6, "steps", layer_floor=0.0), generator(0))
    value = {}
    for view in views:
        values = view.to_matrix(layer_weight(network, view.name).detach())
        grid = rule.granularity.units(view, geometry)
        kept = grid.reduce(view.to_matrix(masks[view.name]).long())
        worth = grid.reduce(values.abs() if isinstance(saliency, L1) else values.square()) / view.products
        value[view.name] = worth[kept > 0], worth[kept == 0]
    kept, pruned = (torch.cat([value[name][i] for name in "01"]) for i in (0, 1))
    assert len(kept) == int(0.6 * (len(kept) + len(pruned)))
    assert kept.min() >= pruned.max()
    assert int(masks["0"].sum()) < int(masks["1"].sum())


@pytest.mark.parametrize(("saliency", "whole"), [(L1(), "1"), (L2(), "0")])
def test_units_that_share_their_fate_are_ranked_by_what_adds_up(saliency: L1 | L2, whole: str) -> None:
    """Of pairs, one layer may keep both: 4 and 0.1 have the larger sum of squares, 2.5 and 2.5 the larger sum."""
    views = [CrossbarMatrix("0", (1, 4)), CrossbarMatrix("1", (1, 4))]
    network = network_of(views, 0)
    for name, second in (("0", (4.0, 0.1)), ("1", (2.5, -2.5))):
        network.get_parameter(f"{name}.weight").data = torch.tensor([[9.0, second[0], -9.0, second[1]]])
    rule = PruningRule(Pattern(m=2), saliency, CrossbarGeometry())
    masks = make_masks(network, views, rule, Budget(0.75), generator(0))
    assert {name: int(mask.sum()) for name, mask in masks.items()} == {whole: 4, str(1 - int(whole)): 2}


@pytest.mark.parametrize("name", GRANULARITY_FILES)
def test_a_larger_budget_gives_nothing_back(name: str) -> None:
    views = [CrossbarMatrix("0", (32, 64))]
    network, rule = network_of(views, 0), PruningRule(ALL[name], L1(), CrossbarGeometry(rows=16))
    before = make_masks(network, views, rule, Budget(0.3), generator(0))
    after = make_masks(network, views, rule, Budget(0.9), generator(0), before)
    assert torch.equal(after["0"], before["0"])


@pytest.mark.parametrize("allocation", RULES)
@pytest.mark.parametrize("name", GRANULARITY_FILES)
def test_a_budget_of_one_keeps_everything(name: str, allocation: AllocationRule) -> None:
    views = [CrossbarMatrix("0", (20, 33)), CrossbarMatrix("1", (10, 7, 3, 3))]
    network = network_of(views, 0)
    rule = PruningRule(ALL[name], L1(), CrossbarGeometry())
    masks = make_masks(network, views, rule, Budget(1.0, allocation), generator(0))
    assert all(mask.all() for mask in masks.values())


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_balanced_masks_keep_exactly_n_under_every_adc_of_every_row_group(data: st.DataObject) -> None:
    """Whole arrays side by side; remaining = N / columns_per_adc of the layer, for every N."""
    balanced = ALL["balanced_segment"]
    geometry = data.draw(fitting_geometries(balanced))
    rows, arrays = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 2))
    view = CrossbarMatrix("0", (arrays * geometry.logical_cols, rows))
    network = network_of([view], data.draw(st.integers(0, 2**31)))
    n_kept = data.draw(st.integers(1, geometry.columns_per_adc))
    budget = Budget(n_kept / geometry.columns_per_adc, "uniform")
    mask = make_masks(network, [view], PruningRule(balanced, L1(), geometry), budget, generator(0))["0"]
    kept, weight = view.to_matrix(mask)[0], view.to_matrix(layer_weight(network, "0").detach())[0]
    for group in reference.row_groups_of_matrix(rows, geometry):
        for columns in reference.array_columns(view.cols, geometry):
            for adc in range(geometry.operation_unit[1]):
                served = [c for c in columns if reference.adc_of(c, geometry) == adc]
                segments = {c: weight[group][:, c].abs().mean() for c in served}
                strongest = sorted(served, key=lambda c, of=segments: -of[c])[:n_kept]
                assert {c for c in served if kept[group][:, c].all()} == set(strongest)
                assert {c for c in served if kept[group][:, c].any()} == set(strongest)


@pytest.mark.parametrize(("n", "m"), [(1, 4), (2, 4), (3, 4)])
def test_patterns_keep_the_n_largest_of_every_m_down_a_column(n: int, m: int) -> None:
    view = CrossbarMatrix("0", (6, 32))
    network = network_of([view], n)
    rule = PruningRule(ALL["pattern"], L1(), CrossbarGeometry())
    mask = make_masks(network, [view], rule, Budget(n / m, "uniform"), generator(0))["0"]
    kept = view.to_matrix(mask)[0].T.reshape(-1, m)
    size = view.to_matrix(layer_weight(network, "0").detach())[0].T.reshape(-1, m).abs()
    for group, weights in zip(kept.tolist(), size.tolist(), strict=True):
        assert sorted(range(m), key=lambda i, w=weights: -w[i])[:n] == sorted(
            (i for i in range(m) if group[i]), key=lambda i, w=weights: -w[i]
        )


def test_balanced_layers_narrower_than_an_array_are_pruned_by_saliency() -> None:
    """10 columns under 2 ADCs of 8 leave ragged groups of 5: tiers 2, 5 and 7 have no unit, hence no score."""
    views = [CrossbarMatrix("0", (10, 64)), CrossbarMatrix("1", (16, 64))]
    network = network_of(views, 3)
    with torch.no_grad():
        layer_weight(network, "0").mul_(1e-3)  # the narrow layer is the least salient by far
    rule = PruningRule(ALL["balanced_segment"], L1(), CrossbarGeometry())
    masks = make_masks(network, views, rule, Budget(0.5, "global", layer_floor=0.01), generator(0))
    assert int(masks["0"].sum()) == 64 * 2  # its best tier: one of five for each of two ADCs
    # 0.5 x 1664 = 832, less 128: five tiers of 128 weights each
    assert int(masks["1"].sum()) == 640


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_refused(bad: float) -> None:
    views = [CrossbarMatrix("0", (4, 4)), CrossbarMatrix("1", (4, 4))]
    network = network_of(views, 0)
    with torch.no_grad():
        layer_weight(network, "1")[2, 3] = bad
    with pytest.raises(PruningError, match="weights of layer 1 are not finite"):
        make_masks(
            network, views, PruningRule(ALL["weight"], L1(), CrossbarGeometry()), Budget(0.5), generator(0)
        )


def test_an_importance_that_is_not_finite_is_refused() -> None:
    views = [CrossbarMatrix("0", (4, 4))]
    importance = {"0": torch.full((4, 4), float("nan"))}
    rule = PruningRule(ALL["weight"], Taylor(), CrossbarGeometry())
    with pytest.raises(PruningError, match="gradients of layer 0 are not finite"):
        make_masks(network_of(views, 0), views, rule, Budget(0.5), generator(0), None, importance)


def test_taylor_prunes_by_importance_and_not_by_size() -> None:
    views = [CrossbarMatrix("0", (4, 4))]
    importance = torch.arange(16.0).view(4, 4)
    rule = PruningRule(ALL["weight"], Taylor(), CrossbarGeometry())
    masks = make_masks(network_of(views, 0), views, rule, Budget(0.25), generator(0), None, {"0": importance})
    assert torch.equal(masks["0"], importance >= 12)


@pytest.mark.parametrize("name", ["filter", "crossbar", "operation_unit"])
def test_a_layer_that_would_lose_everything_is_refused_by_name(name: str) -> None:
    views = [CrossbarMatrix("0", (64, 128)), CrossbarMatrix("1", (2, 16))]
    rule = PruningRule(ALL[name], L1(), CrossbarGeometry())
    with pytest.raises(PruningError, match=r"^layer [01] would lose all its weights at remaining=0\.01"):
        make_masks(network_of(views, 0), views, rule, Budget(0.01, "uniform", 0.0), generator(0))


def test_the_same_seed_gives_the_same_masks() -> None:
    views = [CrossbarMatrix("0", (32, 64))]
    rule = PruningRule(ALL["column_segment"], Random(), CrossbarGeometry())

    def draw(seed: int) -> torch.Tensor:
        return make_masks(network_of(views, 0), views, rule, Budget(0.5), generator(seed))["0"]

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


Maker = Callable[[list[nn.Parameter]], torch.optim.Optimizer]
OPTIMISERS: dict[str, Maker] = {
    "sgd": lambda p: torch.optim.SGD(p, 0.1),
    "momentum": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=5e-4),
    "nesterov": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=5e-4),
    "adamw": lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.05),
}


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", OPTIMISERS)
def test_pruned_weights_are_exactly_zero_after_every_step(name: str, memory: torch.memory_format) -> None:
    """Dense steps first, so that momenta of pruned weights are full of what would bring them back."""
    torch.manual_seed(0)
    layers = {"0": nn.Conv2d(3, 8, 3), "2": nn.Conv2d(8, 8, 3, groups=2), "4": nn.Linear(128, 5)}
    network = nn.Sequential(layers["0"], nn.ReLU(), layers["2"], nn.Flatten(), layers["4"])
    network = network.to(memory_format=memory)
    views = [CrossbarMatrix.of_layer(key, layer) for key, layer in layers.items()]
    optimiser = OPTIMISERS[name](list(network.parameters()))

    def step() -> None:
        optimiser.zero_grad()
        images = torch.randn(16, 3, 8, 8).contiguous(memory_format=memory)
        nn.functional.cross_entropy(network(images), torch.randint(5, (16,))).backward()
        optimiser.step()

    for _ in range(3):
        step()
    rule = PruningRule(ALL["column_segment"], L1(), CrossbarGeometry())
    masks = make_masks(network, views, rule, Budget(0.3), generator(0))
    holder = MaskHolder(network, masks)
    holder.hold()
    seen = [{key: layer_weight(network, key).detach().clone() for key in masks}]
    for _ in range(5):
        step()
        assert any(layer_weight(network, key)[~masks[key]].any() for key in masks)  # the step did move them
        holder.hold()
        for key, mask in masks.items():
            assert torch.all(layer_weight(network, key)[~mask] == 0)
        seen.append({key: layer_weight(network, key).detach().clone() for key in masks})
    assert all(torch.any(a[key] != b[key]) for a, b in pairwise(seen) for key in masks)


def test_making_masks_changes_no_weight() -> None:
    views = [CrossbarMatrix("0", (32, 64))]
    network = network_of(views, 0)
    before = layer_weight(network, "0").detach().clone()
    make_masks(
        network, views, PruningRule(ALL["filter"], L2(), CrossbarGeometry()), Budget(0.5), generator(0)
    )
    assert torch.equal(layer_weight(network, "0"), before)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_weight_pruning_keeps_the_largest_weights_of_all_layers(data: st.DataObject) -> None:
    views, remaining = data.draw(layer_lists()), data.draw(st.floats(0.05, 0.95))
    network = network_of(views, data.draw(st.integers(0, 2**31)))
    rule = PruningRule(ALL["weight"], L1(), data.draw(fitting_geometries(ALL["weight"])))
    sizes = torch.cat([layer_weight(network, v.name).detach().abs().flatten() for v in views])
    target = floor(remaining * len(sizes) + 1e-9)
    assume(target > 0)
    try:
        masks = make_masks(network, views, rule, Budget(remaining, layer_floor=0.0), generator(0))
    except PruningError:
        return
    kept = torch.cat([masks[v.name].flatten() for v in views])
    assert set(kept.nonzero().flatten().tolist()) == set(sizes.topk(target).indices.tolist())


def test_masks_lie_as_the_weights_do_so_that_holding_is_one_pass() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3)).to(memory_format=torch.channels_last)
    mask = torch.rand(4, 3, 3, 3) < 0.5
    holder = MaskHolder(network, {"0": mask})
    assert holder.pruned[0].stride() == network.get_parameter("0.weight").stride() != mask.stride()
    holder.hold()
    assert bool((network.get_parameter("0.weight")[~mask] == 0).all())
    assert bool((network.get_parameter("0.weight")[mask] != 0).all())


def test_weights_are_held_after_a_state_was_put_in_their_place() -> None:
    layer = nn.Linear(4, 4)
    network = nn.Sequential(layer)
    state = copy.deepcopy(network.state_dict())
    holder = MaskHolder(network, {"0": torch.eye(4)})
    network.load_state_dict(state, assign=True)
    holder.hold()
    assert torch.equal(layer.weight.bool(), torch.eye(4).bool())
    network[0] = nn.Linear(4, 2)
    with pytest.raises(MaskError, match=r"0\.weight is not what it was when its mask was made"):
        holder.hold()
