"""T6: the hardware model against published designs."""

from __future__ import annotations

from cimlab.reporting.evidence import Evidence
from cimlab.reporting.parts import NotRun, table
from cimlab.reporting.studies import worded
from cimlab.reporting.table import Column, Table


@table("T6", "The hardware model against published designs")
def validation_table(evidence: Evidence) -> Table:
    """Case by case; figure by figure it stands in experiments/validation."""
    if not evidence.validation:
        raise NotRun("The validation was not run")
    columns = (
        Column("case", text=True), Column("figures", digits=0), Column("largest error", "%", 1),
        Column("of it", text=True), Column("allowed", text=True),
    )  # fmt: skip
    rows = []
    for case in dict.fromkeys(row.case for row in evidence.validation):
        own = [row for row in evidence.validation if row.case == case]
        worst = max(own, key=lambda row: abs(row.error_percent))
        allowed = " or ".join(dict.fromkeys(row.allowed for row in own))
        rows.append((case, float(len(own)), worst.error_percent, worded(worst.figure), allowed))
    notes = (
        "Figure by figure in experiments/validation. “reported”: not held to a bound; the reasons stand there.",
    )
    return Table(columns, tuple(rows), notes)
