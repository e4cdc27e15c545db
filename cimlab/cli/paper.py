"""`cimlab paper`: the paper as PDF, every table, figure and number in it from the committed records."""

from __future__ import annotations

from pathlib import Path

from cimlab.cli.options import Parser, file_to_write
from cimlab.cli.plain import TRIALS, read_report, repository, say_missing
from cimlab.runs.folders import made


def run(words: list[str]) -> int:
    """Run the command; 0, or raises what `errors.report` explains."""
    folder = repository() / "paper"
    asked = parser().parse_args(words)
    build = folder / "build"
    output = asked.output or build / "paper.pdf"
    with made(output.parent, by="give -o a file in"):
        read = read_report(asked.folders or [folder / "records"], asked.trials)
        from cimlab.reporting.paper import compile_paper, write_data

        compile_paper(read, folder, output)
        if asked.output is None:
            write_data(read, build)
    say_missing(read)
    print(f"paper: {output}")
    return 0


def parser() -> Parser:
    """The options of the command."""
    options = Parser("paper", __doc__)
    options.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="default: paper/records")
    beside = "default: paper/build/paper.pdf, with every figure as SVG and every table as CSV beside it"
    options.add_argument("-o", "--output", type=file_to_write, help=beside)
    options.add_argument("--trials", action="store_true", help=TRIALS)
    return options
