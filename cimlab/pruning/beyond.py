"""What is said where masks keep more or less than the budget asked for, and where a layer keeps next to nothing."""

from __future__ import annotations

from collections.abc import Sequence

from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.placement import place_network
from cimlab.network.masks import Masks
from cimlab.pruning.allocation import Budget
from cimlab.pruning.masks import PruningRule, weights_left

TOLD_BEYOND = 0.05
"""Distance from the budget, as a share of it, that goes without saying: units seldom come out even."""

COUNTED = {
    "weights": "weights", "steps": "array steps", "energy": "array steps, by their energy in the dense network,",
}  # fmt: skip
"""Of what a budget is a fraction; what a step costs once its layer is pruned is another matter, which a price tells."""


def kept_beyond(
    masks: Masks, budget: Budget, matrices: Sequence[CrossbarMatrix], rule: PruningRule
) -> str | None:
    """What to say where more or less stays than was asked: units are too coarse, floors too high, or steps are shared.

    Every layer keeps one unit at least, which may be most of a narrow layer; where each has a share of its own, what is
    left of it beside whole units goes to none. A unit answers for its share of array steps, but a step is saved only
    where nothing of it is left.

    >>> import torch
    >>> from cimlab.crossbar.geometry import CrossbarGeometry
    >>> from cimlab.pruning.granularities.filter import Filter
    >>> from cimlab.pruning.saliencies.l2 import L2
    >>> matrices, rule = [CrossbarMatrix("fc", (2, 2))], PruningRule(Filter(), L2(), CrossbarGeometry())
    >>> masks = {"fc": torch.tensor([[True, True], [False, False]])}  # one filter of two
    >>> kept_beyond(masks, Budget(remaining=0.25), matrices, rule).split(":")[0]
    '50 % of the prunable weights are kept, not 25 %'

    Args:
        masks: layer name -> True where a weight is kept, of the prunable layers.
        budget: what was asked.
        matrices: the prunable layers.
        rule: by which the masks were chosen.

    Returns:
        One sentence, or None where as much stays as was asked.
    """
    total, left = _whole_and_left(masks, budget, matrices, rule)
    asked = budget.remaining * total
    if budget.rule == "per_layer" or abs(left - asked) <= TOLD_BEYOND * asked:
        return None
    what = f"of the prunable {COUNTED[budget.cost]} are kept"
    told = f"{100 * left / total:.3g} % {what}, not {100 * budget.remaining:g} %"
    if left < asked:
        return f"{told}: {_why_less(budget, rule)}"
    if budget.cost != "weights":
        filled = (
            ""
            if rule.placement == "gathered"
            else "; mapping.placement=gathered fills up those that share rows"
        )
        return (
            f"{told}: a step is saved only where nothing of it is left; units that share steps keep more "
            f"(granularity=operation_unit shares none{filled}), and so do floors "
            f"(prune.layer_floor={budget.layer_floor:g} and one unit per layer)"
        )
    excess = {name: int(mask.sum()) - budget.remaining * mask.numel() for name, mask in masks.items()}
    most = max(excess, key=lambda name: excess[name])
    share = 100 * int(masks[most].sum()) / masks[most].numel()
    return (
        f"{told}: each layer keeps one unit at least and prune.layer_floor={budget.layer_floor:g}, so that "
        f"{share:.3g} % of layer {most} stays; a finer granularity keeps less"
    )


def _why_less(budget: Budget, rule: PruningRule) -> str:
    if budget.cost != "weights" and rule.placement == "gathered":
        return "gathered rows fill up fewer steps than their units answer for; a larger prune.remaining keeps more"
    told = "units stay whole, and what is left is too little for one more; a finer granularity comes nearer"
    shared_out = budget.rule in ("global", "steps")
    return told if shared_out else f"{told}, and so does prune.allocation=global, which shares it out"


def emptied(masks: Masks, budget: Budget) -> str | None:
    """What to say where one threshold for all layers left some with no more than the floor.

    >>> import torch
    >>> masks = {"wide": torch.ones(10, 10) > 0, "depthwise": torch.arange(100).view(10, 10) == 0}
    >>> emptied(masks, Budget(0.5))
    '1 of 2 prunable layers keep no more than prune.layer_floor=0.01 of their weights (depthwise), because ...

    It compares weights of layers that may differ in kind: grouped and depthwise convolutions, of few weights each,
    often lose nearly all of theirs, and with them the network's accuracy.
    """
    if budget.rule not in ("global", "steps") or not masks:
        return None
    floor = [name for name, mask in masks.items() if int(mask.sum()) <= budget.layer_floor * mask.numel()]
    if not floor:
        return None
    shown = ", ".join(floor[:3]) + (", ..." if len(floor) > 3 else "")
    return (
        f"{len(floor)} of {len(masks)} prunable layers keep no more than prune.layer_floor={budget.layer_floor:g} of "
        f"their weights ({shown}), because prune.allocation={budget.rule} compares all layers; uniform and erk spare "
        "them, and so does a higher floor"
    )


def _whole_and_left(
    masks: Masks, budget: Budget, matrices: Sequence[CrossbarMatrix], rule: PruningRule
) -> tuple[float, float]:
    """Weights, array steps or joules of the prunable layers, and what the masks leave of them."""
    if budget.cost == "weights":
        return sum(mask.numel() for mask in masks.values()), weights_left(masks)
    placed = place_network(list(matrices), masks, rule.geometry, rule.granularity.index, rule.placement)
    price = {m.name: 1.0 if budget.cost == "steps" else rule.joules_per_step(m) for m in matrices}
    whole, left = (
        sum(price[name] * place.counts.steps for name, place in places.items())
        for places in (placed.dense, placed.layers)
    )
    return whole, left
