"""Knowledge distillation: in retraining, the pruned network also learns what the dense one says of every image.

Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", arXiv:1503.02531 (2015). The dense network
sees the same augmented images, which costs one forward pass more; it is never trained and in no checkpoint, because
every run finds its dense weights again.
"""

from __future__ import annotations

import copy

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from cimlab.training.settings import DistillationSettings


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


class Teacher:
    """A frozen copy of a network as it is now, and the loss of a student that listens to it.

    Args:
        network: the dense network; copied with its memory format.
        settings: weight of the soft targets, and temperature.
        compile: compile the copy with torch.compile.
    """

    def __init__(self, network: nn.Module, settings: DistillationSettings, compile: bool = False) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.settings = settings
        if compile:
            self.network.compile()

    def to(self, device: torch.device) -> None:
        """Move the copy to where the student is."""
        self.network.to(device)

    def blend(
        self,
        hard_loss: Float[Tensor, ""],
        logits: Float[Tensor, "batch classes"],
        images: Float[Tensor, "batch channels height width"],
    ) -> Float[Tensor, ""]:
        """(1 - weight) times the loss on the labels plus weight times the loss on the soft targets."""
        with torch.no_grad():
            targets = self.network(images)
        soft_loss = distillation_loss(logits, targets, self.settings.temperature)
        return torch.lerp(hard_loss, soft_loss.to(hard_loss), self.settings.weight)
