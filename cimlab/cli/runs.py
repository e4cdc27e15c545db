"""`cimlab runs`: what was run, what runs now, and what came of it, from the files alone."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from cimlab.choices import choices, groups
from cimlab.cli.fields import condition, ordered
from cimlab.cli.options import Parser, at_least_one, require_folders
from cimlab.records.flat import in_yaml
from cimlab.records.index import Row, fields, rows, simulations, unfinished
from cimlab.records.json_text import json_text
from cimlab.records.record import RECORD_FILE
from cimlab.records.simulation import SIMULATION_FILE
from cimlab.reporting.summaries import heading, runs_table

RESULTS = {
    "run": (
        "accuracy", "energy_j", "images_per_s", "throughput_ratio", "compression", "energy_ratio", "steps_ratio",
        "dense", "arrays", "seconds",
    ),
    "simulation": ("accuracy", "float", "quantised", "spread", "chips", "images", "compression", "seconds"),
}  # fmt: skip
"""What came of a run or a simulation, what is asked for most first; a narrow terminal leaves out the last."""
SETTINGS = ("state", "model", "data", "granularity", "remaining", "seed")
"""Shown of every run in this order, and choices of other groups, where the shown runs differ in them."""
IN_NAMES = {
    "run": ("seed", "data", "model", "remaining", "granularity"),
    "simulation": ("seed", "data", "model"),
}
"""What a narrow terminal leaves out next, for the name says it too."""
KEPT = 3
"""Results that every terminal shows."""
NUMBERED = ("adc_bits",)
"""Settings that may be numbers in all rows, as results are."""
OF_ITS_OWN = ("name", "run", "folder", "file", "created", "commit", "reason", "kind", "study", "unpriceable")
"""Texts that are no setting."""
CLOSED = {"state": {"done", "running", "failed", "killed", "stopped"}, "kind": {*RESULTS}}
"""Fields that have no other values; choices of groups are those that cimlab brings and those that were run."""
PIPED = 1000
"""Signs in a line where no terminal is: nothing is left out."""
HELP = """\
examples:
  cimlab runs state=failed
  cimlab runs granularity=operation_unit,filter 'remaining<=0.1' --sort=-accuracy
  cimlab runs 'accuracy>=0.85' --sort=energy      accuracy beside energy, the cheapest first
  cimlab runs kind=simulation adc_bits=4,5        accuracy on the arrays
  cimlab runs outputs other/outputs --csv
  cimlab runs --why outputs/RUN outputs/ANOTHER
"""


def run(words: list[str]) -> int:
    """Run the command; an exit code, or raises what `errors.report` explains."""
    asked = parser().parse_intermixed_args(words)
    if asked.why:
        _show_why(*map(Path, asked.why))
        return 0
    folders, filters = folders_and_filters(asked.words)
    folders = folders or [Path("outputs")]
    require_folders(folders)
    found = [row for folder in folders for row in _rows(folder)]
    chosen = filtered(found, filters)
    chosen = [chosen[place] for place in ordered(chosen, asked.sort, field_names(found))]
    if asked.json:
        print(json_text(chosen, indent=1))
    elif asked.csv:
        print(csv_text(chosen), end="")
    else:
        for kind in RESULTS:
            _show([row for row in chosen if row["kind"] == kind], kind, found, asked.limit)
    return 0


def folders_and_filters(words: Sequence[str]) -> tuple[list[Path], list[str]]:
    """What was typed, apart: a filter compares, unless a folder is called so."""
    filters = [word for word in words if re.search("[<>=]", word) and not Path(word).is_dir()]
    return [Path(word) for word in words if word not in filters], filters


def filtered(found: Sequence[Row], filters: Sequence[str]) -> list[Row]:
    """The rows that pass every filter.

    Raises:
        ConfigError: a filter of no field, or with a value that it can't have.
    """
    names = field_names(found)
    known = {name: {str(row[name]) for row in found if row.get(name)} for name in groups("train")}
    known = {name: {*own, *choices(name)} for name, own in known.items()} | CLOSED
    conditions = [condition(word, names, known) for word in filters]
    return [row for row in found if all(holds(row) for holds in conditions)]


def field_names(found: Sequence[Row] = ()) -> dict[str, str]:
    """Every field of runs and simulations by its own name, and by the heading of its column."""
    results = (name for names in RESULTS.values() for name in names)
    known = dict.fromkeys((*SETTINGS, *results, "name", *groups("train"), *fields(found)))
    return {heading(name): name for name in known} | {name: name for name in known}


def _rows(folder: Path) -> list[Row]:
    """Everything below a folder, done or not; what is damaged is told."""
    (whole, damaged), (simulated, more) = rows(folder), simulations(folder)
    for problem in (*damaged, *more):
        print(f"cimlab: {problem}", file=sys.stderr)
    return [*whole, *unfinished(folder), *simulated]


def _show(chosen: list[Row], kind: str, found: list[Row], limit: int) -> None:
    """Runs or simulations as a table in which they differ, and a line of what is the same in all."""
    from rich.console import Console

    total = sum(row["kind"] == kind for row in found)
    shown = [{**row, "name": _called(row)} for row in chosen[:limit]]
    if not total and (kind != "run" or found):
        return
    console = Console(width=None if sys.stdout.isatty() else PIPED)
    settings, same = _settings(shown)
    table = runs_table(shown, (*settings, *RESULTS[kind], "name"))
    spared = [heading(name) for name in (*RESULTS[kind][: KEPT - 1 : -1], *IN_NAMES[kind])]
    table, gone = table.fitted(console.width, spared)
    console.print(table)
    cut = f", the first {len(shown)} shown (--limit)" if len(shown) < len(chosen) else ""
    console.print(f"{len(chosen)} of {total} {kind}s{cut}", highlight=False)
    if same:
        console.print(f"same in all that are done: {', '.join(same)}", highlight=False, markup=False)
    if any(row.get("energy_j") for row in shown):
        console.print("energy and throughput: as priced when each run finished; map and report price anew")
    if gone:
        console.print(f"no room for {', '.join(gone)}; --csv and --json have all", highlight=False)
    for row in shown:
        if row.get("reason") and row["state"] in ("failed", "killed"):
            console.print(f"{row['state']}: {row['name']}: {row['reason']}", highlight=False, markup=False)


def _called(row: Row) -> str:
    """Its folder, which tells it apart and can be typed; what has none of its own goes by its name.

    A simulation at a run's end lies in the folder of the run.
    """
    folder, own = Path(row["folder"]).name, Path(row["file"]).name in (RECORD_FILE, SIMULATION_FILE)
    return folder if own and folder else row["name"]


def _settings(shown: list[Row]) -> tuple[list[str], list[str]]:
    """The settings in which the shown runs differ, and those that are the same, with their value."""
    texts = [name for name in fields(shown) if any(isinstance(row.get(name), str) for row in shown)]
    names = dict.fromkeys((*SETTINGS, *(name for name in texts if name not in OF_ITS_OWN), *NUMBERED))
    values = {name: {row[name] for row in shown if row.get(name) is not None} for name in names}
    if len(shown) == 1:
        return list(SETTINGS), [
            f"{name} {value}"
            for name in names
            if name not in SETTINGS
            for value in values[name]
            if value != ""
        ]
    differ = [name for name in names if len(values[name]) > 1]
    done = [row for row in shown if row["state"] == "done"]
    every = [name for name in names if name not in differ and all(row.get(name) is not None for row in done)]
    same = [(name, value) for name in every for value in values[name]]
    return differ, [f"{name} {value}" for name, value in same if value != ""]


def csv_text(rows: list[Row]) -> str:
    """Every field of every row; one line per run or simulation."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fields(rows), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _show_why(one: Path, other: Path) -> None:
    """The settings in which two runs differ, and which of these make them two."""
    from rich.console import Console

    from cimlab.records.why import differences, read_run
    from cimlab.reporting.table import Table

    found = differences(read_run(one), read_run(other))
    counts = {True: "yes", False: "no", None: "not said"}
    rows = [(d.setting, *map(in_yaml, d.values), counts[d.counts]) for d in found]
    headings = ("setting", one.name, other.name, "part of what a run is")
    console = Console(width=None if sys.stdout.isatty() else 200)
    if not rows:
        print("they differ in no setting")
        return
    console.print(Table.of_texts(headings, rows, f"{len(rows)} settings differ", words=4))
    if any(d.counts is None for d in found):
        print("records of the first schema don't say what counted")


def parser() -> Parser:
    """The options of the command."""
    options = Parser("runs", __doc__, HELP)
    more = "folders of runs (outputs), and filters"
    options.add_argument("words", nargs="*", metavar="FOLDER or FILTER", help=more)
    options.add_argument("--sort", default="name", metavar="FIELD", help="a field, -FIELD downwards")
    options.add_argument("--limit", type=at_least_one, default=100, help="rows shown as a table (100)")
    more = "the settings in which two runs differ, and which of them make two runs of them"
    options.add_argument("--why", nargs=2, metavar=("RUN", "ANOTHER"), help=more)
    options.add_argument("--json", action="store_true", help="all chosen rows, as JSON")
    options.add_argument("--csv", action="store_true", help="the same as CSV, for a spreadsheet")
    return options
