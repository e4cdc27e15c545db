"""`cimlab train`: words in, and what came of the runs as tables and a plot."""

from __future__ import annotations

import sys
from pathlib import Path

from cimlab.cli import application, multirun
from cimlab.config.schema import TrainConfig
from cimlab.grids.composition import TRAIN
from cimlab.records.record import RunRecord
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
    console.print(table.for_terminal())
    for note in table.notes:
        console.print(note, highlight=False)


def show_many(places: list[RunRecord], records: list[RunRecord], figure: Path) -> None:
    """The places of a grid side by side, and a plot of its runs."""
    from rich.console import Console

    from cimlab.reporting.chart import save
    from cimlab.reporting.plots import accuracy_plot
    from cimlab.reporting.summaries import comparison_table

    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print()
    console.print(comparison_table(places).for_terminal())
    console.print(f"plot: {save(accuracy_plot(records), figure)}", highlight=False, soft_wrap=True)
