"""One run on several devices: the same result as on one, up to the order of sums; what can't be shared is refused."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from conftest import Cimlab, killed_in_epoch, one_line

from cimlab.data.augment import Augmentation
from cimlab.data.loader import BatchLoader
from cimlab.records.history import read_rows
from cimlab.records.record import RECORD_FILE, RunRecord

WORDS = (
    "schedule.epochs=2", "saliency=taylor", "trainer.accelerator=cpu", "method=[distillation,reorder]",
)  # fmt: skip


def content(folder: Path) -> tuple[RunRecord, dict, list[dict]]:
    """Record, stored network, and history of the one run below a folder."""
    (path,) = folder.glob(f"*/{RECORD_FILE}")
    network = torch.load(path.with_name("network.pt"), weights_only=True)
    return RunRecord.read(path), network, read_rows(path.with_name("history.jsonl"))


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_two_processes_compute_what_one_computes_also_after_a_kill(
    train: Cimlab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    assert train(*WORDS, f"paths.output_dir={one}").code == 0
    shutil.copytree(one / "dense", two / "dense")
    shared = ("trainer.devices=2", f"paths.output_dir={two}")
    with killed_in_epoch(monkeypatch, 1):  # in this process, which is rank 0; the other must end with it
        assert train(*WORDS, *shared).code == 1
    answer = train(*WORDS, *shared)
    assert answer.code == 0, answer.err
    assert "retrain epoch 1/2" not in answer.out

    (record, network, rows), (expected, reference, expected_rows) = content(two), content(one)
    assert record.run == expected.run
    for name, mask in reference["masks"].items():
        assert torch.equal(network["masks"][name], mask), name
    for name, value in reference[
        "network"
    ].items():  # rounding grows from step to step; a wrong sum is far beyond
        torch.testing.assert_close(network["network"][name], value, rtol=0.02, atol=0.01)
    assert record.hardware["total"] == expected.hardware["total"]
    lines = next(two.glob("digits*/history.jsonl")).read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [0, 1]  # one row per epoch: rank 0's
    for row, other in zip(rows, expected_rows, strict=True):
        assert row["loss/train"] == pytest.approx(other["loss/train"], rel=1e-3)
        assert row["accuracy/validation"] == pytest.approx(other["accuracy/validation"], abs=0.03)


@pytest.mark.parametrize("parts", [2, 3])
@pytest.mark.parametrize("augmentation", [None, Augmentation(crop_padding=1, flip=True)])
def test_parts_of_a_batch_are_the_batch(parts: int, augmentation: Augmentation | None) -> None:
    images = torch.randint(256, (50, 3, 4, 4), dtype=torch.uint8)

    def batches(part: tuple[int, int]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        mean = std = (0.5, 0.5, 0.5)
        return list(
            BatchLoader(
                images, torch.arange(50), batch_size=12, mean=mean, std=std, dtype=torch.float32, seed=3,
                augmentation=augmentation, part=part,
            )
        )  # fmt: skip

    shares = [batches((index, parts)) for index in range(parts)]
    for whole, *pieces in zip(batches((0, 1)), *shares, strict=True):
        for position in range(2):
            assert torch.equal(torch.cat([piece[position] for piece in pieces]), whole[position])


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (
            ("trainer.devices=2", "data.batch_size=63"),
            "each device takes an equal part of data.batch_size=63",
        ),
        (("trainer.devices=2", "trainer.compile=true"), "trainer.compile=true: was tried on one device only"),
        (("trainer.devices=4096",), "use at most so many"),
        (("trainer.devices=0",), "greater than or equal to 1"),
    ],
)
def test_devices_that_cannot_share_the_work_are_refused(
    words: tuple[str, ...], problem: str, train: Cimlab, tmp_path: Path
) -> None:
    answer = train(*words)
    assert answer.code == 2
    assert problem in one_line(answer.err)
    assert not list(tmp_path.glob(f"*/{RECORD_FILE}"))


def test_a_process_that_cannot_begin_is_told_in_one_line() -> None:
    from functools import partial

    from cimlab.training.parallel import ParallelError, company

    with (
        pytest.raises(ParallelError, match=r"process 2 of 2 failed: TypeError: .*int"),
        company(2, partial(int, "x")),
    ):
        raise AssertionError("rank 0 must not begin")
