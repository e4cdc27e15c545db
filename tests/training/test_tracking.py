"""A wandb server that is not there, or stops in the middle, costs a run one line and a bounded wait."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import wandb
from conftest import one_line

from cimlab.training.settings import TrackerSettings
from cimlab.training.tracking import Shown, WandbTracker

KEY = "0123456789abcdef" * 2 + "76543210"
PATIENCE_S = 3
SHOWN = Shown("run", "grid", ["tag"], None, {"seed": 1})
LONGEST_S = 200  # of a loaded machine; wandb by itself tries for hours


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    wandb.teardown()  # or wandb goes by the environment of the test before which first used it in this process
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_FINISH_TIMEOUT", str(PATIENCE_S))
    monkeypatch.setenv("WANDB_SILENT", "true")


def holding_the_key(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*") if p.is_file() and KEY.encode() in p.read_bytes()]


def test_a_server_that_never_answers_costs_one_line_and_a_bounded_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # the discard port, where nobody listens
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", str(PATIENCE_S))
    started = time.monotonic()
    tracker = WandbTracker(TrackerSettings(mode="online"), tmp_path, SHOWN)
    tracker.log({"epoch": 0, "loss/train": 1.0})
    tracker.finish({"accuracy": 1.0}, None)
    assert time.monotonic() - started < LONGEST_S
    told = capfd.readouterr()
    assert one_line("cimlab: " + told.err).count("wandb failed and is off for the rest of this run") == 1
    assert KEY not in told.out + told.err
    assert not holding_the_key(tmp_path)


class OnlyTheBeginning(BaseHTTPRequestHandler):
    """Of wandb's server, as much as lets a run begin; every later request is turned away."""

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        project = {"id": "1", "name": "cimlab", "entity": {"id": "2", "name": "me"}}
        run = {
            "id": "3",
            "name": "r",
            "displayName": "r",
            "config": "{}",
            "historyLineCount": 0,
            "project": project,
        }
        begins = b"UpsertBucket" in asked
        text = json.dumps(
            {"data": {"upsertBucket": {"bucket": run, "inserted": True}}} if begins else {}
        ).encode()
        self.send_response(200 if begins else 503)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), OnlyTheBeginning) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_server_that_stops_costs_one_line_and_a_bounded_wait(
    server: ThreadingHTTPServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
    tracker = WandbTracker(TrackerSettings(mode="online"), tmp_path, SHOWN)
    assert capfd.readouterr().err == ""  # it has begun
    tracker.log({"epoch": 0, "loss/train": 1.0})
    server.shutdown()
    server.server_close()
    tracker.log({"epoch": 1, "loss/train": 0.5})
    started = time.monotonic()
    tracker.finish({"accuracy": 1.0}, None)
    assert time.monotonic() - started < LONGEST_S
    assert one_line("cimlab: " + capfd.readouterr().err).count("wandb failed") == 1
    assert list(tmp_path.rglob("*.wandb"))  # what `wandb sync` sends later
    assert not holding_the_key(tmp_path)
