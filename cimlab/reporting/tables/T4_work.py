"""T4: other published work, quoted, with what makes it hard to compare."""

from __future__ import annotations

from cimlab.reporting.evidence import Evidence
from cimlab.reporting.parts import table
from cimlab.reporting.table import Column, Table


@table("T4", "Published work on pruning for crossbars, as quoted")
def work_table(evidence: Evidence) -> Table:
    """A row for each entry of published.yaml."""
    keys = ("method", "network", "compression", "accuracy_drop", "hardware", "conditions")
    columns = tuple(Column(name.replace("_", " "), text=True) for name in ("source", *keys))
    rows = tuple((w["label"], *(str(w[key]) for key in keys)) for w in evidence.published.work)
    notes = ("Quoted from the abstracts; none of it was measured here.",)
    return Table(columns, rows, notes)
