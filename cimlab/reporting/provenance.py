"""Which code and which machines the records come from, and a warning where they are mixed."""

from __future__ import annotations

from collections.abc import Sequence

from cimlab.records.record import RunRecord


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


def warnings(records: Sequence[RunRecord]) -> list[str]:
    """Sentences on the ways in which the records are not of one kind."""
    kinds = {
        "schema versions": {record.schema for record in records},
        "code versions": set(map(commit, records)),
        "machines": set(map(machine, records)),
    }
    mixed = [f"{len(values)} {what}" for what, values in kinds.items() if len(values) > 1]
    found = (
        [f"Records of {' and '.join(filter(None, (', '.join(mixed[:-1]), mixed[-1])))} are mixed."]
        if mixed
        else []
    )
    changed = sum(bool(record.code.get("git_changed")) for record in records)
    if changed:
        found.append(f"{changed} runs came from a checkout with uncommitted changes.")
    return found
