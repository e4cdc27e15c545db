"""`cimlab runs`: what was run, what runs now, and what came of it, from the files alone."""

from __future__ import annotations

import difflib
import operator
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from cimlab.cli.options import Parser, at_least_one
from cimlab.config.errors import ConfigError
from cimlab.records.index import Row, fields, rows, unfinished
from cimlab.records.json_text import json_text
from cimlab.reporting.summaries import heading

COLUMNS = (
    "state", "model", "data", "granularity", "remaining", "seed", "accuracy", "dense", "compression", "arrays",
    "steps_ratio", "energy_j", "energy_ratio", "throughput_ratio", "seconds", "name",
)  # fmt: skip
"""Shown of every run; choices of other groups are shown where runs differ in them."""
OF_ITS_OWN = ("run", "folder", "file", "created", "commit", "reason", "study", "unpriceable")
"""Texts that differ from run to run and tell a reader nothing, or are shown elsewhere."""
COMPARE: dict[str, Callable] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
HELP = """\
examples:
  cimlab runs state=failed
  cimlab runs granularity=operation_unit,filter 'remaining<=0.1' --sort=-accuracy
  cimlab runs outputs other/outputs --json
  cimlab runs --why outputs/RUN outputs/ANOTHER
"""


def run(words: list[str]) -> int:
    """Run the command; an exit code, or raises what `errors.report` explains."""
    asked = _parser().parse_intermixed_args(words)
    if asked.why:
        _show_why(*map(Path, asked.why))
        return 0
    folders = [Path(word) for word in asked.words if not re.search("[<>=]", word)] or [Path("outputs")]
    found: list[Row] = []
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"{folder} is no folder; give one that holds runs (the default is outputs)")
        whole, problems = rows(folder)
        found += whole + unfinished(folder)
        for problem in problems:
            print(f"cimlab: {problem}", file=sys.stderr)
    known = list(dict.fromkeys((*COLUMNS, *fields(found))))
    conditions = [condition(word, known) for word in asked.words if re.search("[<>=]", word)]
    chosen = [row for row in found if all(holds(row) for holds in conditions)]
    chosen = sort(chosen, asked.sort, known)
    if asked.json:
        sys.stdout.write(json_text(chosen, indent=1))
        print()
    else:
        _show(chosen[: asked.limit], len(chosen), len(found))
    return 0


def condition(word: str, known: Sequence[str]) -> Callable[[Row], bool]:
    """A filter like state=done, seed=0,1 or accuracy>=0.9; a row without the field does not pass.

    Raises:
        ConfigError: unknown field, or a comparison with something that is no number.
    """
    match = re.fullmatch(r"(\w+)(<=|>=|!=|=|<|>)(.*)", word)
    if not match:
        raise ConfigError(f"{word}: filter by FIELD=VALUE[,VALUE], FIELD<VALUE ...")
    field, sign, texts = _field(word, match[1], known), match[2], match[3].split(",")
    compare = COMPARE[sign]
    values = [_number(text) for text in texts]
    if sign not in ("=", "!=") and (len(values) > 1 or isinstance(values[0], str)):
        raise ConfigError(f"{word}: {sign} compares with one number")

    def holds(row: Row) -> bool:
        value = row.get(field)
        if value is None:
            return False
        if sign == "!=":
            return all(_same(value, other) is False for other in values)
        if sign == "=":
            return any(_same(value, other) for other in values)
        return isinstance(value, int | float) and compare(value, values[0])

    return holds


def sort(found: list[Row], field: str, known: Sequence[str]) -> list[Row]:
    """Rows by a field, `-field` downwards; rows without it come last.

    Raises:
        ConfigError: unknown field.
    """
    name = _field(f"--sort={field}", field.removeprefix("-"), known)
    having = [row for row in found if row.get(name) is not None]
    rest = [row for row in found if row.get(name) is None]
    return sorted(having, key=lambda row: row[name], reverse=field.startswith("-")) + rest


def _field(word: str, asked: str, known: Sequence[str]) -> str:
    """The field that a word names, by its own name or by its column's heading.

    Raises:
        ConfigError: there is none.
    """
    named = {heading(name): name for name in known} | {name: name for name in known}
    if asked in named:
        return named[asked]
    near = difflib.get_close_matches(asked, named, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ConfigError(f"{word}: no run has {asked!r}; {hint}fields: {', '.join(known)}")


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _same(value: object, asked: float | str) -> bool:
    return value == asked or str(value) == str(asked)


def _show(shown: list[Row], chosen: int, total: int) -> None:
    from rich.console import Console

    from cimlab.reporting.summaries import runs_table

    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(runs_table(shown, _columns(shown)).for_terminal())
    cut = f", the first {len(shown)} shown (--limit)" if len(shown) < chosen else ""
    console.print(f"{chosen} of {total} runs{cut}", highlight=False)
    for row in shown:
        if row.get("reason") and row["state"] in ("failed", "killed"):
            console.print(f"{row['state']}: {row['name']}: {row['reason']}", highlight=False, markup=False)


def _columns(shown: list[Row]) -> tuple[str, ...]:
    """Those of every run, and before its name the choices and methods in which the shown runs differ."""
    asked = [name for name in fields(shown) if all(isinstance(row.get(name), str) for row in shown)]
    varied = [n for n in asked if n not in (*COLUMNS, *OF_ITS_OWN) and len({row[n] for row in shown}) > 1]
    return (*COLUMNS[:-1], *varied, COLUMNS[-1])


def _show_why(one: Path, other: Path) -> None:
    """The settings in which two runs differ, and which of these make them two."""
    from rich.console import Console

    from cimlab.records.why import differences, read_run
    from cimlab.reporting.table import Table

    found = differences(read_run(one), read_run(other))
    counts = {True: "yes", False: "no", None: "not said"}
    rows = [(d.setting, *map(str, d.values), counts[d.counts]) for d in found]
    headings = ("setting", one.name, other.name, "part of what a run is")
    console = Console(width=None if sys.stdout.isatty() else 200)
    if not rows:
        print("they differ in no setting")
        return
    console.print(Table.of_texts(headings, rows, f"{len(rows)} settings differ", words=4).for_terminal())
    if any(d.counts is None for d in found):
        print("records of the first schema don't say what counted")


def _parser() -> Parser:
    parser = Parser("runs", __doc__, HELP)
    more = "folders of runs (outputs), and filters"
    parser.add_argument("words", nargs="*", metavar="FOLDER or FILTER", help=more)
    parser.add_argument("--sort", default="name", metavar="FIELD", help="a field, -FIELD downwards")
    parser.add_argument("--limit", type=at_least_one, default=100, help="rows shown as a table (100)")
    more = "the settings in which two runs differ, and which of them make two runs of them"
    parser.add_argument("--why", nargs=2, metavar=("RUN", "ANOTHER"), help=more)
    parser.add_argument("--json", action="store_true", help="all chosen rows, as JSON")
    return parser
