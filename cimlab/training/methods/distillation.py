"""Knowledge distillation: in retraining, the pruned network also learns what the dense one says of every image.

Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", arXiv:1503.02531 (2015). The dense network
sees the same augmented images, which costs one forward pass more; it is never trained and in no checkpoint, because
every run finds its dense weights again.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import pytorch_lightning as pl
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from cimlab.training.methods.base import Method, Part, Subject


def distillation_loss(
    student: Float[Tensor, "batch classes"], teacher: Float[Tensor, "batch classes"], temperature: float
) -> Float[Tensor, ""]:
    """T^2 times the divergence of the softened student from the softened teacher, averaged over the batch, in nats.

    The factor T^2 keeps the size of the gradients when T changes (Hinton et al., section 2). Computed in float32,
    whatever the logits are.
    """
    soft = F.log_softmax(student.float() / temperature, dim=1)
    target = F.log_softmax(teacher.float() / temperature, dim=1)
    return temperature**2 * F.kl_div(soft, target, reduction="batchmean", log_target=True)


@dataclass(frozen=True, kw_only=True)
class Distillation(Method):
    """Soft targets of the dense network in retraining.

    Args:
        weight: of the loss on the soft targets; the loss on the labels keeps 1 - weight.
        temperature: divides the logits of both networks.
    """

    possible = ("retrain",)
    weight: float
    temperature: float

    def __post_init__(self) -> None:
        for name, most in (("weight", 1), ("temperature", 100)):
            value = getattr(self, name)
            if not 0 < value <= most:
                raise ValueError(f"method.distillation.{name}={value:g} must be above 0 and at most {most}")

    def part(self, subject: Subject) -> Teacher:
        return Teacher(subject.network, self.weight, self.temperature, subject.compile)


class Teacher(Part):
    """A frozen copy of a network as it is now, and the loss of a student that listens to it.

    Args:
        network: the dense network; copied with its memory format.
        weight, temperature: as in `Distillation`.
        compile: compile the copy with torch.compile.
    """

    def __init__(self, network: nn.Module, weight: float, temperature: float, compile: bool = False) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.weight = weight
        self.temperature = temperature
        if compile:
            self.network.compile()

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.network.to(pl_module.device)

    def loss(
        self,
        loss: Float[Tensor, ""],
        logits: Float[Tensor, "batch classes"],
        images: Float[Tensor, "batch channels height width"],
    ) -> Float[Tensor, ""]:
        """(1 - weight) times the loss on the labels plus weight times the loss on the soft targets."""
        with torch.no_grad():
            targets = self.network(images)
        return torch.lerp(loss, distillation_loss(logits, targets, self.temperature).to(loss), self.weight)
