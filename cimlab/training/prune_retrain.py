"""The prune-retrain callback: carries out a schedule's events during a fit, and holds the masks in between."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import Any

import pytorch_lightning as pl
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.data.seeding import mixed_seed
from cimlab.network.borrowed import borrowed
from cimlab.network.weights import parameters, snapshot, stored_at
from cimlab.pruning.allocation import Budget
from cimlab.pruning.masks import MaskHolder, Masks, PruningRule, layer_weight, make_masks
from cimlab.pruning.schedules import PruneEvent, step_at
from cimlab.training.module import Classifier
from cimlab.training.parallel import agreed, averaged


class PruneRetrain(pl.Callback):
    """Prunes at the steps that the schedule names.

    Masks, the next event and the weights right after the last event are part of the checkpoint, so that a
    resumed run goes on as if nothing had happened.

    Args:
        matrices: the prunable layers.
        rule: granularity, saliency, geometry.
        budget: the budget to reach at the end.
        events: when to prune, the last one to the whole budget.
        seed: seed of saliencies that draw random numbers.
        gradient_batches: training batches for saliencies that need gradients.
        start: fraction of the retraining before the first event; all are spread over the rest.
    """

    def __init__(
        self,
        matrices: list[CrossbarMatrix],
        rule: PruningRule,
        budget: Budget,
        events: list[PruneEvent],
        seed: int,
        gradient_batches: int,
        start: float = 0.0,
    ) -> None:
        self.matrices = matrices
        self.rule = rule
        self.budget = budget
        self.events = [replace(event, at=start + (1 - start) * event.at) for event in events]
        self.seed = seed
        self.gradient_batches = gradient_batches
        self.masks: Masks = {}
        self.events_done = 0
        self.weights_after_pruning: dict[str, Tensor] = {}
        self._holder: MaskHolder | None = None

    def state_dict(self) -> dict[str, Any]:
        return {
            "masks": self.masks,
            "events_done": self.events_done,
            "weights_after_pruning": self.weights_after_pruning,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.masks = state_dict["masks"]
        self.events_done = state_dict["events_done"]
        self.weights_after_pruning = state_dict["weights_after_pruning"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.masks:  # of a checkpoint, which is read onto the processor
            self.masks = {name: mask.to(pl_module.device) for name, mask in self.masks.items()}
            self._hold(_network(pl_module))
        for optimizer in trainer.optimizers:
            optimizer.register_step_post_hook(self._after_step)

    def _after_step(self, *_: object) -> None:
        if self._holder is not None:
            self._holder.hold()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        total = int(trainer.estimated_stepping_batches)
        while self.events_done < len(self.events):
            event = self.events[self.events_done]
            if trainer.global_step < step_at(event.at, total):
                return
            self._prune(trainer, pl_module, event)
            self.events_done += 1

    def _prune(self, trainer: pl.Trainer, pl_module: pl.LightningModule, event: PruneEvent) -> None:
        network = _network(pl_module)
        importance = None
        if self.rule.saliency.needs_gradients:
            importance = mean_importance(
                pl_module, trainer.train_dataloader, self.matrices, self.gradient_batches
            )
        target = budget_at(self.budget, event)
        generator = torch.Generator().manual_seed(mixed_seed(self.seed, self.events_done))
        masks = make_masks(
            network, self.matrices, self.rule, target, generator, self.masks or None, importance
        )
        self.masks = agreed(masks)
        self._hold(network)
        if self.events_done == len(self.events) - 1:
            self.weights_after_pruning = snapshot(network)

    def _hold(self, network: nn.Module) -> None:
        self._holder = MaskHolder(network, self.masks)
        self._holder.hold()


def _network(module: pl.LightningModule) -> nn.Module:
    assert isinstance(module, Classifier)
    return module.network


def budget_at(final: Budget, event: PruneEvent) -> Budget:
    """The budget on the way: every layer's own fraction is as far as the pruning is."""
    if event.done == 1:
        return final
    layers = {name: 1 - (1 - left) * event.done for name, left in final.layer_remaining.items()}
    return replace(final, remaining=event.remaining, layer_remaining=layers)


def mean_importance(
    module: pl.LightningModule, batches: Any, matrices: list[CrossbarMatrix], count: int
) -> dict[str, Float[Tensor, "..."]]:
    """|w dL/dw| of the training loss, averaged over the first `count` batches, BatchNorm frozen."""
    network = _network(module)
    sums = {m.name: torch.zeros_like(layer_weight(network, m.name)) for m in matrices}
    taken = 0
    with borrowed(network):
        for images, labels in islice(batches, count):
            with parametrize.cached(), module.trainer.precision_plugin.forward_context():
                loss = F.cross_entropy(network(images.to(module.device)), labels.to(module.device))
                weights = {name: multiplied(network, name) for name in sums}
            gradients = torch.autograd.grad(loss, [weight for weight, _ in weights.values()])
            for total, (weight, rows), gradient in zip(
                sums.values(), weights.values(), gradients, strict=True
            ):
                total += (weight.detach() * averaged(gradient)).abs()[rows]
            taken += 1
    return {name: total / taken for name, total in sums.items()}


def multiplied(network: nn.Module, name: str) -> tuple[Tensor, slice]:
    """What the last forward pass multiplied by, where the weight called `name` is in it: a parameter and rows of it, or
    what its layer computes (within `parametrize.cached`, for torch's parametrisations).
    """
    stored = parameters(network)
    parameter, rows = stored_at(stored, name)
    layer = dict(network.named_modules()).get(name)
    own = getattr(layer, "weight", None)
    return (own, rows) if isinstance(own, Tensor) else (stored[parameter], rows)
