"""The paper: the report's tables, figures and numbers, and the PDF that Typst makes of them and of the paper's text."""

from __future__ import annotations

import shutil
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

from cimlab.records.json_text import json_text
from cimlab.records.record import write_atomically, write_bytes_atomically
from cimlab.reporting.report import Report, ReportError
from cimlab.reporting.table import Table


def write_data(report: Report, build: Path) -> None:
    """Everything that paper.typ reads: report.json, an SVG a figure, and a CSV a table."""
    for chart in report.charts:
        if chart.spec is not None:
            write_atomically(build / f"{chart.name}.svg", chart.svg())
    for table in report.tables:
        write_atomically(build / f"{table.name}.csv", table.csv())
    write_atomically(build / "report.json", json_text(as_data(report), indent=1))


def as_data(report: Report) -> dict[str, Any]:
    """The report in JSON values, cells as people read them, tables as short as they can be."""
    return {
        "version": metadata.version("cimlab"),
        "numbers": report.numbers,
        "problems": list(report.problems),
        "not_run": report.not_run,
        "tables": {
            table.name: {
                "title": table.title,
                "notes": list(table.notes),
                "columns": [{"label": column.label, "text": column.text} for column in table.columns],
                "rows": table.shown(),
            }
            for table in map(Table.short, report.tables)
        },
        "charts": {
            chart.name: {"title": chart.title, "notes": list(chart.notes), "missing": chart.missing, "wide": chart.wide}
            for chart in report.charts
        },
    }  # fmt: skip


def compile_paper(report: Report, folder: Path, output: Path) -> Path:
    """Compile FOLDER/paper.typ over the report's data; the same report gives the same bytes.

    The text is compiled in a copy of its own, so that FOLDER stays as it is whatever records the report is over.

    Args:
        folder: holds paper.typ.
        output: the PDF.

    Raises:
        ReportError: the source is missing, or Typst refuses it.
        RecordError: a file can't be written.
    """
    source = folder / "paper.typ"
    if not source.is_file():
        raise ReportError(f"{source} is missing; run from a clone of cimlab")
    import typst

    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "paper"
        shutil.copytree(folder, root, ignore=shutil.ignore_patterns("build", "records", "dense"))
        write_data(report, root / "build")
        try:
            content = typst.compile(
                root / source.name, root=root, ignore_system_fonts=True, pdf_tags=True, timestamp=0
            )
        except (typst.TypstError, RuntimeError) as problem:
            raise ReportError(f"{source} can't be compiled: {problem}") from problem
    write_bytes_atomically(output, content)
    return output
