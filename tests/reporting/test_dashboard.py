"""The dashboard's page, run as streamlit runs it but without a browser; and its command line."""

import json
from pathlib import Path

import pytest
from conftest import Cimlab, one_line

from cimlab.records.failure import Failure
from cimlab.records.record import RECORD_FILE, RunRecord
from cimlab.reporting.figures import ORDER

pytest.importorskip("streamlit")

LAYER = {"weights": 100, "weights_left": 25, "steps": 10, "dense_steps": 40}
NASTY = "<script>alert(1)</script> ![x](http://example.invalid/x.png)"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, granularity in enumerate(("weight", "filter", "filter")):
        record = RunRecord(
            run=str(number),
            name=f"net-{number}",
            created="2026",
            seed=0,
            choices={"model": "net", "data": "digits", "granularity": granularity, "geometry": "default"},
            config={"prune": {"remaining": 0.25}},
            code={},
            packages={},
            machine={},
            wall_time_s={},
            accuracy={phase: {"test": 0.9 - number / 10} for phase in ("dense", "pruned", "retrained")},
            weights={"remaining_all": 0.25 - number / 10, "compression": 4.0},
            hardware={"total": {"arrays": 10}, "ratio": {"steps": 0.25}, "layers": {"conv": LAYER}},
        )
        record.write(tmp_path / record.name / RECORD_FILE)
        row = {"phase": "retrain", "epoch": 0, "seconds": 1, "loss/train": 0.5, "accuracy/validation": 0.9}
        (tmp_path / record.name / "history.jsonl").write_text(json.dumps(row) + "\n")
    Failure("broken", NASTY, "now", {}).write(tmp_path / "broken")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / RECORD_FILE).write_text(NASTY)
    return tmp_path


def opened(folder: Path, monkeypatch: pytest.MonkeyPatch):
    from streamlit.testing.v1 import AppTest

    import cimlab.reporting

    path = Path(cimlab.reporting.__file__).parent / "dashboard.py"
    monkeypatch.setattr("sys.argv", ["dashboard.py", str(folder)])
    return AppTest.from_file(str(path), default_timeout=120).run()


def test_the_page_counts_lists_and_draws(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened(folder, monkeypatch)
    assert not page.exception
    assert not page.markdown  # no stray string of the script
    assert {metric.label: metric.value for metric in page.metric} == {
        "done": "3", "running": "0", "failed": "1", "killed": "0", "stopped": "0",
        "dense": "90.00 %", "pruned": "90.00 %", "retrained": "90.00 %", "compression": "4.0 x", "steps left": "25.0 %",
    }  # fmt: skip
    assert sorted(page.dataframe[0].value["name"]) == ["broken", "net-0", "net-1", "net-2"]
    charts = page.get("arrow_vega_lite_chart") or page.get("vega_lite_chart")
    assert len(charts) == 5  # two curves, loss, accuracy, layers
    filters = {choice.label: choice for choice in page.multiselect}
    filters["granularity"].select("weight").run()
    assert page.dataframe[0].value["name"].tolist() == ["net-0"]


def test_each_of_many_records_side_by_side_is_shown_as_a_run_of_its_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed = folder / "committed"
    for number in (0, 1):
        RunRecord.read(folder / f"net-{number}" / RECORD_FILE).write(
            committed / f"net-{number}-0123456{number}.json"
        )
    page = opened(committed, monkeypatch)
    assert not page.exception
    (choice,) = [box for box in page.selectbox if box.label == "run"]
    assert choice.options == [f"committed / net-{number}-0123456{number}  (done)" for number in (0, 1)]
    assert {metric.label: metric.value for metric in page.metric}["retrained"] == "90.00 %"
    choice.select_index(1).run()
    assert {metric.label: metric.value for metric in page.metric}["retrained"] == "80.00 %"
    assert not page.info


def test_every_granularity_has_a_look_of_its_own() -> None:
    from cimlab.reporting.chart import DASHES, SHAPES
    from cimlab.reporting.figures import MARKERS, granularity_style

    assert set(MARKERS) == set(SHAPES)
    styles = [granularity_style(name) for name in ORDER]
    looks = {(s["color"], SHAPES[s["marker"]], str(DASHES[s["linestyle"]])) for s in styles}
    assert len(looks) == len(ORDER)


def test_text_from_files_is_never_markup(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened(folder, monkeypatch)
    assert not any(NASTY in markdown.value for markdown in page.markdown)
    assert NASTY in page.dataframe[0].value["reason"].tolist()


def test_an_empty_folder_is_said_to_be_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened(tmp_path, monkeypatch)
    assert not page.exception
    assert "No run yet" in page.info[0].value


def test_the_server_answers_this_machine_only_and_reports_to_nobody(tmp_path: Path) -> None:
    from cimlab.cli.dashboard import command

    words = command([tmp_path], 8600)
    assert "--server.address=127.0.0.1" in words
    assert "--browser.gatherUsageStats=false" in words
    assert "--runner.magicEnabled=false" in words
    assert words[-2:] == ["--", str(tmp_path)]


def test_a_folder_that_is_not_there_is_refused(cimlab: Cimlab, tmp_path: Path) -> None:
    answer = cimlab("dashboard", str(tmp_path / "nothing"))
    assert answer.code == 2
    assert "is no folder" in one_line(answer.err)
