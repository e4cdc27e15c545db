"""`cimlab report`: every table and figure as one HTML file that works offline, or as Markdown."""

from __future__ import annotations

from pathlib import Path

from cimlab.cli.options import Parser, file_to_write
from cimlab.cli.plain import TRIALS, read_report, repository, say_missing
from cimlab.cli.runs import folders_and_filters
from cimlab.config.errors import ConfigError
from cimlab.records.record import write_atomically
from cimlab.reporting.report import Report
from cimlab.runs.folders import made


def run(words: list[str]) -> int:
    """Run the command; 0, or raises what `errors.report` explains."""
    asked = parser().parse_intermixed_args(words)
    folders, filters = folders_and_filters(asked.words)
    usual = (repository() / "paper" / "records", Path("outputs"))
    with made(asked.output.parent, by="give -o a file in"):
        read = read_report(folders or [folder for folder in usual if folder.is_dir()], asked.trials, filters)
        write_atomically(asked.output, _content(read, asked.output, asked.figures))
    say_missing(read)
    print(f"report: {asked.output}")
    return 0


def _content(read: Report, output: Path, figures: Path | None) -> str:
    if output.suffix == ".md":
        from cimlab.reporting.markdown import markdown_page

        return markdown_page(read, output, figures or output.with_name(f"{output.stem}-figures"))
    if figures is not None:
        raise ConfigError(
            f"--figures={figures}: an HTML report holds its figures; give -o NAME.md, or leave it out"
        )
    from cimlab.reporting.page import html_page

    return html_page(read)


def parser() -> Parser:
    """The options of the command."""
    options = Parser("report", __doc__)
    told = "folders with records, and filters of cimlab runs, e.g. model=resnet20 budget=steps"
    options.add_argument("words", nargs="*", metavar="FOLDER or FILTER", help=told)
    told = "default: report.html; a name in .md gives Markdown"
    options.add_argument("-o", "--output", type=file_to_write, default=Path("report.html"), help=told)
    told = "where Markdown's figures go (default: the file's name, with -figures)"
    options.add_argument("--figures", type=Path, metavar="FOLDER", help=told)
    options.add_argument("--trials", action="store_true", help=TRIALS)
    return options
