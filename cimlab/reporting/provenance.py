"""Which code and which machines the records come from, and a warning where they are mixed."""

from __future__ import annotations

from collections import Counter

from cimlab.records.record import RunRecord
from cimlab.reporting.table import Column, Table


def commit(record: RunRecord) -> str:
    """Commit in short, and whether files were changed."""
    sha = record.code.get("git_commit")
    if sha is None:
        return f"cimlab {record.code['version']}, commit unknown"
    return f"{sha[:10]}{' with changes' if record.code.get('git_changed') else ''}"


def machine(record: RunRecord) -> str:
    """The machine in words, without a name or address."""
    m = record.machine
    parts = [f"{m['cores']} x {m['processor']}"]
    if m.get("accelerator"):
        parts.append(str(m["accelerator"]))
    return ", ".join([*parts, f"{m['memory_bytes'] / 2**30:.0f} GiB", f"Python {m['python']}"])


def provenance_table(records: list[RunRecord]) -> Table:
    """A row for each pair of commit and machine."""
    columns = (
        Column("commit", text=True), Column("machine", text=True), Column("torch", text=True),
        Column("runs", digits=0), Column("training", "h", 2), Column("first", text=True), Column("last", text=True),
    )  # fmt: skip
    groups: dict[tuple[str, str, str], list[RunRecord]] = {}
    for record in records:
        key = (commit(record), machine(record), record.packages.get("torch", "unknown"))
        groups.setdefault(key, []).append(record)
    rows = []
    for key, own in sorted(groups.items()):
        days = sorted(record.created[:10] for record in own)
        dense = {record.wall_time_s.get("dense", 0.0) for record in own}  # one dense network serves many runs
        hours = (sum(dense) + sum(record.wall_time_s.get("retrain", 0.0) for record in own)) / 3600
        rows.append((*key, float(len(own)), hours, days[0], days[-1]))
    return Table("provenance", "Where the records come from", columns, tuple(rows), tuple(warnings(records)))


def warnings(records: list[RunRecord]) -> list[str]:
    """One sentence for each way in which the records are not of one kind."""
    found = []
    for what, values in (
        ("schema versions", Counter(str(record.schema) for record in records)),
        ("code versions", Counter(map(commit, records))),
        ("machines", Counter(map(machine, records))),
    ):
        if len(values) > 1:
            parts = ", ".join(f"{value} ({n} runs)" for value, n in sorted(values.items()))
            found.append(f"Records of different {what} are mixed: {parts}.")
    changed = sum(bool(record.code.get("git_changed")) for record in records)
    if changed:
        found.append(f"{changed} runs came from a checkout with uncommitted changes.")
    return found
