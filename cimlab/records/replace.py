"""Files that appear whole: written beside their place under another name, flushed, and put there in one step.

The part that is being written is locked (flock) for as long as its writer lives. A part that nobody holds is what a
killed process left, and whoever next writes a file of the same name removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import stat
import time
import uuid
from collections.abc import Generator
from pathlib import Path
from typing import IO

SAFE_AGE_S = 86_400.0
"""Of a part that another machine began, and whose lock a file system may keep from us."""


def make_folder(folder: Path) -> None:
    """The folder and those above it, also where another process takes it away meanwhile: Python's `mkdir` then takes it
    for a file.

    Raises:
        FileExistsError: a file stands there.
    """
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            with contextlib.suppress(FileNotFoundError):
                if not stat.S_ISDIR(folder.lstat().st_mode):
                    raise
        else:
            return


@contextlib.contextmanager
def replacing(path: Path) -> Generator[IO[bytes]]:
    """A file to write, which takes the place of `path` if nothing is raised within, and leaves no trace if it is.

    Args:
        path: a reader sees the old file there, or the whole new one; its folder is made.
    """
    make_folder(path.parent)
    _remove_abandoned(path)
    part, file = _begun(path)
    try:
        with file:  # locked until it is in its place
            yield file
            file.flush()
            os.fsync(file.fileno())
            part.replace(path)
    finally:
        with contextlib.suppress(OSError):  # gone if all went well; out of reach if the folder is
            part.unlink()


def _begun(path: Path) -> tuple[Path, IO[bytes]]:
    """A new part, locked; made again if another process took it for abandoned before it was."""
    while True:
        part = path.with_name(f".{path.name}.{platform.node()}.{uuid.uuid4().hex[:12]}.part")
        file = part.open("xb")
        with contextlib.suppress(OSError):  # a file system without locks: nobody removes anything there
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return part, file
        file.close()


def _remove_abandoned(path: Path) -> None:
    """Remove the parts of this file that their writers will not finish."""
    before, after = f".{path.name}.", ".part"
    with contextlib.suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            if entry.name.startswith(before) and entry.name.endswith(after):
                host = entry.name.removeprefix(before).removesuffix(after).rpartition(".")[0]
                with contextlib.suppress(OSError):
                    _remove_unless_held(Path(entry.path), host)


def _remove_unless_held(part: Path, host: str) -> None:
    """Raises OSError if it is held, or gone already."""
    with part.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        age = time.time() - os.fstat(file.fileno()).st_mtime
        if host == platform.node() or age > SAFE_AGE_S:
            part.unlink()
