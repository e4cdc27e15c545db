"""A command that is stopped says so in one line and ends with the signal's own code; what it kept goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import SMALL

from cimlab.cli.stopping import heeding_signals
from cimlab.grids.stops import SIGNALS, Stop, stoppable
from cimlab.network.checkpoint_file import load

TRAIN = (sys.executable, "-m", "cimlab", "train", "recipe.epochs=500", *SMALL[1:])


def receive(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)
    time.sleep(0.01)  # Python handles it between two of its own steps


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_remembered_and_the_handlers_are_given_back(number: signal.Signals) -> None:
    before = [signal.getsignal(each) for each in SIGNALS]
    with heeding_signals() as stops, pytest.raises(KeyboardInterrupt):
        receive(number)
    assert stops.code() == 128 + number
    assert stops.received == [number]
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_a_second_sigterm_does_not_disturb_the_way_out() -> None:
    with heeding_signals() as stops:
        with pytest.raises(KeyboardInterrupt):
            receive(signal.SIGTERM)
        receive(signal.SIGTERM)  # Slurm's second one
    assert stops.line("train") == "stopped by SIGTERM; the same command goes on from the last whole epoch"
    assert stops.line("map") == "stopped by SIGTERM"


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_is_ignored_stays_so(number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with heeding_signals() as stops:
            receive(number)
        assert stops.received == []
        with stoppable(None):
            receive(number)
        assert signal.getsignal(number) == signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_what_comes_while_it_is_told_that_a_command_was_stopped_is_not_heard() -> None:
    before = {each: signal.getsignal(each) for each in SIGNALS}
    try:
        with heeding_signals() as stops:
            with pytest.raises(KeyboardInterrupt):
                receive(signal.SIGINT)
            stops.deaf()
            receive(signal.SIGINT)
        receive(signal.SIGHUP)  # until the process has ended
        assert stops.code() == 130
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_grid_that_is_stopped_is_stopped_once_and_ctrl_c_alone_cuts_that_short(
    number: signal.Signals,
) -> None:
    def way_out() -> None:
        try:
            receive(number)
        finally:
            receive(signal.SIGTERM)
            receive(signal.SIGHUP)
            with pytest.raises(KeyboardInterrupt):
                receive(signal.SIGINT)

    before = [signal.getsignal(each) for each in SIGNALS]
    with pytest.raises(Stop) as stop, stoppable(None):
        way_out()
    assert stop.value.exit_code == 128 + number
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_a_lost_terminal_ends_the_command_with_the_signals_code(tmp_path: Path) -> None:
    """The signal, and every line from then on into a pipe that nobody reads, which is as bad."""
    program = (
        "import os, signal\nfrom cimlab.cli import main, sweep\n"
        "sweep.run = lambda words: os.kill(os.getpid(), signal.SIGHUP)\n"
        "main.main(['sweep', 'a.yaml'])"
    )
    read, write = os.pipe()
    process = subprocess.Popen([sys.executable, "-c", program], stdout=write, stderr=write)
    os.close(read)
    os.close(write)
    assert process.wait(timeout=60) == 129


def test_a_training_that_is_stopped_keeps_its_last_whole_epoch(tmp_path: Path) -> None:
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
        run.send_signal(signal.SIGTERM)
        assert run.wait(timeout=60) == 143
    *_, last = log.read_text().splitlines()
    assert last == "cimlab: stopped by SIGTERM; the same command goes on from the last whole epoch"
    whole = sum("dense epoch" in line for line in log.read_text().splitlines())
    (kept,) = (tmp_path / "out").rglob("*.ckpt")  # none is written in passing within 1000 s
    # the line of an epoch comes a moment before its state is kept
    assert load(kept)["epoch"] + 1 in (whole - 1, whole)
