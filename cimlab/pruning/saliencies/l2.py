"""l2: root mean square of a unit."""

from dataclasses import dataclass

from cimlab.pruning.saliencies.base import Saliency, unit_mean


@dataclass(frozen=True)
class L2(Saliency):
    """Root of the mean w^2: the L2 norm, normalised by the root of the unit's size (group norm, Wen et al. 2016)."""

    additive_power = 2

    def unit_scores(self, weights, importance, grid, generator):
        return unit_mean(weights.square(), grid).sqrt()
