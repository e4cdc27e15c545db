"""Where records lie below a folder: one walk for whoever looks for them."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cimlab.records.failure import FAILURE_FILE
from cimlab.records.history import HISTORY_FILE
from cimlab.records.locks import LOCK_FILE
from cimlab.records.record import CONFIG_FILE, RECORD_FILE
from cimlab.records.simulation import SIMULATION_FILE

COMMITTED = re.compile(r".+-[0-9a-f]{8}\.json")
"""A record that was published beside others."""
NO_RUNS = ("wandb", "checkpoints", "dense")
"""Folders that are never entered."""
Place = tuple[int, int]
"""Device and inode of a folder."""


@dataclass(frozen=True)
class Walk:
    """What lies below a folder.

    Args:
        records: with their file status; each lies in its run's folder or is committed beside others.
        begun: folders of runs that have no record.
        problems: a line for each place that can't be read.
    """

    records: list[tuple[str, os.stat_result]] = field(default_factory=list)
    begun: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def walked(folder: Path) -> Walk:
    """Look below a folder. Links are followed, and each folder is entered once.

    A run with a record takes two look-ups, and none inside its folder.
    """
    walk = Walk()
    try:
        top = os.stat(folder)
    except (FileNotFoundError, NotADirectoryError):
        return walk
    except OSError as problem:
        walk.problems.append(_unread(folder, problem))
        return walk
    entered = {(top.st_dev, top.st_ino)}
    walk.records.extend(_below(folder, top.st_dev, entered, walk))
    return walk


def _below(
    folder: Path, device: int, entered: set[Place], walk: Walk
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
        walk.problems.append(_unread(folder, problem))
        return
    others = len(walk.begun)
    for entry in entries:
        try:
            if COMMITTED.fullmatch(entry.name):
                yield entry.path, entry.stat()
                found = True
            elif _may_hold_runs(entry):
                place = _place(entry, device)
                if place not in entered:
                    entered.add(place)
                    for record in _below(Path(entry.path), place[0], entered, walk):
                        yield record
                        found = True
        except OSError as problem:
            walk.problems.append(_unread(Path(entry.path), problem))
    if not found and len(walk.begun) == others and _begun({entry.name for entry in entries}):
        walk.begun.append(folder)  # what holds runs is none


def _begun(names: set[str]) -> bool:
    """Whether a folder of these files is a run's; a dense network's has a lock as well, and no configuration."""
    return bool(names & {FAILURE_FILE, CONFIG_FILE}) or (LOCK_FILE in names and HISTORY_FILE not in names)


def _place(entry: os.DirEntry[str], device: int) -> Place:
    """Of a folder on the device of the one that it lies in, without a look-up."""
    if not entry.is_symlink():
        return device, entry.inode()
    status = entry.stat()
    return status.st_dev, status.st_ino


def _may_hold_runs(entry: os.DirEntry[str]) -> bool:
    """Whether the entry is a folder, or a link to one, in which runs may lie."""
    return entry.name not in NO_RUNS and entry.name[0] != "." and entry.is_dir()


def _unread(place: Path, problem: OSError) -> str:
    return f"{place}: can't be read ({problem.strerror}), so that what it holds is left out"
