"""Errors as people should meet them: one line with what, where and how to mend it, and an exit code."""

from __future__ import annotations

import os
import re
import sys
import traceback
from typing import NoReturn

USAGE, FAILURE = 2, 1
FAILURES = ("CheckpointError", "DataError", "RecordError", "TrainingError", "PruningError", "OutputError")
"""Names rather than classes, so that a mistake in a command is reported without importing torch."""


class ConfigError(ValueError):
    """A setting that is refused: key, value, what is allowed."""


class OutputError(RuntimeError):
    """A folder that can't be written."""


class SweepError(RuntimeError):
    """Some runs of a multirun failed; each has said why."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def report(problem: Exception) -> int:
    """Print the problem as one line on stderr (or its traceback, if asked) and give the exit code."""
    if os.environ.get("CIMLAB_DEBUG") == "1":
        traceback.print_exception(problem)
    print(f"cimlab: {describe(problem)}", file=sys.stderr)
    return exit_code(problem)


def exit_code(problem: BaseException) -> int:
    """2 where the request was refused, 1 where it failed."""
    if isinstance(problem, SweepError):
        return problem.code
    return USAGE if isinstance(problem, ConfigError) or _is_hydra(problem) else FAILURE


def describe(problem: BaseException) -> str:
    """The problem in one line."""
    text = " ".join(str(problem).split())
    if _is_hydra(problem):
        return _hydra_line(text)
    if isinstance(problem, ConfigError | OutputError | SweepError) or type(problem).__name__ in FAILURES:
        return text
    return f"unexpected {type(problem).__name__}: {text} (CIMLAB_DEBUG=1 shows where)"


def _is_hydra(problem: BaseException) -> bool:
    return any(base.__module__.split(".")[0] in ("hydra", "omegaconf") for base in type(problem).__mro__)


def _hydra_line(text: str) -> str:
    """Hydra's multi-line advice, made to fit what is allowed here (a key can't be added with +)."""
    unknown = re.search(r"Could not override '([^']+)'", text)
    if unknown and ("not in struct" in text or "not in" in text):
        from cimlab.cli.config import unknown_key

        return unknown_key(unknown.group(1))
    text = text.replace("Available options in", "choices for")
    return text.split(" Set the environment variable HYDRA_FULL_ERROR")[0].split(" Config search path")[0]


def refuse(key: str, value: object, allowed: str) -> NoReturn:
    """Raise the one-line refusal of a setting."""
    raise ConfigError(f"{key}={value}: {allowed}")
