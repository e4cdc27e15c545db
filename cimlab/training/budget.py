"""What the pruning settings say of a network: which layers may be pruned, and how many weights stay."""

from __future__ import annotations

from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.pruning.allocation import Budget, PruningError
from cimlab.training.settings import PruneSettings


def budget_of(prune: PruneSettings) -> Budget:
    """The pruning budget that the settings describe.

    Raises:
        PruningError: fractions by layer are given, and the allocation reads none.
    """
    if prune.layer_remaining and prune.allocation != "per_layer":
        raise PruningError(
            f"prune.layer_remaining is not read by prune.allocation={prune.allocation}; set "
            "prune.allocation=per_layer, or leave it out"
        )
    return Budget(
        prune.remaining, prune.allocation, prune.layer_floor, dict(prune.layer_remaining), prune.budget
    )


def prunable_matrices(matrices: list[CrossbarMatrix], prune: PruneSettings) -> list[CrossbarMatrix]:
    """The layers that may be pruned: all on arrays, less the exempt ends of those.

    Raises:
        PruningError: none is left.
    """
    chosen = matrices[1 if prune.exempt_first else 0 : -1 if prune.exempt_last else None]
    if not chosen:
        exempt = [f"prune.{end}=false" for end in ("exempt_first", "exempt_last") if getattr(prune, end)]
        one = len(matrices) == 1
        there = "one mapped layer, first and last at once," if one else "2 mapped layers, first and last,"
        mend = (" and " if one else " or ").join(exempt)
        raise PruningError(
            f"no layer is left to prune: the network has {there} exempt from pruning; set {mend}"
        )
    return chosen
