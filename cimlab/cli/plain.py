"""What commands that only read records share: the clone, the report, and what to say of it."""

from __future__ import annotations

from pathlib import Path

from cimlab.config.errors import ConfigError
from cimlab.reporting.report import Report, make_report


def repository() -> Path:
    """The clone that the command runs in or, failing that, the one that cimlab runs from."""
    here = Path.cwd()
    return here if (here / "paper" / "paper.typ").is_file() else Path(__file__).parents[2]


def read_report(folders: list[Path]) -> Report:
    """The report over the folders, with a line for each thing that is wrong with the records.

    Raises:
        ConfigError: a folder is missing.
    """
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"{folder}: is no folder; give one that holds records")
    made = make_report(folders, repository())
    for line in made.problems:
        print(f"note: {line}")
    return made


def say_missing(made: Report) -> None:
    """Close with what was not run."""
    for line in made.not_run:
        print(f"not run: {line}")
