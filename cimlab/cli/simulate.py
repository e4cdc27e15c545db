"""`cimlab simulate`: words in, accuracies by chip and layer out."""

from __future__ import annotations

import sys

from omegaconf import DictConfig

from cimlab.cli import application
from cimlab.records.simulation import SimulationRecord
from cimlab.runs.simulate import SimulateConfig, simulate


def run(words: list[str]) -> int:
    """Run the command; 0, or raises what `errors.report` explains."""
    command = application.Command("simulate", SimulateConfig, SimulationRecord, simulate, show)
    return application.run(command, words)


def show(records: list[SimulationRecord], config: DictConfig, many: bool) -> None:
    """The closing summary: accuracies of every simulation, and the layers of a single one."""
    from rich.console import Console

    from cimlab.reporting.simulation import layer_table, simulation_table

    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print()
    if not many:
        console.print(layer_table(records[0]).for_terminal())
    console.print(simulation_table(records).for_terminal())
