"""Finding records again: every readable record below a folder, and a plain word about the others."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cimlab.records.record import RECORD_FILE, RecordError, RunRecord


def load(*folders: Path) -> tuple[list[RunRecord], list[str]]:
    """Records below the folders, sorted by name, and one line for each file that is not a whole record."""
    records, problems = [], []
    for path in _record_files(folders):
        try:
            records.append(RunRecord.read(path))
        except RecordError as problem:
            problems.append(str(problem))
    return sorted(records, key=lambda record: record.name), problems


def _record_files(folders: Iterable[Path]) -> list[Path]:
    found: set[Path] = set()
    for folder in folders:
        found.update(folder.rglob(RECORD_FILE))
    return sorted(found)
