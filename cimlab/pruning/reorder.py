"""Reordering: unimportant weights gather in the same units before pruning, by wordlines and bitlines of their own.

Which rows share a row group and which columns share a step is a mapping decision (`crossbar/permutation.py`). Pool
and Yu ("Channel permutations for N:M sparsity", NeurIPS 2021) and Ji et al. ("TETRIS", NeurIPS 2018) reorder a
network's channels so that what a mask keeps is worth more; here every layer has orders of its own, because the
crossbar's periphery addresses inputs and outputs, and residual connections then constrain nothing.

The search is coordinate ascent on the magnitude that the units kept at the layer's budget hold. For fixed kept
units, what a row is worth in each row of units is one matrix product, and disjoint pairs of rows change places
independently wherever that gains; then the kept units are chosen anew; columns likewise. Where units are of one
size, neither half lowers the magnitude kept. It starts from the order as it is and from lines sorted by magnitude,
and the better end counts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.units import UnitGrid, segment_sum
from cimlab.pruning.allocation import Budget, PruningError, keep_highest
from cimlab.pruning.masks import Masks, PruningRule, make_masks, ranked_values
from cimlab.pruning.saliencies.l1 import L1
from cimlab.pruning.saliencies.l2 import L2

PASSES_PER_UNIT = 4
"""Passes of random pairs for each row (or column) of units: a line meets the lines of each of them about as often."""
MOST_PASSES = 512
LEAST_GAIN = 1e-6
"""Of the magnitude kept; less is rounding."""


@dataclass(frozen=True)
class Lines:
    """What may be reordered, and for how long the search goes on.

    Args:
        rows: wordlines; costs an address a row.
        columns: bitlines; costs an address a column.
        rounds: most rounds of both from each start; it ends when a round gains nothing.
    """

    rows: bool = True
    columns: bool = True
    rounds: int = 8


@dataclass(frozen=True)
class Reordered:
    """The outcome of a search.

    Args:
        matrices: the prunable layers, with the permutations that were accepted.
        before: share of the squared (for L1: absolute) weights that pruning at the budget keeps, as they lie.
        after: the same with the permutations.
        layers: the same two by layer, each at the weights that the layer keeps as it lies.
    """

    matrices: list[CrossbarMatrix]
    before: float
    after: float
    layers: dict[str, tuple[float, float]]


@torch.no_grad()
def reorder(
    network: nn.Module,
    matrices: list[CrossbarMatrix],
    rule: PruningRule,
    budget: Budget,
    lines: Lines,
    seed: int,
) -> Reordered:
    """Search permutations for every layer; one is accepted only if the magnitude kept rises.

    Magnitude decides whatever the saliency is, because gradients say nothing about a later event.

    Segments of 2 x 1 weights, of which one stays: with both large weights in it, it keeps 18 of 20 and not 10:

    >>> from cimlab.crossbar.geometry import CrossbarGeometry
    >>> from cimlab.pruning.granularities.column_segment import ColumnSegment
    >>> layer = nn.Linear(4, 1, bias=False)
    >>> layer.weight.data = torch.tensor([[9.0, 1.0, 9.0, 1.0]])
    >>> rule = PruningRule(ColumnSegment(), L1(), CrossbarGeometry(active_rows=2))
    >>> found = reorder(layer, [CrossbarMatrix("weight", (1, 4))], rule, Budget(0.5), Lines(columns=False), seed=0)
    >>> found.before, found.after, found.matrices[0].row_permutation
    (0.5, 0.9, (0, 2, 1, 3))

    Args:
        network: with the weights to be pruned; not changed.
        matrices: the prunable layers, not permuted.
        rule: granularity, saliency and geometry.
        budget: how many weights stay in the end.
        lines: what may move.
        seed: of the pairs that are tried; the same seed finds the same permutations.

    Raises:
        PruningError: as `make_masks`.
    """
    rule = replace(rule, saliency=rule.saliency if isinstance(rule.saliency, L1) else L2())
    values = _magnitudes(network, matrices, rule)
    as_it_is = make_masks(network, matrices, rule, budget, torch.Generator())
    found, layers = [], {}
    for number, matrix in enumerate(matrices):
        generator = torch.Generator().manual_seed(seed * 10_007 + number)
        allowed = int(as_it_is[matrix.name].sum())
        searched = _search(matrix, values[matrix.name], rule, allowed, lines, generator)
        kept = [_kept_share(network, m, rule, allowed, values[matrix.name]) for m in (matrix, searched)]
        better = kept[1] > kept[0] * (1 + LEAST_GAIN)
        found.append(searched if better else matrix)
        layers[matrix.name] = (kept[0], kept[1] if better else kept[0])
    permuted = make_masks(network, found, rule, budget, torch.Generator())
    before, after = (_network_share(masks, matrices, values) for masks in (as_it_is, permuted))
    if after <= before:  # a threshold over all layers may share the budget out differently
        return Reordered(matrices, before, before, {name: (own, own) for name, (own, _) in layers.items()})
    return Reordered(found, before, after, layers)


def _magnitudes(
    network: nn.Module, matrices: list[CrossbarMatrix], rule: PruningRule
) -> dict[str, Float[Tensor, "groups rows cols"]]:
    """What adds up, layer by layer: |w| for L1 and w^2 for L2, in the layout without permutation."""
    power = rule.saliency.additive_power
    assert power is not None
    return {
        matrix.name: values.detach().cpu().abs().pow(power)
        for matrix, values in ranked_values(network, matrices, rule)
    }


def _network_share(masks: Masks, matrices: list[CrossbarMatrix], values: dict[str, Tensor]) -> float:
    kept = sum(float(values[m.name][m.to_matrix(masks[m.name].cpu())].sum()) for m in matrices)
    return kept / sum(float(v.sum()) for v in values.values())


def _kept_share(
    network: nn.Module, matrix: CrossbarMatrix, rule: PruningRule, allowed: int, values: Tensor
) -> float:
    """Share of a layer's magnitude that stays if `allowed` of its weights do; 0 if not even one unit fits."""
    budget = Budget(allowed / matrix.weights, "uniform", layer_floor=0.0)
    try:
        mask = make_masks(network, [matrix], rule, budget, torch.Generator())[matrix.name]
    except PruningError:
        return 0.0
    plain = replace(matrix, row_permutation=None, column_permutation=None)
    return float(values[plain.to_matrix(mask.cpu())].sum() / values.sum())


def _search(
    matrix: CrossbarMatrix,
    values: Float[Tensor, "groups rows cols"],
    rule: PruningRule,
    allowed: int,
    lines: Lines,
    generator: torch.Generator,
) -> CrossbarMatrix:
    """The matrix with the orders that keep the most."""
    grid = rule.granularity.units(matrix, rule.geometry)
    # units of one line, or of all lines, gather nothing
    rows = lines.rows and 1 < grid.unit_rows < matrix.rows
    columns = lines.columns and 1 < grid.unit_cols < matrix.cols
    if not rows and not columns:
        return matrix
    best, order = -1.0, (torch.arange(matrix.rows), torch.arange(matrix.cols))
    for start in (False, True):
        row_order = values.sum((0, 2)).argsort() if start and rows else torch.arange(matrix.rows)
        col_order = values.sum((0, 1)).argsort() if start and columns else torch.arange(matrix.cols)
        placed = values[:, row_order][:, :, col_order]
        kept, worth = _kept_units(placed, grid, allowed)
        for _ in range(lines.rounds):
            last = worth
            if rows:
                moved = exchange(_row_worth(placed, grid, kept), grid.row_of, generator)
                row_order, placed = row_order[moved], placed[:, moved]
                kept, worth = _kept_units(placed, grid, allowed)
            if columns:
                moved = exchange(_col_worth(placed, grid, kept), grid.col_of, generator)
                col_order, placed = col_order[moved], placed[:, :, moved]
                kept, worth = _kept_units(placed, grid, allowed)
            if worth <= last * (1 + LEAST_GAIN):
                break
        if worth > best:
            best, order = worth, (row_order, col_order)
    return replace(
        matrix,
        row_permutation=tuple(order[0].tolist()) if rows else None,
        column_permutation=tuple(order[1].tolist()) if columns else None,
    )


def _kept_units(
    placed: Float[Tensor, "groups rows cols"], grid: UnitGrid, allowed: int
) -> tuple[Bool[Tensor, "groups unit_rows unit_cols"], float]:
    """Units of the most magnitude per weight that fit, and the magnitude that they hold."""
    held = grid.reduce(placed)
    sizes = grid.sizes().expand_as(held)
    kept = keep_highest((held / sizes).flatten(), sizes.flatten(), allowed).view(held.shape)
    return kept, float(held[kept].sum())


def _row_worth(
    placed: Float[Tensor, "groups rows cols"], grid: UnitGrid, kept: Bool[Tensor, "groups urows ucols"]
) -> Float[Tensor, "rows urows"]:
    """What each row would add to the kept units of each row of units."""
    by_unit = segment_sum(placed, grid.col_of, grid.unit_cols, 2)
    return (by_unit @ kept.float().transpose(1, 2)).sum(0)


def _col_worth(
    placed: Float[Tensor, "groups rows cols"], grid: UnitGrid, kept: Bool[Tensor, "groups urows ucols"]
) -> Float[Tensor, "cols ucols"]:
    """What each column would add to the kept units of each column of units."""
    by_unit = segment_sum(placed, grid.row_of, grid.unit_rows, 1)
    return (by_unit.transpose(1, 2) @ kept.float()).sum(0)


def exchange(
    worth: Float[Tensor, "lines units"], unit_of: Int[Tensor, " lines"], generator: torch.Generator
) -> Int[Tensor, " lines"]:
    """Let lines change places, two by two, where their worth together rises; the line at each place.

    Line 0 is worth more in unit 1, and line 1 in unit 0:

    >>> worth = torch.tensor([[0.0, 5.0], [3.0, 1.0]])
    >>> exchange(worth, torch.tensor([0, 1]), torch.Generator()).tolist()
    [1, 0]

    The pairs of a pass are disjoint, so that all of them are decided at once. `sum(worth[line, unit_of])` never
    falls.
    """
    length, units = worth.shape
    line = torch.arange(length)
    half = length // 2
    for _ in range(min(MOST_PASSES, PASSES_PER_UNIT * units)):
        pairs = torch.randperm(length, generator=generator)[: 2 * half].view(2, half)
        own, there = line[pairs], unit_of[pairs]
        stay, leave = worth[own, there].sum(0), worth[own, there.flip(0)].sum(0)
        line[pairs] = torch.where(leave > stay, own.flip(0), own)
    return line
