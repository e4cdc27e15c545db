"""A figure or a table is one file of figures/ or tables/: its name, its title, and a function that draws it.

What stands in those folders is found here and listed nowhere else: paper, HTML page, RESULTS.md and dashboard show all
of it, and the golden test asks for a file of each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from string import ascii_lowercase
from typing import TypeVar

from cimlab.reporting.chart import Chart, Spec
from cimlab.reporting.evidence import Evidence, Selection
from cimlab.reporting.table import Table

HOW_TO_SEE = "To see them: cimlab report FOLDER with a filter of cimlab runs, as model=NAME or budget=steps."


class NotRun(Exception):
    """Raised by a drawing whose runs are missing; the message says which."""


@dataclass(frozen=True)
class Drawing:
    """What a figure draws.

    Args:
        spec: Vega-Lite, data inside.
        wide: spans both columns of the paper.
        notes: conditions, a sentence each.
    """

    spec: Spec
    wide: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FigureFile:
    """A figure as its file defines it."""

    name: str
    title: str
    draw: Callable[[Evidence], Drawing]
    shows: Selection | None = None

    def charts(self, evidence: Evidence) -> list[Chart]:
        """The figure over this evidence; without a drawing where its runs are missing."""
        try:
            drawn = self.draw(evidence)
        except NotRun as missing:
            return [Chart(self.name, self.title, None, str(missing))]
        return [Chart(self.name, self.title, drawn.spec, "", drawn.wide, drawn.notes)]


@dataclass(frozen=True)
class TableFile:
    """A table, or a table for each of several networks, as its file defines it."""

    name: str
    title: str
    draw: Callable[[Evidence], Table | Sequence[Table]]
    shows: Selection | None = None

    def tables(self, evidence: Evidence) -> list[Table]:
        """The table over this evidence, or several, lettered; without rows where its runs are missing."""
        try:
            drawn = self.draw(evidence)
        except NotRun as missing:
            drawn = Table((), (), (f"{missing}.",))
        if isinstance(drawn, Table):
            return [replace(drawn, name=self.name, title=self.title)]
        return [replace(table, name=f"{self.name}{_letter(i)}") for i, table in enumerate(drawn)]


def _letter(number: int) -> str:
    """a, b, ... z, za, zb, ...: in the order of the alphabet."""
    return "z" * (number // 26) + ascii_lowercase[number % 26]


def figure(
    name: str, title: str, shows: Selection | None = None
) -> Callable[[Callable[..., Drawing]], FigureFile]:
    """Make a function that draws, or raises NotRun, the figure of its file.

    Args:
        name: short and stable.
        title: what it shows.
        shows: the studies that it is drawn from; the function then takes them beside the evidence.
    """
    return lambda draw: FigureFile(name, title, _selecting(draw, shows), shows)


def table(
    name: str, title: str, shows: Selection | None = None
) -> Callable[[Callable[..., Table | Sequence[Table]]], TableFile]:
    """The same for the table of its file; of several tables, each has a title of its own."""
    return lambda draw: TableFile(name, title, _selecting(draw, shows), shows)


Drawn = TypeVar("Drawn")


def _selecting(draw: Callable[..., Drawn], shows: Selection | None) -> Callable[[Evidence], Drawn]:
    if shows is None:
        return draw

    def selecting(evidence: Evidence) -> Drawn:
        chosen = shows.chosen(evidence)
        if not chosen:
            raise NotRun(shows.missing)
        return draw(evidence, chosen)

    return selecting


def left_out(evidence: Evidence) -> list[str]:
    """What figures and tables that show a part of the runs do not show: a line for all that leave out the same."""
    parts: dict[str, list[str]] = {}
    for part in (*figures(), *tables()):
        runs = Counter()
        for study in part.shows.left_out(evidence) if part.shows else ():
            runs[study.title] += len(study.records)
        told = ", ".join(f"{title} ({n} {'run' if n == 1 else 'runs'})" for title, n in runs.items())
        parts.setdefault(told, []).append(part.name)
    lines = [f"Not in {', '.join(names)}: {told}." for told, names in parts.items() if told]
    return [*lines, HOW_TO_SEE] if lines else []


Kind = TypeVar("Kind", FigureFile, TableFile)


@cache
def figures() -> tuple[FigureFile, ...]:
    """Every figure, by name."""
    return _found("cimlab.reporting.figures", FigureFile)


@cache
def tables() -> tuple[TableFile, ...]:
    """Every table, by name."""
    return _found("cimlab.reporting.tables", TableFile)


def _found(package: str, kind: type[Kind]) -> tuple[Kind, ...]:
    modules = [
        import_module(f"{package}.{file.name}") for file in iter_modules(import_module(package).__path__)
    ]
    parts = [part for module in modules for part in vars(module).values() if isinstance(part, kind)]
    return tuple(sorted(parts, key=lambda part: part.name))
