"""`cimlab simulate`: words in, accuracies by chip and layer out."""

from __future__ import annotations

import sys

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from cimlab.cli import application, multirun
from cimlab.config.described import informed
from cimlab.grids.grid import Command
from cimlab.records.simulation import SimulationRecord
from cimlab.runs.simulate import SimulateConfig, simulate


def run(words: list[str]) -> int:
    """Run the command; an exit code, or raises what `errors.report` explains."""
    if multirun.asked_for("simulate", words):
        return multirun.run(Command("simulate", SimulateConfig, described=True), words)

    def job(_config: DictConfig, _choices: dict[str, str]) -> SimulationRecord:
        return simulate(*informed("simulate", list(HydraConfig.get().overrides.task), SimulateConfig))

    return application.run(application.Command("simulate", SimulateConfig, job, show), words)


def show(record: SimulationRecord, _config: object) -> None:
    """The closing summary of one simulation: its layers, and its accuracies."""
    from rich.console import Console

    from cimlab.reporting.simulation import layer_table, simulation_table

    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print()
    console.print(layer_table(record).for_terminal())
    console.print(simulation_table([record]).for_terminal())


def show_many(records: list[SimulationRecord]) -> None:
    """Several simulations side by side."""
    from rich.console import Console

    from cimlab.reporting.simulation import simulation_table

    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print()
    console.print(simulation_table(records).for_terminal())
