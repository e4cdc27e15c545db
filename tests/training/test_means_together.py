"""Every means at once: it reaches the budget, survives a kill bit for bit, and is off unless it is asked for."""

import shutil
from pathlib import Path

import pytest
import torch
from conftest import Cimlab, killed_in_epoch, one_line

from cimlab.records.record import RECORD_FILE, RunRecord

WORDS = (
    "distillation=hinton",
    "permutation=gather",
    "sparsity=admm",
    "sparsity.share=0.6",
    "prune.allocation=steps",
    "schedule=gradual",
    "schedule.prune_events=2",
    "schedule.epochs=3",
    "granularity=column_segment",
    "prune.remaining=0.2",
)


def outcome(folder: Path) -> tuple[RunRecord, dict]:
    (path,) = folder.glob(f"digits_cnn*/{RECORD_FILE}")
    return RunRecord.read(path), torch.load(path.with_name("network.pt"), weights_only=True)


def test_all_means_together_survive_a_kill_in_any_epoch(
    train: Cimlab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    answer = train(*WORDS, f"paths.output_dir={whole}")
    assert answer.code == 0, answer.err
    shutil.copytree(whole / "dense", killed / "dense")
    for last in (1, 2):  # within ADMM, and after it
        with killed_in_epoch(monkeypatch, last):
            assert train(*WORDS, f"paths.output_dir={killed}").code == 1
    assert train(*WORDS, f"paths.output_dir={killed}").code == 0
    (one, network), (other, again) = outcome(whole), outcome(killed)
    assert one.accuracy == other.accuracy
    assert one.hardware == other.hardware
    assert one.weights["remaining_prunable"] == pytest.approx(0.2, abs=0.01)
    assert all(torch.equal(value, again["network"][name]) for name, value in network["network"].items())
    assert all(torch.equal(mask, again["masks"][name]) for name, mask in network["masks"].items())


def test_a_bad_setting_of_admm_is_refused_in_one_line(cimlab: Cimlab) -> None:
    for word in ("sparsity.share=1", "sparsity.updates=0", "sparsity.last_rho=-1"):
        answer = cimlab("train", "sparsity=admm", word)
        assert answer.code == 2
        assert word in one_line(answer.err)
