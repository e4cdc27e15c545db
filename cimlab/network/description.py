"""What a checkpoint says of the network in it, so that whoever prices or simulates it need not say it again.

Only plain values are written and read: whoever wrote the file chooses nothing that could be called.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

DESCRIBED = ("model", "data", "granularity", "geometry", "mapping", "analog")
"""Groups of a run's configuration that say what its network is."""
DENSE = ("model", "data")
"""Those that say what its dense network is."""
NOT_DESCRIBED = {
    "model": ("file",),
    "data": ("data_dir", "download", "num_workers", "seed", "batch_size", "eval_batch_size"),
    "mapping": ("every_n_epochs",),
    "analog": ("steps", "weight_scale", "activation_range", "percentile", "backend", "row_order"),
}
A_KEY = re.compile(r"[a-z]\w*(\.[a-z]\w*)+|[a-z]\w*")
A_WORD = re.compile(r"[\w.+*?-]*")
"""A value that names a choice or layers, and neither a file nor a reference."""


def described_as(
    config: Mapping[str, Any],
    choices: Mapping[str, str],
    image: tuple[int, int, int],
    classes: int,
    sources: Mapping[str, str],
    groups: Sequence[str] = DESCRIBED,
) -> dict[str, Any]:
    """What a checkpoint says of the network in it, for whoever prices or simulates it: `Stored.description`.

    Args:
        config: the resolved configuration of its run; choices: group -> choice.
        image: channels, height and width that it takes; classes: its outputs.
        sources: file -> hash of the code from outside cimlab that made it.
        groups: those that it is described by; a dense network was cut for no array.
    """
    settings: dict[str, Any] = {"input.channels": image[0], "input.size": image[1], "input.classes": classes}
    for group in groups:
        left_out = NOT_DESCRIBED.get(group, ())
        settings |= {f"{group}.{k}": v for k, v in config.get(group, {}).items() if k not in left_out}
    kept = plain(settings)
    arguments = [key for key in settings if key.startswith("model.") and not key.endswith("_target_")]
    return {
        "choices": {g: choices[g] for g in groups if g in choices},
        "settings": kept,
        "unsaid": dict.fromkeys((key for key in arguments if key not in kept and key != "model.file"), True),
        "sources": dict(sources),
        "file": str(Path(file).resolve()) if (file := config.get("model", {}).get("file")) else None,
    }


def plain(values: object) -> dict[str, Any]:
    """Of a mapping, the entries with plain names and plain values: numbers, words, and lists of them."""

    def fits(value: object) -> bool:
        if isinstance(value, list | tuple):
            return all(map(fits, value))
        return (
            value is None
            or isinstance(value, int | float)
            or (isinstance(value, str) and bool(A_WORD.fullmatch(value)))
        )

    entries = values.items() if isinstance(values, Mapping) else ()
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in entries
        if isinstance(key, str) and A_KEY.fullmatch(key) and fits(value)
    }


def printable(files: object) -> dict[str, str]:
    """File -> hash, as far as a message can show them."""
    entries = files.items() if isinstance(files, Mapping) else ()
    return {
        file: digest
        for file, digest in entries
        if isinstance(file, str) and file.isprintable() and isinstance(digest, str)
    }
