"""One Lightning fit, resumed where there is a checkpoint, and the one test of what fits have left.

What a fit needs is `Training` (the same for both phases), its `Phase`, and who takes part.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from cimlab.data.base import ImageDataModule
from cimlab.network.stored import not_finite
from cimlab.records.history import HISTORY_FILE
from cimlab.training import checkpoints
from cimlab.training.bar import PhaseBar
from cimlab.training.bfloat16 import products_in_float32
from cimlab.training.callbacks import EpochReport, Judge, SeedEpochs
from cimlab.training.feed import Feed
from cimlab.training.learning_rate import RateCurve, dense_curve
from cimlab.training.methods.base import Part, PhaseName
from cimlab.training.module import Classifier, OptimizerFactory, TrainingError
from cimlab.training.parallel import Rank
from cimlab.training.settings import Recipe, TrainerSettings
from cimlab.training.tracking import Tracker

Weights = dict[str, Tensor]
ALONE = Rank()


@dataclass(frozen=True, eq=False)
class Training:
    """How both phases are trained.

    Args:
        data: the data set, prepared but not loaded.
        optimizer_factory: parameter groups to optimiser.
        recipe: of dense training; retraining follows it.
        trainer: the machine side.
        seed: of every epoch.
    """

    data: ImageDataModule
    optimizer_factory: OptimizerFactory
    recipe: Recipe
    trainer: TrainerSettings
    seed: int

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        return self.data.in_channels, self.data.image_size, self.data.image_size


@dataclass(frozen=True, eq=False)
class Phase:
    """One fit of a run, and where it is kept.

    Args:
        name: dense or retrain.
        epochs: of the fit; first_epoch: epochs of earlier phases.
        curve: learning rate over the peak.
        folder: of checkpoints and history.
        run: content hash of all that shapes the fit's result; only its own checkpoints are gone on from.
        methods: at work in it, by name.
        later: epochs of the phase after it.
    """

    name: PhaseName
    epochs: int
    first_epoch: int
    curve: RateCurve
    folder: Path
    run: str
    methods: tuple[str, ...] = ()
    later: int = 0

    @property
    def fit(self) -> str:
        """What checkpoints belong to."""
        return f"{self.name} {self.run}"

    @property
    def history(self) -> Path:
        """Metrics by epoch."""
        return self.folder / HISTORY_FILE

    @property
    def checkpoints(self) -> Path:
        """Training checkpoints, to go on from."""
        return self.folder / "checkpoints"


@dataclass(frozen=True)
class Seat:
    """What one process of a fit is told.

    Args:
        rank: its place.
        resume: the checkpoint from which the fit goes on.
        ready: to be called when it is about to meet the others.
    """

    rank: Rank = ALONE
    resume: Path | None = None
    ready: Callable[[], None] = lambda: None


def fit(
    network: nn.Module,
    training: Training,
    phase: Phase,
    parts: Sequence[Part],
    callbacks: Sequence[pl.Callback],
    tracker: Tracker,
    seat: Seat,
    judge: Judge | None = None,
) -> None:
    """One process's part of a fit.

    Args:
        network: trained in place.
        training, phase: how, and where it is kept.
        parts: methods at work, which may change images and loss.
        callbacks: in the order in which they are called, parts among them.
        tracker: where epochs are shown.
        seat: the process's place.
        judge: may end the fit early.

    Raises:
        TrainingError: the loss or a weight is no number.
        Hopeless: the judge ended it.
    """
    settings = training.trainer
    bars = _show_bars(settings)
    bar = PhaseBar(phase.name, phase.methods, phase.later) if bars else None
    lines = settings.progress == "lines" or (settings.progress == "auto" and not bars)
    tell = bar.tell if bar else _print_line if lines else None
    keep = checkpoints.PacedCheckpoint(phase.checkpoints, settings.checkpoint_every_s)
    report = EpochReport(phase.name, phase.first_epoch, phase.history, tracker, tell, judge, phase.later)
    watching = [SeedEpochs(training.seed, phase.name), *callbacks, report, keep, *([bar] if bar else [])]
    trainer = _trainer(settings, phase.epochs, watching, phase.folder, phase.fit, seat.rank)
    smoothing = training.recipe.label_smoothing
    module = Classifier(network, training.optimizer_factory, phase.curve, smoothing, parts)
    by_design = not_finite(network.state_dict())  # as an attention mask has infinities
    seat.ready()
    with products_in_float32(settings.precision, settings.compile):
        trainer.fit(module, datamodule=Feed(training.data), ckpt_path=seat.resume, weights_only=True)
    if trainer.interrupted:
        raise KeyboardInterrupt
    broken = [name for name in not_finite(network.state_dict()) if name not in by_design]
    if broken:
        raise TrainingError(
            f"{broken[0]} became NaN or infinite in the last {phase.name} epoch; lower optimizer.lr"
        )


def accuracies(
    network: nn.Module,
    phases: dict[str, Weights],
    training: Training,
    folder: Path,
    rounding: nn.ModuleDict | None = None,
) -> dict[str, dict[str, float]]:
    """Accuracy of every phase's weights: the one time that test data is touched.

    Args:
        network: holds the weights of the last phase afterwards.
        phases: name -> weights.
        training: gives data and machine.
        folder: where Lightning may write.
        rounding: modules of an attached rounding, which follow the network to its device.
    """
    module = Classifier(network, training.optimizer_factory, dense_curve(training.recipe))
    if rounding is not None:
        module.quantisers = rounding
    trainer = _trainer(training.trainer, 1, [], folder, None)
    feed = Feed(training.data)
    accuracy = {}
    for phase, weights in phases.items():
        network.load_state_dict(weights)
        metrics = {}
        with products_in_float32(training.trainer.precision, training.trainer.compile):
            if training.data.validation_size:
                metrics |= trainer.validate(module, datamodule=feed, verbose=False)[0]
            metrics |= trainer.test(module, datamodule=feed, verbose=False)[0]
        accuracy[phase] = {
            name.removeprefix("accuracy/"): value
            for name, value in metrics.items()
            if name.startswith("accuracy/")
        }
    return accuracy


def _trainer(
    settings: TrainerSettings,
    epochs: int,
    callbacks: list[pl.Callback],
    folder: Path,
    fit: str | None,
    rank: Rank = ALONE,
) -> pl.Trainer:
    return pl.Trainer(
        accelerator=settings.accelerator,
        precision=settings.precision,
        max_epochs=epochs,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=fit is not None,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        deterministic=settings.deterministic,
        benchmark=not settings.deterministic,  # of cuDNN's algorithms; shapes are few and repeat
        default_root_dir=folder,
        plugins=[*([] if fit is None else [checkpoints.AtomicCheckpoints(fit)]), *rank.plugins()],
        **rank.trainer_options(),
    )


def _print_line(where: str, words: dict[str, str]) -> None:
    print("  ".join((where, *words.values())), flush=True)


def _show_bars(settings: TrainerSettings) -> bool:
    return settings.progress == "bar" or (settings.progress == "auto" and sys.stdout.isatty())


def begin(seed: int, threads: int | None) -> None:
    """Set a process up for training: seed everything, take so many threads (None: as torch chose), hush Lightning."""
    quiet_lightning()
    if threads:
        torch.set_num_threads(threads)
    pl.seed_everything(seed, verbose=False)


def quiet_lightning() -> None:
    """Lightning's hints are for those who write training loops, not for those who run ours."""
    import logging

    for name in ("pytorch_lightning", "lightning.fabric", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=UserWarning, module="pytorch_lightning")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    # the successor of broadcast_buffers is in the newest torch only
    warnings.filterwarnings("ignore", message=".*broadcast_buffers.*")
    warnings.filterwarnings("ignore", message=".*srun.*")  # a machine may have Slurm and not use it
