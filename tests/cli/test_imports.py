"""Asking what something costs needs no training loop, no tracker and no library of other people's networks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import Cimlab

from cimlab.models.digits_cnn import digits_cnn

HEAVY = ("pytorch_lightning", "lightning", "wandb", "torchvision")

CODE = """
import sys
from cimlab.cli.main import main
try:
    main({words!r})
except SystemExit as end:
    assert not end.code, end.code
heavy = [name for name in {heavy!r} if name in sys.modules]
assert not heavy, heavy
"""
LAB = """
import sys
import torch
from torch import nn
from cimlab.lab import Lab
network, images = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4)), torch.rand(4, 1, 8, 8)
lab = Lab("prune.exempt_first=false", "granularity=column_segment")
masks = lab.prune(network, images)
lab.cost(network, masks, images)
lab.on_arrays(network, masks, images)(images)
heavy = [name for name in {heavy!r} if name in sys.modules]
assert not heavy, heavy
"""


def ran(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    alone = {name: value for name, value in os.environ.items() if not name.startswith("COV_")}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=alone, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "words",
    [
        ["map", "model=digits_cnn", "input.channels=1", "input.size=8", "--json"],
        ["map", "-m", "model=resnet20", "technology=isaac32,neurosim22_rram", "--csv"],
        ["runs", "."],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_a_command_that_asks_imports_nothing_that_trains(words: list[str], tmp_path: Path) -> None:
    done = ran(CODE.format(words=words, heavy=HEAVY), tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_simulation_imports_nothing_that_trains(tmp_path: Path) -> None:
    torch.save(digits_cnn(num_classes=10, in_channels=1).state_dict(), tmp_path / "weights.pt")
    words = ["simulate", "checkpoint=weights.pt", "model=digits_cnn", "data=digits", "images=8", "draws=1"]
    done = ran(CODE.format(words=words, heavy=HEAVY), tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_report_prices_runs_and_imports_nothing_that_trains(train: Cimlab, tmp_path: Path) -> None:
    assert train("granularity=column_segment").code == 0
    done = ran(CODE.format(words=["report", ".", "-o", "report.html"], heavy=HEAVY), tmp_path)
    assert done.returncode == 0, done.stderr
    assert "F3. Energy per image by component, dense and pruned" in (tmp_path / "report.html").read_text()


def test_a_lab_imports_nothing_that_trains(tmp_path: Path) -> None:
    done = ran(LAB.format(heavy=HEAVY), tmp_path)
    assert done.returncode == 0, done.stderr


def test_stored_weights_are_priced_without_what_trained_them(tmp_path: Path) -> None:
    torch.save(digits_cnn(num_classes=10, in_channels=1).state_dict(), tmp_path / "weights.pt")
    words = ["map", "model=digits_cnn", "input.channels=1", "input.size=8", "checkpoint=weights.pt", "--json"]
    done = ran(CODE.format(words=words, heavy=HEAVY), tmp_path)
    assert done.returncode == 0, done.stderr
