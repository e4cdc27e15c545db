"""A run that failed, as a small file beside where its record would be: why, when, and by which code."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cimlab.records.json_text import json_text
from cimlab.records.record import write_atomically

FAILURE_FILE = "failure.json"


@dataclass(frozen=True)
class Failure:
    """Why a run has no record.

    Args:
        name: the run's readable name.
        reason: one line, as it was told.
        created: UTC time, ISO 8601.
        code: cimlab's version and commit.
    """

    name: str
    reason: str
    created: str
    code: dict[str, Any]

    def write(self, folder: Path) -> None:
        """Leave the failure in the run's folder.

        Raises:
            RecordError: the folder can't be written.
        """
        write_atomically(folder / FAILURE_FILE, json_text(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Failure | None:
        """The failure in a run's folder, if there is a readable one."""
        try:
            return cls(**json.loads((folder / FAILURE_FILE).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
