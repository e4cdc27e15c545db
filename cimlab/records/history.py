"""Metrics by epoch, one JSON line each: append-only, so that a killed run loses at most the line being written."""

from __future__ import annotations

import json
from os import SEEK_END
from pathlib import Path
from typing import Any

from cimlab.records.json_text import json_text

HISTORY_FILE = "history.jsonl"


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Add one row, on a line of its own even where a killed run left half a line behind."""
    with path.open("a+b") as file:
        if file.tell():
            file.seek(-1, SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.write(json_text(row).encode() + b"\n")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows in order; of an epoch that a resumed run repeated, the last. Half-written lines are passed over."""
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    if not path.exists():
        return []
    for line in path.read_bytes().splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        match row:
            case {"phase": str() as phase, "epoch": int() as epoch}:
                rows[phase, epoch] = row
    return list(rows.values())
