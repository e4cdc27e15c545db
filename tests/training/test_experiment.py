"""Whole experiments on the bundled digits: every schedule, dense reuse, masks that hold, and what can go wrong."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import Cimlab, killed_in_epoch, one_line

from cimlab.records.history import read_rows
from cimlab.records.record import RECORD_FILE, RunRecord
from cimlab.runs.train import _tell_guessing
from cimlab.training import prune_retrain


def the_record(folder: Path) -> RunRecord:
    """The one record below a folder."""
    (path,) = folder.glob(f"*/{RECORD_FILE}")
    return RunRecord.read(path)


def network_of(folder: Path) -> dict:
    (path,) = folder.glob("digits_cnn*/network.pt")
    return torch.load(path, weights_only=True)


SCHEDULES = {
    "at once": [],
    "iterative": ["method=[iterative]", "method.iterative.prune_rounds=2", "schedule.epochs=4"],
    "gradual": ["method=[gradual]", "method.gradual.prune_events=4", "schedule.epochs=4"],
}


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("rate", ["restart", "rewind", "fine_tune"])
def test_every_schedule_reaches_its_budget_and_beats_chance(
    schedule: str, rate: str, train: Cimlab, tmp_path: Path
) -> None:
    words = ["recipe.epochs=3", f"schedule.rate={rate}", *SCHEDULES[schedule]]
    answer = train(*words, "prune.remaining=0.3", "granularity=operation_unit")
    assert answer.code == 0, answer.err
    record = the_record(tmp_path)
    unit = 16 * 2  # weights of the default operation unit
    prunable = record.weights["prunable"]
    assert 0.3 * prunable - unit < record.weights["remaining_prunable"] * prunable <= 0.3 * prunable
    assert record.accuracy["dense"]["test"] > 0.5  # chance is 0.1
    assert record.accuracy["retrained"]["test"] > 0.3
    assert record.hardware["ratio"]["steps"] < 0.5
    assert len(read_rows(next(tmp_path.glob("digits_cnn*/history.jsonl")))) == int(
        record.config["schedule"]["epochs"]
    )


@pytest.mark.parametrize(
    "late",
    [
        ("method=[gradual]", "method.gradual.prune_share=0.99"),
        ("method=[admm]", "method.admm.share=0.99"),
        ("method=[admm,gradual]", "method.admm.share=0.99", "method.gradual.prune_share=0.99"),
    ],
    ids=["gradual", "admm", "both"],
)
def test_pruning_that_is_due_after_the_last_step_comes_before_it(
    late: tuple[str, ...], train: Cimlab, tmp_path: Path
) -> None:
    answer = train(*late, "schedule.epochs=2", "prune.remaining=0.3")
    assert answer.code == 0, answer.err
    assert the_record(tmp_path).weights["remaining_prunable"] == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize(
    ("method", "three", "done"),
    [
        ("gradual", "method.gradual.prune_events=3", (1 - (2 / 3) ** 3, 1 - (1 / 3) ** 3, 1)),
        ("iterative", "method.iterative.prune_rounds=3", (1 / 3, 2 / 3, 1)),
    ],
)
def test_fractions_by_layer_are_reached_step_by_step_where_the_others_stay_whole(
    method: str, three: str, done: tuple[float, ...], train: Cimlab, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = []
    make = prune_retrain.make_masks

    def watched(network: torch.nn.Module, matrices: list, *rest: Any) -> dict[str, torch.Tensor]:
        masks = make(network, matrices, *rest)
        left.append({name: float(mask.float().mean()) for name, mask in masks.items()})
        return masks

    monkeypatch.setattr(prune_retrain, "make_masks", watched)
    layer = "prune.layer_remaining={'7': 0.1}"
    words = ("granularity=weight", "prune.allocation=per_layer", "prune.remaining=1", "schedule.epochs=3")
    answer = train(f"method=[{method}]", *words, layer, three)
    assert answer.code == 0, answer.err
    assert [event["7"] for event in left] == pytest.approx([1 - 0.9 * part for part in done], abs=0.001)
    assert all(share == 1 for event in left for name, share in event.items() if name != "7")


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("granularity", ["weight", "operation_unit", "filter"])
def test_pruned_weights_are_exactly_zero_in_the_saved_network(
    optimizer: str, granularity: str, train: Cimlab, tmp_path: Path
) -> None:
    words = (f"optimizer={optimizer}", f"granularity={granularity}", "optimizer.weight_decay=0.1")
    assert train(*words, "schedule.epochs=2").code == 0
    content = network_of(tmp_path)
    left = 0
    for name, mask in content["masks"].items():
        weight = content["network"][f"{name}.weight"]
        assert bool((weight[~mask] == 0).all())
        assert bool((weight[mask] != 0).any())
        left += int(mask.sum())
    record = the_record(tmp_path)
    assert left == round(record.weights["remaining_prunable"] * record.weights["prunable"])


def test_the_dense_network_is_trained_once_and_found_again(train: Cimlab, tmp_path: Path) -> None:
    first = train("granularity=weight")
    second = train("granularity=filter")
    assert "dense epoch 1/1" in first.out
    assert "dense epoch" not in second.out
    dense = {RunRecord.read(path).accuracy["dense"]["test"] for path in tmp_path.glob(f"*/{RECORD_FILE}")}
    assert len(dense) == 1


def test_a_different_recipe_trains_another_dense_network(train: Cimlab, tmp_path: Path) -> None:
    train()
    train("recipe.epochs=2")
    train("optimizer.lr=0.05")
    assert len(list((tmp_path / "dense").glob("*/network.pt"))) == 3


def test_a_run_that_is_done_is_not_run_again(train: Cimlab, tmp_path: Path) -> None:
    train()
    (path,) = tmp_path.glob(f"*/{RECORD_FILE}")
    before = path.read_bytes()
    again = train()
    assert "already done" in again.out
    assert path.read_bytes() == before
    assert "already done" not in train("rerun=true").out


def test_the_same_run_gives_the_same_record(train: Cimlab, tmp_path: Path) -> None:
    records = []
    for folder in ("a", "b"):
        train(f"paths.output_dir={tmp_path / folder}")
        records.append(the_record(tmp_path / folder))
    one, other = records
    for field in ("run", "name", "seed", "choices", "accuracy", "weights", "hardware", "code", "machine"):
        assert getattr(one, field) == getattr(other, field), field


def test_another_seed_gives_another_run(train: Cimlab, tmp_path: Path) -> None:
    train("seed=0")
    train("seed=1")
    records = [RunRecord.read(path) for path in tmp_path.glob(f"*/{RECORD_FILE}")]
    assert len({record.run for record in records}) == 2
    assert len({json.dumps(record.accuracy) for record in records}) == 2


def test_a_record_says_where_its_numbers_come_from(train: Cimlab, tmp_path: Path) -> None:
    train()
    record = the_record(tmp_path)
    assert record.config["geometry"]["rows"] == 128
    assert record.choices["granularity"] == "operation_unit"
    assert record.code["version"]
    assert record.packages["torch"] == torch.__version__.split("+")[0]
    assert record.machine["cores"] >= 1
    assert record.wall_time_s["dense"] > 0
    assert set(record.accuracy) == {"dense", "pruned", "retrained"}
    (config,) = tmp_path.glob("digits_cnn*/config.yaml")
    assert "active_rows: 16" in config.read_text()


def test_mapping_every_epoch_and_gradient_saliency_run(train: Cimlab) -> None:
    assert train("saliency=taylor", "mapping.every_n_epochs=1", "mapping.placement=compacted").code == 0


def test_wandb_offline_asks_nothing_and_leaves_a_run_behind(
    train: Cimlab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    answer = train("tracker=wandb")
    assert answer.code == 0, answer.err
    assert list(tmp_path.glob("*/wandb/offline-run-*/*.wandb"))
    (path,) = tmp_path.glob(f"*/{RECORD_FILE}")
    assert "0" * 40 not in path.read_text()


def test_a_tracker_that_fails_is_told_once_and_the_run_goes_on(
    train: Cimlab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    def broken(*_: object, **__: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(wandb, "init", broken)
    answer = train("tracker=wandb")
    assert answer.code == 0
    assert answer.err.count("wandb failed") == 1
    assert the_record(tmp_path).accuracy["dense"]["test"] > 0


# ---- what can go wrong ----


def test_a_loss_that_is_not_a_number_stops_with_one_line(train: Cimlab, tmp_path: Path) -> None:
    answer = train("optimizer.lr=1e20", "recipe.warmup=0")
    assert answer.code == 1
    assert "loss became" in one_line(answer.err)
    assert not list(tmp_path.glob(f"*/{RECORD_FILE}"))


def test_a_layer_that_would_lose_everything_is_refused_before_training(train: Cimlab) -> None:
    answer = train("granularity=crossbar", "prune.remaining=0.01", "prune.layer_floor=0")
    assert answer.code == 2
    assert "would lose all its weights" in one_line(answer.err)
    assert "epoch" not in answer.out


def test_a_pattern_that_does_not_fit_the_geometry_is_refused(train: Cimlab) -> None:
    answer = train("granularity=pattern", "geometry.active_rows=9")
    assert answer.code == 2
    assert "pattern m=4 must divide geometry.active_rows=9" in one_line(answer.err)


def test_a_network_whose_every_layer_is_exempt_is_refused() -> None:
    from cimlab.crossbar.matrix import CrossbarMatrix
    from cimlab.pruning.allocation import PruningError
    from cimlab.training.budget import prunable_matrices
    from cimlab.training.settings import PruneSettings

    ends = [CrossbarMatrix("first", (4, 4)), CrossbarMatrix("last", (2, 4))]
    with pytest.raises(PruningError, match=r"set prune\.exempt_first=false"):
        prunable_matrices(ends, PruneSettings(remaining=0.5))
    assert prunable_matrices(ends, PruneSettings(remaining=0.5, exempt_last=False)) == ends[1:]
    both = PruneSettings(remaining=0.5)
    for only, exempt in (
        (both, "prune.exempt_first=false and prune.exempt_last=false"),
        (replace(both, exempt_last=False), "prune.exempt_first=false"),
        (replace(both, exempt_first=False), "prune.exempt_last=false"),
    ):
        with pytest.raises(PruningError) as refused:
            prunable_matrices(ends[:1], only)
        assert str(refused.value).endswith(f"; set {exempt}")
    assert prunable_matrices(ends[:1], replace(both, exempt_first=False, exempt_last=False)) == ends[:1]


def test_a_checkpoint_of_another_model_is_refused_with_the_difference(train: Cimlab, tmp_path: Path) -> None:
    other = tmp_path / "other.pt"
    torch.save({"network": {"fc.weight": torch.zeros(2, 2)}}, other)
    answer = train(f"checkpoint={other}")
    assert answer.code == 2
    assert "is of another network" in one_line(answer.err)


def test_a_run_from_a_checkpoint_claims_no_other_networks_past(train: Cimlab, tmp_path: Path) -> None:
    train()
    (dense,) = (tmp_path / "dense").glob("*/network.pt")
    given = tmp_path / "given.pt"
    given.write_bytes(dense.read_bytes())
    before = set(tmp_path.glob(f"*/{RECORD_FILE}"))
    assert train(f"checkpoint={given}").code == 0
    (path,) = set(tmp_path.glob(f"*/{RECORD_FILE}")) - before
    assert RunRecord.read(path).wall_time_s["dense"] == 0
    assert torch.load(path.with_name("network.pt"), weights_only=True)["dense_run"] is None


@pytest.mark.parametrize("seed", [21_474, 2**31 - 1])
def test_every_seed_that_is_allowed_trains(seed: int, train: Cimlab) -> None:
    answer = train(f"seed={seed}")
    assert answer.code == 0, answer.err


@pytest.mark.parametrize("keep", [0, 100, 0.5])
def test_a_truncated_checkpoint_is_refused_and_left_as_it_was(
    keep: float, train: Cimlab, tmp_path: Path
) -> None:
    train()
    (whole,) = (tmp_path / "dense").glob("*/network.pt")
    content = whole.read_bytes()
    damaged = tmp_path / "damaged.pt"
    damaged.write_bytes(content[: int(keep * len(content)) if keep < 1 else int(keep)])
    before = damaged.read_bytes()
    answer = train(f"checkpoint={damaged}")
    assert answer.code == 2
    assert ("truncated, damaged" if before else "is empty") in one_line(answer.err)
    assert damaged.read_bytes() == before


def test_a_checkpoint_that_carries_code_is_not_run(train: Cimlab, tmp_path: Path) -> None:
    import os
    import pickle

    class Payload:
        def __reduce__(self) -> tuple:
            return (os.mkdir, (str(tmp_path / "owned"),))

    path = tmp_path / "stranger.pt"
    path.write_bytes(pickle.dumps({"network": Payload()}))
    assert train(f"checkpoint={path}").code == 2
    assert not (tmp_path / "owned").exists()


def test_a_missing_data_set_is_told_before_anything_runs(train: Cimlab, tmp_path: Path) -> None:
    answer = train("data=cifar10", "data.download=false", f"paths.data_dir={tmp_path / 'nothing'}")
    assert answer.code == 2
    assert "no such folder; put the data there (download is off)" in one_line(answer.err)


def test_a_half_downloaded_data_set_is_told_and_left_alone(train: Cimlab, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    (folder / "data_batch_1").write_bytes(b"half")
    answer = train("data=cifar10", "data.download=false", f"paths.data_dir={folder.parent}")
    assert answer.code == 2
    assert "is damaged" in one_line(answer.err)
    assert (folder / "data_batch_1").read_bytes() == b"half"


def test_an_output_folder_that_cannot_be_written_is_told_before_training(
    train: Cimlab, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    for words in (["seed=0"], ["-m", "seed=0,1"]):
        answer = train(f"paths.output_dir={blocked}/out", *words)
        assert answer.code == 1
        assert "set paths.output_dir" in one_line(answer.err)
        assert "epoch" not in answer.out


def test_a_failing_run_of_a_sweep_stops_none_of_the_others(train: Cimlab, tmp_path: Path) -> None:
    answer = train("-m", "optimizer.lr=0.1,1e20", "recipe.warmup=0")
    assert answer.code == 1
    assert "1 of 2 points are done" in answer.err
    assert the_record(tmp_path).config["optimizer"]["lr"] == 0.1


def test_a_damaged_record_is_told_and_the_run_repeated(train: Cimlab, tmp_path: Path) -> None:
    train()
    (path,) = tmp_path.glob(f"*/{RECORD_FILE}")
    path.write_text(path.read_text().replace('"test"', '"tost"', 1))
    answer = train()
    assert answer.code == 0
    assert "does not match its checksum" in answer.err
    RunRecord.read(path)


# ---- going on after a kill ----


def test_a_killed_retraining_goes_on_to_the_same_result(
    train: Cimlab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped from outside after two of four epochs, by an exception that nothing in the run handles."""
    words = ("method=[gradual]", "schedule.epochs=4", "method.gradual.prune_events=4", "saliency=taylor")
    whole = tmp_path / "whole"
    train(*words, f"paths.output_dir={whole}")
    expected = the_record(whole)

    killed = tmp_path / "killed"
    shutil.copytree(whole / "dense", killed / "dense")
    with killed_in_epoch(monkeypatch, 2):
        assert train(*words, f"paths.output_dir={killed}").code == 1
    resumed = train(*words, f"paths.output_dir={killed}")
    assert resumed.code == 0
    assert "retrain epoch 1/4" not in resumed.out
    assert "retrain epoch 3/4" in resumed.out
    record = the_record(killed)
    assert record.accuracy == expected.accuracy
    assert record.hardware == expected.hardware


def test_a_dense_network_that_guesses_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    planned: Any = SimpleNamespace(config=SimpleNamespace(trainer=SimpleNamespace(progress="lines")))
    _tell_guessing(planned, 0.35, 3)
    assert "right on 35.00 % of the test images, guessing on 33.3 %" in capsys.readouterr().out
    _tell_guessing(planned, 0.35, 10)
    assert not capsys.readouterr().out
