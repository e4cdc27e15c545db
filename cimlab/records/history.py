"""Metrics by epoch, one JSON line each: append-only, so that a killed run loses at most the line being written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Add one row."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows in order; of an epoch that a resumed run repeated, the last. Half-written lines are passed over."""
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    if not path.exists():
        return []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        rows[row["phase"], row["epoch"]] = row
    return list(rows.values())
