"""Reordering: rows and columns change places on the arrays before pruning, so that unimportant weights share units.

Pool and Yu, "Channel permutations for N:M sparsity", NeurIPS 2021, and Ji et al., "TETRIS", NeurIPS 2018; here every
layer has orders of its own (`pruning/reorder.py`). The orders follow from the dense weights, so that a resumed run
finds them again; they are priced as addresses that the arrays' periphery stores and reads.
"""

from __future__ import annotations

from dataclasses import dataclass

from cimlab.pruning.reorder import Lines, Reordered, reorder
from cimlab.training.methods.base import Arrangement, Method, Subject


@dataclass(frozen=True, kw_only=True)
class Reorder(Method):
    """Search orders before pruning.

    Args:
        rows: of wordlines.
        columns: of bitlines.
        search_rounds: most rounds of the search.
    """

    possible = ("retrain",)
    rows: bool = True
    columns: bool = True
    search_rounds: int = 8

    def __post_init__(self) -> None:
        if not self.rows and not self.columns:
            raise ValueError(
                "method.reorder.rows=false with columns=false moves nothing; take reorder out of method"
            )
        if not 1 <= self.search_rounds <= 1000:
            raise ValueError(f"method.reorder.search_rounds={self.search_rounds} must be from 1 to 1000")

    def arrange(self, subject: Subject) -> Arrangement:
        lines = Lines(self.rows, self.columns, self.search_rounds)
        found = reorder(subject.network, subject.prunable, subject.rule, subject.budget, lines, subject.seed)
        line = (
            f"reorder: pruning keeps {100 * found.after:.1f} % of the squared weights instead of "
            f"{100 * found.before:.1f} %"
        )
        return Arrangement(found.matrices, summary(found), line)


def summary(found: Reordered) -> dict:
    """Share of the magnitude that pruning the dense weights keeps, without and with the orders found."""
    matrices = {m.name: m for m in found.matrices}
    layers = {
        name: {"kept_before": before, "kept_after": after, "order_bits": matrices[name].order_bits}
        for name, (before, after) in found.layers.items()
    }
    return {"kept_before": found.before, "kept_after": found.after, "layers": layers}
