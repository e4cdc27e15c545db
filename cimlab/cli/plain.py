"""What commands that only read records share: the clone, the report, and what to say of it."""

from __future__ import annotations

from pathlib import Path

from cimlab.cli.options import require_folders
from cimlab.reporting.planned import PlannedGrid
from cimlab.reporting.report import Report, make_report
from cimlab.runs.reprice import priced_today

TRIALS = "take in trials of searches, which are left out otherwise"


def repository() -> Path:
    """The clone that the command runs in or, failing that, the one that cimlab runs from."""
    here = Path.cwd()
    return here if (here / "paper" / "paper.typ").is_file() else Path(__file__).parents[2]


def read_report(folders: list[Path], trials: bool = False) -> Report:
    """The report over the folders, of searches' trials too if asked, with a line for each thing that is wrong.

    Raises:
        ConfigError: a folder is missing.
    """
    require_folders(folders)
    experiments = repository() / "experiments"
    readme = experiments / "validation" / "README.md"
    made = make_report(folders, planned_grids(experiments), readme, priced_today, trials)
    for line in made.notes:
        print(f"note: {line}")
    return made


def planned_grids(folder: Path) -> list[PlannedGrid]:
    """What the experiment files of a folder plan, read as `cimlab sweep` and `cimlab search` read them."""
    from cimlab.grids.composition import as_written
    from cimlab.grids.queue import experiments

    grids = []
    for path in experiments(folder):
        document, axes = as_written(path)
        asked = document["config"].get("experiment") or {}
        names = (document["choices"][group] for group in ("model", "data"))
        grids.append(PlannedGrid(path.stem, asked.get("question", ""), *names, axes))
    return grids


def say_missing(made: Report) -> None:
    """Close with what was not run."""
    for line in made.not_run:
        print(f"not run: {line}")
