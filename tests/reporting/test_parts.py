"""A figure or a table is one file: put into its folder, it is in report, page, paper's data and Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cimlab.reporting import figures, parts, tables
from cimlab.reporting.markdown import markdown_page
from cimlab.reporting.page import html_page
from cimlab.reporting.paper import as_data
from cimlab.reporting.published import Published
from cimlab.reporting.report import Report, assemble
from tests.reporting.made_up import evidence, run

FIGURE = """
from cimlab.reporting.chart import chart
from cimlab.reporting.parts import Drawing, NotRun, figure

@figure("F98", "Seeds of every run")
def seeds(evidence):
    if not evidence.records:
        raise NotRun("no runs were recorded")
    rows = [{"seed": record.seed} for record in evidence.records]
    return Drawing(chart(rows, mark="point", encoding={"x": {"field": "seed", "type": "quantitative"}}))
"""
TABLE = """
from cimlab.reporting.parts import table
from cimlab.reporting.table import Column, Table

@table("T98", "Number of runs")
def runs(evidence):
    return Table((Column("runs", digits=0),), ((float(len(evidence.records)),),))
"""


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A figure and a table of somebody's own, in the folders where they are looked for."""
    for package, name, text in ((figures, "F98_seeds", FIGURE), (tables, "T98_runs", TABLE)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / f"{name}.py").write_text(text)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    parts.figures.cache_clear()
    parts.tables.cache_clear()
    yield
    parts.figures.cache_clear()
    parts.tables.cache_clear()


def report(*records) -> Report:
    return assemble(records, [], [], Published.read(), (), [])


def test_one_file_is_enough_to_be_shown_everywhere(added: None, tmp_path: Path) -> None:
    made = report(run())
    page, data = html_page(made), as_data(made)
    text = markdown_page(made, tmp_path / "RESULTS.md", tmp_path / "figures")
    for name, title in (("F98", "Seeds of every run"), ("T98", "Number of runs")):
        assert f"{name}. {title}" in page
        assert f"## {name}. {title}" in text
        assert name in {**data["charts"], **data["tables"]}
    assert (tmp_path / "figures" / "F98.svg").is_file()
    assert "F98 Seeds of every run: no runs were recorded" in report().not_run


def test_every_figure_says_what_is_missing_and_no_name_is_taken_twice() -> None:
    nothing = evidence()
    charts = [chart for part in parts.figures() for chart in part.charts(nothing)]
    assert all(chart.spec is None and chart.missing for chart in charts)
    names = [part.name for part in (*parts.figures(), *parts.tables())]
    assert len(set(names)) == len(names)


def test_of_a_table_for_each_of_many_networks_every_one_has_a_name_of_its_own() -> None:
    names = [parts._letter(i) for i in range(60)]
    assert len(set(names)) == len(names)
    assert names == sorted(names)
    assert names[:3] == ["a", "b", "c"]
