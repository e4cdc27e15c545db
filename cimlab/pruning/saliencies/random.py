"""random: noise, the control."""

from dataclasses import dataclass

import torch

from cimlab.pruning.saliencies.base import Saliency


@dataclass(frozen=True)
class Random(Saliency):
    """Uniform noise: the control that every criterion must beat."""

    additive_power = 1  # noise shared out among costs is noise

    def unit_scores(self, weights, importance, grid, generator):
        shape = (weights.shape[0], grid.unit_rows, grid.unit_cols)
        return torch.rand(shape, generator=generator).to(weights.device)
