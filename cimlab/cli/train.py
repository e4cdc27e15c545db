"""`cimlab train`: words in, and what came of the runs as tables and a plot."""

from __future__ import annotations

import sys
from pathlib import Path

from omegaconf import DictConfig

from cimlab.cli import application
from cimlab.config.schema import TrainConfig
from cimlab.records.record import RunRecord
from cimlab.runs.train import train


def run(words: list[str]) -> int:
    """Run the command; 0, or raises what `errors.report` explains."""
    return application.run(application.Command("train", TrainConfig, RunRecord, train, show), words)


def show(records: list[RunRecord], config: DictConfig, many: bool) -> None:
    """The closing summary: one run as a table of its own, several side by side with a plot."""
    from rich.console import Console

    from cimlab.reporting.summaries import run_table

    if not many:
        console = Console(width=None if sys.stdout.isatty() else 140)
        console.print()
        console.print(run_table(records[0]).for_terminal())
        return
    show_many(records, Path(config.paths.output_dir) / "accuracy.png")


def show_many(records: list[RunRecord], figure: Path) -> None:
    """Several runs side by side, and their plot."""
    from rich.console import Console

    from cimlab.reporting.chart import save
    from cimlab.reporting.plots import accuracy_plot
    from cimlab.reporting.summaries import comparison_table

    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print()
    console.print(comparison_table(records).for_terminal())
    console.print(f"plot: {save(accuracy_plot(records), figure)}", highlight=False, soft_wrap=True)
