"""Spending the budget: which units stay, when a given number of weights may stay.

The budget is counted in weights, never in units, because units differ in size: a global threshold over filters
would otherwise remove far more of a wide layer than was asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatch
from math import floor, prod
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.errors import CimlabError

AllocationRule = Literal["global", "steps", "uniform", "erk", "per_layer"]
BudgetCost = Literal["weights", "steps", "energy"]
COST_UNITS = 1 << 40
"""A layer's steps or joules are counted in whole parts of this over all layers, so that sums are exact."""


class PruningError(CimlabError, ValueError):
    """A pruning plan that can't be carried out; the message names the layer and the mend."""


@dataclass(frozen=True)
class Budget:
    """How much stays, of what, and how it is shared among layers.

    Args:
        remaining: fraction that stays of the prunable layers' weights, or of what `cost` names.
        rule: `global`, one threshold over all layers; `steps`, the same threshold on saliency per array step
            instead of per weight (`per_step`), so that layers with many products an image give up more;
            `uniform`, the same fraction in each; `erk`, Erdos-Renyi-kernel densities (Evci et al., ICML 2020);
            `per_layer`, fractions by name.
        layer_floor: fraction of every layer that stays whatever its scores, at least one unit; 0 is none.
        layer_remaining: for `per_layer`: name or glob pattern -> fraction; other layers use `remaining`.
        cost: `weights`; or array steps, all alike or by their dynamic energy in the unpruned network, of which every
            unit answers for its share of the unpruned layer's. Units are then ranked by saliency per cost, and
            fractions and floors are of it.
    """

    remaining: float
    rule: AllocationRule = "global"
    layer_floor: float = 0.01
    layer_remaining: dict[str, float] = field(default_factory=dict)
    cost: BudgetCost = "weights"


@dataclass(frozen=True, eq=False)
class Candidates:
    """The units of one layer that can be kept or pruned, flat.

    >>> matrix = CrossbarMatrix("fc", (2, 3))  # two outputs as units of 3 weights
    >>> Candidates(matrix, scores=torch.tensor([0.9, 0.2]), sizes=torch.tensor([3, 3])).whole
    6

    Args:
        matrix: the layer.
        scores: one per unit; -inf where the unit is already pruned.
        sizes: what each unit takes of the budget: its weights, or parts of all steps or joules.
    """

    matrix: CrossbarMatrix
    scores: Float[Tensor, " units"]
    sizes: Int[Tensor, " units"]

    @property
    def whole(self) -> int:
        """What all units take."""
        return int(self.sizes.sum())


def keep_highest(
    scores: Float[Tensor, " units"], sizes: Int[Tensor, " units"], budget: int
) -> Bool[Tensor, " units"]:
    """Keep units from the highest score down until the next one would exceed `budget` weights.

    >>> keep_highest(torch.tensor([0.3, 0.9, 0.5]), torch.tensor([4, 4, 2]), budget=6).tolist()
    [False, True, True]

    Equal scores go in index order. Linear in the number of units (a radix select over the bits of the float, 16
    at a time), because a sort of 11 M scores would take longer than a training step.
    """
    bits = (scores.float() + 0.0).view(torch.int32)  # adding 0 makes -0 equal to 0
    ordered = (bits >> 31).bitwise_and_(0x7FFFFFFF).bitwise_xor_(bits)  # integers in the order of the floats
    upper = (ordered >> 16).add_(2**15)
    edge, left = _last_digit_that_fits(upper, sizes, budget)
    kept = upper > edge
    contested = (upper == edge).nonzero().squeeze(1)
    lower, contested_sizes = ordered[contested] & 0xFFFF, sizes[contested]
    edge, left = _last_digit_that_fits(lower, contested_sizes, left)
    kept[contested[lower > edge]] = True
    equal = lower == edge
    kept[contested[equal][contested_sizes[equal].cumsum(0) <= left]] = True
    return kept


def _last_digit_that_fits(
    digits: Int[Tensor, " units"], sizes: Int[Tensor, " units"], budget: int
) -> tuple[int, int]:
    """The largest 16-bit digit whose units do not all fit (-1 if all do), and the budget left for them."""
    histogram = torch.zeros(2**16, dtype=torch.long, device=digits.device).index_add_(0, digits, sizes)
    from_top = histogram.flip(0).cumsum(0)
    whole = int((from_top <= budget).sum())
    spent = int(from_top[whole - 1]) if whole else 0
    return 2**16 - 1 - whole, budget - spent


def allocate(layers: list[Candidates], budget: Budget) -> list[Bool[Tensor, " units"]]:
    """Decide every unit of every layer.

    One threshold over two layers, of which the second keeps its best unit whatever its score:

    >>> layers = [
    ...     Candidates(CrossbarMatrix(name, (2, 2)), torch.tensor(scores), torch.tensor([2, 2]))
    ...     for name, scores in (("a", [0.9, 0.8]), ("b", [0.1, 0.2]))
    ... ]
    >>> [units.tolist() for units in allocate(layers, Budget(0.5, layer_floor=0.01))]
    [[True, False], [False, True]]

    Raises:
        PruningError: a layer would lose all its weights, or `layer_remaining` names no layer.
    """
    if budget.rule in ("global", "steps"):
        kept = _global(layers, budget)
    else:
        densities = _densities(layers, budget)
        kept = [_keep_in_layer(c, max(d, budget.layer_floor)) for c, d in zip(layers, densities, strict=True)]
        if budget.layer_floor > 0:
            kept = [k | _best_unit(c) for k, c in zip(kept, layers, strict=True)]
    for candidates, units in zip(layers, kept, strict=True):
        if not units.any():
            raise PruningError(
                f"layer {candidates.matrix.name} would lose all its weights at remaining={budget.remaining}: its "
                f"smallest unit has {_share_of(candidates, budget)}; raise "
                "prune.remaining, take a finer granularity, or set prune.layer_floor above 0"
            )
    return kept


def per_step(
    scores: Float[Tensor, "..."], sizes: Int[Tensor, "..."], steps: Float[Tensor, "..."], power: int | None
) -> Float[Tensor, "..."]:
    """Scores by what is kept for each array step instead of for each weight.

    Two units of equal scores and sizes, the second of which takes four times the steps:

    >>> per_step(torch.tensor([1.0, 1.0]), torch.tensor([32, 32]), torch.tensor([8.0, 32.0]), power=2).tolist()
    [2.0, 1.0]

    A score to its power is additive value over weights. Greedy choice by value over cost is the classic rule of
    the knapsack problem (Dantzig, Operations Research 1957); here cost is steps, so the value per weight is
    multiplied by weights per step. The budget stays one of weights, so that runs compare at equal compression.

    Args:
        scores: one per unit, mean over its weights.
        sizes: weights in each unit.
        steps: array steps per image that each unit answers for.
        power: scores to this power add up (`Saliency.additive_power`).

    Raises:
        PruningError: they add up to no power.
    """
    if power is None:
        raise PruningError(
            "the saliency's scores can't be shared out among steps or energy, for no power of them adds up; use "
            "saliency=l1, l2 or taylor, or prune.budget=weights with another prune.allocation"
        )
    return scores * (sizes / steps).pow(1 / power).to(scores)


def _share_of(candidates: Candidates, budget: Budget) -> str:
    smallest, whole = int(candidates.sizes.min()), candidates.whole
    if budget.cost == "weights":
        return f"{smallest} of {whole} weights"
    return f"{100 * smallest / whole:.3g} % of its {budget.cost}"


def _keep_in_layer(candidates: Candidates, fraction: float) -> Bool[Tensor, " units"]:
    return keep_highest(candidates.scores, candidates.sizes, floor(fraction * candidates.whole + 1e-9))


def _best_unit(candidates: Candidates) -> Bool[Tensor, " units"]:
    best = torch.zeros_like(candidates.scores, dtype=torch.bool)
    best[candidates.scores.argmax()] = True
    return best


def _global(layers: list[Candidates], budget: Budget) -> list[Bool[Tensor, " units"]]:
    """One threshold over all layers; units that the floor protects come first."""
    scores, sizes = torch.cat([c.scores for c in layers]), torch.cat([c.sizes for c in layers])
    allowed = floor(budget.remaining * sum(c.whole for c in layers) + 1e-9)
    if budget.layer_floor > 0:
        kept = torch.cat([_keep_in_layer(c, budget.layer_floor) | _best_unit(c) for c in layers])
        floors = int(sizes[kept].sum())
        if budget.cost != "weights" and floors > allowed:
            whole = sum(c.whole for c in layers)
            raise PruningError(
                f"prune.remaining={budget.remaining:g} of the {budget.cost} is below the {floors / whole:.4f} that "
                f"prune.layer_floor={budget.layer_floor:g} and one unit per layer keep; use prune.remaining of "
                f"{floors / whole + 1e-4:.4f} or more, a lower prune.layer_floor or a finer granularity"
            )
        allowed -= floors
        sizes = sizes.masked_fill(kept, 0)  # paid for already
    else:
        kept = torch.zeros_like(scores, dtype=torch.bool)
    if allowed > 0:
        kept |= keep_highest(scores, sizes, allowed)
    return list(kept.split([len(c.scores) for c in layers]))


def _densities(layers: list[Candidates], budget: Budget) -> list[float]:
    if budget.rule == "erk":
        return erk_densities([c.matrix.weight_shape for c in layers], budget.remaining)
    if budget.rule == "uniform":
        return [budget.remaining] * len(layers)
    names = [c.matrix.name for c in layers]
    for pattern in budget.layer_remaining:
        if not any(fnmatch(name, pattern) for name in names):
            raise PruningError(
                f"prune.layer_remaining names {pattern!r}, but the layers are {', '.join(names)}"
            )
    return [
        next((f for pattern, f in budget.layer_remaining.items() if fnmatch(name, pattern)), budget.remaining)
        for name in names
    ]


def erk_densities(shapes: list[tuple[int, ...]], remaining: float) -> list[float]:
    """Layer densities in proportion to sum(shape) / prod(shape), none above 1, `remaining` over all.

    >>> [round(density, 2) for density in erk_densities([(16, 3, 3, 3), (64, 64, 3, 3)], remaining=0.1)]
    [1.0, 0.09]

    Evci et al., "Rigging the lottery", ICML 2020, section 3. Layers that would exceed 1 stay dense and the
    others share what is left.
    """
    sizes = [prod(shape) for shape in shapes]
    raw = [sum(shape) / prod(shape) for shape in shapes]
    dense: set[int] = set()
    while True:
        left = remaining * sum(sizes) - sum(sizes[i] for i in dense)
        shared = sum(raw[i] * sizes[i] for i in range(len(shapes)) if i not in dense)
        scale = left / shared if shared else 0.0
        full = {i for i in range(len(shapes)) if i not in dense and scale * raw[i] > 1}
        if not full:
            return [1.0 if i in dense else scale * raw[i] for i in range(len(shapes))]
        dense |= full
