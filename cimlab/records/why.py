"""In which settings runs differ, and which of these make them several runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cimlab.records.flat import flat
from cimlab.records.record import RECORD_FILE, RunRecord


@dataclass(frozen=True)
class Difference:
    """A setting that runs have differently.

    Args:
        setting: dotted.
        values: of each run; None where it has no such setting.
        counts: whether it is part of what a run is; None where the records are of schema 1, which don't say.
    """

    setting: str
    values: tuple[Any, ...]
    counts: bool | None


def read_run(place: Path) -> RunRecord:
    """The record of a run's folder, or a record file.

    Raises:
        RecordError: it is missing or damaged.
    """
    return RunRecord.read(place / RECORD_FILE if place.is_dir() else place)


def differences(*records: RunRecord) -> list[Difference]:
    """Settings that differ, those that count first; edited source files are among them."""
    known = [_settings(record) for record in records]
    told = all(record.schema > 1 for record in records)
    found = []
    for key in sorted({key for own in known for key in own}):
        values = tuple(own.get(key) for own in known)
        having = [record for record, own in zip(records, known, strict=True) if key in own]
        if len(having) < len(records) or any(value != values[0] for value in values):
            found.append(Difference(key, values, any(_counts(key, r) for r in having) if told else None))
    return sorted(found, key=lambda difference: (not difference.counts, difference.setting))


def _settings(record: RunRecord) -> dict[str, Any]:
    """A class that a group's file names is called as the group's choice."""
    targets = {f"{group}._target_": choice for group, choice in record.choices.items()}
    known = {
        key.removesuffix("._target_") if key in targets else key: targets.get(key, value)
        for key, value in flat(record.config).items()
    }
    return known | {f"source {Path(f).name}": h for f, h in record.sources.items()}


def _counts(key: str, record: RunRecord) -> bool:
    return not any(key == name or key.startswith(f"{name}.") for name in record.uncounted)
