"""A run in wandb, read back from what would be sent: what tells it from others, its curves, the project's charts."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import wandb
from conftest import Cimlab, killed_in_epoch, one_line
from wandb_files import records

from cimlab.records.record import RECORD_FILE, RunRecord
from cimlab.training import tracking
from cimlab.training.charts import CURVES, FORMS, charts

GRID = "# @package _global_\nexperiment:\n  question: does it pay?\n  held_fixed: everything\n"


class Sent:
    """What the newest offline run below a folder would send."""

    def __init__(self, folder: Path) -> None:
        runs = folder.glob("*/wandb/offline-run-*/*.wandb")
        path = max(
            runs, key=lambda path: path.stat().st_mtime_ns
        )  # two may begin within a second, which names them
        self.files = path.parent / "files"
        self.all = list(records(path))
        self.run = next(record.run for record in self.all if record.HasField("run"))
        self.config = {item.key: json.loads(item.value_json) for item in self.run.config.update}

    def history(self) -> list[dict[str, Any]]:
        """Rows, a table's columns by its own key."""
        rows: list[dict[str, Any]] = []
        for record in self.all:
            if record.HasField("history"):
                rows.append({})
                for item in record.history.item:
                    at = rows[-1]
                    for key in item.nested_key[:-1]:
                        at = at.setdefault(key, {})
                    at[item.nested_key[-1]] = json.loads(item.value_json)
        return rows

    def panels(self) -> dict[str, dict[str, Any]]:
        """Chart -> how it is drawn."""
        updates = [u for r in self.all if r.HasField("config") for u in r.config.update]
        drawn = [u for u in updates if list(u.nested_key[:2]) == ["_wandb", "visualize"]]
        return {u.nested_key[2]: json.loads(u.value_json)["panel_config"] for u in drawn}

    def table(self, name: str) -> list[dict[str, Any]]:
        """Rows of a chart's table."""
        key = f"Custom Chart Tables/{name}_table"
        (row,) = [row for row in self.history() if key in row]
        content = json.loads((self.files / row[key]["path"]).read_text())
        return [dict(zip(content["columns"], data, strict=True)) for data in content["data"]]


def test_a_resumed_run_is_readable_among_others_and_has_its_whole_curve_and_its_charts(
    train: Cimlab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "conf" / "experiments").mkdir(parents=True)
    (tmp_path / "conf" / "experiments" / "my_grid.yaml").write_text(GRID)
    words = (
        f"hydra.searchpath=[file://{tmp_path / 'conf'}]", "+experiments=my_grid", "tracker=wandb", "schedule.epochs=2",
        "tracker.entity=lab", "method=[distillation]",
    )  # fmt: skip
    with killed_in_epoch(monkeypatch, 1):
        assert train(*words).code == 1
    assert train(*words).code == 0
    (path,) = tmp_path.glob(f"*/{RECORD_FILE}")
    record, sent = RunRecord.read(path), Sent(tmp_path)

    assert sent.run.display_name == record.name
    assert sent.run.run_group == "my_grid"
    assert sent.run.job_type == "train"
    assert {"digits_cnn", "digits", "operation_unit", "l2", "isaac32", "ideal", "distillation"} <= {
        *sent.run.tags
    }
    assert not {"default", "none"} & {*sent.run.tags}
    assert sent.run.notes == "does it pay?"
    assert sent.config["choices"]["granularity"] == "operation_unit"
    assert sent.config["prune"] == record.config["prune"]
    assert [row["epoch"] for row in sent.history() if "loss/train" in row] == [0, 1, 2]
    metrics = {m.metric.name or m.metric.glob_name: m.metric for m in sent.all if m.HasField("metric")}
    assert metrics["*"].step_metric == "epoch"
    assert metrics["epoch"].options.hidden

    panels = sent.panels()
    assert set(panels) == {chart.name for chart in charts(record)}
    assert panels["charts/accuracy_by_weights_left"]["panelDefId"] == f"lab/{CURVES}"
    assert panels["charts/energy_by_component"]["panelDefId"] == "wandb/bar/v0"
    (point,) = sent.table("charts/accuracy_by_weights_left")
    assert point["granularity"] == "operation_unit"
    assert point["weights_left"] == pytest.approx(record.weights["remaining_all"])
    assert point["accuracy"] == pytest.approx(record.accuracy["retrained"]["test"])
    energy = {row["component"]: row["energy_j"] for row in sent.table("charts/energy_by_component")}
    assert sum(energy.values()) == pytest.approx(record.hardware["cost"]["total"]["energy_j"])
    layers = {row["layer"]: row["weights_left"] for row in sent.table("charts/weights_left_by_layer")}
    counts = record.hardware["layers"]
    assert layers == {name: pytest.approx(c["weights_left"] / c["weights"]) for name, c in counts.items()}
    for chart in charts(record):
        assert set(chart.fields.values()) <= set(chart.rows[0])  # no form asks for a column that is not there
        without = tracking._drawn(chart, None)
        assert without.spec.spec_name.startswith("wandb/")  # which every server has


def test_every_form_of_our_own_draws_a_line_a_granularity() -> None:
    convert = pytest.importorskip("vl_convert")
    rows = [
        {
            "granularity": name,
            "remaining": left,
            "network": "net on digits",
            "left": left,
            "accuracy": left / 2,
        }
        for name in ("weight", "filter")
        for left in (0.1, 0.5, 0.9)
    ]
    for form in FORMS.values():
        text = json.dumps(form).replace("${field:x}", "left").replace("${field:y}", "accuracy")
        text = re.sub(r"\$\{(field|string):(\w+)\}", r"\2", text)
        svg = convert.vegalite_to_svg({**json.loads(text), "data": {"values": rows}})
        assert (
            len(
                re.findall(
                    r'<path aria-label="[^"]*" role="graphics-symbol" aria-roledescription="line mark"', svg
                )
            )
            == 2
        )
        assert len(re.findall(r'aria-roledescription="point"', svg)) == 6
        assert "weight" in svg


class Server(BaseHTTPRequestHandler):
    """Of wandb's server, as much as lets somebody log in and store a chart."""

    stored: ClassVar[list[dict[str, Any]]] = []
    viewer: ClassVar[dict[str, Any]] = {
        "id": "1", "entity": "lab", "username": "me", "email": "", "flags": "{}", "teams": {"edges": []},
    }  # fmt: skip

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        data: dict[str, Any] = {"viewer": self.viewer}
        if asked["operationName"] == "CreateCustomChart":
            Server.stored.append(asked["variables"])
            name = f"{asked['variables']['entity']}/{asked['variables']['chartName']}"
            data = {"createCustomChart": {"chart": {"id": name}}}
        text = json.dumps({"data": data}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    wandb.teardown()  # or wandb goes by the environment of the test before
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef" * 2 + "76543210")
    monkeypatch.setattr(tracking, "ASK_S", 20)
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
        yield server
        server.shutdown()


def test_the_forms_are_stored_with_a_team_by_one_command(server: ThreadingHTTPServer, cimlab: Cimlab) -> None:
    Server.stored.clear()
    answer = cimlab("charts", "lab")
    assert answer.code == 0, answer.err
    assert f"stored: lab/{CURVES}" in answer.out
    assert {sent["chartName"]: json.loads(sent["spec"]) for sent in Server.stored} == FORMS
    assert {sent["entity"] for sent in Server.stored} == {"lab"}


def test_a_server_that_is_not_there_costs_one_line(
    server: ThreadingHTTPServer, cimlab: Cimlab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "ASK_S", 1)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    answer = cimlab("charts", "lab")
    assert answer.code == 1
    assert "wandb did not store the charts for lab" in one_line(answer.err)
