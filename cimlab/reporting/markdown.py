"""The report as one Markdown file, to be read where the repository is: RESULTS.md."""

from __future__ import annotations

import os
from html import escape
from pathlib import Path

from cimlab.reporting.chart import Chart, save
from cimlab.reporting.report import Report
from cimlab.reporting.table import Table

HEAD = """# Results

Every figure and table below is made from records by `cimlab report -o NAME.md`; nobody types a number here.
`CONCEPTS.md` says what the words mean. Mean ± standard deviation over seeds; no ± means one seed.
"""


def markdown_page(report: Report, page: Path, figures: Path) -> str:
    """The whole file; writes each figure as SVG.

    Args:
        page: where the file will be, for the links in it.
        figures: folder of the figures.

    Raises:
        RecordError: a figure can't be written.
    """
    parts = [HEAD, f"{_text(report.summary)}\n", *(f"> {_text(line)}\n" for line in report.notes)]
    parts += [_figure(chart, page, figures) for chart in report.charts]
    parts += [_table(table) for table in report.shown_tables]
    missing = report.not_run or ["nothing is missing"]
    parts += ["## Not run\n", "".join(f"- {_text(line)}\n" for line in missing)]
    return "\n".join(parts)


def _figure(chart: Chart, page: Path, figures: Path) -> str:
    heading = f"## {chart.name}. {_text(chart.title)}\n\n"
    path = figures / f"{chart.name}.svg"
    if chart.spec is None:
        path.unlink(missing_ok=True)  # drawn by this command when there were runs for it
        return f"{heading}_Not run: {_text(chart.missing)}._\n"
    save(chart.spec, path)
    link = os.path.relpath(path, page.parent).replace(os.sep, "/")
    return f"{heading}![{_text(chart.title)}]({link})\n{_notes(chart.notes)}"


def _table(table: Table) -> str:
    body = table.markdown() if table.rows else "_Not run: no records for this table._\n"
    return f"## {_text(table.headed)}\n\n{body}{_notes(table.notes)}"


def _notes(notes: tuple[str, ...]) -> str:
    return f"\n{_text(' '.join(notes))}\n" if notes else ""


def _text(text: str) -> str:
    """Text that stays text: no markup of HTML, no emphasis, no link."""
    for sign in "\\`*_[]":
        text = text.replace(sign, f"\\{sign}")
    return escape(text, quote=False)
