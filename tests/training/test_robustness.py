"""Whole runs under bad conditions: damaged caches, a full disk, other data workers, secrets, empty classes."""

import errno
import json
import os
import re
import resource
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch
from conftest import Cimlab, killed_in_epoch, one_line
from PIL import Image

from cimlab.config.errors import OutputError, unwritable
from cimlab.records.record import RECORD_FILE, RunRecord
from cimlab.runs.folders import made
from cimlab.training import checkpoints


def the_record(folder: Path) -> RunRecord:
    (path,) = folder.glob(f"*/{RECORD_FILE}")
    return RunRecord.read(path)


def numbers(record: RunRecord) -> str:
    """What two runs of the same configuration share: all but times and places."""
    return json.dumps(
        [record.run, record.seed, record.choices, record.accuracy, record.weights, record.hardware],
        sort_keys=True,
    )


def test_a_damaged_dense_network_is_told_and_trained_anew(train: Cimlab, tmp_path: Path) -> None:
    shown = ("granularity=weight", "trainer.progress=lines")
    assert "dense network: training, 1 epoch\n" in train(*shown).out
    assert f"dense network: found, {tmp_path / 'dense'}" in train(*shown, "granularity=filter").out
    shutil.rmtree(next(tmp_path.glob("*-filter-*")))
    expected = the_record(tmp_path).accuracy["dense"]
    (path,) = (tmp_path / "dense").glob("*/network.pt")
    whole = path.read_bytes()
    start = len(whole) // 2  # among the weights, where torch.load alone would see nothing
    path.write_bytes(whole[:start] + bytes([whole[start] ^ 64]) + whole[start + 1 :])
    answer = train("granularity=weight", "rerun=true")
    assert answer.code == 0
    assert "the dense network is trained anew" in one_line(answer.err)
    assert the_record(tmp_path).accuracy["dense"] == expected
    content = checkpoints.load(path)
    for change in ({"dense_run": "another"}, {"network": {"x": torch.ones(1)}}):
        checkpoints.save(path, content | change)
        assert "the dense network is trained anew" in train("granularity=weight", "rerun=true").err


def test_a_training_checkpoint_of_another_run_is_told_and_left_aside(
    train: Cimlab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that was copied or renamed: the same network, pruned otherwise, would go on without a word."""
    words = ("method=[gradual]", "schedule.epochs=3", "method.gradual.prune_events=3")
    train(*words, "granularity=weight", f"paths.output_dir={tmp_path / 'whole'}")
    for place, granularity in (("stranger", "filter"), ("mine", "weight")):
        shutil.copytree(tmp_path / "whole" / "dense", tmp_path / place / "dense")
        with killed_in_epoch(monkeypatch, 1):
            train(*words, f"granularity={granularity}", f"paths.output_dir={tmp_path / place}")
    (foreign,), (own,) = ((tmp_path / p).glob("*/checkpoints/*.ckpt") for p in ("stranger", "mine"))
    shutil.copy(foreign, own)
    answer = train(*words, "granularity=weight", f"paths.output_dir={tmp_path / 'mine'}")
    assert answer.code == 0
    assert f"{own} is of another training" in one_line(answer.err)
    assert "retrain epoch 1/3" in answer.out
    assert numbers(the_record(tmp_path / "mine")) == numbers(the_record(tmp_path / "whole"))


def test_a_given_checkpoint_with_nan_is_refused(train: Cimlab, tmp_path: Path) -> None:
    train()
    (path,) = (tmp_path / "dense").glob("*/network.pt")
    content = checkpoints.load(path)
    next(iter(content["network"].values())).view(-1)[0] = float("nan")
    checkpoints.save(tmp_path / "nan.pt", content)
    answer = train(f"checkpoint={tmp_path / 'nan.pt'}")
    assert answer.code == 2
    assert "has NaN or infinity" in one_line(answer.err)


def test_a_full_disk_stops_in_one_line_and_the_same_command_goes_on(train: Cimlab, tmp_path: Path) -> None:
    """The limit on a file's size stands for the disk: writing fails half-way in the same manner."""
    train(f"paths.output_dir={tmp_path / 'whole'}", "schedule.epochs=2")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # a digits network has 227 kB
    try:
        answer = train(f"paths.output_dir={tmp_path / 'full'}", "schedule.epochs=2")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert answer.code == 1
    assert re.search(r"can't write .*/\S+ \(only a part of it could be written", one_line(answer.err))
    assert not list(tmp_path.glob(f"full/*/{RECORD_FILE}"))
    assert train(f"paths.output_dir={tmp_path / 'full'}", "schedule.epochs=2").code == 0
    assert numbers(the_record(tmp_path / "full")) == numbers(the_record(tmp_path / "whole"))


def image_tree(root: Path, classes: int, images: int) -> None:
    for label in range(classes):
        folder = root / f"class{label}"
        folder.mkdir(parents=True)
        for number in range(images):
            pixels = torch.randint(
                256, (12, 12, 3), generator=torch.Generator().manual_seed(99 * label + number)
            )
            Image.fromarray(pixels.to(torch.uint8).numpy()).save(folder / f"{number}.png")


def test_a_dense_network_that_may_only_be_read_is_used(
    train: Cimlab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train("granularity=weight").code == 0
    kept = tmp_path / "dense"
    with monkeypatch.context() as patch:
        writable = os.access
        patch.setattr(
            os, "access", lambda path, mode: kept not in Path(path).parents and writable(path, mode)
        )
        patch.setattr("cimlab.runs.train.made", _made_but(kept))
        answer = train("granularity=filter")
        assert answer.code == 0, answer.err
        assert "dense network: found" in answer.out
        refused = train("granularity=filter", "recipe.epochs=2")
    assert refused.code == 1
    assert one_line(refused.err) == (
        f"cimlab: can't write to {kept} (Read-only file system); set paths.dense_dir to a folder you may write"
    )


def _made_but(closed: Path) -> Callable[..., AbstractContextManager[None]]:
    """`made`, as where one folder may only be read."""

    def of(*folders: Path, by: str = "set paths.output_dir to") -> AbstractContextManager[None]:
        if any(folder.is_relative_to(closed) for folder in folders):
            raise OutputError(unwritable(folders[0], OSError(errno.EROFS, os.strerror(errno.EROFS)), by))
        return made(*folders, by=by)

    return of


def test_the_number_of_data_workers_changes_no_number(train: Cimlab, tmp_path: Path) -> None:
    image_tree(tmp_path / "images", classes=2, images=24)
    words = ("data=image_folder", f"data.data_dir={tmp_path / 'images'}", "data.image_size=8", "data.batch_size=8",
             "data.validation_size=8", "data.eval_batch_size=8", "data.least_crop=0.3")  # fmt: skip
    results = []
    for workers in (0, 2):
        answer = train(*words, f"data.num_workers={workers}", f"paths.output_dir={tmp_path / str(workers)}")
        assert answer.code == 0, answer.err
        (network,) = (tmp_path / str(workers)).glob("digits_cnn*/network.pt")
        results.append((numbers(the_record(tmp_path / str(workers))), checkpoints.load(network)["network"]))
    (one, weights), (other, same) = results
    assert one == other
    assert all(torch.equal(weights[name], same[name]) for name in weights)


def test_an_empty_class_is_refused_before_training(train: Cimlab, tmp_path: Path) -> None:
    image_tree(tmp_path / "images", classes=2, images=4)
    (tmp_path / "images" / "nothing").mkdir()
    answer = train("data=image_folder", f"data.data_dir={tmp_path / 'images'}", "data.validation_size=2")
    assert answer.code == 2
    assert "nothing" in one_line(answer.err)


def test_a_secret_in_a_setting_is_refused(train: Cimlab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "topsecretkey")
    answer = train("tracker.group=${oc.env:WANDB_API_KEY}")
    assert answer.code == 2
    assert "WANDB_API_KEY" in one_line(answer.err)
    assert "topsecretkey" not in answer.err


def test_no_file_or_line_of_a_run_holds_the_key_of_wandb(
    train: Cimlab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "0123456789abcdef" * 2 + "76543210"
    monkeypatch.setenv("WANDB_API_KEY", key)
    answer = train("tracker=wandb")
    assert answer.code == 0
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in files)
    assert not [path for path in files if key.encode() in path.read_bytes()]
    assert key not in answer.out + answer.err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("prune.remaining=0.0001", "prune.layer_floor=0"), 2),
        (("data=cifar10", "data.download=false"), 2),
        (("optimizer.lr=1e12",), 1),
        (("checkpoint={text}",), 2),
    ],
)
def test_a_refused_or_failed_run_leaves_no_folder(
    words: tuple[str, ...], code: int, cimlab: Cimlab, tmp_path: Path
) -> None:
    text, out = tmp_path / "text.pt", tmp_path / "new" / "out"
    text.write_text("hello")
    given = [word.format(text=text) for word in words]
    paths = (f"paths.output_dir={out}", f"paths.data_dir={tmp_path / 'data'}")
    answer = cimlab("train", "recipe.epochs=1", "schedule.epochs=1", "tracker=none", *paths, *given)
    assert answer.code == code, answer.err
    assert [path.name for path in tmp_path.iterdir()] == ["text.pt"]


@pytest.mark.parametrize("word", ["device=programming_variation", "device=[read_noise,drift]", "adc=mse"])
def test_what_accuracy_does_not_see_is_told(word: str, train: Cimlab) -> None:
    told = [line for line in train(word).err.splitlines() if "accuracy does not see" in line]
    (line,) = told
    assert word.partition("=")[0] in line
    assert "cimlab simulate" in line


def test_nothing_is_told_where_nobody_chose_a_device_or_simulation_follows(train: Cimlab) -> None:
    assert "does not see" not in train().err
    simulated = (
        "simulate.at_end=true",
        "device=programming_variation",
        "simulate.images=20",
        "simulate.draws=1",
    )
    answer = train(*simulated)
    assert answer.code == 0, answer.err
    assert "does not see" not in answer.err
