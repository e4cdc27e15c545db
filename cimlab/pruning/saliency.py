"""How much a unit matters: one number per unit, from the current weights (and gradients, for Taylor).

Every score is a mean over the unit's weights, so that ragged edge units compare with whole ones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from cimlab.crossbar.units import UnitGrid


class Saliency(ABC):
    """A rule that scores units; larger is kept longer."""

    needs_gradients = False
    additive_power = 1
    """Scores to this power, times the weights of their units, may be added up."""

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


def _unit_mean(
    values: Float[Tensor, "groups rows cols"], grid: UnitGrid
) -> Float[Tensor, "groups urows ucols"]:
    return grid.reduce(values) / grid.sizes().to(values.device)


@dataclass(frozen=True)
class L1(Saliency):
    """Mean |w| (Han et al., NeurIPS 2015; Li et al., ICLR 2017)."""

    def unit_scores(self, weights, importance, grid, generator):
        return _unit_mean(weights.abs(), grid)


@dataclass(frozen=True)
class L2(Saliency):
    """Root of the mean w^2: the L2 norm, normalised by the root of the unit's size (group norm, Wen et al. 2016)."""

    additive_power = 2

    def unit_scores(self, weights, importance, grid, generator):
        return _unit_mean(weights.square(), grid).sqrt()


@dataclass(frozen=True)
class Taylor(Saliency):
    """Mean |w dL/dw|, averaged over batches (Molchanov et al., CVPR 2019, first order)."""

    needs_gradients = True

    def unit_scores(self, weights, importance, grid, generator):
        if importance is None:
            raise ValueError("saliency taylor needs |w dL/dw| of some batches, and none were given")
        return _unit_mean(importance, grid)


@dataclass(frozen=True)
class Random(Saliency):
    """Uniform noise: the control that every criterion must beat."""

    def unit_scores(self, weights, importance, grid, generator):
        shape = (weights.shape[0], grid.unit_rows, grid.unit_cols)
        return torch.rand(shape, generator=generator).to(weights.device)
