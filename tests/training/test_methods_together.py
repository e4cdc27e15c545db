"""Every method at once: it reaches the budget, survives a kill bit for bit, and is off unless it is asked for."""

import shutil
from pathlib import Path

import pytest
import torch
from conftest import Cimlab, killed_in_epoch, one_line

from cimlab.records.record import RECORD_FILE, RunRecord
from cimlab.records.simulation import SIMULATION_FILE, SimulationRecord

METHODS = "distillation,reorder,admm,gradual"
WORDS = (
    "method.admm.share=0.6",
    "prune.allocation=steps",
    "method.gradual.prune_events=2",
    "granularity=column_segment",
    "prune.remaining=0.2",
)


def outcome(folder: Path) -> tuple[RunRecord, dict]:
    (path,) = folder.glob(f"digits_cnn*/{RECORD_FILE}")
    return RunRecord.read(path), torch.load(path.with_name("network.pt"), weights_only=True)


def test_all_methods_together_survive_a_kill_in_any_epoch(
    train: Cimlab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    words = (*WORDS, f"method=[{METHODS}]", "schedule.epochs=3")
    answer = train(*words, f"paths.output_dir={whole}")
    assert answer.code == 0, answer.err
    shutil.copytree(whole / "dense", killed / "dense")
    for last in (1, 2):  # within ADMM, and after it
        with killed_in_epoch(monkeypatch, last):
            assert train(*words, f"paths.output_dir={killed}").code == 1
    assert train(*words, f"paths.output_dir={killed}").code == 0
    (one, network), (other, again) = outcome(whole), outcome(killed)
    assert one.accuracy == other.accuracy
    assert one.hardware == other.hardware
    assert one.weights["remaining_prunable"] == pytest.approx(0.2, abs=0.01)
    assert all(torch.equal(value, again["network"][name]) for name, value in network["network"].items())
    assert all(torch.equal(mask, again["masks"][name]) for name, mask in network["masks"].items())


@pytest.mark.parametrize(
    "rounding",
    [
        ("ste", "geometry.input_bits=4"),
        ("lsq", "method.lsq.hardware_aware=true", "device=[programming_variation]"),
    ],
    ids=["ste", "lsq-aware"],
)
def test_quantised_retraining_goes_with_every_other_method_and_survives_a_kill(
    rounding: tuple[str, ...], train: Cimlab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (
        *WORDS,
        f"method=[{METHODS},{rounding[0]}]",
        *rounding[1:],
        "geometry.weight_bits=4",
        "schedule.epochs=2",
    )
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    arrays = ("simulate.at_end=true", "simulate.draws=1", "simulate.images=100")
    answer = train(*words, *arrays, f"paths.output_dir={whole}")
    assert answer.code == 0, answer.err
    shutil.copytree(whole / "dense", killed / "dense")
    with killed_in_epoch(monkeypatch, 1):  # within ADMM, before the second pruning
        assert train(*words, f"paths.output_dir={killed}").code == 1
    assert train(*words, f"paths.output_dir={killed}").code == 0
    (one, network), (other, again) = outcome(whole), outcome(killed)
    assert one.accuracy == other.accuracy
    assert {"retrained", "quantised"} <= set(one.accuracy)
    for kind in ("network", "masks"):
        assert all(torch.equal(value, again[kind][name]) for name, value in network[kind].items())
    for name, steps in network["steps"]["layers"].items():
        same = again["steps"]["layers"][name]
        assert torch.equal(steps["weight"], same["weight"])
        assert (steps["input"], steps["zero"]) == (same["input"], same["zero"])
    assert one.weights["remaining_prunable"] == pytest.approx(0.2, abs=0.01)
    assert all(bool((network["network"][f"{n}.weight"][~m] == 0).all()) for n, m in network["masks"].items())
    (path,) = whole.glob(f"digits_cnn*/{SIMULATION_FILE}")
    assert SimulationRecord.read(path).origin == network["origin"]


def test_a_bad_setting_of_admm_is_refused_in_one_line(cimlab: Cimlab) -> None:
    for word in ("method.admm.share=1.0", "method.admm.updates=0", "method.admm.last_rho=-1.0"):
        answer = cimlab("train", "method=[admm]", word)
        assert answer.code == 2
        assert word in one_line(answer.err)
