"""Network weights on disk: saved in one rename, loaded without running anything, refused when they don't fit."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

NETWORK_FILE = "network.pt"


class CheckpointError(RuntimeError):
    """A checkpoint that can't be used; the message names the file, what is wrong, and the mend."""


def save(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint so that a reader sees the old file or the whole new one.

    Raises:
        CheckpointError: the folder can't be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(content, part)
        part.replace(path)
    except (OSError, RuntimeError) as problem:
        part.unlink(missing_ok=True)
        raise CheckpointError(f"can't write {path} ({problem}); check free space and rights") from problem


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint; tensors and plain containers only, never code.

    Raises:
        CheckpointError: it is missing, truncated or not a checkpoint.
    """
    if not path.is_file():
        raise CheckpointError(f"checkpoint {path} does not exist")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError) as problem:
        raise CheckpointError(
            f"checkpoint {path} can't be read: it is truncated, damaged, or holds more than tensors; "
            "save it again, or delete it to train anew"
        ) from problem
    if not isinstance(content, dict):
        raise CheckpointError(f"checkpoint {path} holds a {type(content).__name__}, not weights by name")
    return content


def network_weights(content: dict[str, Any]) -> dict[str, Tensor]:
    """The network's state in a cimlab checkpoint, a Lightning checkpoint, or a plain state_dict."""
    if "network" in content:
        return content["network"]
    state = content.get("state_dict", content)
    return {name.removeprefix("network."): value for name, value in state.items()}


def load_into(network: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Load weights that fit exactly.

    Raises:
        CheckpointError: names or shapes differ, so that it is the checkpoint of another network.
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
    network.load_state_dict(state)


def latest(folder: Path) -> Path | None:
    """The newest readable training checkpoint of a folder; unreadable ones are removed."""
    for path in sorted(folder.glob("*.ckpt"), key=lambda p: p.stat().st_mtime, reverse=True):
        try:
            load(path)
        except CheckpointError:
            path.unlink()
            continue
        return path
    return None


def discard(folder: Path) -> None:
    """Remove the checkpoints of a phase that is done."""
    shutil.rmtree(folder, ignore_errors=True)
