"""taylor: mean |w dL/dw| of a unit."""

from dataclasses import dataclass

from cimlab.pruning.allocation import PruningError
from cimlab.pruning.saliencies.base import Saliency, unit_mean


@dataclass(frozen=True)
class Taylor(Saliency):
    """Mean |w dL/dw|, averaged over batches (Molchanov et al., CVPR 2019, first order).

    >>> import torch
    >>> from cimlab.crossbar.units import UnitGrid
    >>> columns = UnitGrid(torch.tensor([0, 0]), torch.tensor([0, 1]))  # two units of 2 x 1
    >>> weights, importance = torch.ones(1, 2, 2), torch.tensor([[[0.5, 0.0], [1.5, 1.0]]])
    >>> Taylor().unit_scores(weights, importance, columns, torch.Generator()).tolist()
    [[[1.0, 0.5]]]

    Raises:
        PruningError: no importance was given.
    """

    needs_gradients = True
    additive_power = 1

    def unit_scores(self, weights, importance, grid, generator):
        if importance is None:
            raise PruningError(
                "saliency=taylor ranks by |w dL/dw| of some batches, and none were given; give importance, or take "
                "saliency=l2"
            )
        return unit_mean(importance, grid)
