"""What a run needs of files before it begins: a folder that can be written, and the hash of a checkpoint."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from cimlab.config import errors


def file_hash(path: Path) -> str:
    """SHA-256 of a checkpoint's bytes.

    Raises:
        ConfigError: the file can't be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as problem:
        raise errors.ConfigError(
            f"checkpoint={path}: {problem.strerror or problem}; give an existing file"
        ) from problem


def require_writable(folder: Path) -> None:
    """Refuse before any compute what would fail at its end."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()  # has no name, so that a killed process leaves none
    except OSError as problem:
        raise errors.OutputError(errors.unwritable(folder, problem)) from problem
