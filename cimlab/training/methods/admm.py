"""ADMM in the first part of the retraining, before anything is pruned (`pruning/admm.py` has the algorithm).

Zhang et al., "A systematic DNN weight pruning framework using alternating direction method of multipliers", ECCV 2018.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch

from cimlab.pruning.admm import Admm
from cimlab.pruning.schedules import step_at
from cimlab.training.methods.base import Method, MethodError, Part, Subject
from cimlab.training.module import Classifier


@dataclass(frozen=True, kw_only=True)
class AdmmTraining(Method):
    """Train towards the nearest network of whole kept units.

    Args:
        share: fraction of the retraining, at its start; prune events are spread over the rest.
        updates: of targets and duals, equally spaced.
        first_rho: strength of the pull after the first update.
        last_rho: after the last; geometric in between.
    """

    possible = ("retrain",)
    share: float
    updates: int
    first_rho: float
    last_rho: float

    def __post_init__(self) -> None:
        allowed = {
            "share": 0 < self.share < 1, "updates": 1 <= self.updates <= 10_000,
            "first_rho": 0 < self.first_rho <= 1, "last_rho": 0 < self.last_rho <= 1,
        }  # fmt: skip
        ranges = {"share": "between 0 and 1", "updates": "from 1 to 10000"}
        for name, fits in allowed.items():
            if not fits:
                must = ranges.get(name, "above 0 and at most 1")
                raise ValueError(f"method.admm.{name}={getattr(self, name)} must be {must}")

    @property
    def start(self) -> float:
        return self.share

    def rho_at(self, update: int) -> float:
        """Strength after an update, the first being 0."""
        done = update / max(1, self.updates - 1)
        return self.first_rho * (self.last_rho / self.first_rho) ** done

    def part(self, subject: Subject) -> AdmmPart:
        return AdmmPart(Admm(subject.prunable, subject.rule, subject.budget), self)


class AdmmPart(Part):
    """Updates targets and duals at equal steps, and adds the penalty's gradient before every optimiser step.

    Targets, duals and the updates done are part of the checkpoint.

    Args:
        admm: targets and duals.
        settings: how long, how often and how strongly.
    """

    def __init__(self, admm: Admm, settings: AdmmTraining) -> None:
        self.admm = admm
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
        share, total = self.settings.share, int(trainer.estimated_stepping_batches)
        if step_at(share, total) == 0:
            raise MethodError(
                f"method.admm.share={share:g} of {total} steps of retraining is none; use a larger share, or more "
                "schedule.epochs"
            )
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
        # also where updates outnumber the steps until then
        if trainer.global_step >= step_at(settings.share, total):
            self.admm.release()
            self.updates_done = settings.updates + 1
        elif trainer.global_step >= step_at(settings.share * self.updates_done / settings.updates, total):
            self.admm.update(pl_module.network, settings.rho_at(self.updates_done))
            self.updates_done += 1

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        assert isinstance(pl_module, Classifier)
        self.admm.pull(pl_module.network)
