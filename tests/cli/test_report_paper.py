"""`cimlab report`, `paper` and `collect`: from records to files, and one clear line where something is wrong."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import one_line

from cimlab.cli import collect, paper, report
from cimlab.config.errors import ConfigError, OutputError
from cimlab.records.record import RECORD_FILE, RecordError
from cimlab.records.simulation import SIMULATION_FILE
from cimlab.reporting import parts
from tests.reporting.made_up import run, simulation


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    for made in (run(), run("filter")):
        made.write(tmp_path / "outputs" / made.name / RECORD_FILE)
    return tmp_path / "outputs"


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "paper").mkdir()
    (tmp_path / "paper" / "paper.typ").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_report_is_written_and_what_is_missing_is_said(
    outputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report.run([str(outputs), "-o", str(tmp_path / "r.html")]) == 0
    assert (tmp_path / "r.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    said = capsys.readouterr().out
    assert "not run: F1 " in said
    assert said.endswith(f"report: {tmp_path / 'r.html'}\n")


def test_a_report_follows_a_link_and_replaces_nothing_but_a_file(outputs: Path, tmp_path: Path) -> None:
    target, link, pipe = (tmp_path / name for name in ("target.html", "link.html", "pipe.html"))
    link.symlink_to(target)
    os.mkfifo(pipe)
    assert report.run([str(outputs), "-o", str(link)]) == 0
    assert link.is_symlink()
    assert target.stat().st_size > 1000
    with pytest.raises(ConfigError, match=r"pipe\.html: is no regular file; give a file"):
        report.run([str(outputs), "-o", str(pipe)])
    with pytest.raises(ConfigError, match="File name too long; give another file"):
        report.run([str(outputs), "-o", "n" * 300])


@pytest.mark.parametrize(("command", "name"), [(report, "r.html"), (paper, "p.pdf")])
def test_where_nothing_can_be_written_nothing_is_read(
    command, name: str, outputs: Path, clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (clone / "file").touch()
    monkeypatch.setattr(command, "read_report", pytest.fail)
    with pytest.raises(OutputError, match=r"can't write to .*; give -o a file in a folder you may write"):
        command.run([str(outputs), "-o", str(clone / "file" / name)])


def test_a_report_in_markdown_shows_every_table_and_links_every_figure(outputs: Path, tmp_path: Path) -> None:
    page = tmp_path / "RESULTS.md"
    assert report.run([str(outputs), "-o", str(page), "--figures", str(tmp_path / "drawn" / "figures")]) == 0
    text = page.read_text(encoding="utf-8")
    for table in parts.tables():
        assert f"\n## {table.name if table.name[0].isupper() else table.title}" in text
    for figure in parts.figures():
        assert f"\n## {figure.name}. {figure.title}\n" in text
    links = re.findall(r"\]\(([^)]+\.svg)\)", text)
    assert "drawn/figures/F3.svg" in links
    assert all((tmp_path / link).is_file() for link in links)
    assert "_Not run: no run kept the masks that a price needs._" in text


def test_a_filter_of_runs_chooses_what_a_report_is_of(outputs: Path, tmp_path: Path) -> None:
    page = tmp_path / "r.md"
    assert report.run([str(outputs), "granularity=filter", "-o", str(page)]) == 0
    assert "1 runs at 1 points" in page.read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match="accuracy>1: leaves none of 2 runs"):
        report.run([str(outputs), "accuracy>1", "-o", str(page)])


def test_figures_of_an_html_report_have_no_folder(outputs: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="an HTML report holds its figures"):
        report.run([str(outputs), "-o", str(tmp_path / "r.html"), "--figures", str(tmp_path)])


def test_a_record_of_another_schema_is_reported_and_the_others_are_shown(
    outputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = replace(run(seed=1), schema=99)
    other.write(outputs / "other" / RECORD_FILE)
    assert report.run([str(outputs), "-o", str(tmp_path / "r.html")]) == 0
    assert "has schema 99, this cimlab reads 1" in capsys.readouterr().out
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "has schema 99" in page
    assert "2 runs at 2 points" in page


def test_a_paper_is_written(outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clone = Path(__file__).parents[2]
    monkeypatch.chdir(clone)
    assert paper.run([str(outputs), "-o", str(tmp_path / "p.pdf")]) == 0
    assert (tmp_path / "p.pdf").read_bytes().startswith(b"%PDF")


def test_records_are_collected_into_the_clone(outputs: Path, clone: Path) -> None:
    assert collect.run(["headline", str(outputs)]) == 0
    names = sorted(path.name for path in (clone / "paper" / "records" / "headline").iterdir())
    assert names == sorted(f"{made.name}-{made.run[:8]}.json" for made in (run(), run("filter")))


def test_a_record_whose_masks_are_lost_keeps_no_other_from_the_set(
    outputs: Path, clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = replace(run("kernel"), masks_sha256="0" * 64)
    lost.write(outputs / "lost" / RECORD_FILE)
    assert collect.run(["headline", str(outputs)]) == 1
    assert len(list((clone / "paper" / "records" / "headline").iterdir())) == 2
    told = capsys.readouterr()
    assert "1 of 3 records are left out" in one_line(told.err)
    assert re.search(rf"note: .*{outputs / 'lost'}", told.out)
    with pytest.raises(RecordError, match="lost"):
        collect.run(["own_name", str(outputs / "lost")])


def test_a_set_grows_by_its_own_experiment_and_takes_no_other_unasked(outputs: Path, clone: Path) -> None:
    published = clone / "paper" / "records" / "headline"
    assert collect.run(["headline", str(outputs)]) == 0
    for folder, made in (("same", run("kernel")), ("other", run("channel", recipe={"epochs": 3}))):
        made.write(clone / folder / made.name / RECORD_FILE)
    assert collect.run(["headline", "same"]) == 0
    held = sorted(published.iterdir())
    with pytest.raises(ConfigError, match=r"holds 3 records of another experiment .* than 1 of these 2"):
        collect.run(["headline", "same", "other"])
    assert sorted(published.iterdir()) == held
    assert collect.run(["own_name", "other"]) == 0
    assert collect.run(["headline", "same", "other", "--add"]) == 0
    assert len(list(published.iterdir())) == 4


def test_a_simulation_goes_where_its_network_is(outputs: Path, clone: Path) -> None:
    assert collect.run(["headline", str(outputs)]) == 0
    known, strange = (
        replace(simulation(4, device), origin={"run": made.run})
        for device, made in (("ideal", run()), ("other", run("channel", recipe={"epochs": 3})))
    )
    for folder, made in (("known", known), ("strange", strange)):
        made.write(clone / folder / SIMULATION_FILE)
    with pytest.raises(ConfigError, match=r"than 1 of these 2"):
        collect.run(["headline", "known", "strange"])
    assert collect.run(["headline", "known"]) == 0


def test_trials_of_a_search_are_left_out_and_said_unless_asked_for(
    outputs: Path, clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trial = replace(run("kernel"), search="space")
    trial.write(clone / "trials" / trial.name / RECORD_FILE)
    with pytest.raises(
        ConfigError, match=r"no record below trials .1 trials of the search space are left out"
    ):
        collect.run(["mine", "trials"])
    line = "note: 1 trials of the search space are left out; --trials takes them\n"
    folders = [str(outputs), "trials"]
    for command in (["mine", *folders], [*folders, "-o", "r.md"]):
        assert (collect if command[0] == "mine" else report).run(command) == 0
        assert line in capsys.readouterr().out
    assert "kernel" not in Path("r.md").read_text(encoding="utf-8")
    assert len(list((clone / "paper" / "records" / "mine").iterdir())) == 2
    assert collect.run(["mine", *folders, "--trials"]) == 0
    assert len(list((clone / "paper" / "records" / "mine").iterdir())) == 3


@pytest.mark.parametrize(
    ("command", "words", "line"),
    [
        (report, ["nowhere"], "nowhere: is no folder"),
        (report, ["--bogus"], "--bogus: is no option of cimlab report"),
        (report, ["-o", "."], "argument -o/--output: .: is a folder; give a file"),
        (paper, ["-o", "."], "argument -o/--output: .: is a folder; give a file"),
        (paper, ["nowhere"], "nowhere: is no folder"),
        (collect, ["headline"], "the following arguments are required: FOLDER"),
        (collect, ["../x", "."], "NAME=../x: give letters"),
        (collect, ["mine", "nowhere"], "nowhere: is no folder"),
    ],
)
def test_bad_words_are_refused_in_one_line(command, words: list[str], line: str, clone: Path) -> None:
    with pytest.raises(ConfigError) as refusal:
        command.run(words)
    assert line in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_nothing_to_collect_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no record below"):
        collect.run(["headline", str(tmp_path)])


def test_where_every_record_is_damaged_it_is_said_which_and_why(outputs: Path) -> None:
    for file in outputs.rglob(RECORD_FILE):
        file.write_text("{")
    with pytest.raises(ConfigError, match=r"no record below .* \(record .*record.json can't be read"):
        collect.run(["mine", str(outputs)])


def test_of_two_records_of_one_run_that_differ_none_is_overwritten(outputs: Path, clone: Path) -> None:
    made = run()
    replace(made, seed=made.seed + 1).write(clone / "again" / RECORD_FILE)
    with pytest.raises(ConfigError, match="records of one run that differ; leave one of them out"):
        collect.run(["mine", str(outputs), str(clone / "again")])
    assert not (clone / "paper" / "records").exists()


def test_a_record_without_an_accuracy_is_named_and_the_others_are_shown(
    outputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = run("kernel")
    nothing = replace(made, accuracy=made.accuracy | {"retrained": {"test": float("nan")}})
    nothing.write(outputs / "nothing" / RECORD_FILE)
    assert report.run([str(outputs), "-o", str(tmp_path / "r.md")]) == 0
    assert (
        "nothing/record.json: accuracy.retrained.test: input should be a valid number"
        in capsys.readouterr().out
    )
    assert "2 runs at 2 points" in (tmp_path / "r.md").read_text(encoding="utf-8")


def test_the_reporting_commands_import_no_framework() -> None:
    code = (
        "import sys, cimlab.cli.report, cimlab.cli.paper, cimlab.cli.collect, cimlab.reporting.page\n"
        "print(sorted({'torch', 'hydra', 'wandb', 'pytorch_lightning', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
