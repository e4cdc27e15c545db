"""In which settings two runs differ, and which of these make them two runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cimlab.records.flat import flat
from cimlab.records.record import RECORD_FILE, RunRecord


@dataclass(frozen=True)
class Difference:
    """A setting that two runs have differently.

    Args:
        setting: dotted.
        one, other: its values; None where a run has no such setting.
        counts: whether it is part of what a run is; None where the records are of schema 1, which don't say.
    """

    setting: str
    one: Any
    other: Any
    counts: bool | None


def read_run(place: Path) -> RunRecord:
    """The record of a run's folder, or a record file.

    Raises:
        RecordError: it is missing or damaged.
    """
    return RunRecord.read(place / RECORD_FILE if place.is_dir() else place)


def differences(one: RunRecord, other: RunRecord) -> list[Difference]:
    """Settings that differ, those that count first; edited source files are among them."""
    own = flat(one.config) | {f"source {Path(f).name}": h for f, h in one.sources.items()}
    others = flat(other.config) | {f"source {Path(f).name}": h for f, h in other.sources.items()}
    known = one.schema > 1 and other.schema > 1
    found = [
        Difference(
            key,
            own.get(key),
            others.get(key),
            (key in own and _counts(key, one)) or (key in others and _counts(key, other)) if known else None,
        )
        for key in sorted({*own, *others})
        if key not in own or key not in others or own[key] != others[key]
    ]
    return sorted(found, key=lambda difference: (not difference.counts, difference.setting))


def _counts(key: str, record: RunRecord) -> bool:
    return not any(key == name or key.startswith(f"{name}.") for name in record.uncounted)
