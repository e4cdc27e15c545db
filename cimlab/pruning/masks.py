"""From scores to masks, and masks that hold: pruned weights are exactly 0 after every optimiser step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from cimlab.crossbar.attribution import unit_steps
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.rules import PlacementMode
from cimlab.crossbar.units import UnitGrid
from cimlab.network.computed import ComputedWeights
from cimlab.network.masks import MaskError, Masks, checked_masks, weight_shapes
from cimlab.network.weights import parameters, stored_at, stored_weight
from cimlab.pruning.allocation import (
    COST_UNITS,
    Budget,
    BudgetCost,
    Candidates,
    PruningError,
    allocate,
    per_step,
)
from cimlab.pruning.granularities.base import Granularity
from cimlab.pruning.saliencies.base import Saliency


@dataclass(frozen=True)
class PruningRule:
    """What is pruned and by which measure: everything but the budget.

    Two filters share the one step of an operation unit of 16 x 2 weights, in each of 8 input cycles:

    >>> from cimlab.pruning.granularities.filter import Filter
    >>> from cimlab.pruning.saliencies.l2 import L2
    >>> matrix, rule = CrossbarMatrix("fc", (2, 16)), PruningRule(Filter(), L2(), CrossbarGeometry(), lambda m: 0.5)
    >>> grid = rule.granularity.units(matrix, rule.geometry)
    >>> rule.cost(matrix, grid, of="steps").tolist(), rule.cost(matrix, grid, of="energy").tolist()
    ([[4.0, 4.0]], [[2.0, 2.0]])

    Args:
        granularity: how layers are cut into units.
        saliency: how units are scored.
        geometry: the array that units are aligned to.
        step_energy: joules per array step of an unpruned layer, for budgets in energy.
        computed: the weights that the forward pass computes from what is stored; they are ranked as computed.
        placement: how layers are laid on arrays, of which it depends what a budget in steps is told to leave.
    """

    granularity: Granularity
    saliency: Saliency
    geometry: CrossbarGeometry
    step_energy: Callable[[CrossbarMatrix], float] | None = None
    computed: ComputedWeights | None = None
    placement: PlacementMode = "in_place"

    def cost(
        self, matrix: CrossbarMatrix, grid: UnitGrid, of: BudgetCost
    ) -> Float[Tensor, "unit_rows unit_cols"]:
        """Steps or joules that each unit answers for.

        Raises:
            PruningError: the budget is in energy, and nobody said what a step costs.
        """
        steps = unit_steps(matrix, grid, self.geometry)
        if of == "steps":
            return steps
        return steps * self.joules_per_step(matrix)

    def joules_per_step(self, matrix: CrossbarMatrix) -> float:
        """Energy of an array step of an unpruned layer.

        Raises:
            PruningError: nobody said what a step costs.
        """
        if self.step_energy is None:
            raise PruningError("prune.budget=energy needs an accelerator to price steps on; use budget=steps")
        return self.step_energy(matrix)


def layer_weight(network: nn.Module, name: str) -> Tensor:
    """What is stored of the weight called `name`: a parameter, or a view of its rows.

    >>> attention = nn.Sequential(nn.MultiheadAttention(4, num_heads=1))  # q, k and v are rows of one parameter
    >>> layer_weight(attention, "0.in_proj_weight").shape, layer_weight(attention, "0.in_proj_weight.k").shape
    (torch.Size([12, 4]), torch.Size([4, 4]))

    Raises:
        KeyError: the network has no such weight.
    """
    return stored_weight(parameters(network), name)


def refuse_unprunable(network: nn.Module, rule: PruningRule, prunable: Iterable[str]) -> None:
    """Refuse to prune what is computed so that a pruned weight would not stay 0.

    >>> from cimlab.network.account import account_of
    >>> from cimlab.pruning.granularities.weight import Weight
    >>> from cimlab.pruning.saliencies.l2 import L2
    >>> class Centred(nn.Linear):
    ...     def forward(self, x):
    ...         return nn.functional.linear(x, self.weight - self.weight.mean(1, keepdim=True))
    >>> network, images = nn.Sequential(Centred(4, 2)), torch.rand(1, 4)
    >>> computed = ComputedWeights(account_of(network, images), images)
    >>> refuse_unprunable(network, PruningRule(Weight(), L2(), CrossbarGeometry(), computed=computed), ["0"])
    Traceback (most recent call last):
    cimlab.pruning.allocation.PruningError: the forward pass computes the weights of 0 so that a pruned one would not...

    Args:
        network: left as it is.
        rule: says which weights are computed.
        prunable: names of the weights that may be pruned.

    Raises:
        PruningError: names them, and how to leave them out.
    """
    if rule.computed is None:
        return
    if (moved := rule.computed.moved(network, prunable)) is not None:
        raise PruningError(moved)


def _refuse_undefined(network: nn.Module, rule: PruningRule, masks: Masks) -> None:
    """Refuse masks under which the forward pass would compute weights that are no numbers."""
    bad = [] if rule.computed is None else rule.computed.undefined(network, masks)
    if bad:
        raise PruningError(
            f"all weights of an output of {', '.join(bad)} would be pruned, which its normalisation divides by their "
            "norm; fold it first with torch.nn.utils.parametrize.remove_parametrizations(layer, 'weight') (or "
            f"torch.nn.utils.remove_weight_norm), or leave it whole with analog.digital=[{','.join(bad)}]"
        )


@torch.no_grad()
def make_masks(
    network: nn.Module,
    matrices: list[CrossbarMatrix],
    rule: PruningRule,
    budget: Budget,
    generator: torch.Generator,
    before: Masks | None = None,
    importance: dict[str, Float[Tensor, "..."]] | None = None,
) -> Masks:
    """Choose the weights that stay.

    >>> from cimlab.pruning.granularities.filter import Filter
    >>> from cimlab.pruning.saliencies.l2 import L2
    >>> network = nn.Sequential(nn.Linear(2, 4, bias=False))
    >>> network[0].weight.data = torch.tensor([[0.1, 0.1], [0.9, 0.8], [0.2, 0.0], [0.5, 0.7]])
    >>> rule = PruningRule(Filter(), L2(), CrossbarGeometry())
    >>> masks = make_masks(network, [CrossbarMatrix("0", (4, 2))], rule, Budget(0.5), torch.Generator())
    >>> masks["0"].int().tolist()
    [[0, 0], [1, 1], [0, 0], [1, 1]]

    Args:
        network: the network with its current weights; not changed.
        matrices: the prunable layers.
        rule: granularity, saliency and geometry.
        budget: how many weights stay.
        generator: randomness for saliencies that need it.
        before: masks of an earlier event; what they pruned stays pruned.
        importance: |w dL/dw| by layer, in the weight's shape, for saliencies that need gradients.

    Raises:
        PruningError: weights or gradients are not finite, a layer would lose all its weights, or one that its
            layer can't compute without.
    """
    costs = _costs(matrices, rule, budget)
    layers = [
        _units_of(matrix, _scored(matrix, values, rule, generator, importance), rule, budget, before, costs)
        for matrix, values in ranked_values(network, matrices, rule)
    ]
    masks = {}
    for layer, units in zip(layers, allocate([layer.candidates for layer in layers], budget), strict=True):
        name, mask = layer.candidates.matrix.name, layer.mask(units)
        masks[name] = mask if before is None else mask & before[name]
    _refuse_undefined(network, rule, masks)
    return masks


def ranked_values(
    network: nn.Module, matrices: Sequence[CrossbarMatrix], rule: PruningRule
) -> Iterator[tuple[CrossbarMatrix, Float[Tensor, "groups rows cols"]]]:
    """Every layer's weights as its product takes them, in the layout of its matrix: what units are ranked by.

    >>> from cimlab.pruning.granularities.weight import Weight
    >>> from cimlab.pruning.saliencies.l2 import L2
    >>> layer, matrix = nn.Linear(2, 1, bias=False), CrossbarMatrix("weight", (1, 2))
    >>> layer.weight.data = torch.tensor([[1.0, -2.0]])
    >>> ((_, values),) = ranked_values(layer, [matrix], PruningRule(Weight(), L2(), CrossbarGeometry()))
    >>> values.tolist()
    [[[1.0], [-2.0]]]

    Raises:
        PruningError: one of them is not finite.
    """
    computed = {} if rule.computed is None else rule.computed.values(network)
    for matrix in matrices:
        weight = layer_weight(network, matrix.name)
        if matrix.name in computed:
            weight = matrix.of_layer_weight(computed[matrix.name])
        if not _all_finite(weight):
            raise PruningError(f"weights of layer {matrix.name} are not finite; the network can't be pruned")
        yield matrix, matrix.to_matrix(weight.float())


def _scored(
    matrix: CrossbarMatrix,
    values: Float[Tensor, "groups rows cols"],
    rule: PruningRule,
    generator: torch.Generator,
    importance: Mapping[str, Tensor] | None,
) -> tuple[UnitGrid, Float[Tensor, "groups urows ucols"]]:
    """The units of a layer, and the saliency per weight of each."""
    gradients = None if importance is None else matrix.to_matrix(_importance_of(matrix, importance))
    grid = rule.granularity.units(matrix, rule.geometry)
    return grid, rule.saliency.unit_scores(values, gradients, grid, generator)


@dataclass(frozen=True, eq=False)
class _Units:
    """A layer's units.

    Args:
        candidates: what is decided of: units, or tiers of them.
        grid: where each unit lies.
        tiers: in which of the candidates a unit is; None where each is one of its own.
        shape: of the grid.
    """

    candidates: Candidates
    grid: UnitGrid
    tiers: Int[Tensor, "groups urows ucols"] | None
    shape: torch.Size

    def mask(self, kept: Bool[Tensor, " candidates"]) -> Bool[Tensor, "..."]:
        """The weights of the candidates that are kept, in the shape of the layer's weight."""
        units = kept.view(self.shape) if self.tiers is None else kept[self.tiers]
        return self.candidates.matrix.to_weight(self.grid.spread(units))


def _units_of(
    matrix: CrossbarMatrix,
    scored: tuple[UnitGrid, Float[Tensor, "groups urows ucols"]],
    rule: PruningRule,
    budget: Budget,
    before: Masks | None,
    costs: Mapping[str, Int[Tensor, "unit_rows unit_cols"]],
) -> _Units:
    """What is decided of in a layer; units that an earlier event pruned come last."""
    grid, scores = scored
    power = rule.saliency.additive_power
    sizes = grid.sizes().to(scores.device).expand_as(scores)
    if before is not None:
        alive = grid.reduce(matrix.to_matrix(before[matrix.name]).float()) > 0
        scores = scores.where(alive, -torch.inf)
    tiers = rule.granularity.tiers(scores, matrix, rule.geometry)  # by saliency, whatever the budget is of
    if budget.rule == "steps":
        steps = unit_steps(matrix, grid, rule.geometry).to(scores.device)
        scores = per_step(scores, sizes, steps, power)
    if costs:
        cost = costs[matrix.name].to(scores.device).expand_as(scores)
        scores, sizes = per_step(scores, sizes, cost, power), cost
    if tiers is None:
        return _Units(Candidates(matrix, scores.flatten(), sizes.flatten()), grid, None, scores.shape)
    tiers = _without_gaps(tiers)
    return _Units(_tied(matrix, scores, sizes, tiers, power or 1), grid, tiers, scores.shape)


def _importance_of(matrix: CrossbarMatrix, importance: Mapping[str, Tensor]) -> Tensor:
    """What was given for one layer, under its name or its weight's, or as rows of the whole that it is a part of.

    Raises:
        PruningError: nothing, another shape than its weight's, or a value that is not finite.
    """
    try:
        given = stored_weight(importance, matrix.name)
    except KeyError:
        given = None
    if given is None or tuple(given.shape) != tuple(matrix.weight_shape):
        what = "is missing" if given is None else f"has shape {tuple(given.shape)}"
        raise PruningError(
            f"importance of layer {matrix.name} {what}; give |w dL/dw| in its weight's shape, "
            f"{tuple(matrix.weight_shape)}, of every layer that may be pruned"
        )
    if not _all_finite(given):
        raise PruningError(f"gradients of layer {matrix.name} are not finite; the network can't be pruned")
    return given


def _costs(
    matrices: list[CrossbarMatrix], rule: PruningRule, budget: Budget
) -> dict[str, Int[Tensor, "unit_rows unit_cols"]]:
    """Layer name -> what every unit takes of a budget in steps or energy, in whole parts; empty for weights."""
    if budget.cost == "weights":
        return {}
    costs = {m.name: rule.cost(m, rule.granularity.units(m, rule.geometry), budget.cost) for m in matrices}
    whole = sum(float(costs[m.name].sum()) * m.groups for m in matrices)
    return {name: (cost * (COST_UNITS / whole)).round().long().clamp(min=1) for name, cost in costs.items()}


def _all_finite(values: Float[Tensor, "..."]) -> bool:
    """Whether no value is NaN or infinite, in one pass: extremes are NaN where any value is."""
    return bool(torch.isfinite(torch.stack(torch.aminmax(values))).all())


def _without_gaps(tiers: Int[Tensor, "groups urows ucols"]) -> Int[Tensor, "groups urows ucols"]:
    """Tiers numbered 0, 1, ... in the same order; where all balance groups are ragged, some have no unit."""
    in_use = torch.bincount(tiers.flatten()) > 0
    return tiers if in_use.all() else (in_use.cumsum(0) - 1)[tiers]


def _tied(matrix: CrossbarMatrix, scores: Tensor, sizes: Tensor, tiers: Tensor, power: int) -> Candidates:
    """Tiers as the units to decide: the mean of their units, of scores to the power that adds up, as over the weights
    of one unit; never rising from tier to tier.
    """
    count = int(tiers.max()) + 1
    flat = tiers.flatten()
    zeros = torch.zeros(count, device=scores.device)
    tier_sizes = zeros.long().index_add_(0, flat, sizes.flatten())
    weighted = (_raised(scores, power) * sizes).flatten()
    means = zeros.index_add_(0, flat, weighted) / tier_sizes
    return Candidates(matrix, _raised(means, 1 / power).cummin(0).values, tier_sizes)


def _raised(scores: Tensor, exponent: float) -> Tensor:
    """Scores to a power; what is pruned already stays below all, where a square of -inf would stand above."""
    return scores.pow(exponent).where(scores > -torch.inf, scores)


class MaskHolder:
    """Keeps pruned weights at exactly 0: call `hold` after anything that may have moved them.

    Args:
        network: its weights are held.
        masks: layer name -> 1 where a weight is kept, of any dtype.

    Raises:
        MaskError: a mask is none, or of no layer of this network.
    """

    def __init__(self, network: nn.Module, masks: Masks) -> None:
        held = checked_masks(masks, weight_shapes(network, masks))
        stored = parameters(network)
        self.network = network
        self.places = [stored_at(stored, name) for name in held]
        # with the strides of the weights, channels_last among them: only then is it one pass
        self.pruned = [
            torch.empty_like(stored[name][rows], dtype=torch.bool).copy_(~mask)
            for mask, (name, rows) in zip(held.values(), self.places, strict=True)
        ]

    @torch.no_grad()
    def hold(self) -> None:
        """Set every pruned weight to 0, in place; also one that became NaN, which a product with 0 would keep.

        Raises:
            MaskError: the network has no such weight any more.

        >>> layer = nn.Linear(2, 1, bias=False)
        >>> MaskHolder(nn.Sequential(layer), {"0": torch.tensor([[True, False]])}).hold()
        >>> layer.weight[0, 1].item()
        0.0
        """
        for (name, rows), pruned in zip(self.places, self.pruned, strict=True):
            # looked up each time: moving a network and load_state_dict(assign=True) give it other parameters
            try:
                self.network.get_parameter(name)[rows].masked_fill_(pruned, 0)
            except (AttributeError, RuntimeError, IndexError) as problem:
                raise MaskError(
                    f"{name} is not what it was when its mask was made ({problem}); make a new holder for the network"
                ) from problem


def weights_left(masks: Masks) -> int:
    """Weights that the masks keep.

    >>> weights_left({"conv": torch.tensor([[True, False], [True, True]])})
    3
    """
    return sum(int(mask.sum()) for mask in masks.values())
