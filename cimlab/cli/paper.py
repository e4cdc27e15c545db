"""`cimlab paper`: the paper as PDF, every table, figure and number in it from the committed records."""

from __future__ import annotations

from pathlib import Path

from cimlab.cli.options import Parser
from cimlab.cli.plain import read_report, repository, say_missing


def run(words: list[str]) -> int:
    """Run the command; 0, or raises what `errors.report` explains."""
    folder = repository() / "paper"
    parser = Parser("paper", __doc__)
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="default: paper/records")
    parser.add_argument("-o", "--output", type=Path, default=folder / "build" / "paper.pdf")
    asked = parser.parse_args(words)
    made = read_report(asked.folders or [folder / "records"])
    from cimlab.reporting.paper import compile_paper

    compile_paper(made, folder, asked.output)
    say_missing(made)
    print(f"paper: {asked.output}")
    return 0
