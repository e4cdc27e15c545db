"""What conf/ offers: its place, the choices of a group, and the line with which each choice's file begins."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any


def conf_dir() -> Path:
    """conf/: inside the package when installed, at the top of the repository otherwise."""
    installed = Path(__file__).parent / "conf"
    return installed if installed.is_dir() else Path(__file__).parents[1] / "conf"


def choices(group: str) -> list[str]:
    """Names of the shipped choices of a configuration group."""
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))


def first_line(group: str, choice: str) -> str | None:
    """What a choice is, as its file says in its first line; None where no such choice is shipped."""
    file = conf_dir() / group / f"{choice}.yaml"
    return file.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ") if file.is_file() else None


def groups(command: str) -> dict[str, str | list[str]]:
    """The groups of conf/COMMAND.yaml in its order -> the choice that stands, a list where several may be chosen."""
    entries = [entry for entry in _written(f"{command}.yaml")["defaults"] if isinstance(entry, dict)]
    return {
        group: choice
        for entry in entries
        for group, choice in entry.items()
        if not group.startswith("override ")
    }


@cache
def keys(command: str) -> dict[str, str]:
    """Every dotted setting that a command's files write out -> what stands, of those that no choice brings."""
    own = {
        key: value for key, value in _written(f"{command}.yaml").items() if key not in ("defaults", "hydra")
    }
    found = {key: f"{json.dumps(value)} if nothing is said" for key, value in _leaves(own)}
    for group in groups(command):
        for choice in choices(group):
            for key, _ in _leaves(_written(f"{group}/{choice}.yaml")):
                if "_target_" not in key:
                    found.setdefault(f"{group}.{key}", "")
    return found


def standing(command: str) -> dict[str, dict[str, Any]]:
    """Group -> the settings of the choice that stands, of groups of which one is chosen; references are left out."""
    found = {}
    for group, choice in groups(command).items():
        if isinstance(choice, str):
            leaves = _leaves(_written(f"{group}/{choice}.yaml"))
            found[group] = {k: v for k, v in leaves if "_target_" not in k and "${" not in str(v)}
    return found


@cache
def _written(file: str) -> dict[str, Any]:
    """What a file of conf/ says; read once, because every word of every composition asks, and changed by nobody."""
    import yaml

    return yaml.safe_load((conf_dir() / file).read_text(encoding="utf-8")) or {}


def _leaves(node: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from ((f"{key}.{inner}", leaf) for inner, leaf in _leaves(value))
        else:
            yield str(key), value
