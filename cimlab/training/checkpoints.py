"""Checkpoints of a training: saved in one rename, read as `cimlab.network.checkpoint_file` reads, found to resume.

Lightning's own way is neither atomic nor checked: fsspec moves a file from the system's temporary folder, which is a
copy where that is another file system, and torch.load does not verify the CRC32 that torch.save writes for every
entry (`AtomicCheckpoints`).
"""

from __future__ import annotations

import copy
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import CheckpointIO

from cimlab.errors import CimlabError
from cimlab.network.checkpoint_file import CheckpointError, load
from cimlab.records.replace import replacing

NETWORK_FILE = "network.pt"
RESUMABLE = {
    "global_step", "epoch", "loops", "callbacks", "optimizer_states", "lr_schedulers", "state_dict",
    "pytorch-lightning_version",
}  # fmt: skip
FIT = "cimlab_fit"
"""Entry of a training checkpoint that says which fit it belongs to."""


class UnwritableError(CimlabError, RuntimeError):
    """A checkpoint that could not be written; the message says why."""


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint, flushed to disk, so that a reader sees the old file or the whole new one.

    Raises:
        UnwritableError: the folder can't be written.
    """
    try:
        with replacing(path) as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else str(problem)
        if "inline_container" in str(problem) or "PytorchStreamWriter" in str(
            problem
        ):  # torch's, of its own code
            reason = "only a part of it could be written: the disk is full, or a limit was met"
        raise UnwritableError(f"can't write {path} ({reason}); check free space and rights") from problem


def latest(folder: Path, fit: str) -> Path | None:
    """The training checkpoint of the latest step in a folder; what is damaged or of another fit is removed and told."""
    steps: dict[Path, int] = {}
    for path in sorted(folder.glob("*.ckpt")):
        try:
            content = load(path)
            missing = RESUMABLE - content.keys()
            if missing:
                raise CheckpointError(f"checkpoint {path} is none of a training: it lacks {min(missing)}")
            if content.get(FIT) != fit:
                raise CheckpointError(f"checkpoint {path} is of another training")
        except CheckpointError as problem:
            print(f"cimlab: {problem}; it is removed, training goes on without it", file=sys.stderr)
            path.unlink()
            continue
        steps[path] = int(content["global_step"])
    return max(steps, key=lambda path: steps[path], default=None)


class AtomicCheckpoints(CheckpointIO):
    """Lightning's checkpoints, written and read as every other checkpoint of cimlab.

    Args:
        fit: what they belong to; only the same fit goes on from them.
    """

    def __init__(self, fit: str) -> None:
        self.fit = fit

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        save(Path(path), {**checkpoint, FIT: self.fit})

    def load_checkpoint(
        self, path: str | Path, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        return load(Path(path))

    def remove_checkpoint(self, path: str | Path) -> None:
        Path(path).unlink(missing_ok=True)


class PacedCheckpoint(ModelCheckpoint):
    """Keeps the newest end of an epoch to resume from, and skips those that come too soon after the last one kept.

    An epoch of a second on a GPU would cost as much to write down as to train. What was skipped is kept in memory, and
    written when the fit is stopped, so that no whole epoch is lost.

    Args:
        folder: where.
        every_s: least seconds between two checkpoints; the end of the fit is kept in any case.
    """

    def __init__(self, folder: Path, every_s: float) -> None:
        super().__init__(folder, filename="{epoch}", save_top_k=1, save_on_train_epoch_end=True)
        self._every_s = every_s
        self._kept_at = time.monotonic()
        self._skipped: dict[str, Any] | None = None

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        last = trainer.current_epoch + 1 == trainer.max_epochs
        due = last or time.monotonic() - self._kept_at >= self._every_s
        if trainer.strategy.broadcast(due):  # clocks differ, and every process takes part in a save or none
            super().on_train_epoch_end(trainer, pl_module)
            self._kept_at = time.monotonic()
            self._skipped = None
        elif trainer.is_global_zero:
            self._skipped = copy.deepcopy(trainer._checkpoint_connector.dump_checkpoint())

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Keep the last whole epoch of a fit that is stopped or can't print; another failure would only come again."""
        if self._skipped is not None and (
            isinstance(exception, OSError) or not isinstance(exception, Exception)
        ):
            path = Path(str(self.dirpath)) / f"epoch={self._skipped['epoch']}-stopped.ckpt"
            trainer.strategy.checkpoint_io.save_checkpoint(self._skipped, path)
            self._skipped = None


def discard(folder: Path) -> None:
    """Remove the checkpoints of a phase that is done."""
    shutil.rmtree(folder, ignore_errors=True)
