"""`cimlab train`: words in, and what came of the runs as tables and a plot."""

from __future__ import annotations

import sys
from pathlib import Path

from cimlab.cli import application, multirun
from cimlab.cli.fields import ordered
from cimlab.cli.runs import field_names
from cimlab.config.schema import TrainConfig
from cimlab.grids.composition import TRAIN
from cimlab.records.index import row_of
from cimlab.records.record import RunRecord
from cimlab.records.simulation import SimulationRecord
from cimlab.runs.train import train


def run(words: list[str]) -> int:
    """Run the command; an exit code, or raises what `errors.report` explains."""
    if multirun.asked_for("train", words):
        return multirun.run(TRAIN, words)
    return application.run(application.Command("train", TrainConfig, train, show), words)


def show(record: RunRecord, _config: object) -> None:
    """The closing summary of one run."""
    from rich.console import Console

    from cimlab.reporting.summaries import run_table

    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print()
    table = run_table(record)
    console.print(table)
    for note in table.notes:
        console.print(note, highlight=False, markup=False)


def show_many(
    places: list[RunRecord],
    records: list[RunRecord],
    figure: Path,
    on_arrays: list[SimulationRecord],
    sort: str | None = None,
) -> None:
    """The places of a grid side by side, by a field of `cimlab runs` where one is given, and a plot of its runs.

    `on_arrays` are the runs' simulations at their end.
    """
    from rich.console import Console

    from cimlab.reporting.chart import save
    from cimlab.reporting.plots import accuracy_plot
    from cimlab.reporting.summaries import comparison_table

    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print()
    order = ordered([row_of(place) for place in places], sort, field_names()) if sort else None
    table = comparison_table(places, order, on_arrays)
    console.print(table)
    for note in table.notes:
        console.print(note, highlight=False, markup=False)
    console.print(
        f"plot: {save(accuracy_plot(records), figure)}", highlight=False, markup=False, soft_wrap=True
    )
