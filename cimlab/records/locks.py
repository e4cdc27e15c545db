"""Who works on a folder: a lock that the kernel holds for as long as its process lives.

It is a flock on a small file in the folder. The kernel drops it when the process ends, however it
ends, also after SIGKILL and across machines on a shared file system, so a lock can't go stale. What the holder
wrote into the file stays behind only if it died; that is how the next holder learns of it. A folder in which its holder
left nothing goes with the lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from cimlab.errors import CimlabError
from cimlab.records.replace import make_folder

LOCK_FILE = "lock.json"
_TRIES, _PAUSE_S = 10, 0.02  # a look from `holder` locks for microseconds; it must not pass for a holder


class FolderLockError(CimlabError, RuntimeError):
    """The folder is another process's at the moment."""


@dataclass(frozen=True)
class Holder:
    """Who holds a folder, or died holding it.

    Args:
        host, pid: the process.
        since: seconds since the epoch.
        deaths: holders in a row, up to the one before, that died holding it.
    """

    host: str
    pid: int
    since: float
    deaths: int


@contextlib.contextmanager
def locked(folder: Path, wait: bool = False) -> Generator[int]:
    """Hold the folder; gives how many holders in a row died before this one.

    Args:
        folder: made if it is not there; removed at the end if it then holds nothing.
        wait: wait until it is free, instead of raising.

    Raises:
        FolderLockError: another process holds it.
    """
    with _lock_file(folder, wait) as file:
        before = _read(file)
        deaths = before.deaths + 1 if before else 0
        _write(file, json.dumps(asdict(Holder(platform.node(), os.getpid(), time.time(), deaths))))
        try:
            yield deaths
        finally:
            _write(file, "")
            _remove_if_bare(folder)


@contextlib.contextmanager
def lodging(home: Path, name: str, clear: Callable[[Path], None] = lambda _: None) -> Generator[Path]:
    """Hold a folder of one's own among those of other processes; what dead ones left there is removed first.

    Args:
        home: the folder of all of them; made if it is not there.
        name: of the own folder, which nobody else may choose; it is removed at the end.
        clear: called with a folder before it is removed, the own one or a dead process's, by one process at a time.
    """

    def remove(folder: Path) -> None:
        clear(folder)
        shutil.rmtree(folder, ignore_errors=True)

    with contextlib.ExitStack() as held:
        with locked(home, wait=True):  # a folder that is seen here and not held is a dead process's
            for folder in filter(Path.is_dir, list(home.iterdir())):
                with contextlib.suppress(FolderLockError), locked(folder):
                    remove(folder)
            held.enter_context(locked(home / name))
        try:
            yield home / name
        finally:
            with locked(home, wait=True):
                remove(home / name)


def holder(folder: Path) -> tuple[Holder | None, bool]:
    """The last holder that has not let go, if any, and whether it still works (otherwise it died)."""
    try:
        with (folder / LOCK_FILE).open("r", encoding="utf-8", errors="replace") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                alive = False
            except BlockingIOError:
                alive = True
            return _read(file), alive
    except OSError:
        return None, False


def held(folder: Path) -> bool:
    """Whether a process works on the folder now; a free one is not locked to find out."""
    try:
        return (folder / LOCK_FILE).stat().st_size > 0 and holder(folder)[1]
    except OSError:
        return False


def _lock_file(folder: Path, wait: bool) -> IO[str]:
    """The folder's lock file, locked; made again if its last holder has just removed it with the folder.

    Raises:
        FolderLockError: another process holds it.
    """
    while True:
        with contextlib.suppress(FileNotFoundError):
            make_folder(folder)
            file = (folder / LOCK_FILE).open("a+", encoding="utf-8", errors="replace")
            if not _lock(file, wait):
                with file:
                    other = _read(file)
                who = f"process {other.pid} on {other.host}" if other else "another process"
                raise FolderLockError(f"{folder} is being worked on by {who}; wait for it, or stop it first")
            if os.fstat(file.fileno()).st_nlink:
                return file
            file.close()


def _remove_if_bare(folder: Path) -> None:
    """Remove a folder that holds nothing but the lock, while it is held: what failed leaves no trace."""
    with contextlib.suppress(OSError):
        if [path.name for path in folder.iterdir()] == [LOCK_FILE]:
            (folder / LOCK_FILE).unlink()
            folder.rmdir()


def _lock(file: IO[str], wait: bool) -> bool:
    if wait:
        fcntl.flock(file, fcntl.LOCK_EX)
        return True
    for _ in range(_TRIES):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(_PAUSE_S)
    return False


def _read(file: IO[str]) -> Holder | None:
    file.seek(0)
    text = file.read()
    try:
        return Holder(**json.loads(text))
    except (ValueError, TypeError):  # half-written when its writer died
        return Holder("?", 0, 0.0, 0) if text else None


def _write(file: IO[str], text: str) -> None:
    """Replace the content. On a full disk the lock still holds; only the holder's name is missing."""
    with contextlib.suppress(OSError):
        file.truncate(0)
        os.write(
            file.fileno(), text.encode()
        )  # past the file's buffer, which would try again when it is closed
