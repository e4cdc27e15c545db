"""pattern N:M: N weights kept of every M down a column. Saves storage after compaction, no step."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.units import UnitGrid
from cimlab.pruning.allocation import PruningError
from cimlab.pruning.granularities.base import Granularity, Look, balanced_tiers, block_units


@dataclass(frozen=True)
class Pattern(Granularity):
    """N:M sparsity (Mishra et al., arXiv:2104.08378); N of a layer follows from its share of `prune.remaining`.

    With `prune.allocation=uniform`, 0.5 with m=4 is 2:4 everywhere; by one threshold for all layers, N differs.

    Tiers 0 and 1 of a column, which 2:4 keeps, are its two best weights:

    >>> import torch
    >>> scores = torch.tensor([[[0.1], [0.9], [0.5], [0.7]]])
    >>> Pattern(m=4).tiers(scores, CrossbarMatrix("fc", (1, 4)), CrossbarGeometry()).flatten().tolist()
    [3, 0, 2, 1]

    Args:
        m: weights of one group, inside a column segment.

    Raises:
        ValueError: m is below 2.
        PruningError: m does not divide active_rows and rows.
    """

    look = Look(60, "#56B4E9", "cross")

    m: int = 4

    def __post_init__(self) -> None:
        if self.m < 2:
            raise ValueError(f"pattern m={self.m} must be 2 or more")

    def units(self, matrix: CrossbarMatrix, geometry: CrossbarGeometry) -> UnitGrid:
        for name in ("active_rows", "rows"):
            if getattr(geometry, name) % self.m:
                raise PruningError(
                    f"pattern m={self.m} must divide geometry.{name}={getattr(geometry, name)}"
                )
        return block_units(matrix, geometry, 1, 1)

    def tiers(
        self,
        scores: Float[Tensor, "groups unit_rows unit_cols"],
        matrix: CrossbarMatrix,
        geometry: CrossbarGeometry,
    ) -> Int[Tensor, "groups unit_rows unit_cols"]:
        """Rank among M consecutive weights of a column."""
        return balanced_tiers(scores, 1, self.m, 1)
