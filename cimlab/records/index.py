"""Runs and simulations below a folder as rows, fast: a record is verified once, and again only when its file changes.

What was verified is kept in one file at the top of the folder, behind a checksum of its own. It holds nothing that
the records don't say: it may be deleted, and a folder that can't be written is merely read more slowly.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cimlab.records.failure import Failure
from cimlab.records.history import HISTORY_FILE, read_rows
from cimlab.records.locks import holder
from cimlab.records.record import RECORD_FILE, RecordError, RunRecord, write_atomically
from cimlab.records.simulation import SimulationRecord
from cimlab.records.store import is_simulation
from cimlab.records.study import study_of
from cimlab.records.walk import walked

INDEX_FILE = ".index.json"
LAYOUT = 10
NETWORK = ("model", "data", "granularity")
"""Groups that every row of a run has, as None where its record says none."""
Row = dict[str, Any]


def rows(folder: Path) -> tuple[list[Row], list[str]]:
    """One row for each run with a whole record, sorted by name, and one line for each damaged record."""
    return _rows(folder, "run")


def simulations(folder: Path) -> tuple[list[Row], list[str]]:
    """`rows` of what `cimlab simulate` recorded."""
    return _rows(folder, "simulation")


def _rows(folder: Path, kind: str) -> tuple[list[Row], list[str]]:
    known = _known(folder)
    fresh: dict[str, list[Any]] = {}
    walk = walked(folder)
    problems = walk.problems if kind == "run" else []  # once is enough
    for path, stat in walk.records:
        place, stamp = os.path.relpath(path, folder), [stat.st_mtime_ns, stat.st_size]
        entry = known.get(place)
        if entry is None or entry[:2] != stamp:
            try:
                entry = [*stamp, _read(Path(path))]
            except RecordError as problem:
                if is_simulation(Path(path)) == (kind == "simulation"):
                    problems.append(str(problem))
                continue
        fresh[place] = entry
    if fresh != known:
        with contextlib.suppress(RecordError):
            _remember(folder, fresh)
    found = [
        {**entry[2], "folder": str(folder / os.path.dirname(place)), "file": str(folder / place)}
        for place, entry in fresh.items()
        if entry[2]["kind"] == kind
    ]
    return sorted(found, key=lambda row: row["name"]), problems


def _read(path: Path) -> Row:
    """The row of a record.

    Raises:
        RecordError: it is not whole, or lacks what every row has.
    """
    try:
        if path.name != RECORD_FILE and is_simulation(path):
            return simulated(SimulationRecord.read(path))
        return row_of(RunRecord.read(path))
    except KeyError as problem:
        raise RecordError(f"record {path} says no {problem.args[0]}; no cimlab wrote it so") from problem


def row_of(record: RunRecord) -> Row:
    """What a table of runs shows of a record: choices, what was asked, and the main results."""
    total, hardware = record.hardware["total"], record.hardware
    geometry = record.config.get("geometry", {})
    cost = hardware.get("cost", {})  # records made before costs were known have none
    parameters = record.config.get("granularity", {})
    return {
        "state": "done",
        "kind": "run",
        "run": record.run,
        "name": record.name,
        **dict.fromkeys(NETWORK),
        **{group: choice for group, choice in record.choices.items() if group != "method"},
        "parameters": ", ".join(f"{key}={value}" for key, value in parameters.items() if key != "_target_"),
        "adc_bits": geometry["adc_bits"] or "lossless" if "adc_bits" in geometry else None,
        "allocation": record.config["prune"].get("allocation"),
        "budget": record.config["prune"].get("budget", "weights"),
        "methods": "+".join(record.methods),
        "remaining": record.config["prune"]["remaining"],
        "seed": record.seed,
        "dense": record.accuracy["dense"]["test"],
        "pruned": record.accuracy["pruned"]["test"],
        "accuracy": record.accuracy["retrained"]["test"],
        "left": record.weights["remaining_all"],
        "compression": record.weights["compression"],
        "arrays": total["arrays"],
        "steps_ratio": hardware["ratio"].get("steps"),
        "conversions_ratio": hardware["ratio"].get("adc_conversions"),
        "energy_j": cost.get("total", {}).get("energy_j"),
        "energy_ratio": cost.get("ratio", {}).get("energy_j"),
        "latency_s": cost.get("total", {}).get("latency_s"),
        "images_per_s": cost.get("total", {}).get("images_per_s"),
        "throughput_ratio": cost.get("ratio", {}).get("images_per_s"),
        "seconds": sum(record.wall_time_s.values()) if record.wall_time_s else None,
        "created": record.created,
        "commit": record.code.get("git_commit"),
        "study": study_of(record),
        "unpriceable": record.unpriceable,
        "group": record.config.get("tracker", {}).get("group"),
        "search": record.search,
    }


def simulated(record: SimulationRecord) -> Row:
    """What a table of simulations shows of a record; `accuracy` is that on the arrays, over all chips."""
    origin = record.origin or {}
    return {
        "state": "done",
        "kind": "simulation",
        "run": record.simulation,
        "name": record.name,
        **record.choices,
        "adc_bits": record.resolution,
        "granularity": origin.get("granularity"),
        "remaining": origin.get("remaining"),
        "seed": record.seed,
        **{name: record.accuracy[name] for name in ("float", "quantised", "spread")},
        "accuracy": record.accuracy["mean"],
        "chips": len(record.accuracy["draws"]),
        "images": record.images,
        "left": record.weights["left"] / record.weights["total"],
        "compression": record.weights["total"] / record.weights["left"],
        "seconds": sum(record.wall_time_s.values()),
        "created": record.created,
        "commit": record.code.get("git_commit"),
    }


def fields(found: Iterable[Row]) -> list[str]:
    """What the rows of runs can be asked for: every choice of a group and every number that some row has."""
    return list(dict.fromkeys(name for row in found for name in row))


def unfinished(folder: Path) -> list[Row]:
    """One row for each run that was begun and has no record: running, failed, killed, or stopped on the way."""
    found = []
    for run_dir in walked(folder).begun:
        state, reason = state_of(run_dir)
        history = read_rows(run_dir / HISTORY_FILE)
        row: Row = {
            "state": state,
            "kind": "run",
            "name": run_dir.name,
            "folder": str(run_dir),
            "reason": reason,
        }
        row["file"] = str(run_dir / RECORD_FILE)
        found.append({**row, "epochs": len(history)})
    return sorted(found, key=lambda row: row["name"])


def state_of(run_dir: Path) -> tuple[str, str]:
    """What became of a run without a record, and why."""
    who, alive = holder(run_dir)
    if alive:
        return "running", f"process {who.pid} on {who.host}" if who else ""
    failure = Failure.read(run_dir)
    if failure:
        return "failed", failure.reason
    if who:
        return "killed", f"process {who.pid} on {who.host} died; the next sweep goes on with it"
    return "stopped", ""


def _remember(folder: Path, entries: dict[str, list[Any]]) -> None:
    """Write the index: the checksum of its second line, then everything in that line."""
    text = json.dumps({"layout": LAYOUT, "records": entries})
    write_atomically(folder / INDEX_FILE, f"{_checksum(text)}\n{text}")


def _known(folder: Path) -> dict[str, list[Any]]:
    """What the index holds; nothing where it is missing, damaged or of another layout."""
    try:
        stated, _, text = (folder / INDEX_FILE).read_text(encoding="utf-8").partition("\n")
        content = json.loads(text) if stated == _checksum(text) else {}
    except (OSError, ValueError):
        return {}
    return content["records"] if content.get("layout") == LAYOUT else {}


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
