"""The one LightningModule: a classifier, its loss, its learning rate. Counts stay on the device until an epoch ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import pytorch_lightning as pl
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from cimlab.errors import CimlabError
from cimlab.training.learning_rate import RateCurve
from cimlab.training.methods.base import Part
from cimlab.training.parallel import totals

OptimizerFactory = Callable[[Iterable[dict]], torch.optim.Optimizer]
Batch = tuple[Float[Tensor, "batch channels height width"], Int[Tensor, " batch"]]


class TrainingError(CimlabError, RuntimeError):
    """Training that can't go on; the message says why and what to change."""


class RunningMean:
    """Sums of per-batch statistics on the device, read (and synchronised) once an epoch."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._samples = 0

    def add(self, samples: int, **sums: Tensor) -> None:
        """Add a batch: its size, and sums over its samples."""
        self._samples += samples
        for name, value in sums.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value

    def take(self) -> dict[str, float]:
        """Means over all samples of all ranks since the last call, and start afresh."""
        *sums, samples = totals([*map(float, self._sums.values()), self._samples])
        means = {name: value / samples for name, value in zip(self._sums, sums, strict=True)}
        self._sums, self._samples = {}, 0
        return means


class Classifier(pl.LightningModule):
    """A network trained by cross-entropy.

    Args:
        network: images to logits.
        optimizer_factory: parameter groups to optimiser; its `lr` is the peak learning rate.
        curve: learning rate over the peak, as a function of progress.
        label_smoothing: weight of the uniform target in training.
        parts: methods at work, which may change images and loss of a training step.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer_factory: OptimizerFactory,
        curve: RateCurve,
        label_smoothing: float = 0.0,
        parts: Sequence[Part] = (),
    ) -> None:
        super().__init__()
        self.network = network
        self.optimizer_factory = optimizer_factory
        self.curve = curve
        self.label_smoothing = label_smoothing
        self.parts = parts
        self.quantisers = nn.ModuleDict()  # filled for quantisation-aware training
        self.training_mean = RunningMean()
        self.evaluation_mean = RunningMean()

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        return self.network(images)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, labels = batch
        for part in self.parts:
            images = part.images(images, self.current_epoch, self.trainer.max_epochs or 1)
        logits = self.network(images)
        loss = F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        for part in self.parts:
            loss = part.loss(loss, logits, images)
        self.training_mean.add(len(labels), loss=loss.detach() * len(labels))
        return loss

    def _evaluate(self, batch: Batch) -> None:
        images, labels = batch
        logits = self.network(images).float()
        self.evaluation_mean.add(
            len(labels),
            loss=F.cross_entropy(logits, labels, reduction="sum"),
            accuracy=(logits.argmax(1) == labels).sum(),
        )

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate(batch)

    def on_validation_epoch_end(self) -> None:
        means = self.evaluation_mean.take()
        self.log_dict({f"{name}/validation": value for name, value in means.items()}, prog_bar=True)

    def on_test_epoch_end(self) -> None:
        means = self.evaluation_mean.take()
        self.log_dict({f"{name}/test": value for name, value in means.items()})

    def configure_optimizers(self):
        """Weight decay acts on weights only, not on biases, BatchNorm (He et al., CVPR 2019, section 3.1) and steps."""
        weights = [p for p in self.network.parameters() if p.ndim > 1]
        others = [p for p in self.network.parameters() if p.ndim <= 1]
        others += self.quantisers.parameters()
        optimizer = self.optimizer_factory([{"params": weights}, {"params": others, "weight_decay": 0.0}])
        total = max(1, int(self.trainer.estimated_stepping_batches))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self.curve((step + 0.5) / total))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
