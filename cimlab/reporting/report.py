"""Everything that the paper and the HTML report show, from folders of records: tables, figures, verdicts, numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cimlab.records import store
from cimlab.records.record import RunRecord
from cimlab.records.simulation import SimulationRecord
from cimlab.reporting.accuracy_charts import accuracy_chart, pareto_chart
from cimlab.reporting.accuracy_tables import ablation_table, accuracy_tables, runs_table
from cimlab.reporting.array_charts import analog_chart, unit_size_chart
from cimlab.reporting.chart import Chart
from cimlab.reporting.claims import Verdict, claims_table, verdicts
from cimlab.reporting.grid import Grid, read_grids
from cimlab.reporting.hardware_charts import energy_chart, layers_chart, speed_chart
from cimlab.reporting.hardware_tables import hardware_table, sensitivity_table
from cimlab.reporting.means import means_table
from cimlab.reporting.numbers import numbers
from cimlab.reporting.provenance import provenance_table
from cimlab.reporting.published import Published, headline, headline_table, validation_table, work_table
from cimlab.reporting.studies import latest, main_studies, studies
from cimlab.reporting.table import Table


class ReportError(RuntimeError):
    """A report that can't be made; the message says what is missing and where."""


@dataclass(frozen=True)
class Report:
    """What is shown.

    Args:
        tables: in order.
        charts: F1 to F7.
        verdicts: on the claims.
        numbers: for the paper's text, by name.
        problems: a sentence for each record that could not be used and each way in which records are mixed.
    """

    tables: tuple[Table, ...]
    charts: tuple[Chart, ...]
    verdicts: tuple[Verdict, ...]
    numbers: dict[str, Any]
    problems: tuple[str, ...]

    def table(self, name: str) -> Table | None:
        return next((table for table in self.tables if table.name == name), None)

    @property
    def not_run(self) -> list[str]:
        """What is missing: a line for each figure without runs and each table with empty cells."""
        charts = [
            f"{chart.name} {chart.title}: {chart.missing}" for chart in self.charts if chart.spec is None
        ]
        cells = [f"{t.name} {t.title}: {t.missing} cells" for t in self.tables if t.missing]
        empty = [f"{t.name} {t.title}: no rows" for t in self.tables if not t.rows]
        return [*charts, *cells, *empty]


def make_report(folders: list[Path], repository: Path) -> Report:
    """Read every record below the folders and build the report.

    Args:
        repository: holds experiments/: what was planned, and how the hardware model was validated.
    """
    records, problems = store.load(*folders)
    simulations, damaged = store.load_simulations(*folders)
    grids = read_grids(repository / "experiments")
    readme = repository / "experiments" / "validation" / "README.md"
    validation = validation_table(readme)
    return assemble(records, simulations, grids, Published.read(), validation, [*problems, *damaged])


def assemble(
    records: list[RunRecord],
    simulations: list[SimulationRecord],
    grids: list[Grid],
    published: Published,
    validation: Table,
    problems: list[str],
) -> Report:
    """The report over records that were read."""
    records, notes = latest(records)
    found = studies(records)
    mains = main_studies(found)
    first = mains[0] if mains else None
    curve = next((study for study in mains if len(study.remaining) > 1), first)
    ours = headline(found, published)
    judged = verdicts(mains, ours, published)
    provenance = provenance_table(records)
    tables = [*accuracy_tables(mains, grids)]
    if first:
        tables += [hardware_table(first, grids, published.drop), sensitivity_table(first)]
    tables += [
        headline_table(ours, published), work_table(published), means_table(found),
        ablation_table(found, mains), validation,
        claims_table(judged), provenance, runs_table(found),
    ]  # fmt: skip
    charts = (
        accuracy_chart(mains), unit_size_chart(found), energy_chart(first), speed_chart(curve),
        analog_chart(simulations), layers_chart(first), pareto_chart(first, found),
    )  # fmt: skip
    said = numbers(records, found, mains, ours, published, judged, validation, grids)
    return Report(tuple(tables), charts, tuple(judged), said, (*problems, *notes, *provenance.notes))
