"""l2: root mean square of a unit."""

from dataclasses import dataclass

from cimlab.pruning.saliencies.base import Saliency, unit_mean


@dataclass(frozen=True)
class L2(Saliency):
    """Root of the mean w^2: the L2 norm, normalised by the root of the unit's size (group norm, Wen et al. 2016).

    >>> import torch
    >>> from cimlab.crossbar.units import UnitGrid
    >>> columns = UnitGrid(torch.tensor([0, 0]), torch.tensor([0, 1]))  # two units of 2 x 1
    >>> L2().unit_scores(torch.tensor([[[7.0, 1.0], [-1.0, 1.0]]]), None, columns, torch.Generator()).tolist()
    [[[5.0, 1.0]]]
    """

    additive_power = 2

    def unit_scores(self, weights, importance, grid, generator):
        return unit_mean(weights.square(), grid).sqrt()
