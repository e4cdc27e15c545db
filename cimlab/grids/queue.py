"""A queue: grids in the order of their worth, each a line as it would stand after `cimlab sweep`."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

import yaml

from cimlab.config.errors import ConfigError
from cimlab.config.text_file import text_of
from cimlab.grids.planning import Plan

KEY = "queue"


@dataclass(frozen=True)
class Line:
    """One grid of a queue.

    Args:
        file: the experiment file.
        words: overrides and axes.
    """

    file: Path
    words: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join([self.file.name, *self.words])


def lines_of(path: Path) -> list[Line]:
    """The grids of a queue, whose files lie beside it; an experiment file is a queue of itself.

    Raises:
        ConfigError: a line is no line of words, or names no file.
    """
    try:
        content = yaml.safe_load(text_of(path)) if path.is_file() else None
    except yaml.YAMLError:
        content = None  # who reads it as an experiment says what is wrong with it
    if not isinstance(content, dict) or KEY not in content:
        return [Line(path)]
    if not isinstance(content[KEY], list) or not content[KEY]:
        raise ConfigError(f"{path}: {KEY} is a list of lines, FILE.yaml KEY=VALUE ..., and holds none")
    return [_line(path, text) for text in content[KEY]]


def experiments(folder: Path) -> list[Path]:
    """The experiment files of a folder, without its queues."""
    return [path for path in sorted(folder.glob("*.yaml")) if lines_of(path) == [Line(path)]]


def _line(path: Path, text: object) -> Line:
    try:
        words = shlex.split(text) if isinstance(text, str) else []
    except ValueError:  # an open quote
        words = []
    if not words:
        raise ConfigError(f"{path}: {text!r} is no line of a queue; write FILE.yaml KEY=VALUE ...")
    return Line(path.parent / words[0], tuple(words[1:]))


def needs_gpu(plan: Plan) -> bool:
    """Whether its first point asks for a GPU."""
    return plan.grid.first["config"].get("trainer", {}).get("accelerator") == "gpu"
