"""random: noise, the control."""

from dataclasses import dataclass

import torch

from cimlab.pruning.saliencies.base import Saliency


@dataclass(frozen=True)
class Random(Saliency):
    """Uniform noise: the control that every criterion must beat.

    One number per unit, from the run's seed and whatever the weights:

    >>> from cimlab.crossbar.units import UnitGrid
    >>> columns = UnitGrid(torch.tensor([0, 0]), torch.tensor([0, 1]))  # two units of 2 x 1
    >>> draws = [Random().unit_scores(w, None, columns, torch.manual_seed(0)) for w in torch.zeros(2, 1, 2, 2)]
    >>> draws[0].shape, torch.equal(*draws)
    (torch.Size([1, 1, 2]), True)
    """

    additive_power = 1  # noise shared out among costs is noise

    def unit_scores(self, weights, importance, grid, generator):
        shape = (weights.shape[0], grid.unit_rows, grid.unit_cols)
        return torch.rand(shape, generator=generator).to(weights.device)
