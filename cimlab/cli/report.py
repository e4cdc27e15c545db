"""`cimlab report`: every table and figure as one HTML file that works offline."""

from __future__ import annotations

from pathlib import Path

from cimlab.cli.options import Parser
from cimlab.cli.plain import read_report, repository, say_missing
from cimlab.records.record import write_atomically


def run(words: list[str]) -> int:
    """Run the command; 0, or raises what `errors.report` explains."""
    parser = Parser("report", __doc__)
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="folders with records")
    parser.add_argument("-o", "--output", type=Path, default=Path("report.html"), help="default: report.html")
    asked = parser.parse_args(words)
    usual = (repository() / "paper" / "records", Path("outputs"))
    made = read_report(asked.folders or [folder for folder in usual if folder.is_dir()])
    from cimlab.reporting.page import html_page

    write_atomically(asked.output, html_page(made))
    say_missing(made)
    print(f"report: {asked.output}")
    return 0
