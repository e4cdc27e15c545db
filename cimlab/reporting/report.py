"""Everything that the paper and the HTML report show, from folders of records: tables, figures, verdicts, numbers."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cimlab.errors import CimlabError
from cimlab.progress import counting
from cimlab.records import store
from cimlab.records.record import RunRecord
from cimlab.records.simulation import SimulationRecord
from cimlab.reporting import parts
from cimlab.reporting.chart import Chart
from cimlab.reporting.claims import UNTESTED, Verdict
from cimlab.reporting.evidence import Evidence
from cimlab.reporting.numbers import numbers
from cimlab.reporting.planned import PlannedGrid
from cimlab.reporting.priced import Price
from cimlab.reporting.provenance import warnings
from cimlab.reporting.published import Published, ValidationRow, read_validation
from cimlab.reporting.studies import latest
from cimlab.reporting.table import Table

OF_THE_PAPER = ("T3", "T4", "claims")
"""Tables about what others published."""


class ReportError(CimlabError, RuntimeError):
    """A report that can't be made; the message says what is missing and where."""


@dataclass(frozen=True)
class Report:
    """What is shown.

    Args:
        tables: by name.
        charts: likewise.
        verdicts: on the claims.
        numbers: for the paper's text, by name.
        problems: a sentence for each record that could not be used and each way in which records are mixed.
        left_out: a sentence for the runs that some figures and tables do not show.
    """

    tables: tuple[Table, ...]
    charts: tuple[Chart, ...]
    verdicts: tuple[Verdict, ...]
    numbers: dict[str, Any]
    problems: tuple[str, ...]
    left_out: tuple[str, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """All that a reader of the figures has to be told."""
        return (*self.problems, *self.left_out)

    @property
    def summary(self) -> str:
        """What the report is about; of the claims only where one could be judged."""
        found = self.numbers["records"]
        networks = "; ".join(found["networks"])
        of = f": {networks}; granularities: {found['granularities']}" if networks else ""
        said = f"{found['runs']} runs at {found['points']} points (granularity and weights left){of}."
        counted = ", ".join(f"{word}: {count}" for word, count in self.numbers["verdicts"].items())
        return f"{said} Claims of the reproduced paper: {counted}." if self._judged else said

    @property
    def _judged(self) -> bool:
        return any(verdict.verdict != UNTESTED for verdict in self.verdicts)

    @property
    def shown_tables(self) -> list[Table]:
        """Those about the reproduced paper and other work come last, and only where a claim could be judged."""
        own = [table for table in self.tables if table.name not in OF_THE_PAPER]
        return [*own, *(table for table in self.tables if self._judged and table.name in OF_THE_PAPER)]

    def table(self, name: str) -> Table | None:
        return next((table for table in self.tables if table.name == name), None)

    @property
    def not_run(self) -> list[str]:
        """What is missing: a line for each figure without runs and each table with empty cells."""
        charts = [
            f"{chart.name} {chart.title}: {chart.missing}" for chart in self.charts if chart.spec is None
        ]
        cells = [f"{t.name} {t.title}: {t.missing} cells" for t in self.shown_tables if t.missing]
        empty = [f"{t.name} {t.title}: no rows" for t in self.shown_tables if not t.rows]
        return [*charts, *cells, *empty]


def make_evidence(folders: list[Path], price: Price, trials: bool = False) -> Evidence:
    """The whole records below the folders, with nothing planned and no validation beside them; trials if asked."""
    found, _ = store.load_with_files(*folders)
    found = found if trials else store.without_trials(found, lambda run: run[0].search)[0]
    newest, _ = latest(price(record, file) for record, file in found)
    return Evidence(tuple(newest), tuple(store.load_simulations(*folders)[0]), (), Published.read(), ())


def make_report(
    folders: list[Path],
    grids: Iterable[PlannedGrid],
    readme: Path,
    price: Price,
    trials: bool = False,
    only: Container[str] | None = None,
) -> Report:
    """Read every record below the folders and build the report; a bar shows how far it is.

    Args:
        grids: what was planned.
        readme: what the validation of the hardware model wrote.
        price: gives each record its costs.
        trials: take in those of searches.
        only: hashes of the runs and simulations to take; None takes all.
    """
    found, problems = store.load_with_files(*folders)
    found = [pair for pair in found if only is None or pair[0].run in only]
    found, left_out = (found, []) if trials else store.without_trials(found, lambda run: run[0].search)
    records = []
    with counting("records priced", len(found)) as done:
        for record, file in found:
            records.append(price(record, file))
            done(1)
    simulations, damaged = store.load_simulations(*folders)
    simulations = [record for record in simulations if only is None or record.simulation in only]
    validation = read_validation(readme)
    return assemble(
        records, simulations, grids, Published.read(), validation, [*problems, *damaged, *left_out]
    )


def assemble(
    records: Iterable[RunRecord],
    simulations: Iterable[SimulationRecord],
    grids: Iterable[PlannedGrid],
    published: Published,
    validation: Sequence[ValidationRow],
    problems: Iterable[str],
) -> Report:
    """The report over records that were read: every figure and table that has a file."""
    newest, notes = latest(records)
    evidence = Evidence(tuple(newest), tuple(simulations), tuple(grids), published, tuple(validation))
    charts = [chart for part in parts.figures() for chart in part.charts(evidence)]
    tables = [table for part in parts.tables() for table in part.tables(evidence)]
    told, judged = (*problems, *notes, *warnings(evidence.records)), tuple(evidence.verdicts)
    return Report(
        tuple(tables), tuple(charts), judged, numbers(evidence), told, tuple(parts.left_out(evidence))
    )
