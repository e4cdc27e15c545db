"""The callback that trains with ADMM in the first part of the retraining, before the schedule prunes."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch

from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.pruning.admm import Admm
from cimlab.pruning.allocation import Budget
from cimlab.pruning.masks import PruningRule
from cimlab.training.module import Classifier
from cimlab.training.settings import AdmmSettings


class AdmmTraining(pl.Callback):
    """Updates targets and duals at equal steps, and adds the penalty's gradient before every optimiser step.

    Targets, duals and the updates done are part of the checkpoint.

    Args:
        matrices: the prunable layers.
        rule: granularity and geometry.
        budget: the budget to be reached at the end.
        settings: how long, how often and how strongly.
    """

    def __init__(
        self, matrices: list[CrossbarMatrix], rule: PruningRule, budget: Budget, settings: AdmmSettings
    ) -> None:
        self.admm = Admm(matrices, rule, budget)
        self.settings = settings
        self.updates_done = 0

    def state_dict(self) -> dict[str, Any]:
        admm = self.admm
        return {
            "targets": admm.targets,
            "duals": admm.duals,
            "rho": admm.rho,
            "updates_done": self.updates_done,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.admm.targets, self.admm.duals = state_dict["targets"], state_dict["duals"]
        self.admm.rho, self.updates_done = state_dict["rho"], state_dict["updates_done"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for layers in (self.admm.targets, self.admm.duals):
            for name, value in layers.items():
                layers[name] = value.to(pl_module.device)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, Classifier)
        settings, total = self.settings, int(trainer.estimated_stepping_batches)
        if self.updates_done > settings.updates:
            return
        share = settings.share * self.updates_done / settings.updates
        if trainer.global_step < round(share * total):
            return
        if self.updates_done == settings.updates:
            self.admm.release()
        else:
            self.admm.update(pl_module.network, settings.rho_at(self.updates_done))
        self.updates_done += 1

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        assert isinstance(pl_module, Classifier)
        self.admm.pull(pl_module.network)
