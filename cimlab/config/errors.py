"""Errors as people should meet them: one line with what, where and how to mend it, and an exit code."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from cimlab.errors import FAILED, REFUSED, CimlabError
from cimlab.records.flat import in_yaml

SHOWN = 120
"""Characters of a refused value that a message repeats."""
TOLD = 300
"""Characters of a library's error that a message repeats; torch lists all of its backends in some."""


class ConfigError(CimlabError, ValueError):
    """A setting that is refused: key, value, what is allowed."""

    exit_code = REFUSED


class OutputError(CimlabError, RuntimeError):
    """A folder that can't be written."""


def report(problem: Exception) -> int:
    """Print the problem as one line on stderr (or its traceback, if asked) and give the exit code."""
    if os.environ.get("CIMLAB_DEBUG") == "1":
        traceback.print_exception(problem)
    print(f"cimlab: {describe(problem)}", file=sys.stderr)
    return exit_code(problem)


def exit_code(problem: BaseException) -> int:
    """How the command line ends for a problem: refused, or failed."""
    if isinstance(problem, OSError) and problem.errno == errno.ENAMETOOLONG:
        return REFUSED
    return problem.exit_code if isinstance(problem, CimlabError) else FAILED


def describe(problem: BaseException) -> str:
    """The problem in one line."""
    text = " ".join(str(problem).split())
    if isinstance(problem, CimlabError):
        return text
    if isinstance(problem, OSError) and problem.strerror:
        if problem.errno == errno.ENAMETOOLONG:
            name = Path(os.fsdecode(problem.filename)).name if problem.filename else "a name"
            return f"{name[:SHOWN]}...: has {len(name)} letters, more than a file's name may have; give a shorter one"
        where = "" if problem.filename is None else f" {problem.filename}"
        return f"can't read or write{where} ({problem.strerror}); mend that, then the same command goes on"
    if _from_compiled_kernels(problem):
        folder = os.environ.get("NUMBA_CACHE_DIR") or Path(__file__).parents[1]
        return (
            f"numba's cache of compiled kernels is damaged ({text}); delete the .nbi and .nbc files below {folder}, "
            "then the same command goes on"
        )
    short = text if len(text) <= TOLD else f"{text[:TOLD]}..."
    return f"unexpected {type(problem).__name__}: {short} (CIMLAB_DEBUG=1 shows where)"


def _from_compiled_kernels(problem: BaseException) -> bool:
    """Whether it was raised while numba read its cache, which a power cut may leave half-written."""
    files = [frame.filename for frame in traceback.extract_tb(problem.__traceback__)]
    return any(Path(file).parts[-3:] == ("numba", "core", "caching.py") for file in files)


def unwritable(folder: object, problem: OSError, by: str = "set paths.output_dir to") -> str:
    """What to say of a folder that can't be written; `by`: how another one is given."""
    return f"can't write to {folder} ({problem.strerror}); {by} a folder you may write"


def refuse_flags(key: str, value: object, taken: object) -> None:
    """Refuse true or false where a number is due: pydantic takes them for 1 and 0, which nobody means by them.

    Args:
        key: of the setting.
        value: as it was written, in plain containers.
        taken: what a schema made of it.
    """
    if isinstance(value, bool) and not isinstance(taken, bool):
        refuse(key, value, "input should be a number")
    if isinstance(value, Mapping):
        for name, own in value.items():
            made = taken.get(name) if isinstance(taken, Mapping) else getattr(taken, name)
            refuse_flags(f"{key}.{name}" if key else name, own, made)
    elif isinstance(value, list) and isinstance(taken, list | tuple):
        for own, made in zip(value, taken, strict=True):
            refuse_flags(key, own, made)


def refuse(key: str, value: object, allowed: str) -> NoReturn:
    """Raise the one-line refusal of a setting; of a long value, its beginning."""
    text = in_yaml(value)
    short = text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
    raise ConfigError(f"{key}={short}: {allowed}")
