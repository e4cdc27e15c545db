"""ADMM: training that pulls the weights towards the nearest network that the budget allows, before it is pruned.

Zhang et al., "A systematic DNN weight pruning framework using alternating direction method of multipliers", ECCV 2018.
The loss gains rho / 2 |W - Z + U|^2; from time to time Z becomes the projection of W + U on whole kept units, and the
scaled dual U takes in W - Z. Between these updates the weights learn by gradient descent, as ever.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.network.weights import parameters, stored_at
from cimlab.pruning.allocation import Budget
from cimlab.pruning.masks import PruningRule, layer_weight, make_masks
from cimlab.pruning.saliencies.l2 import L2

Layers = dict[str, Tensor]
"""Layer name -> a tensor in the shape of its weight."""


class Admm:
    """Targets and duals of the prunable layers.

    Half of four weights are to go; the penalty pulls those two towards 0 and leaves the others alone:

    >>> from cimlab.crossbar.geometry import CrossbarGeometry
    >>> from cimlab.pruning.granularities.weight import Weight
    >>> layer = nn.Linear(2, 2, bias=False)
    >>> layer.weight.data, layer.weight.grad = torch.tensor([[1.0, 0.5], [0.25, 2.0]]), torch.zeros(2, 2)
    >>> rule = PruningRule(Weight(), L2(), CrossbarGeometry())
    >>> admm = Admm([CrossbarMatrix("weight", (2, 2))], rule, Budget(remaining=0.5))
    >>> admm.update(layer, rho=1.0)
    >>> admm.pull(layer)
    >>> layer.weight.grad.tolist()
    [[0.0, 1.0], [0.5, 0.0]]

    Args:
        matrices: the prunable layers.
        rule: granularity and geometry; units are kept by L2, because the projection is the nearest point.
        budget: how many weights the projection keeps.
    """

    def __init__(self, matrices: list[CrossbarMatrix], rule: PruningRule, budget: Budget) -> None:
        self.matrices = matrices
        self.rule = replace(rule, saliency=L2())
        self.budget = budget
        self.targets: Layers = {}
        self.duals: Layers = {}
        self.rho = 0.0

    @torch.no_grad()
    def update(self, network: nn.Module, rho: float) -> None:
        """One step of Z and U. Scaled duals change with rho (Boyd et al., 2011, section 3.4.1).

        Args:
            network: its weights are W; they stay as they are.
            rho: strength of the pull until the next update.
        """
        weights = {m.name: layer_weight(network, m.name) for m in self.matrices}
        if not self.duals:
            self.duals = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        before = {name: weight.clone() for name, weight in weights.items()}
        for name, weight in weights.items():
            weight.add_(self.duals[name])
        masks = make_masks(network, self.matrices, self.rule, self.budget, torch.Generator())
        self.targets = {name: weight * masks[name] for name, weight in weights.items()}
        scale = self.rho / rho if self.rho else 1.0
        for name, weight in weights.items():
            self.duals[name] = (weight - self.targets[name]) * scale  # U + W - Z
            weight.copy_(before[name])
        self.rho = rho

    @torch.no_grad()
    def pull(self, network: nn.Module) -> None:
        """Add the gradient of the penalty, rho (W - Z + U), to the gradients of the loss."""
        stored = parameters(network)
        for name, target in self.targets.items():
            parameter, rows = stored_at(stored, name)
            weight = stored[parameter]
            if weight.grad is not None:  # rows of a packed weight have none of their own
                weight.grad[rows].add_(weight[rows] - target + self.duals[name], alpha=self.rho)

    def release(self) -> None:
        """Pull no longer."""
        self.targets, self.duals, self.rho = {}, {}, 0.0
