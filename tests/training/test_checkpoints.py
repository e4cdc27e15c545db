"""A checkpoint is whole or refused: no damaged byte, stranger's code, foreign shape or NaN reaches a network."""

import os
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from cimlab.network.checkpoint_file import CheckpointError
from cimlab.network.stored import read
from cimlab.training import checkpoints
from cimlab.training.checkpoints import AtomicCheckpoints

CONTENT: dict[str, Any] = {
    "network": {"weight": torch.arange(600.0).view(20, 30), "bias": torch.ones(3)},
    "dense_run": "abc",
}


def same(content: dict) -> bool:
    return (
        content.keys() == CONTENT.keys()
        and content["dense_run"] == CONTENT["dense_run"]
        and all(torch.equal(content["network"][name], value) for name, value in CONTENT["network"].items())
    )


def resumable(step: int) -> dict:
    return {name: {} for name in checkpoints.RESUMABLE} | {"global_step": step}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    checkpoints.save(tmp_path / "network.pt", CONTENT)
    return tmp_path / "network.pt"


def test_a_checkpoint_comes_back_as_it_was_saved_and_leaves_no_rest(path: Path) -> None:
    assert same(checkpoints.load(path))
    assert [entry.name for entry in path.parent.iterdir()] == ["network.pt"]


def test_every_flipped_bit_is_found_or_changes_nothing(path: Path) -> None:
    whole, dice, harmless = path.read_bytes(), random.Random(0), 0
    for place in dice.sample(range(len(whole)), 600):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << dice.randrange(8)]) + whole[place + 1 :])
        try:
            assert same(checkpoints.load(path)), place
            harmless += 1  # padding between entries, time stamps
        except CheckpointError:
            continue
    assert harmless < 300


def test_every_truncation_is_found(path: Path) -> None:
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"truncated, damaged|is empty"):
            checkpoints.load(path)


@pytest.mark.parametrize("text", [b"", b"\0" * 500, b"PK\x03\x04", b"not a checkpoint", b"\x80\x02K\x01."])
def test_a_foreign_file_is_refused_in_one_line(path: Path, text: bytes) -> None:
    path.write_bytes(text)
    with pytest.raises(CheckpointError) as refusal:
        read(path).fill(nn.Linear(3, 2))
    assert "\n" not in str(refusal.value)


def test_a_failed_save_leaves_the_old_checkpoint(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(checkpoints.UnwritableError, match="No space left on device"):
        checkpoints.save(path, {"network": {}})
    monkeypatch.undo()
    assert same(checkpoints.load(path))
    assert [entry.name for entry in path.parent.iterdir()] == ["network.pt"]


def test_training_goes_on_from_the_latest_step_that_is_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = AtomicCheckpoints("mine")
    for step in (10, 9, 20, 30):
        files.save_checkpoint(resumable(step), tmp_path / f"step={step}.ckpt")
    half = tmp_path / "step=30.ckpt"
    half.write_bytes(half.read_bytes()[:200])
    checkpoints.save(tmp_path / "foreign.ckpt", CONTENT)
    AtomicCheckpoints("another's").save_checkpoint(resumable(40), tmp_path / "step=40.ckpt")
    found = checkpoints.latest(tmp_path, "mine")
    assert found == tmp_path / "step=20.ckpt"
    assert files.load_checkpoint(found)["global_step"] == 20
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 3
    assert "step=40.ckpt is of another training" in told[2]
    assert not half.exists()
    files.remove_checkpoint(found)
    assert checkpoints.latest(tmp_path, "mine") == tmp_path / "step=10.ckpt"
    assert checkpoints.latest(tmp_path / "nowhere", "mine") is None
