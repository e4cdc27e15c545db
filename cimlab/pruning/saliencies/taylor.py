"""taylor: mean |w dL/dw| of a unit."""

from dataclasses import dataclass

from cimlab.pruning.allocation import PruningError
from cimlab.pruning.saliencies.base import Saliency, unit_mean


@dataclass(frozen=True)
class Taylor(Saliency):
    """Mean |w dL/dw|, averaged over batches (Molchanov et al., CVPR 2019, first order)."""

    needs_gradients = True
    additive_power = 1

    def unit_scores(self, weights, importance, grid, generator):
        if importance is None:
            raise PruningError(
                "saliency=taylor ranks by |w dL/dw| of some batches, and none were given; give importance, or take "
                "saliency=l2"
            )
        return unit_mean(importance, grid)
