"""A command that is stopped says so in one line and ends with the signal's own code; what it kept goes on."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import pytest
from conftest import SMALL

from cimlab.cli.stopping import heeding_signals
from cimlab.network.checkpoint_file import load

TRAIN = (sys.executable, "-m", "cimlab", "train", "recipe.epochs=500", *SMALL[1:])


def receive(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)
    time.sleep(0.01)  # Python handles it between two of its own steps


@pytest.fixture(autouse=True)
def heard() -> Generator[None]:
    """SIGINT as a terminal's program gets it: a shell starts what it puts in the background deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_remembered_and_the_handlers_are_given_back(number: signal.Signals) -> None:
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with heeding_signals() as stops, pytest.raises(KeyboardInterrupt):
        receive(number)
    assert stops.code() == 128 + number
    assert stops.received == [number]
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_second_sigterm_does_not_disturb_the_way_out() -> None:
    with heeding_signals() as stops:
        with pytest.raises(KeyboardInterrupt):
            receive(signal.SIGTERM)
        receive(signal.SIGTERM)  # Slurm's second one
    assert stops.line() == "stopped by SIGTERM; the same command goes on from the last whole epoch"


def test_a_signal_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with heeding_signals() as stops:
            receive(signal.SIGTERM)
        assert stops.received == []
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(("number", "by"), [(signal.SIGTERM, " by SIGTERM"), (signal.SIGINT, "")])
def test_a_training_that_is_stopped_keeps_its_last_whole_epoch(
    number: signal.Signals, by: str, tmp_path: Path
) -> None:
    words = (
        f"paths.output_dir={tmp_path / 'out'}",
        f"paths.data_dir={tmp_path}",
        "trainer.checkpoint_every_s=1000",
    )
    log = tmp_path / "log.txt"
    with log.open("w") as file:
        run = subprocess.Popen([*TRAIN, *words], stdout=file, stderr=subprocess.STDOUT)
        while "dense epoch 3/" not in log.read_text():
            assert run.poll() is None, log.read_text()
            time.sleep(0.05)
        run.send_signal(number)
        assert run.wait(timeout=60) == 128 + number
    *_, last = log.read_text().splitlines()
    assert last == f"cimlab: stopped{by}; the same command goes on from the last whole epoch"
    whole = sum("dense epoch" in line for line in log.read_text().splitlines())
    (kept,) = (tmp_path / "out").rglob("*.ckpt")  # none is written in passing within 1000 s
    assert load(kept)["epoch"] + 1 == whole
