"""What a checkpoint says of itself stands where the words say nothing; what is given besides is taken, and told."""

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import Cimlab, one_line
from hydra import initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from cimlab.choices import conf_dir
from cimlab.config.compose import composed
from cimlab.config.described import described
from cimlab.config.schema import TrainConfig, plain_config
from cimlab.grids.composition import grid_of_words
from cimlab.grids.grid import Command
from cimlab.models.digits_cnn import digits_cnn
from cimlab.network.description import DENSE, described_as
from cimlab.records.record import RECORD_FILE, RunRecord
from cimlab.runs.map_config import MapConfig
from cimlab.runs.planned_simulation import SimulateConfig

TRAINED = (
    "granularity=column_segment",
    "geometry=small",
    "geometry.active_rows=32",
    "mapping.row_order=kernel_major",
)


@pytest.fixture
def hydra() -> Iterator[None]:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        yield


def saved(folder: Path, *words: str, groups: tuple[str, ...] | None = None, name: str = "network.pt") -> Path:
    """A checkpoint as a run of these words leaves it."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config, hydra = composed("train", words, TrainConfig)
    choices = {str(group): str(choice) for group, choice in hydra.runtime.choices.items() if choice}
    said = described_as(plain_config(config), choices, (1, 8, 8), 10, {}, *([groups] if groups else []))
    torch.manual_seed(0)
    path = folder / name
    torch.save({"network": digits_cnn(num_classes=10, in_channels=1).state_dict(), "description": said}, path)
    return path


def composed_for(
    command: str, schema: type, *words: str
) -> tuple[DictConfig, dict[str, str], tuple[str, ...]]:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config, hydra, lines = described(command, words, schema)
    return config, {str(g): str(c) for g, c in hydra.runtime.choices.items() if c}, lines


@pytest.mark.parametrize(("command", "schema"), [("map", MapConfig), ("simulate", SimulateConfig)])
def test_a_checkpoint_brings_network_geometry_and_images(command: str, schema: type, tmp_path: Path) -> None:
    path = saved(tmp_path, *TRAINED)
    config, choices, lines = composed_for(command, schema, f"checkpoint={path}")
    assert (choices["model"], choices["geometry"]) == ("digits_cnn", "small")
    assert config.geometry.active_rows == 32
    assert lines == ()
    if command == "map":
        assert choices["granularity"] == "column_segment"
        assert (config.input.channels, config.input.size, config.input.classes) == (1, 8, 10)
    else:
        assert choices["data"] == "digits"
        assert config.analog.row_order == "kernel_major"  # its masks are of rows in that order
    assert config.mapping.row_order == "kernel_major"


def test_what_a_run_left_digital_stays_digital(cimlab: Cimlab, tmp_path: Path) -> None:
    """The classifier, by a pattern, and the second convolution: 10 x 64 and 64 x 32 x 3 x 3 weights."""
    path, output = saved(tmp_path, "analog.digital=['1?',3]"), f"paths.output_dir={tmp_path}/out"
    for command, schema in (("map", MapConfig), ("simulate", SimulateConfig)):
        assert composed_for(command, schema, f"checkpoint={path}")[0].analog.digital == ["1?", 3]
    found = json.loads(cimlab("map", "--json", f"checkpoint={path}", output).out)
    digital = {row["name"]: row["weights"] for row in found["off_arrays"]}
    assert digital == {"3": 64 * 32 * 9, "12": 640}
    assert found["weight_counts"]["digital"] == sum(digital.values())
    assert found["energy_j"]["digital_weights"] > 0
    whole = json.loads(cimlab("map", "--json", f"checkpoint={path}", "analog.digital=[]", output).out)
    assert whole["off_arrays"] == []
    assert whole["weight_counts"]["total"] == found["weight_counts"]["total"]


def test_what_is_given_is_taken_and_told_in_one_line(tmp_path: Path) -> None:
    words = (
        f"checkpoint={saved(tmp_path, *TRAINED)}",
        "granularity=filter",
        "geometry.active_rows=8",
        "input.size=16",
    )
    config, choices, (line,) = composed_for("map", MapConfig, *words)
    assert (choices["granularity"], config.geometry.active_rows, config.input.size) == ("filter", 8, 16)
    assert config.geometry.rows == 64  # of conf/geometry/small.yaml, which is not given
    assert "granularity=filter (not column_segment)" in line
    assert "input.size=16 (not 8)" in line
    assert "geometry.active_rows=8 (not 32)" in line
    config, _, (line,) = composed_for("map", MapConfig, words[0], "data=cifar10")
    assert (config.input.channels, config.input.size, config.input.classes) == (None, None, None)
    assert "data=cifar10 (not digits)" in line


def test_another_geometry_is_taken_whole(tmp_path: Path) -> None:
    config, _, (line,) = composed_for(
        "map", MapConfig, f"checkpoint={saved(tmp_path, *TRAINED)}", "geometry=default"
    )
    assert (config.geometry.rows, config.geometry.active_rows) == (128, 16)
    assert line.startswith("taken as given")
    assert line.endswith("was made with: geometry=default (not small)")


def test_a_dense_checkpoint_knows_its_network_and_no_array(tmp_path: Path) -> None:
    path = saved(tmp_path, *TRAINED, groups=DENSE)
    config, choices, lines = composed_for("map", MapConfig, f"checkpoint={path}")
    assert (choices["model"], choices["geometry"], config.input.size, lines) == (
        "digits_cnn",
        "default",
        8,
        (),
    )


def test_a_checkpoint_that_says_nothing_is_told_what_is_assumed(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(digits_cnn(num_classes=10, in_channels=1).state_dict(), path)
    _, _, (line,) = composed_for("map", MapConfig, f"checkpoint={path}")
    assert "does not say what images it takes; those of data=cifar10 are assumed" in line
    for said in ("input.size=8", "data=digits"):
        assert composed_for("map", MapConfig, f"checkpoint={path}", said)[2] == ()
    assert composed_for("map", MapConfig)[2] == composed_for("map", MapConfig, "checkpoint=no.pt")[2] == ()


def test_a_run_is_simulated_on_the_images_that_it_was_trained_on(tmp_path: Path) -> None:
    """Its record says `data`, from the folder that outputs lies in, wherever the simulation is asked for."""
    run, data = tmp_path / "outputs" / "run", tmp_path / "data"
    data.mkdir()
    record = RunRecord.read(next((conf_dir().parent / "paper/records/transformer").glob("cct*.json")))
    folders = {"data_dir": "data", "output_dir": "outputs"}
    replace(record, config=record.config | {"data": folders, "paths": folders}).write(run / RECORD_FILE)
    word = f"checkpoint={saved(run, 'data=cifar10')}"
    config, _, (line,) = composed_for("simulate", SimulateConfig, word)
    assert config.data.data_dir == str(data)
    assert line == f"images are read where the run read them, in {data}"
    named = (f"paths.data_dir={tmp_path}", f"data.data_dir={tmp_path}")
    for given in named:
        assert composed_for("simulate", SimulateConfig, word, given)[0].data.data_dir == str(tmp_path)
    assert composed_for("simulate", SimulateConfig, word, "data=cifar100")[0].data.data_dir == "data"
    data.rmdir()
    config, _, lines = composed_for("simulate", SimulateConfig, word)
    assert (config.data.data_dir, lines) == ("data", ())


def test_a_contradiction_that_does_not_fit_is_one_line(cimlab: Cimlab, tmp_path: Path) -> None:
    path, output = saved(tmp_path), f"paths.output_dir={tmp_path}/out"
    for words in (["map"], ["map", "-m", "technology=isaac32,neurosim22_rram"], ["simulate", "images=4"]):
        answer = cimlab(*words, f"checkpoint={path}", "model=resnet20", output)
        assert answer.code == 2
        assert one_line(answer.err).endswith("the one it was saved from, model=digits_cnn")


def test_a_checkpoint_chooses_nothing_that_is_called(tmp_path: Path) -> None:
    """A stranger's file may name no code, no file and no reference."""
    path = saved(tmp_path)
    content = torch.load(path)
    content["description"]["settings"] |= {
        "model._target_": "os.system", "geometry.rows": "${oc.env:HOME}", "paths.output_dir": "/tmp/a",
        "picture": "$(x)", "extensions": ["os"],
    }  # fmt: skip
    content["description"]["choices"] |= {"geometry": "../../small", "technology": "no_such"}
    torch.save(content, path)
    config, choices, _ = composed_for("map", MapConfig, f"checkpoint={path}")
    assert config.model._target_ == "cimlab.models.digits_cnn.digits_cnn"
    assert (choices["geometry"], choices["technology"], config.geometry.rows) == ("default", "isaac32", 128)
    assert config.paths.output_dir == "outputs"
    assert config.picture is None


def test_every_point_of_a_grid_reads_its_own_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two checkpoints of two geometries, times two resolutions of the ADC; that an axis differs is told to nobody."""
    paths = [saved(tmp_path, *TRAINED), saved(tmp_path, "geometry=large", name="other.pt")]
    words = [f"checkpoint={','.join(map(str, paths))}", "geometry.adc_bits=4,5", "seed=1"]
    grid = grid_of_words(Command("simulate", SimulateConfig, described=True), words, None)
    found = [
        (config["geometry"]["rows"], config["geometry"]["active_rows"], config["geometry"]["adc_bits"])
        for config in (grid.document(place)["config"] for place in grid.places())
    ]
    large = OmegaConf.load(conf_dir() / "geometry" / "large.yaml")
    assert isinstance(large, DictConfig)
    assert found == [(64, 32, 4), (64, 32, 5), *((large.rows, large.active_rows, bits) for bits in (4, 5))]
    lines = [line for line in capsys.readouterr().err.splitlines() if "taken as given" in line]
    assert not lines  # an axis differs from what the checkpoint says: that was asked for


def test_map_and_a_comparison_price_a_checkpoint_alike(cimlab: Cimlab, tmp_path: Path) -> None:
    path, output = saved(tmp_path, *TRAINED), f"paths.output_dir={tmp_path}/out"
    single = json.loads(cimlab("map", "--json", f"checkpoint={path}", output).out)
    answer = cimlab("map", "-m", f"checkpoint={path}", "technology=isaac32,neurosim22_rram", output)
    assert answer.code == 0, answer.err
    with (tmp_path / "out" / "map.csv").open() as file:
        rows = {row["technology"]: float(row["energy_j"]) for row in csv.DictReader(file)}
    assert rows["isaac32"] == pytest.approx(single["total"]["energy_j"], rel=1e-9)
    other = json.loads(cimlab("map", "--json", f"checkpoint={path}", "geometry=default", output).out)
    assert other["total"]["energy_j"] != pytest.approx(single["total"]["energy_j"], rel=1e-3)
    missing = cimlab(
        "map", "-m", f"checkpoint={tmp_path}/no.pt", "technology=isaac32,neurosim22_rram", output
    )
    assert "does not exist" in one_line(missing.err)


def test_the_dense_network_of_a_run_describes_itself(train: Cimlab, cimlab: Cimlab, tmp_path: Path) -> None:
    assert train().code == 0
    (dense,) = tmp_path.glob("dense/*/network.pt")
    said = torch.load(dense)["description"]
    assert said["choices"] == {"model": "digits_cnn", "data": "digits"}
    found = json.loads(cimlab("map", "--json", f"checkpoint={dense}", f"paths.output_dir={tmp_path}").out)
    assert found["choices"]["model"] == "digits_cnn"
    assert found["weight_counts"]["remaining_all"] == 1.0
