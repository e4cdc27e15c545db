"""What a run needs of files before it begins: folders that can be written, and the hash of a checkpoint."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Generator
from pathlib import Path

from cimlab.config import errors
from cimlab.errors import near_path
from cimlab.records.record import RECORD_FILE, RecordError, RunRecord
from cimlab.records.replace import make_folder


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
        if _keeps_no_weights(path if path.is_dir() else path.parent):
            mend = (
                "its run was recorded by lab.record, which keeps no weights; lab.on_arrays(...) computes them"
            )
        raise errors.ConfigError(f"checkpoint={path}: {problem.strerror or problem}; {mend}") from problem


def _keeps_no_weights(folder: Path) -> bool:
    """Whether a run lies there that was trained outside cimlab."""
    try:
        return not RunRecord.read(folder / RECORD_FILE).wall_time_s
    except RecordError:
        return False


@contextlib.contextmanager
def made(*folders: Path, by: str = "set paths.output_dir to") -> Generator[None]:
    """The folders, made and writable; those of them and above them that are new and stay empty go at the end.

    Args:
        by: how a person gives others, in a message.

    Raises:
        OutputError: one can't be written, which is refused before any compute rather than met at its end.
    """
    new = {each for folder in folders for each in (folder, *folder.parents) if not each.exists()}
    try:
        for folder in folders:
            _require_writable(folder, by)
        yield
    finally:
        for folder in sorted(new, key=lambda each: len(each.parts), reverse=True):
            with contextlib.suppress(OSError):  # it holds something
                folder.rmdir()


def _require_writable(folder: Path, by: str) -> None:
    try:
        make_folder(folder)
        tempfile.TemporaryFile(dir=folder).close()  # has no name, so that a killed process leaves none
    except OSError as problem:
        raise errors.OutputError(errors.unwritable(folder, problem, by)) from problem
