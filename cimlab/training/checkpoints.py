"""Checkpoints on disk: saved in one rename, loaded without running anything, refused when damaged or unfit.

Training checkpoints go the same way as networks (`AtomicCheckpoints`). Lightning's own way is neither atomic nor
checked: fsspec moves a file from the system's temporary folder, which is a copy where that is another file
system, and torch.load does not verify the CRC32 that torch.save writes for every entry.
"""

from __future__ import annotations

import shutil
import sys
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import CheckpointIO
from torch import Tensor, nn

from cimlab.records.replace import replacing

NETWORK_FILE = "network.pt"
ZIP_START = b"PK\x03\x04"
RESUMABLE = {
    "global_step", "epoch", "loops", "callbacks", "optimizer_states", "lr_schedulers", "state_dict",
    "pytorch-lightning_version",
}  # fmt: skip
FIT = "cimlab_fit"
"""Entry of a training checkpoint that says which fit it belongs to."""


class CheckpointError(RuntimeError):
    """A checkpoint that can't be used; the message names the file, what is wrong, and the mend."""


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint, flushed to disk, so that a reader sees the old file or the whole new one.

    Raises:
        CheckpointError: the folder can't be written.
    """
    try:
        with replacing(path) as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else problem
        raise CheckpointError(f"can't write {path} ({reason}); check free space and rights") from problem


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint, every byte checked; tensors and plain containers only, never code.

    Raises:
        CheckpointError: it is missing, truncated, damaged or not a checkpoint.
    """
    if not path.is_file():
        raise CheckpointError(f"checkpoint {path} does not exist")
    try:
        _verify(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as problem:  # whatever a foreign file makes the readers throw
        raise CheckpointError(
            f"checkpoint {path} can't be read: it is truncated, damaged, or holds more than tensors; "
            "save it again, or delete it to train anew"
        ) from problem
    if not isinstance(content, dict):
        raise CheckpointError(f"checkpoint {path} holds a {type(content).__name__}, not weights by name")
    return content


def _verify(path: Path) -> None:
    """Compare every entry with its CRC32; files older than torch 1.6 are no zip and carry none."""
    with path.open("rb") as file:
        if file.read(len(ZIP_START)) != ZIP_START:
            return
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"{damaged} does not match its CRC32")


def network_weights(content: dict[str, Any]) -> dict[str, Tensor]:
    """The network's state in a cimlab checkpoint, a Lightning checkpoint, or a plain state_dict.

    Raises:
        CheckpointError: there is none.
    """
    state = content.get("network", content.get("state_dict", content))
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise CheckpointError("the checkpoint holds no weights by name; save a state_dict")
    return {name.removeprefix("network."): value for name, value in state.items()}


def network_masks(content: dict[str, Any], network: nn.Module, path: Path) -> dict[str, Tensor] | None:
    """The masks in a cimlab checkpoint, layer name -> True where a weight is kept; None if it holds none.

    Raises:
        CheckpointError: they are not masks of this network's layers.
    """
    masks = content.get("masks")
    if masks is None or isinstance(masks, Tensor):  # of a plain state_dict, a parameter of that name
        return None
    if not isinstance(masks, Mapping):
        raise CheckpointError(f"checkpoint {path} holds masks that are no mapping; save it again")
    layers = dict(network.named_modules())
    for name, mask in masks.items():
        weight = getattr(layers.get(name), "weight", None) if isinstance(name, str) else None
        fits = isinstance(mask, Tensor) and isinstance(weight, Tensor) and mask.shape == weight.shape
        if not fits or mask.dtype != torch.bool:
            raise CheckpointError(
                f"checkpoint {path} has a mask {name} that fits no layer of the network; set model to the one it "
                "was saved from"
            )
    return dict(masks)


ORIGIN: dict[str, type | tuple[type, ...]] = {
    "run": str, "name": str, "seed": int, "granularity": str, "parameters": dict, "remaining": (int, float),
}  # fmt: skip
"""What a run's checkpoint says of how its network was pruned, and of what type."""


def network_origin(content: dict[str, Any], path: Path) -> dict[str, Any] | None:
    """How the network was pruned, as `ORIGIN`; None for a checkpoint that doesn't say, like a dense one.

    Raises:
        CheckpointError: it says something else.
    """
    origin = content.get("origin")
    if origin is None or isinstance(origin, Tensor):  # of a plain state_dict, a parameter of that name
        return None
    known = isinstance(origin, Mapping) and origin.keys() == ORIGIN.keys()
    if not known or not all(isinstance(origin[key], kind) for key, kind in ORIGIN.items()):
        raise CheckpointError(f"checkpoint {path} does not say how it was pruned (origin); save it again")
    parameters = origin["parameters"]
    if not all(isinstance(v, str | int | float) for pair in parameters.items() for v in pair):
        raise CheckpointError(f"checkpoint {path} holds a granularity with odd parameters; save it again")
    return {**origin, "parameters": dict(parameters)}


def load_into(network: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Load weights that fit exactly.

    Raises:
        CheckpointError: names or shapes differ, so that it is the checkpoint of another network, or a weight is
            not a number.
    """
    own = network.state_dict()
    differences = [f"lacks {name}" for name in own if name not in state]
    differences += [f"has an unknown {name}" for name in state if name not in own]
    differences += [
        f"has {name} of shape {tuple(state[name].shape)} for {tuple(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    if differences:
        more = f" and {len(differences) - 1} more differences" if len(differences) > 1 else ""
        raise CheckpointError(
            f"checkpoint {path} is of another network: it {differences[0]}{more}; "
            "set model to the one it was saved from"
        )
    broken = not_finite(state)
    if broken is not None:
        raise CheckpointError(
            f"checkpoint {path} has NaN or infinity in {broken}; use one saved before training diverged"
        )
    network.load_state_dict(state)


def not_finite(state: Mapping[str, Tensor]) -> str | None:
    """Name of the first tensor with a value that is NaN or infinite."""
    return next((name for name, value in state.items() if not bool(torch.isfinite(value).all())), None)


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

    An epoch of a second on a GPU would cost as much to write down as to train.

    Args:
        folder: where.
        every_s: least seconds between two checkpoints; the end of the fit is kept in any case.
    """

    def __init__(self, folder: Path, every_s: float) -> None:
        super().__init__(folder, filename="{epoch}", save_top_k=1, save_on_train_epoch_end=True)
        self._every_s = every_s
        self._kept_at = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        last = trainer.current_epoch + 1 == trainer.max_epochs
        due = last or time.monotonic() - self._kept_at >= self._every_s
        if trainer.strategy.broadcast(due):  # clocks differ, and every process takes part in a save or none
            super().on_train_epoch_end(trainer, pl_module)
            self._kept_at = time.monotonic()


def discard(folder: Path) -> None:
    """Remove the checkpoints of a phase that is done."""
    shutil.rmtree(folder, ignore_errors=True)
