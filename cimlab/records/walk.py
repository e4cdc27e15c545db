"""Where records lie below a folder: one walk for whoever looks for them."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from cimlab.records.record import RECORD_FILE
from cimlab.records.simulation import SIMULATION_FILE

COMMITTED = re.compile(r".+-[0-9a-f]{8}\.json")
"""A record that was published beside others."""
NO_RUNS = ("wandb", "checkpoints", "dense")
"""Folders that are never entered."""
Place = tuple[int, int]
"""Device and inode of a folder."""


def record_files(folder: Path) -> tuple[list[tuple[str, os.stat_result]], list[str]]:
    """Records below a folder with their file status, and a line for each place that can't be read.

    Each lies in its run's folder or is committed beside others. Links are followed, and each folder is entered once.
    A run takes two look-ups, and none inside its folder.
    """
    problems: list[str] = []
    try:
        top = os.stat(folder)
    except (FileNotFoundError, NotADirectoryError):
        return [], []
    except OSError as problem:
        return [], [_unread(folder, problem)]
    entered = {(top.st_dev, top.st_ino)}
    return list(_below(folder, top.st_dev, entered, problems)), problems


def _below(
    folder: Path, device: int, entered: set[Place], problems: list[str]
) -> Iterator[tuple[str, os.stat_result]]:
    found = False
    for name in (RECORD_FILE, SIMULATION_FILE):
        with contextlib.suppress(OSError):
            path = os.path.join(folder, name)
            yield path, os.stat(path)
            found = True
    if found:
        return
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: (entry.is_symlink(), entry.name))
    except OSError as problem:
        problems.append(_unread(folder, problem))
        return
    for entry in entries:
        try:
            if COMMITTED.fullmatch(entry.name):
                yield entry.path, entry.stat()
            elif may_hold_runs(entry):
                place = _place(entry, device)
                if place not in entered:
                    entered.add(place)
                    yield from _below(Path(entry.path), place[0], entered, problems)
        except OSError as problem:
            problems.append(_unread(Path(entry.path), problem))


def _place(entry: os.DirEntry[str], device: int) -> Place:
    """Of a folder on the device of the one that it lies in, without a look-up."""
    if not entry.is_symlink():
        return device, entry.inode()
    status = entry.stat()
    return status.st_dev, status.st_ino


def may_hold_runs(entry: os.DirEntry[str]) -> bool:
    """Whether the entry is a folder, or a link to one, in which runs may lie."""
    return entry.name not in NO_RUNS and entry.name[0] != "." and entry.is_dir()


def _unread(place: Path, problem: OSError) -> str:
    return f"{place}: can't be read ({problem.strerror}), so that what it holds is left out"
