"""How much a unit matters: one number per unit, from the current weights (and gradients, for Taylor).

Every score is a mean over the unit's weights, so that ragged edge units compare with whole ones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from cimlab.crossbar.units import UnitGrid


class Saliency(ABC):
    """A rule that scores units; larger is kept longer.

    One of your own, by the mean square, of two columns as units:

    >>> class MeanSquare(Saliency):
    ...     additive_power = 1
    ...
    ...     def unit_scores(self, weights, importance, grid, generator):
    ...         return unit_mean(weights.square(), grid)
    >>> columns = UnitGrid(torch.tensor([0, 0]), torch.tensor([0, 1]))
    >>> MeanSquare().unit_scores(torch.tensor([[[3.0, 0.0], [1.0, 2.0]]]), None, columns, torch.Generator()).tolist()
    [[[5.0, 2.0]]]
    """

    needs_gradients = False
    additive_power: ClassVar[int | None] = None
    """Scores to this power, times the weights of their units, may be added up; None where no power does."""

    @abstractmethod
    def unit_scores(
        self,
        weights: Float[Tensor, "groups rows cols"],
        importance: Float[Tensor, "groups rows cols"] | None,
        grid: UnitGrid,
        generator: torch.Generator,
    ) -> Float[Tensor, "groups unit_rows unit_cols"]:
        """Scores of all units of one layer.

        Args:
            weights: the crossbar matrix.
            importance: mean of |w dL/dw| over batches, if `needs_gradients`.
            grid: the units.
            generator: source of randomness, seeded by the run.
        """


def unit_mean(
    values: Float[Tensor, "groups rows cols"], grid: UnitGrid
) -> Float[Tensor, "groups unit_rows unit_cols"]:
    """The mean over each unit, whatever its size.

    >>> grid = UnitGrid(torch.tensor([0, 0, 1]), torch.tensor([0]))
    >>> unit_mean(torch.tensor([[[1.0], [3.0], [5.0]]]), grid).tolist()
    [[[2.0], [5.0]]]
    """
    return grid.reduce(values) / grid.sizes().to(values.device)
