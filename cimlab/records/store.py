"""Finding records again: every readable record below a folder, and a plain word about the others.

A run keeps its record in a folder of its own (record.json, simulation.json); committed records lie side by side,
NAME-HASH.json with its masks, NAME-HASH.masks.npz. `publish` makes the second from the first and leaves out whose
machine it was.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from cimlab.records.masks import masks_beside, masks_content
from cimlab.records.record import RECORD_FILE, RecordError, RunRecord, write_bytes_atomically
from cimlab.records.simulation import SIMULATION_FILE, SimulationRecord
from cimlab.records.walk import COMMITTED, walked

PLAIN_NAME = re.compile(r"\w[\w.+-]*")


def load(*folders: Path) -> tuple[list[RunRecord], list[str]]:
    """Records below the folders, sorted by name, and one line for each file that is not a whole record.

    Args:
        folders: or records themselves.
    """
    found, problems = load_with_files(*folders)
    return [record for record, _ in found], problems


def load_simulations(*folders: Path) -> tuple[list[SimulationRecord], list[str]]:
    """The records that `cimlab simulate` writes, one a simulation, sorted by name, and a line for each damaged one."""
    found: dict[str, SimulationRecord] = {}
    problems = []
    files, _ = _files(folders, SIMULATION_FILE)  # what can't be read is told where runs are looked for
    for path in filter(is_simulation, files):
        try:
            record = SimulationRecord.read(path)
        except RecordError as problem:
            problems.append(str(problem))
            continue
        found[record.simulation] = record
    return sorted(found.values(), key=lambda record: record.name), problems


def load_with_files(*folders: Path) -> tuple[list[tuple[RunRecord, Path]], list[str]]:
    """`load`, each record with the file that it was read from; of equal ones, the first."""
    found: dict[str, list[tuple[RunRecord, Path]]] = {}
    files, problems = _files(folders, RECORD_FILE)
    for path in files:
        try:
            record = RunRecord.read(path)
        except RecordError as problem:
            if not is_simulation(path):
                problems.append(str(problem))
            continue
        same = found.setdefault(record.run, [])
        if record not in [known for known, _ in same]:  # the same record, in its run's folder and committed
            same.append((record, path))
    return sorted(itertools.chain(*found.values()), key=lambda pair: pair[0].name), problems


Found = TypeVar("Found")


def without_trials(
    found: Sequence[Found], search: Callable[[Found], str | None]
) -> tuple[list[Found], list[str]]:
    """The runs that somebody asked for, and a line for each search: what it chose is no sample of anything.

    Args:
        found: runs, in whatever form.
        search: of a run, the search that it is a trial of.
    """
    trials = Counter(filter(None, map(search, found)))
    kept = [run for run in found if not search(run)]
    return kept, [
        f"{n} trials of the search {name} are left out; --trials takes them" for name, n in trials.items()
    ]


def publish(record: RunRecord | SimulationRecord, folder: Path, source: Path | None = None) -> Path:
    """Write a record to be committed: named by run and hash, every absolute path cut to its last part.

    Args:
        record: of a run or a simulation.
        folder: where it is committed.
        source: file of a run's record, whose masks come along.

    Raises:
        RecordError: the folder can't be written, the masks are not there, or the record, which may be a stranger's,
            names a place elsewhere.
    """
    identity = record.run if isinstance(record, RunRecord) else record.simulation
    name = f"{record.name}-{identity[:8]}"
    if not PLAIN_NAME.fullmatch(name):
        raise RecordError(f"the record {name!r} has no plain name, so that no file is called by it")
    path = folder / f"{name}.json"
    if isinstance(record, RunRecord) and record.masks_sha256 and source is not None:
        write_bytes_atomically(masks_beside(path), masks_content(source, record.masks_sha256))
    replace(record, config=_without_folders(record.config)).write(path)
    return path


def _without_folders(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_folders(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_without_folders(entry) for entry in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def is_simulation(path: Path) -> bool:
    """Whether the file is the record of a simulation, as far as it can be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return path.name == SIMULATION_FILE
    return isinstance(content, dict) and "simulation" in content


def _files(places: Iterable[Path], name: str) -> tuple[list[Path], list[str]]:
    """What may be a record: below a folder, by its name; named itself, any file of its kind. And what can't be read."""
    found: set[Path] = set()
    problems: list[str] = []
    for place in places:
        if place.is_file():
            found.update([place] if place.suffix == ".json" else [])
        else:
            walk = walked(place)
            files, unread = walk.records, walk.problems
            paths = (Path(path) for path, _ in files)
            found.update(path for path in paths if path.name == name or COMMITTED.fullmatch(path.name))
            problems += unread
    return sorted(found), problems
