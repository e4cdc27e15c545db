"""A table as data: what the terminal, the paper, the HTML report, Markdown and the CSV file show alike.

A cell that is None was not run.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cimlab.reporting.estimates import Estimate

if TYPE_CHECKING:
    import rich.console
    import rich.table

    Grids = Iterator[rich.table.Table]

NOT_RUN = "not run"
NONE = "none"
"""What was looked for among the runs and isn't there."""

Cell = str | float | Estimate | None


@dataclass(frozen=True)
class Column:
    """A column.

    Args:
        heading: in words.
        unit: of its numbers.
        digits: after the point, in what people read.
        text: holds words; aligned left.
        spread: whether people see the spread over seeds; the CSV file always has it.
    """

    heading: str
    unit: str = ""
    digits: int = 2
    text: bool = False
    spread: bool = True

    @property
    def label(self) -> str:
        return f"{self.heading} ({self.unit})" if self.unit else self.heading


@dataclass(frozen=True)
class Table:
    """Named columns and rows of cells; None is a point that was not run.

    Args:
        notes: conditions and warnings, a sentence each.
        name: short and stable: file name and label.
        title: what the table shows.
        spared: rows, by number, that are left out first where there is no room for all.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    name: str = ""
    title: str = ""
    spared: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"table {self.name}: {len(row)} cells in a row of {len(self.columns)} columns"
                )

    @classmethod
    def of_texts(
        cls, headings: Iterable[str], rows: Iterable[Iterable[str]], title: str = "", words: int = 1
    ) -> Table:
        """A table of cells that are worded already, the first `words` columns aligned as words."""
        columns = tuple(Column(heading, text=i < words) for i, heading in enumerate(headings))
        return cls(columns, tuple(map(tuple, rows)), title=title)

    @property
    def headed(self) -> str:
        """Number and title; a table whose name is a word has no number."""
        return f"{self.name}. {self.title}" if self.name[:1].isupper() else self.title

    def shown(self) -> list[list[str]]:
        """Rows as people read them: mean ± standard deviation where there are several seeds."""
        return [[_shown(c, col) for c, col in zip(row, self.columns, strict=True)] for row in self.rows]

    def sort_keys(self) -> list[list[float | str | None]]:
        """What each cell sorts by; None for what was not run."""
        return [[cell.mean if isinstance(cell, Estimate) else cell for cell in row] for row in self.rows]

    def csv(self) -> str:
        """RFC 4180 text with six significant digits; repeated measurements as mean, standard deviation and n."""
        repeated = [any(isinstance(row[i], Estimate) for row in self.rows) for i in range(len(self.columns))]
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        head = [
            [c.label, f"{c.label} standard deviation", f"{c.label} n"] if many else [c.label]
            for c, many in zip(self.columns, repeated, strict=True)
        ]
        writer.writerow([name for names in head for name in names])
        for row in self.rows:
            parts = [_written(cell, many) for cell, many in zip(row, repeated, strict=True)]
            writer.writerow([part for entry in parts for part in entry])
        return out.getvalue()

    def markdown(self) -> str:
        """A table of GitHub's Markdown."""
        lines = [
            [column.label for column in self.columns],
            ["---" if c.text else "---:" for c in self.columns],
        ]
        lines += self.shown()
        return "".join(f"| {' | '.join(map(_in_markdown, line))} |\n" for line in lines)

    def __rich_console__(self, console: rich.console.Console, options: rich.console.ConsoleOptions) -> Grids:
        """As rich prints it; cells are text, never markup. No word is broken that a line has room for: columns that
        don't fit stand in a further table, beside the same first columns.
        """
        from rich.table import Table as Grid
        from rich.text import Text

        shown = self.shown()
        full = [max(map(len, texts)) for texts in self._texts(shown)]
        least = self._least(shown)
        for number, places in enumerate(_parts(least, self._telling(shown), options.max_width)):
            widths = _shrunk([full[i] for i in places], [least[i] for i in places], options.max_width)
            grid = Grid(title=(self.title or None) if number == 0 else None, title_justify="left")
            for i, width in zip(places, widths, strict=True):
                justify = "left" if self.columns[i].text else "right"
                grid.add_column(Text(self.columns[i].label), justify=justify, overflow="fold", width=width)
            for row in shown:
                grid.add_row(*(Text(_wrapped(row[i], w)) for i, w in zip(places, widths, strict=True)))
            yield grid

    def _texts(self, shown: list[list[str]]) -> list[list[str]]:
        """Heading and cells of each column."""
        return [[column.label, *(row[i] for row in shown)] for i, column in enumerate(self.columns)]

    def _telling(self, shown: list[list[str]]) -> int:
        """How many first columns tell one row from another: those of words, and up to two more that rows need."""
        words = next((i for i, column in enumerate(self.columns) if not column.text), 1)
        rows = len({*map(tuple, shown)})
        enough = (n for n in range(words, words + 3) if len({tuple(row[:n]) for row in shown}) == rows)
        return next(enough, words)

    def _least(self, shown: list[list[str]]) -> list[int]:
        """Width in which no word of a column is broken, and no number parted from its unit."""
        kinds = zip(self.columns, self._texts(shown), strict=True)
        return [
            max(len(piece.rstrip()) for text in texts for piece in _pieces(text))
            if column.text
            else max([len(word) for word in column.label.split()] + [len(text) for text in texts[1:]] + [1])
            for column, texts in kinds
        ]

    def short(self) -> Table:
        """The table without its spared rows, and a note of where they are."""
        if not self.spared:
            return self
        rows = tuple(row for number, row in enumerate(self.rows) if number not in self.spared)
        told = f"{len(rows)} of {len(self.rows)} rows; the report and the CSV file have all."
        return replace(self, rows=rows, notes=(*self.notes, told), spared=frozenset())

    def apart(self, kept: Iterable[str] = ()) -> Table:
        """The table without columns that are the same in all rows, and a note of what these say.

        Args:
            kept: headings that stay all the same.
        """
        shown, kept = self.shown(), {*kept}
        values = [{row[i] for row in shown} for i in range(len(self.columns))]
        stay = [i for i, column in enumerate(self.columns) if len(values[i]) > 1 or column.label in kept]
        same = [
            f"{column.label} {value}"
            for i, column in enumerate(self.columns)
            if i not in stay
            for value in values[i]
            if value
        ]
        note = f"{'same in all: ' if len(self.rows) > 1 else ''}{', '.join(same)}"
        rows = tuple(tuple(row[i] for i in stay) for row in self.rows)
        columns = tuple(self.columns[i] for i in stay)
        return replace(self, columns=columns, rows=rows, notes=(*self.notes, *([note] if same else [])))

    def fitted(self, width: int, spared: Iterable[str]) -> tuple[Table, list[str]]:
        """The table in a terminal of so many signs, and the headings of the columns that had to go for it.

        Args:
            width: signs in a line.
            spared: headings, what is missed least first; others stay, and fold.
        """
        shown = self.shown()
        wide = {
            column.label: 3 + max(len(text) for text in (column.label, *(row[i] for row in shown)))
            for i, column in enumerate(self.columns)
        }
        gone: list[str] = []
        for heading in spared:
            if 1 + sum(wide.values()) <= width:
                break
            if wide.pop(heading, None):
                gone.append(heading)
        kept = [i for i, column in enumerate(self.columns) if column.label in wide]
        rows = tuple(tuple(row[i] for i in kept) for row in self.rows)
        return replace(self, columns=tuple(self.columns[i] for i in kept), rows=rows), gone

    @property
    def missing(self) -> int:
        """Cells that were not run."""
        return sum(cell is None for row in self.rows for cell in row)


def _pieces(text: str) -> list[str]:
    """Where a line may end: behind a space or the hyphen of a name.

    >>> _pieces("net-0.1 of mine")
    ['net-', '0.1 ', 'of ', 'mine']
    """
    return re.split(r"(?<=\w-)(?=\w)|(?<= )(?=[^ ])", text)


def _wrapped(text: str, width: int) -> str:
    """Lines that end between pieces.

    >>> _wrapped("net-column_segment-0.1", 15)
    'net-\\ncolumn_segment-\\n0.1'
    """
    lines = [""]
    for piece in _pieces(text):
        if lines[-1] and len(lines[-1] + piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(lines)


def _parts(least: list[int], words: int, width: int) -> list[list[int]]:
    """Columns of as few tables as a line of so many signs needs, of about one width; the first `words` stand in each.

    >>> _parts([4, 4, 4, 4], 1, 40), _parts([4, 4, 4, 4], 1, 28)
    ([[0, 1, 2, 3]], [[0, 1, 2], [0, 3]])
    """
    each = [own + 3 for own in least]  # a space on either side, and a line
    while words > 1 and 1 + sum(each[:words]) + max(each[words:]) > width:
        words -= 1

    def filled(width: int) -> list[list[int]]:
        parts = [list(range(words))]
        for place in range(words, len(each)):
            if len(parts[-1]) > words and 1 + sum(each[i] for i in (*parts[-1], place)) > width:
                parts.append(list(range(words)))
            parts[-1].append(place)
        return parts

    parts = filled(width)
    while width > 1 and len(parts) == len(narrower := filled(width - 1)):
        parts, width = narrower, width - 1
    return parts


def _shrunk(full: list[int], least: list[int], width: int) -> list[int]:
    """Widths of columns in a line: full ones, less of those that can be narrower, and then of the widest."""
    widths = list(full)
    while 1 + sum(own + 3 for own in widths) > width and max(widths) > 1:
        loose = [own - few for own, few in zip(widths, least, strict=True)]
        widths[loose.index(max(loose)) if max(loose) > 0 else widths.index(max(widths))] -= 1
    return widths


def _in_markdown(cell: str) -> str:
    """Text of one cell: what could end it or be markup is written otherwise."""
    for sign, written in {
        "&": "&amp;",
        "<": "&lt;",
        "|": "&#124;",
        "*": "&#42;",
        "_": "&#95;",
        "`": "&#96;",
        "[": "&#91;",
        "\\": "&#92;",
    }.items():
        cell = cell.replace(sign, written)
    return cell.replace("\n", " ")


def _shown(cell: Cell, column: Column) -> str:
    match cell:
        case None:
            return NOT_RUN
        case str():
            return cell
        case Estimate():
            mean = f"{cell.mean:z,.{column.digits}f}"
            return (
                mean
                if cell.spread is None or not column.spread
                else f"{mean} ± {cell.spread:.{column.digits}f}"
            )
        case _:
            return f"{cell:z,.{column.digits}f}"


def _written(cell: Cell, many: bool) -> list[str]:
    match cell:
        case None:
            return [NOT_RUN] * (3 if many else 1)
        case Estimate():
            spread = "one seed" if cell.spread is None else f"{cell.spread:.6g}"
            return [f"{cell.mean:.6g}", spread, str(cell.n)]
        case str():
            text = [cell]
        case _:
            text = [f"{cell:.6g}"]
    return [*text, "", ""] if many else text
