"""provenance: which code and which machines the records come from."""

from __future__ import annotations

from cimlab.records.record import RunRecord
from cimlab.reporting.evidence import Evidence
from cimlab.reporting.parts import table
from cimlab.reporting.provenance import commit, machine, warnings
from cimlab.reporting.table import Column, Table


@table("provenance", "Where the records come from")
def provenance_table(evidence: Evidence) -> Table:
    """A row for each kind of machine; every record names its commit."""
    columns = (
        Column("schema", digits=0), Column("machine", text=True), Column("torch", text=True),
        Column("commits", digits=0), Column("runs", digits=0), Column("training", "h", 2),
        Column("first", text=True), Column("last", text=True),
    )  # fmt: skip
    groups: dict[tuple[float, str, str], list[RunRecord]] = {}
    for record in evidence.records:
        key = (float(record.schema), machine(record), record.packages.get("torch", "unknown"))
        groups.setdefault(key, []).append(record)
    rows = []
    for key, own in sorted(groups.items()):
        days = sorted(record.created[:10] for record in own)
        dense = {record.wall_time_s.get("dense", 0.0) for record in own}  # one dense network serves many runs
        hours = (sum(dense) + sum(record.wall_time_s.get("retrain", 0.0) for record in own)) / 3600
        commits = {commit(record) for record in own}
        rows.append((*key, float(len(commits)), float(len(own)), hours, days[0], days[-1]))
    return Table(columns, tuple(rows), tuple(warnings(evidence.records)))
