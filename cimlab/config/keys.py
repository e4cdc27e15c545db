"""What to say of a key that nothing reads: the key that was meant, and those that are there."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_type_hints

from cimlab.choices import choices, conf_dir, keys

MEANT = 3
"""Keys at most that are offered."""


def unknown_key(schema: type, path: str) -> str:
    """One line on a key that nothing reads.

    Args:
        schema: the dataclass of the command.
        path: the key as it was written.
    """
    *parents, last = path.lstrip("+~").split(".")
    if last in choices(group := "/".join(parents)):
        return f"unknown key {path}; {last} is a choice: {group}={last}"
    here: Any = schema
    for parent in parents:
        here = dataclass_in(get_type_hints(here).get(parent)) if is_dataclass(here) else None
    if not is_dataclass(here):
        lone = last in get_type_hints(schema)
        hint = f"did you mean {last}? " if lone else ""
        return f"unknown key {path}; {hint}the command's --help lists all keys"
    names = [field.name for field in fields(here)]
    near = [".".join([*parents, name]) for name in difflib.get_close_matches(last, names, n=1)]
    near = _elsewhere(path.lstrip("+~"), names) or near
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    if path == "run" and "draws" in names:
        hint = "a run's network is its checkpoint, checkpoint=outputs/RUN/network.pt; "
    return f"unknown key {path}; {hint}allowed: {', '.join(names)}"


def _elsewhere(path: str, heads: Sequence[str]) -> list[str]:
    """Settings below others that are called so: `lr` is optimizer.lr, and prune_remaining prune.remaining."""
    commands = [path.stem for path in sorted(conf_dir().glob("*.yaml"))]
    every = dict.fromkeys(key for command in commands for key in keys(command))
    every = [key for key in every if key.partition(".")[0] in heads]
    found = [key for key in every if _letters(key) == _letters(path)]
    found = found or [key for key in every if "." not in path and key.rpartition(".")[2] == path]
    return sorted(found, key=lambda key: key.count("."))[:MEANT]


def _letters(key: str) -> str:
    return re.sub(r"[._]", "", key).lower()


def dataclass_in(kind: Any) -> type | None:
    """A dataclass, also one that may be None."""
    return next((member for member in (kind, *get_args(kind)) if is_dataclass(member)), None)
