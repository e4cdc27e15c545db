"""Which units stay: the radix select equals a sort, and every rule equals its plain definition."""

from math import floor, prod

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.pruning.allocation import Budget, Candidates, PruningError, allocate, erk_densities, keep_highest

SCORES = st.one_of(
    st.floats(width=32, allow_nan=False),  # both zeros, infinities and subnormal numbers among them
    st.sampled_from([0.0, -0.0, 1.0, 1.0000001, -1.0, float("-inf")]),
)
UNITS = st.lists(st.tuples(SCORES, st.integers(1, 9)), min_size=1, max_size=40)


def slow_keep_highest(scores: list[float], sizes: list[int], budget: int) -> set[int]:
    """Sort by score, equal ones by index, and take until the next one does not fit."""
    kept: set[int] = set()
    for unit in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        if sizes[unit] > budget:
            break
        kept.add(unit)
        budget -= sizes[unit]
    return kept


@settings(max_examples=300, deadline=None)
@given(UNITS, st.integers(0, 200))
def test_keeping_the_highest_equals_a_sort(units: list[tuple[float, int]], budget: int) -> None:
    scores, sizes = [s for s, _ in units], [n for _, n in units]
    kept = keep_highest(torch.tensor(scores), torch.tensor(sizes), budget)
    assert set(kept.nonzero().flatten().tolist()) == slow_keep_highest(scores, sizes, budget)


def test_keeping_the_highest_tells_neighbouring_floats_apart() -> None:
    """100 000 scores within 2^-16 of one another share their upper half, so that the lower one decides."""
    scores = 1 + torch.randperm(100_000, generator=torch.Generator().manual_seed(0)) * 2.0**-23
    kept = keep_highest(scores, torch.ones(100_000, dtype=torch.long), 25_000)
    assert int(kept.sum()) == 25_000
    assert scores[kept].min() > scores[~kept].max()


def layer(name: str, units: list[tuple[float, int]]) -> Candidates:
    sizes = torch.tensor([n for _, n in units])
    matrix = CrossbarMatrix(name, (1, int(sizes.sum())))
    return Candidates(matrix, torch.tensor([s for s, _ in units]), sizes)


def slow_allocate(layers: list[Candidates], budget: Budget, densities: list[float] | None) -> list[set[int]]:
    """The rules in words: what the floor protects first, then from the top, in all layers or in each."""
    scores, sizes = [c.scores.tolist() for c in layers], [c.sizes.tolist() for c in layers]
    totals = [sum(s) for s in sizes]
    best = [
        {max(range(len(s)), key=lambda i, s=s: (s[i], -i))} if budget.layer_floor else set() for s in scores
    ]

    def by_layer(budgets: list[int]) -> list[set[int]]:
        return [
            slow_keep_highest(s, n, b) | top
            for s, n, b, top in zip(scores, sizes, budgets, best, strict=True)
        ]

    if densities is not None:
        targets = [
            floor(max(d, budget.layer_floor) * total + 1e-9)
            for d, total in zip(densities, totals, strict=True)
        ]
        return by_layer(targets)
    floors = [floor(budget.layer_floor * total + 1e-9) for total in totals]
    kept = by_layer(floors)
    left = floor(budget.remaining * sum(totals) + 1e-9)
    left -= sum(sizes[place][unit] for place, units in enumerate(kept) for unit in units)
    free = [(p, u) for p, s in enumerate(scores) for u in range(len(s)) if u not in kept[p]]
    chosen = slow_keep_highest([scores[p][u] for p, u in free], [sizes[p][u] for p, u in free], left)
    for place, unit in (free[i] for i in chosen):
        kept[place].add(unit)
    return kept


@settings(max_examples=200, deadline=None)
@given(
    st.lists(UNITS, min_size=1, max_size=4),
    st.floats(0.01, 1),
    st.sampled_from([0.0, 0.01, 0.3]),
    st.sampled_from(["global", "uniform", "erk", "per_layer"]),
)
def test_every_rule_equals_its_plain_definition(units, remaining, layer_floor, rule) -> None:
    layers = [layer(str(place), u) for place, u in enumerate(units)]
    budget = Budget(remaining, rule, layer_floor, {"0": 0.5, "[1-2]": 0.25} if rule == "per_layer" else {})
    assume(rule != "per_layer" or len(layers) > 1)
    densities = {
        "global": None,
        "uniform": [remaining] * len(layers),
        "erk": erk_densities([c.matrix.weight_shape for c in layers], remaining),
        "per_layer": [0.5, 0.25, 0.25, remaining][: len(layers)],
    }[rule]
    expected = slow_allocate(layers, budget, densities)
    if not all(expected):
        with pytest.raises(PruningError, match="would lose all its weights"):
            allocate(layers, budget)
        return
    found = [set(kept.nonzero().flatten().tolist()) for kept in allocate(layers, budget)]
    assert found == expected


SHAPES = st.lists(
    st.one_of(
        st.tuples(st.integers(1, 64), st.integers(1, 64)),
        st.tuples(st.integers(1, 64), st.integers(1, 64), st.integers(1, 3), st.integers(1, 3)),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=200, deadline=None)
@given(SHAPES, st.floats(0.01, 1))
def test_erk_spends_the_budget_in_proportion(shapes: list[tuple[int, ...]], remaining: float) -> None:
    """Evci et al. 2020, section 3: below 1, density over (sum of the shape / weights) is the same for all layers."""
    densities = erk_densities(shapes, remaining)
    sizes = [prod(shape) for shape in shapes]
    spent = sum(d * n for d, n in zip(densities, sizes, strict=True))
    assert spent == pytest.approx(remaining * sum(sizes))
    assert all(0 < d <= 1 for d in densities)
    scales = [d / (sum(s) / prod(s)) for d, s in zip(densities, shapes, strict=True)]
    open_scales = [scale for scale, d in zip(scales, densities, strict=True) if d < 1]
    assert open_scales == pytest.approx(open_scales[:1] * len(open_scales))
    # a layer is dense only where its share would have been 1 or more
    assert not open_scales or all(scale <= open_scales[0] * (1 + 1e-9) for scale in scales)


def test_erk_worked_by_hand() -> None:
    """Raw densities 4/4 and 40/400; 0.25 x 404 = 101 weights. One layer full (4), 97 left for 400: 0.2425."""
    assert erk_densities([(2, 2), (20, 20)], 0.25) == pytest.approx([1.0, 0.2425])
    # at 0.05, scale = 20.2 / (4 + 40), below 1 for both
    assert erk_densities([(2, 2), (20, 20)], 0.05) == pytest.approx([20.2 / 44, 2.02 / 44])


def test_the_floor_keeps_every_layer_connected() -> None:
    """A layer of tiny weights would lose everything to a global threshold."""
    layers = [layer("big", [(10.0, 1)] * 99), layer("tiny", [(0.1, 1), (0.2, 1), (0.15, 1)])]
    kept = allocate(layers, Budget(0.5, "global", layer_floor=0.01))
    assert kept[1].tolist() == [False, True, False]
    assert int(kept[0].sum()) == floor(0.5 * 102) - 1
    with pytest.raises(
        PruningError, match=r"layer tiny would lose all its weights at remaining=0\.5.*layer_floor"
    ):
        allocate(layers, Budget(0.5, "global", layer_floor=0))


def test_a_layer_whose_smallest_unit_is_too_large_is_refused_with_its_size() -> None:
    with pytest.raises(PruningError, match="smallest unit has 50 of 100 weights"):
        allocate([layer("fc", [(1.0, 50), (2.0, 50)])], Budget(0.4, "uniform", layer_floor=0))


def test_a_fraction_for_a_layer_that_is_not_there_is_refused() -> None:
    layers = [layer("conv1", [(1.0, 2)]), layer("fc", [(1.0, 2)])]
    with pytest.raises(PruningError, match=r"names 'conv9\*', but the layers are conv1, fc"):
        allocate(layers, Budget(0.5, "per_layer", 0.01, {"conv9*": 0.5}))


def test_the_first_pattern_that_fits_a_layer_counts() -> None:
    layers = [layer(name, [(float(i), 1) for i in range(10)]) for name in ("a.conv", "a.fc", "b.conv")]
    kept = allocate(layers, Budget(0.5, "per_layer", 0, {"a.fc": 0.2, "a.*": 0.8}))
    assert [int(k.sum()) for k in kept] == [8, 2, 5]
