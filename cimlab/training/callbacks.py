"""What watches a fit: epoch reports (history, tracker, terminal), seeds that make an epoch repeatable, mapping."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.placement import NetworkPlacement, place_network
from cimlab.crossbar.summary import counts_summary
from cimlab.hardware.cost import CostModel
from cimlab.network.off_arrays import OffArrays
from cimlab.progress import duration
from cimlab.pruning.granularities.base import Granularity
from cimlab.pruning.masks import Masks
from cimlab.records.history import append_row, read_rows
from cimlab.records.metrics import hardware_metrics
from cimlab.training.module import Classifier, TrainingError
from cimlab.training.settings import MappingSettings
from cimlab.training.tracking import Tracker

Judge = Callable[[list[float]], str | None]
"""From the validation accuracies of the retraining so far, why it is not worth going on, or None."""


Tell = Callable[[str, dict[str, str]], None]
"""Shows where a fit is, and what the epoch came to: `loss`, `validation` where there is one, `speed`, time `left`."""


class Hopeless(RuntimeError):
    """A run that its judge has stopped; the message is the judge's."""


class SeedEpochs(pl.Callback):
    """Seeds every epoch by (seed, phase, epoch), so that a run resumed at an epoch draws what it would have drawn."""

    def __init__(self, seed: int, phase: str) -> None:
        self.seed = seed
        self.phase = phase

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        offset = {"dense": 0, "retrain": 1}[self.phase]
        seed = (self.seed * 2 + offset) * 100_003 + trainer.current_epoch
        pl.seed_everything(seed % 2**32, verbose=False)  # numpy takes no larger one


class EpochReport(pl.Callback):
    """One row per epoch: to the history file, the tracker, and (where there are no bars) the terminal.

    Args:
        phase: dense or retrain.
        first_epoch: epochs of earlier phases, so that the tracker's axis runs on.
        history: the JSON-lines file.
        tracker: where the row is shown.
        tell: told where the fit is and what the epoch came to; None where nobody looks.
        judge: asked after each epoch whether to go on.
        later: epochs of the phase after it, which the time that is left counts in.
    """

    def __init__(
        self,
        phase: str,
        first_epoch: int,
        history: Path,
        tracker: Tracker,
        tell: Tell | None,
        judge: Judge | None = None,
        later: int = 0,
    ) -> None:
        self.judge = judge
        self.later = later
        self.phase = phase
        self.first_epoch = first_epoch
        self.history = history
        self.tracker = tracker
        self.tell = tell
        self._started = 0.0
        self._trained = 0.0
        self._loss = math.nan

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for row in read_rows(self.history):  # of a run that was killed: its tracker's curves begin anew
            if row["epoch"] < trainer.current_epoch:
                self.tracker.log(tracked(row, self.first_epoch))

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not trainer.is_last_batch:
            return
        assert isinstance(pl_module, Classifier)
        self._loss = pl_module.training_mean.take()["loss"]  # waits for the device, so that the time is true
        self._trained = time.perf_counter()
        if not math.isfinite(self._loss):
            raise TrainingError(
                f"the training loss became {self._loss} in {self.phase} epoch {trainer.current_epoch + 1}; "
                "lower optimizer.lr or lengthen recipe.warmup (earlier results are untouched)"
            )

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        loader: Any = trainer.train_dataloader
        images = trainer.num_training_batches * loader.batch_size
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        row = {
            "loss/train": self._loss,
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "throughput/train_images_per_s": images / (self._trained - self._started),
            **metrics,
        }
        seconds = time.perf_counter() - self._started
        if not trainer.is_global_zero:
            return
        stored = {"phase": self.phase, "epoch": trainer.current_epoch, "seconds": seconds, **row}
        append_row(self.history, stored)
        self.tracker.log(tracked(stored, self.first_epoch))
        if self.tell is not None:
            where = f"{self.phase} epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
            left = (trainer.max_epochs or 0) - trainer.current_epoch - 1 + self.later
            self.tell(where, self._words(row, seconds * left))
        if self.judge is not None and "accuracy/validation" in row:
            accuracies = [shown["accuracy/validation"] for shown in read_rows(self.history)]
            if (reason := self.judge(accuracies)) is not None:
                raise Hopeless(reason)

    def _words(self, row: dict[str, float], seconds_left: float) -> dict[str, str]:
        words = {"loss": f"loss {self._loss:.3f}"}
        if "accuracy/validation" in row:
            words["validation"] = f"validation {100 * row['accuracy/validation']:.2f} %"
        words["speed"] = f"{row['throughput/train_images_per_s']:,.0f} images/s"
        return words | ({"left": f"about {duration(seconds_left)} left"} if seconds_left >= 1 else {})


def tracked(row: dict[str, Any], first_epoch: int = 0) -> dict[str, float]:
    """What a tracker is told of a row of the history: its numbers, epochs of earlier phases counted in."""
    shown = {name: value for name, value in row.items() if name not in ("phase", "seconds")}
    return {**shown, "epoch": first_epoch + row["epoch"]}


class CimMapping(pl.Callback):
    """Maps the masked network on its arrays at the end of a phase, and every N epochs if asked.

    Args:
        matrices: all mapped layers; off_arrays: what is multiplied beside them.
        geometry: the array.
        cost: what its work is priced with; inputs and cell values are assumed while training goes on.
        granularity: gives the index that pruning support needs.
        settings: row order, placement, how often.
        masks: the masks at the time of asking.
        tracker: where counts are shown.
        first_epoch: epochs of earlier phases.
    """

    def __init__(
        self,
        matrices: list[CrossbarMatrix],
        off_arrays: OffArrays,
        geometry: CrossbarGeometry,
        cost: CostModel,
        granularity: Granularity,
        settings: MappingSettings,
        masks: Callable[[], Masks],
        tracker: Tracker,
        first_epoch: int = 0,
    ) -> None:
        self.matrices = matrices
        self.off_arrays = off_arrays
        self.geometry = geometry
        self.cost = cost
        self.granularity = granularity
        self.settings = settings
        self.masks = masks
        self.tracker = tracker
        self.first_epoch = first_epoch

    def place(self) -> NetworkPlacement:
        """Where the weights are now."""
        return place_network(
            self.matrices, self.masks(), self.geometry, self.granularity.index, self.settings.placement,
            self.off_arrays.weights,
        )  # fmt: skip

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        every = self.settings.every_n_epochs
        if every and (trainer.current_epoch + 1) % every == 0:
            self._log(trainer.current_epoch)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._log(trainer.current_epoch - 1)

    def _log(self, epoch: int) -> None:
        placement = self.place()
        compared = self.cost.compare(self.matrices, placement, self.geometry, off_arrays=self.off_arrays)
        counts = counts_summary(self.matrices, placement, self.geometry)
        metrics = hardware_metrics(counts, compared.summary())
        compression = placement.weights["compression"]
        self.tracker.log({"epoch": self.first_epoch + epoch, "compression": compression, **metrics})
        self.tracker.log_table("hardware/layers", layer_rows(placement))


def layer_rows(placement: NetworkPlacement) -> list[dict[str, int | str]]:
    """Counts by layer, one row per layer."""
    return [{"layer": name, **asdict(layer.counts)} for name, layer in placement.layers.items()]
