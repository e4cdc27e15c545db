"""The paper: no number in a sentence about results is typed, and records become a PDF without a network or TeX."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typst

from cimlab.records.record import RunRecord
from cimlab.reporting.paper import as_data, compile_paper, write_data
from cimlab.reporting.published import Published
from cimlab.reporting.report import Report, ReportError, assemble
from tests.reporting.made_up import run
from tests.reporting.test_golden import small_report

PAPER = Path(__file__).parents[2] / "paper"
WITH_RESULTS = ("abstract", "setup", "results", "validation", "threats", "conclusion", "appendix")
CODE = re.compile(
    r"//[^\n]*"  # comments
    r"|#import[^\n]*|#(let|set|show)[^\n]*"
    r'|#?(fig|tab|see|verdict|val|raw|upper|place\.flush)\([^\n]*?\)'
    r'|(?<=[\s\[(#])[\w.]+(\.at\("[^"]*"\))?\s*(==|!=)\s*("[^"]*"|none)'  # conditions
    r"|@[\w-]+"  # references
    r"|`[^`\n]*`"  # commands
)  # fmt: skip


def typed_numbers(text: str) -> list[str]:
    """Digits that stand in a sentence, less code, labels and references."""
    return re.findall(r"\S*\d\S*", CODE.sub(" ", text))


@pytest.mark.parametrize("name", WITH_RESULTS)
def test_no_number_is_typed_where_results_are_told(name: str) -> None:
    assert typed_numbers((PAPER / "sections" / f"{name}.typ").read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "sentence", ["It loses 0.6 points.", "#if x [At 9 % it holds.]", "11.1x", "on 3 seeds"]
)
def test_a_typed_number_is_found(sentence: str) -> None:
    assert typed_numbers(sentence)


@pytest.mark.parametrize(
    "sentence", ["It loses #main.loss points (@T1a).", '#fig("F1")', '#tab("T2", size: 7pt)']
)
def test_a_number_that_comes_from_the_data_is_none(sentence: str) -> None:
    assert typed_numbers(sentence) == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PAPER, tmp_path / "paper", ignore=shutil.ignore_patterns("build", "records")))


@pytest.fixture(scope="module")
def report() -> Report:
    return small_report()


def test_records_become_a_pdf_the_same_each_time(report: Report, folder: Path, tmp_path: Path) -> None:
    first, second = (
        compile_paper(report, folder, tmp_path / name).read_bytes() for name in ("a.pdf", "b/b.pdf")
    )
    assert first.startswith(b"%PDF")
    assert first == second
    assert not (folder / "build").exists()  # what a paper is compiled of does not lie beside its text


def test_every_figure_and_table_is_a_file_of_its_own(report: Report, tmp_path: Path) -> None:
    write_data(report, tmp_path)
    data = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert data["numbers"]["records"]["commits"] == ["cimlab 0.1.0, commit unknown"]
    assert {path.stem for path in tmp_path.glob("*.svg")} == {chart.name for chart in report.charts}
    assert {path.stem for path in tmp_path.glob("*.csv")} == {table.name for table in report.tables}


def test_a_figure_that_no_section_places_is_shown_at_the_end(report: Report, folder: Path) -> None:
    new = replace(report.charts[0], name="F99", title="A figure of somebody's own")
    more = replace(report, charts=(*report.charts, new))
    write_data(more, folder / "build")
    for name in ("F99", "F1"):
        placed = json.loads(
            typst.query(folder / "paper.typ", f"<{name}>", root=folder, ignore_system_fonts=True)
        )
        assert len(placed) == 1, name


@pytest.mark.parametrize("records", [[], [run()], [run("weight")]])
def test_a_paper_with_hardly_any_record_compiles_too(records: list, folder: Path, tmp_path: Path) -> None:
    made = assemble(records, [], [], Published.read(), (), ["a note"])
    assert compile_paper(made, folder, tmp_path / "p.pdf").stat().st_size > 10_000


def test_the_data_says_not_run_and_names_commits_and_machines(report: Report) -> None:
    data = as_data(report)
    assert "Planned and not run: kernel." in data["tables"]["T1a"]["notes"]
    assert data["tables"]["T1a"]["rows"][-1][-1] == "not run"
    assert data["numbers"]["records"]["machines"] == ["2 x test, 0 GiB, Python 3.11.0"]


def both(*records: RunRecord) -> dict[str, Any] | None:
    return as_data(assemble(records, [], [], Published.read(), (), []))["numbers"]["both"]


def test_both_halves_are_of_the_least_loss_at_little_energy() -> None:
    # a weight at 25 % takes every step and so all energy; units at 9 and 5 % some 14 and 9 % of it
    found = both(
        run("weight", 0.25, priced=True),
        run("operation_unit", 0.09, priced=True),
        run("filter", 0.09, priced=True),
        run("operation_unit", 0.05, priced=True),
    )
    assert found is not None
    assert (found["name"], found["asked"], found["candidates"]) == ("operation unit", "9", "3")
    assert found["loss"] == "1.89"
    assert float(found["energy"]) < 25
    assert not found["within"]


def retrained(record: RunRecord, points_lost: float) -> RunRecord:
    dense = record.accuracy["dense"]["test"]
    return replace(record, accuracy=record.accuracy | {"retrained": {"test": dense - points_lost / 100}})


def test_both_halves_are_within_the_claimed_loss_or_not_there() -> None:
    found = both(retrained(run("operation_unit", 0.09, priced=True), 0.6))
    assert found is not None
    assert found["within"]
    assert both(run("weight", 0.25, priced=True), run("operation_unit", 0.09)) is None


def test_of_points_within_the_claimed_loss_the_cheapest_is_told() -> None:
    found = both(
        retrained(run("operation_unit", 0.09, priced=True), 0.1),
        retrained(run("operation_unit", 0.05, priced=True), 0.5),
        retrained(run("filter", 0.05, priced=True), 0.7),
    )
    assert found is not None
    assert (found["name"], found["asked"], found["loss"]) == ("operation unit", "5", "0.50")


def test_the_accelerator_and_what_units_of_one_compression_cost_are_said() -> None:
    records = [run(name, 0.09, priced=True) for name in ("weight", "operation_unit")]
    records = [replace(r, config=r.config | {"chip": {"area_over_dense": 2.0}}) for r in records]
    told = as_data(assemble(records, [], [], Published.read(), (), []))["numbers"]
    (network,) = told["priced"]
    (laid,) = told["laid"]
    assert laid == {
        "titles": ["ResNet-20 on CIFAR-10"], "placed": "in place", "reordered": False,
        "accelerator": "ISAAC's components at 32 nm (isaac32) and ISAAC's converter (isaac_table), "
        "on 2 times the area of one dense copy",
    }  # fmt: skip
    assert network["area"] == "2"
    fine, coarse = (unit for unit in network["first"]["units"])
    assert network["first"]["alike"] == {
        "compression": "11.1", "factor": f"{float(fine['energy']) / float(coarse['energy']):.1f}"
    }  # fmt: skip


def test_the_digits_that_try_the_tool_out_are_not_printed(folder: Path) -> None:
    records = [run(), replace(run(), run="d" * 64, choices={**run().choices, "data": "digits"})]
    made = assemble(records, [], [], Published.read(), (), [])
    names = {table.title: table.name for table in made.tables if table.name.startswith("T1")}
    write_data(made, folder / "build")
    for title, name in names.items():
        placed = json.loads(
            typst.query(folder / "paper.typ", f"<{name}>", root=folder, ignore_system_fonts=True)
        )
        assert len(placed) == ("digits" not in title), title
    assert len(names) == 2


def test_a_missing_source_is_refused_in_one_line(report: Report, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"paper\.typ is missing; run from a clone"):
        compile_paper(report, tmp_path, tmp_path / "p.pdf")


def test_a_broken_source_is_refused_with_the_reason(report: Report, folder: Path, tmp_path: Path) -> None:
    (folder / "paper.typ").write_text("#nothing-of-this-name\n")
    with pytest.raises(ReportError, match="can't be compiled: unknown variable"):
        compile_paper(report, folder, tmp_path / "p.pdf")
