"""What a run needs of files before it begins: folders that can be written, and the hash of a checkpoint."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Generator
from pathlib import Path

from cimlab.config import errors
from cimlab.errors import near_path


def file_hash(path: Path) -> str:
    """SHA-256 of a checkpoint's bytes.

    Raises:
        ConfigError: the file can't be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as problem:
        mend = f"{near_path(path)}give an existing file"
        if (inside := path / "network.pt").is_file():
            mend = f"its network is checkpoint={inside}"
        raise errors.ConfigError(f"checkpoint={path}: {problem.strerror or problem}; {mend}") from problem


@contextlib.contextmanager
def made(*folders: Path) -> Generator[None]:
    """The folders, made and writable; those of them and above them that are new and stay empty go at the end.

    Raises:
        OutputError: one can't be written, which is refused before any compute rather than met at its end.
    """
    new = {each for folder in folders for each in (folder, *folder.parents) if not each.exists()}
    try:
        for folder in folders:
            _require_writable(folder)
        yield
    finally:
        for folder in sorted(new, key=lambda each: len(each.parts), reverse=True):
            with contextlib.suppress(OSError):  # it holds something
                folder.rmdir()


def _require_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()  # has no name, so that a killed process leaves none
    except OSError as problem:
        raise errors.OutputError(errors.unwritable(folder, problem)) from problem
