"""`cimlab simulate`: words in, accuracies by chip and layer out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from cimlab.cli import application, multirun
from cimlab.config.described import informed
from cimlab.grids.grid import Command
from cimlab.records.simulation import SimulationRecord
from cimlab.runs.planned_simulation import SimulateConfig
from cimlab.runs.simulate import simulate

if TYPE_CHECKING:
    from rich.console import Console


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

    from cimlab.reporting.simulation import layer_table

    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print()
    layers = layer_table(record)
    console.print(layers)
    for note in layers.notes:
        console.print(f"note: {note}", highlight=False, markup=False)
    _show_table([record], console)


def show_many(records: list[SimulationRecord]) -> None:
    """Several simulations side by side."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print()
    _show_table(records, console)


def _show_table(records: list[SimulationRecord], console: Console) -> None:
    from cimlab.reporting.simulation import SPARED, simulation_table

    table, gone = simulation_table(records).fitted(console.width, SPARED)
    console.print(table)
    for note in table.notes:
        console.print(note, highlight=False, markup=False)
    if gone:
        console.print(f"no room for {', '.join(gone)}; the records have all", highlight=False)
