"""Six kills at random moments of digits runs, and no difference to undisturbed runs; more with the script alone."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import Cimlab, killed_in_epoch
from torch import nn

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.pruning.allocation import Budget
from cimlab.pruning.granularities.operation_unit import OperationUnit
from cimlab.pruning.masks import PruningRule
from cimlab.pruning.saliencies.l2 import L2
from cimlab.pruning.schedules import cubic_events
from cimlab.records.record import RECORD_FILE, RunRecord
from cimlab.training.module import Classifier
from cimlab.training.prune_retrain import PruneRetrain

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "experiments" / "robustness" / "kills.py"


def test_runs_killed_at_random_moments_end_with_the_same_record() -> None:
    answer = subprocess.run(
        [sys.executable, str(SCRIPT), "--kills", "6"], cwd=ROOT, capture_output=True, text=True, timeout=280
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "6 kills" in answer.stdout
    assert "before its record" in answer.stdout
    assert "0 runs differ or are lost" in answer.stdout


def test_checkpoints_that_come_too_soon_are_skipped_and_the_result_is_the_same(
    train: Cimlab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("trainer.checkpoint_every_s=1e6", "recipe.epochs=3", "method=[gradual]", "schedule.epochs=3")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert train(*words, f"paths.output_dir={whole}").code == 0
    with killed_in_epoch(monkeypatch, 2):
        assert train(*words, f"paths.output_dir={killed}").code == 1
    assert not list(killed.glob("dense/*/checkpoints/*"))
    assert "dense epoch 1/3" in train(*words, f"paths.output_dir={killed}").out
    records = [RunRecord.read(path) for path in tmp_path.glob(f"*/*/{RECORD_FILE}")]
    assert len(records) == 2
    assert records[0].accuracy == records[1].accuracy


def test_masks_of_a_checkpoint_go_where_the_network_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints are read onto the processor; the next event compares its masks with those of the last."""
    module = Classifier(
        nn.Sequential(nn.Conv2d(3, 4, 3)), lambda groups: torch.optim.SGD(groups), lambda _: 1.0
    )
    events = cubic_events(0.5, 2, 0.5)
    rule = PruningRule(OperationUnit(), L2(), CrossbarGeometry())
    callback = PruneRetrain([], rule, Budget(0.5, "global", 0.01, {}), events, 0, 1)
    callback.load_state_dict(
        {
            "masks": {"0": torch.ones(4, 3, 3, 3, dtype=torch.bool)},
            "events_done": 1,
            "weights_after_pruning": {},
        }
    )
    monkeypatch.setattr(PruneRetrain, "_hold", lambda *_: None)  # the meta device, another one, has no values
    trainer: Any = SimpleNamespace(optimizers=[])
    callback.on_train_start(trainer, module.to("meta"))
    assert callback.masks["0"].device.type == "meta"
