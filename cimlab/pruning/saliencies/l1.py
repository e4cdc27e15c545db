"""l1: mean |w| of a unit."""

from dataclasses import dataclass

from cimlab.pruning.saliencies.base import Saliency, unit_mean


@dataclass(frozen=True)
class L1(Saliency):
    """Mean |w| (Han et al., NeurIPS 2015; Li et al., ICLR 2017)."""

    additive_power = 1

    def unit_scores(self, weights, importance, grid, generator):
        return unit_mean(weights.abs(), grid)
