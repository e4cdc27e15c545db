"""What commands that only read records share: the clone, the report, and what to say of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cimlab.cli.options import require_folders
from cimlab.config.errors import ConfigError
from cimlab.reporting.planned import PlannedGrid
from cimlab.reporting.report import Report, make_report
from cimlab.runs.reprice import priced_in_row_groups

TRIALS = "take in trials of searches, which are left out otherwise"


def repository() -> Path:
    """The clone that the command runs in or, failing that, the one that cimlab runs from."""
    here = Path.cwd()
    return here if (here / "paper" / "paper.typ").is_file() else Path(__file__).parents[2]


def read_report(folders: list[Path], trials: bool = False, filters: Sequence[str] = ()) -> Report:
    """The report over the folders, of searches' trials too if asked, with a line for each thing that is wrong.

    Raises:
        ConfigError: a folder is missing, or the filters, those of `cimlab runs`, leave nothing.
    """
    require_folders(folders)
    only = _hashes(folders, filters) if filters else None
    experiments = repository() / "experiments"
    readme = experiments / "validation" / "README.md"
    made = make_report(folders, planned_grids(experiments), readme, priced_in_row_groups, trials, only)
    for line in made.notes:
        print(f"note: {line}")
    return made


def _hashes(folders: list[Path], filters: Sequence[str]) -> set[str]:
    """Of the runs and simulations that pass every filter."""
    from cimlab.cli.runs import filtered
    from cimlab.records.index import rows, simulations

    found = [row for folder in folders for kind in (rows, simulations) for row in kind(folder)[0]]
    chosen = {row["run"] for row in filtered(found, filters)}
    if not chosen:
        said = "cimlab runs FOLDER shows what there is"
        raise ConfigError(f"{' '.join(filters)}: leaves none of {len(found)} runs and simulations; {said}")
    return chosen


def planned_grids(folder: Path) -> list[PlannedGrid]:
    """What the experiment files of a folder plan, read as `cimlab sweep` and `cimlab search` read them."""
    from cimlab.grids.composition import as_written
    from cimlab.grids.queue import experiments

    grids = []
    for path in experiments(folder):
        document, axes = as_written(path)
        names = (document["choices"][group] for group in ("model", "data"))
        budgets = axes.get("prune.budget") or (document["config"]["prune"]["budget"],)
        grids.append(PlannedGrid(*names, budgets, axes))
    return grids


def say_missing(made: Report) -> None:
    """Close with what was not run."""
    for line in made.not_run:
        print(f"not run: {line}")
