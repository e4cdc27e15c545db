"""The dashboard's page, run as streamlit runs it without a browser, and in a real one; and its command line."""

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest
from conftest import Cimlab, one_line

from cimlab.records.failure import Failure
from cimlab.records.masks import StoredMask, write_masks
from cimlab.records.record import RECORD_FILE, RunRecord
from cimlab.reporting import parts
from cimlab.reporting.dashboard.chosen import read
from cimlab.reporting.report import make_evidence
from cimlab.runs import reprice
from cimlab.runs.reprice import priced_today
from tests.reporting.made_up import run

pytest.importorskip("streamlit")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NASTY = "<script>alert(1)</script> ![x](http://example.invalid/x.png)"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, granularity in enumerate(("weight", "filter", "filter")):
        made = run(granularity, 0.25)
        choices = {"model": "net", "data": "digits", "granularity": granularity, "geometry": "default"}
        record = replace(
            made,
            run=str(number),
            name=f"net-{number}",
            choices=made.choices | choices,
            accuracy={phase: {"test": 0.9 - number / 10} for phase in ("dense", "pruned", "retrained")},
            weights=made.weights | {"remaining_all": 0.25 - number / 10, "compression": 4.0},
            hardware=made.hardware | {"ratio": made.hardware["ratio"] | {"steps": 0.25}},
        )
        record.write(tmp_path / record.name / RECORD_FILE)
        row = {"phase": "retrain", "epoch": 0, "seconds": 1, "loss/train": 0.5, "accuracy/validation": 0.9}
        (tmp_path / record.name / "history.jsonl").write_text(json.dumps(row) + "\n")
    Failure("broken", NASTY, "now", {}).write(tmp_path / "broken")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / RECORD_FILE).write_text(NASTY)
    return tmp_path


def opened(folder: Path, monkeypatch: pytest.MonkeyPatch, view: str = "curves", **address: str | list[str]):
    """The page with a view open, as an address asks for it."""
    from streamlit.testing.v1 import AppTest

    from cimlab.cli import dashboard

    path = Path(dashboard.__file__).with_name("dashboard_page.py")
    monkeypatch.setattr("sys.argv", [path.name, str(folder)])
    page = AppTest.from_file(str(path), default_timeout=120)
    page.query_params.update({"view": view, **address})
    page.run()
    assert not page.exception
    assert not page.markdown  # no stray string of the script
    return page


def charts_of(page) -> list[dict[str, Any]]:
    found = page.get("arrow_vega_lite_chart") or page.get("vega_lite_chart")
    return [json.loads(chart.proto.spec) for chart in found]


def chosen(page, label: str):
    (choice,) = [box for box in page.selectbox if box.label == label]
    return choice


def test_the_page_opens_on_the_curves_of_the_newest_grid(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Grids by their name or else their folder; what is not done belongs to no grid, and is counted with each."""
    record = RunRecord.read(folder / "net-0" / RECORD_FILE)
    newer = {"created": "2027-01-01T00:00:00+00:00", "choices": record.choices | {"model": "resnet20"}}
    replace(record, run="9", **newer).write(folder / "latest" / "net-9-01234567.json")
    page = opened(folder, monkeypatch)
    grids = ["latest: ResNet-20 on digits", f"{folder.name}: net on digits", "all runs"]
    assert chosen(page, "grid and network, newest first").options == grids
    assert page.text[0].value.startswith("damaged: ")
    assert page.text[1].value == "1 done, 0 running, 1 failed, 0 killed, 0 stopped"
    assert [chart["layer"][1]["encoding"]["x"]["field"] for chart in charts_of(page)] == [
        "left", "steps_ratio"
    ]  # fmt: skip
    told = [text.value for text in page.text]
    assert "accuracy over energy left: not run" in told
    reason = record.unpriceable
    assert f"1 of 1 runs have no point over throughput at equal area (of dense): {reason}" in told
    assert page.query_params["grid"] == grids[0]
    other = opened(folder, monkeypatch, grid=grids[1])
    assert other.text[1].value == "3 done, 0 running, 1 failed, 0 killed, 0 stopped"


def test_a_filter_leaves_what_it_says(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened(folder, monkeypatch, "runs")
    assert sorted(page.dataframe[0].value["name"]) == ["broken", "net-0", "net-1", "net-2"]
    filters = {choice.label: choice for choice in page.multiselect}
    filters["granularity"].select("weight").run()
    assert page.dataframe[0].value["name"].tolist() == ["net-0"]
    again = opened(folder, monkeypatch, "runs", granularity="filter")
    assert sorted(again.dataframe[0].value["name"]) == ["net-1", "net-2"]


def test_a_chart_hides_what_its_legend_hid_and_fits_the_rest(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = charts_of(opened(folder, monkeypatch))
    (param,) = shown[0]["layer"][1]["params"]
    assert param["value"] == [{"series": "filter"}, {"series": "weight"}]
    assert shown[0]["transform"] == [{"filter": {"param": "shown"}}]
    hidden = charts_of(opened(folder, monkeypatch, hidden=["filter", "no such series"]))
    assert hidden[0]["layer"][1]["params"][0]["value"] == [{"series": "weight"}]


def test_series_of_several_studies_say_what_sets_them_apart(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = RunRecord.read(folder / "net-1" / RECORD_FILE)
    other = {"prune": record.config["prune"] | {"allocation": "erk"}, "seed": 1}
    replace(record, run="7", name="net-7", config=record.config | other).write(folder / "net-7" / RECORD_FILE)
    (param,) = charts_of(opened(folder, monkeypatch))[0]["layer"][1]["params"]
    told = [f"{name} (prune.allocation={how})" for name, how in (
        ("filter", "erk"), ("filter", "global"), ("weight", "global")
    )]  # fmt: skip
    assert [entry["series"] for entry in param["value"]] == told


def test_runs_older_than_a_setting_of_the_chip_are_drawn_with_the_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = RunRecord.read(folder / "net-1" / RECORD_FILE)
    chip = record.config.get("chip", {}) | {"came_later": False}
    replace(record, run="7", name="net-7", config=record.config | {"chip": chip}).write(
        folder / "net-7" / RECORD_FILE
    )
    page = opened(folder, monkeypatch)
    (param,) = charts_of(page)[0]["layer"][1]["params"]
    assert [entry["series"] for entry in param["value"]] == ["filter", "weight"]
    assert page.caption[-1].value.startswith("Runs from before chip\\.came_later could be set")


def test_runs_stand_side_by_side_with_what_differs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = folder / "net-1" / RECORD_FILE
    record = RunRecord.read(place)
    replace(record, config=record.config | {"prune": record.config["prune"] | {"allocation": "erk"}}).write(
        place
    )
    page = opened(folder, monkeypatch, "compare")
    assert "two to six" in page.info[0].value
    page = opened(folder, monkeypatch, "compare", compare=["net-0", "net-1"])
    results, settings = (table.value for table in page.dataframe)
    assert list(results.columns) == ["A", "B"]
    assert results["B"]["retrained accuracy"] == "80.00 %"
    assert results["A"]["price"].startswith("not run: ")
    assert settings.to_numpy().tolist() == [["prune.allocation", "global", "erk", "not said"]]
    drawn = [chart["layer"][0]["encoding"]["y"]["field"] for chart in charts_of(page)]
    assert drawn == ["fraction", "fraction", "loss/train", "accuracy/validation"]


def test_masks_are_drawn_where_a_run_kept_them(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened(folder, monkeypatch, "one run", run="net-1")
    assert any(text.value.startswith("masks: none: ") for text in page.text)
    place = folder / "net-1" / RECORD_FILE
    kept = StoredMask(np.array([[[True, False], [False, False]]]), np.array([0, 0, 1]), np.array([0, 1]))
    sha256 = write_masks(place, {"conv2": kept})
    layers = [{"name": "conv1"}, {"name": "conv2"}]
    record = replace(
        RunRecord.read(place), schema=2, layers=layers, activity={"conv1": 1}, masks_sha256=sha256
    )
    record.write(place)
    # the run is made up, and has no network to price
    monkeypatch.setattr(reprice, "priced_today", lambda record, file: record)
    page = opened(folder, monkeypatch, "one run", run="net-1", layer="conv2")
    assert charts_of(page)[-1]["title"]["text"] == "conv2: 33.3 % of 6 weights left (blue)"
    chosen(page, "masks of layer").select("conv1").run()
    assert page.text[-1].value == "this layer is whole: nothing of it was pruned"


def test_every_figure_and_table_is_shown(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened(folder, monkeypatch, "figures and tables")
    evidence = make_evidence([folder], priced_today)
    drawn = [figure for part in parts.figures() for figure in part.charts(evidence) if figure.spec]
    assert drawn
    assert len(charts_of(page)) == len(drawn)
    headings = [heading.value.replace("\\", "") for heading in page.subheader]
    assert [heading.split(".")[0] for heading in headings if heading[0] == "F"] == [
        f.name for f in parts.figures()
    ]


def test_each_of_many_records_side_by_side_is_shown_as_a_run_of_its_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed = folder / "committed"
    for number in (0, 1):
        RunRecord.read(folder / f"net-{number}" / RECORD_FILE).write(
            committed / f"net-{number}-0123456{number}.json"
        )
    page = opened(committed, monkeypatch, "one run")
    assert chosen(page, "run").options == [f"net-{number}-0123456{number}" for number in (0, 1)]
    assert {metric.label: metric.value for metric in page.metric}["retrained accuracy"] == "90.00 %"
    chosen(page, "run").select_index(1).run()
    assert {metric.label: metric.value for metric in page.metric}["retrained accuracy"] == "80.00 %"
    assert page.query_params["run"] == "net-1-01234561"
    assert not page.info


def test_trials_of_a_search_are_on_the_page_only_where_asked(folder: Path) -> None:
    trial = replace(RunRecord.read(folder / "net-0" / RECORD_FILE), run="trial", search="space")
    trial.write(folder / "trial" / RECORD_FILE)
    shown, told = read((folder,), False)
    assert "1 trials of the search space are left out; --trials takes them" in told
    assert {*read((folder,), True)[0]["file"]} - {*shown["file"]} == {str(folder / "trial" / RECORD_FILE)}


def test_text_from_files_is_never_markup(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened(folder, monkeypatch, "runs")
    assert NASTY in page.dataframe[0].value["reason"].tolist()


@contextmanager
def served(folder: Path) -> Generator[str]:
    """`cimlab dashboard FOLDER` as a process of its own; gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "cimlab", "dashboard", str(folder), f"--port={port}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def browser(profile: Path) -> Generator[Callable[..., Any]]:
    """Headless Chromium; gives what sends its page a command of the DevTools protocol and returns the answer."""
    from websockets.sync.client import connect

    assert CHROMIUM is not None
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--no-first-run", f"--user-data-dir={profile}",
        "--remote-debugging-port=0", "--window-size=1400,1000", "about:blank",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        where = profile / "DevToolsActivePort"
        port = until(lambda: where.is_file() and where.read_text().split()[0])
        with urlopen(f"http://127.0.0.1:{port}/json") as pages:
            address = next(p["webSocketDebuggerUrl"] for p in json.load(pages) if p["type"] == "page")
        with connect(address, max_size=None) as socket_to_page:

            def send(method: str, **parameters: Any) -> Any:
                socket_to_page.send(json.dumps({"id": 1, "method": method, "params": parameters}))
                while (answer := json.loads(socket_to_page.recv(60))).get("id") != 1:
                    pass
                return answer["result"]

            yield send
    finally:
        process.terminate()
        process.wait(30)


def until(look: Callable[[], Any], patience_s: float = 90) -> Any:
    """What `look` gives as soon as it gives something."""
    give_up = time.monotonic() + patience_s
    while not (found := look()):
        assert time.monotonic() < give_up
        time.sleep(0.2)
    return found


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed (apt install chromium)")
@pytest.mark.timeout(300)
def test_a_browser_shows_counts_curves_table_and_one_run_and_asks_nobody_else(
    folder: Path, tmp_path: Path
) -> None:
    with served(folder) as address, browser(tmp_path / "profile") as send:

        def seen(script: str) -> Any:
            return send("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

        def drawn() -> int:
            """Charts that are visible and hold marks besides their axes."""
            marks = "svg.querySelector('.mark-symbol path, .mark-rect path')"
            visible = f"svg => svg.getBoundingClientRect().width > 200 && {marks}"
            return seen(f"[...document.querySelectorAll('.vega-embed svg')].filter({visible}).length")

        def show(tab: str) -> None:
            seen(
                f"[...document.querySelectorAll('[role=tab]')].find(t => t.innerText.trim() == '{tab}').click()"
            )

        until(lambda: send("Page.navigate", url=address).get("errorText") is None)
        until(lambda: drawn() == 2)
        assert "3 done, 0 running, 1 failed" in seen("document.body.innerText")
        show("runs")
        cells = "[...document.querySelectorAll('[data-testid=stDataFrame] td')].map(cell => cell.innerText)"
        until(lambda: {"net-0", "net-1", "net-2", "broken"} <= set(seen(cells)))
        show("one run")
        until(lambda: drawn() == 3)  # loss, accuracy, layers
        assert NASTY not in seen("document.body.innerHTML")
        asked = seen("performance.getEntriesByType('resource').map(entry => entry.name)")
        assert asked
        assert [name for name in asked if not name.startswith((address, "data:", "blob:"))] == []


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
    assert words[0] == "run"
    assert words[-2:] == ["--", str(tmp_path)]


def test_a_folder_that_is_not_there_is_refused(cimlab: Cimlab, tmp_path: Path) -> None:
    answer = cimlab("dashboard", str(tmp_path / "nothing"))
    assert answer.code == 2
    assert "is no folder" in one_line(answer.err)


def test_a_port_that_another_program_has_is_refused_before_anything_is_read(
    cimlab: Cimlab, tmp_path: Path
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        answer = cimlab("dashboard", str(tmp_path), f"--port={other.getsockname()[1]}")
    assert answer.code == 2
    assert "can't be served at (Address already in use); give another" in one_line(answer.err)
    assert answer.out == ""
