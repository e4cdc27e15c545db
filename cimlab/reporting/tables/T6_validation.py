"""T6: the hardware model against published designs."""

from __future__ import annotations

from cimlab.reporting.evidence import Evidence
from cimlab.reporting.parts import table
from cimlab.reporting.studies import worded
from cimlab.reporting.table import Column, Table


@table("T6", "The hardware model against published designs")
def validation_table(evidence: Evidence) -> Table:
    """Figure by figure; without rows where the validation was not run."""
    columns = (
        Column("case", text=True), Column("figure", text=True), Column("published", text=True),
        Column("cimlab", text=True), Column("error", "%", 1), Column("allowed", text=True),
    )  # fmt: skip
    rows = tuple(
        (worded(r.case), worded(r.figure), r.published, r.ours, r.error_percent, r.allowed)
        for r in evidence.validation
    )
    notes = ("“reported”: shown, but not held to a bound; the reasons stand in experiments/validation.",)
    return Table(columns, rows, notes)
