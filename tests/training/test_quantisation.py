"""Quantised retraining as a user runs it: records, plain checkpoints, resuming, identities, and refusals."""

import shutil
from pathlib import Path

import pytest
import torch
from conftest import Cimlab, one_line
from hydra import compose, initialize_config_dir

from cimlab.choices import conf_dir
from cimlab.config.schema import TrainConfig, check, plain_config
from cimlab.records.record import RECORD_FILE, RunRecord
from cimlab.records.simulation import SIMULATION_FILE, SimulationRecord
from cimlab.runs.identity import identity_of

AWARE = (
    "method=[lsq]",
    "method.lsq.hardware_aware=true",
    "device=[programming_variation]",
    "geometry.adc_bits=5",
    "geometry.weight_bits=4",
    "geometry.input_bits=4",
)


def the_record(folder: Path) -> RunRecord:
    (path,) = folder.glob(f"*/{RECORD_FILE}")
    return RunRecord.read(path)


def network_of(folder: Path) -> dict:
    (path,) = folder.glob("digits_cnn*/network.pt")
    return torch.load(path, weights_only=True)


def test_quantisers_go_where_the_test_goes(
    train: Cimlab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lightning moves what belongs to the module, and moved them back to the processor after the fit."""
    from cimlab.training.module import Classifier

    there: list[int] = []
    original = Classifier.on_test_epoch_end

    def watched(self: Classifier) -> None:
        there.append(len(self.quantisers))
        original(self)

    monkeypatch.setattr(Classifier, "on_test_epoch_end", watched)
    assert train("method=[lsq]").code == 0
    assert there == [0, 0, 0, 4]  # dense, pruned, retrained, quantised


@pytest.mark.parametrize("method", ["ste", "lsq"])
def test_a_quantised_run_is_plain_on_disk_and_the_same_on_the_arrays(
    method: str, train: Cimlab, tmp_path: Path
) -> None:
    answer = train(f"method=[{method}]", "recipe.epochs=2", "schedule.epochs=2", "simulate.at_end=true")
    assert answer.code == 0, answer.err
    record, content = the_record(tmp_path), network_of(tmp_path)
    (dense,) = (tmp_path / "dense").glob("*/network.pt")
    assert content["network"].keys() == torch.load(dense)["network"].keys()
    for name, mask in content["masks"].items():
        assert bool((content["network"][f"{name}.weight"][~mask] == 0).all())
    assert set(content["steps"]["layers"]) == {"0", "3", "7", "12"}
    (path,) = tmp_path.glob(f"digits_cnn*/{SIMULATION_FILE}")
    simulation = SimulationRecord.read(path)
    assert abs(simulation.accuracy["quantised"] - record.accuracy["quantised"]["test"]) <= 1 / 360 + 1e-6
    assert simulation.origin == content["origin"]
    assert simulation.origin == {
        "run": record.run, "name": record.name, "seed": 0, "granularity": "operation_unit", "parameters": {},
        "remaining": 0.25,
    }  # fmt: skip
    assert set(record.accuracy) == {"dense", "pruned", "retrained", "quantised"}
    again = train(f"method=[{method}]", "recipe.epochs=2", "schedule.epochs=2", "simulate.at_end=true")
    assert again.out.count("already done") == 2


def test_learning_at_two_bits_beats_rounding_afterwards(
    train: Cimlab, cimlab: Cimlab, tmp_path: Path
) -> None:
    bits = ("geometry.weight_bits=2", "geometry.input_bits=2")
    words = ("recipe.epochs=4", "schedule.epochs=3", *bits)
    learned, after = tmp_path / "learned", tmp_path / "after"
    assert train(*words, "method=[lsq]", f"paths.output_dir={learned}").code == 0
    shutil.copytree(learned / "dense", after / "dense")
    assert train(*words, "simulate.at_end=true", f"paths.output_dir={after}").code == 0
    (path,) = after.glob(f"digits_cnn*/{SIMULATION_FILE}")
    rounded = SimulationRecord.read(path).accuracy["quantised"]
    assert the_record(learned).accuracy["quantised"]["test"] > rounded + 0.1


def accuracies_without_and_with_awareness(
    train: Cimlab, tmp_path: Path, words: tuple[str, ...]
) -> list[float]:
    """Mean accuracy on simulated arrays, retrained without and with their errors from the same dense network."""
    found = []
    for aware in ("false", "true"):
        output = tmp_path / aware
        answer = train(
            *words,
            f"method.lsq.hardware_aware={aware}",
            f"paths.output_dir={output}",
            f"paths.dense_dir={tmp_path / 'dense'}",
        )
        assert answer.code == 0, answer.err
        (path,) = output.glob(f"digits_cnn*/{SIMULATION_FILE}")
        found.append(SimulationRecord.read(path).accuracy["mean"])
    return found


def test_training_with_a_coarse_adc_in_the_loop_recovers_what_it_costs(train: Cimlab, tmp_path: Path) -> None:
    words = (
        "method=[lsq]",
        "geometry.adc_bits=4",
        "geometry.weight_bits=4",
        "geometry.input_bits=4",
        "recipe.epochs=4",
        "schedule.epochs=3",
        "simulate.at_end=true",
    )
    plain, aware = accuracies_without_and_with_awareness(train, tmp_path, words)
    assert aware > plain + 0.1


def test_training_with_several_chips_in_every_batch_recovers_what_their_variation_costs(
    train: Cimlab, tmp_path: Path
) -> None:
    words = (
        "method=[lsq]",
        "geometry.weight_bits=4",
        "geometry.input_bits=4",
        "device=[programming_variation]",
        "device.programming_variation.sigma=[0.1]",
        "recipe.epochs=4",
        "schedule.epochs=4",
        "simulate.at_end=true",
        "simulate.draws=8",
        "simulate.images=200",
    )
    plain, aware = accuracies_without_and_with_awareness(train, tmp_path, words)
    assert aware > plain + 0.2


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["geometry.weight_bits=9"], "geometry.weight_bits=9 can't be trained; use 2 to 8"),
        (["geometry.input_bits=1"], "geometry.input_bits=1 can't be trained; use 2 to 8"),
        (["trainer.compile=true"], "trainer.compile=true: rounded retraining runs uncompiled"),
        (["method.lsq.hardware_aware=maybe"], "method.lsq.hardware_aware=maybe"),
        (["+method.lsq.bits=4"], "unknown key method.lsq.bits"),
    ],
)
def test_what_can_not_be_trained_is_refused_before_training(
    words: list[str], complaint: str, train: Cimlab
) -> None:
    answer = train("method=[lsq]", *words)
    assert answer.code == 2
    assert complaint in one_line(answer.err)
    assert "epoch" not in answer.out


def test_a_device_that_can_not_be_drawn_cell_by_cell_is_refused_before_training(train: Cimlab) -> None:
    answer = train(*AWARE, "device=[wire_resistance]", "geometry.adc_bits=null")
    assert answer.code == 1
    assert "WireResistance depends on a cell's place" in one_line(answer.err)
    assert "epoch" not in answer.out


def identity(*overrides: str) -> tuple[str, str]:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose("train", list(overrides))
    check(config, TrainConfig)
    found = identity_of(plain_config(config))
    return found.run, found.dense


def test_arrays_are_part_of_a_run_only_where_it_is_trained_for_them() -> None:
    arrays = ("adc=mse", "device=[read_noise]", "analog.backend=reference", "simulate.at_end=true")
    assert identity(*arrays) == identity()
    assert identity("method=[lsq]", *arrays) == identity("method=[lsq]")
    assert identity("method=[lsq]") != identity()
    assert identity("method=[lsq]", "analog.digital=['0']") != identity("method=[lsq]")
    aware = ("method=[lsq]", "method.lsq.hardware_aware=true")
    assert identity(*aware, "adc=mse") != identity(*aware)
    assert identity(*aware)[1] == identity()[1]  # the dense network is shared
