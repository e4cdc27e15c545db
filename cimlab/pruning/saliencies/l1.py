"""l1: mean |w| of a unit."""

from dataclasses import dataclass

from cimlab.pruning.saliencies.base import Saliency, unit_mean


@dataclass(frozen=True)
class L1(Saliency):
    """Mean |w| (Han et al., NeurIPS 2015; Li et al., ICLR 2017).

    >>> import torch
    >>> from cimlab.crossbar.units import UnitGrid
    >>> columns = UnitGrid(torch.tensor([0, 0]), torch.tensor([0, 1]))  # two units of 2 x 1
    >>> L1().unit_scores(torch.tensor([[[3.0, 1.0], [-4.0, 0.0]]]), None, columns, torch.Generator()).tolist()
    [[[3.5, 0.5]]]
    """

    additive_power = 1

    def unit_scores(self, weights, importance, grid, generator):
        return unit_mean(weights.abs(), grid)
