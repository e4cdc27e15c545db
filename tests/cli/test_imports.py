"""Asking what something costs needs no training loop, no tracker and no library of other people's networks."""

import os
import subprocess
import sys
from pathlib import Path

import torch
from conftest import Cimlab

from cimlab.models.digits_cnn import digits_cnn

HEAVY = ("pytorch_lightning", "lightning", "wandb", "torchvision")

CODE = """
import sys
from cimlab.cli.main import main
for words in {commands!r}:
    try:
        main(words)
    except SystemExit as end:
        assert not end.code, (words, end.code)
    heavy = [name for name in {heavy!r} if name in sys.modules]
    assert not heavy, (words, heavy)
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


def test_commands_that_ask_import_nothing_that_trains(train: Cimlab, tmp_path: Path) -> None:
    """One process asks everything, and looks after each command: starting one takes longer than asking."""
    assert train("granularity=column_segment").code == 0
    torch.save(digits_cnn(num_classes=10, in_channels=1).state_dict(), tmp_path / "weights.pt")
    digits = ["model=digits_cnn", "input.channels=1", "input.size=8"]
    commands = [
        ["runs", "."],
        ["map", *digits, "--json"],
        ["map", *digits, "checkpoint=weights.pt", "--json"],
        ["map", "-m", "model=resnet20", "technology=isaac32,neurosim22_rram", "--csv"],
        ["simulate", "checkpoint=weights.pt", "model=digits_cnn", "data=digits", "images=8", "draws=1"],
        ["report", ".", "-o", "report.html"],
    ]
    done = ran(CODE.format(commands=commands, heavy=HEAVY), tmp_path)
    assert done.returncode == 0, done.stderr
    assert "F7. Energy per image by component, dense and pruned" in (tmp_path / "report.html").read_text()


def test_a_lab_imports_nothing_that_trains(tmp_path: Path) -> None:
    done = ran(LAB.format(heavy=HEAVY), tmp_path)
    assert done.returncode == 0, done.stderr
