"""`Lab.record`: a network that was trained elsewhere lies among the runs, and every command takes it for one."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Cimlab, one_line
from torch import nn

from cimlab.config.errors import ConfigError
from cimlab.errors import CimlabError
from cimlab.hardware.kept import read
from cimlab.lab import Lab
from cimlab.models.digits_cnn import digits_cnn
from cimlab.network.stored import read as read_network
from cimlab.records.record import RECORD_FILE, RunRecord

WORDS = (
    "granularity=operation_unit",
    "prune.remaining=0.25",
    "prune.exempt_first=false",
    "prune.exempt_last=false",
    "geometry=independent",
)
ACCURACY = {"dense": 0.97, "pruned": 0.4, "retrained": 0.95}


@pytest.fixture
def own() -> dict[str, Any]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    images = torch.rand(8, 64, generator=torch.Generator().manual_seed(1))
    lab = Lab(*WORDS)
    return {"lab": lab, "network": network, "images": images, "masks": lab.prune(network, images)}


def record(own: dict[str, Any], folder: Path, **told: Any) -> Path:
    given = {"accuracy": ACCURACY, "model": "mine", "data": "mnist"} | told
    return own["lab"].record(folder, own["network"], own["masks"], own["images"], **given)


def test_it_holds_what_the_lab_says(own: dict[str, Any], tmp_path: Path) -> None:
    file = record(own, tmp_path, training={"epochs": 20})
    written, cost = RunRecord.read(file), own["lab"].cost(own["network"], own["masks"], own["images"])
    assert written.hardware["cost"] == cost.summary()
    assert written.hardware["total"]["steps"] == sum(counts.steps for counts in cost.pruned.counts)
    assert {phase: values["test"] for phase, values in written.accuracy.items()} == ACCURACY
    assert written.config["training"] == {"epochs": 20}
    assert "recipe" not in written.config  # of a training that did not happen
    for name, mask in read(written, file).masks.items():
        assert torch.equal(mask, own["masks"][name])


def test_the_same_is_the_same_record_and_anything_else_another(own: dict[str, Any], tmp_path: Path) -> None:
    first = record(own, tmp_path)
    assert record(own, tmp_path) == first
    others = [
        record(own, tmp_path, accuracy={**ACCURACY, "retrained": 0.94}),
        record(own, tmp_path, training={"epochs": 2}),
        record(own, tmp_path, model="yours"),
    ]
    own["masks"]["2"][0, 0] ^= True
    others.append(record(own, tmp_path))
    assert len({first, *others}) == 5


def test_commands_take_it_for_a_run(own: dict[str, Any], tmp_path: Path, cimlab: Cimlab) -> None:
    outputs = tmp_path / "outputs"
    file = record(own, outputs)
    (row,) = json.loads(cimlab("runs", "--json", str(outputs)).out)
    assert (row["model"], row["data"], row["accuracy"]) == ("mine", "mnist", 0.95)
    priced = cimlab(
        "map", f"run={file.parent}", "technology=neurosim22_rram", "--json", f"paths.output_dir={tmp_path}"
    )
    assert (priced.code, priced.err) == (0, "")
    page = tmp_path / "report"
    answer = cimlab("report", str(outputs), "-o", str(page))
    assert answer.code == 0, answer.err


def test_a_simulation_of_it_says_that_it_keeps_no_weights(
    own: dict[str, Any], tmp_path: Path, cimlab: Cimlab
) -> None:
    folder = record(own, tmp_path).parent
    for checkpoint in (folder / "network.pt", folder):
        told = one_line(cimlab("simulate", f"checkpoint={checkpoint}", f"paths.output_dir={tmp_path}/o").err)
        assert "keeps no weights; lab.on_arrays(...) computes them" in told


def test_a_run_of_train_is_counted_the_same(train: Cimlab, tmp_path: Path) -> None:
    words = ("granularity=column_segment", "prune.remaining=0.3", "geometry=small")
    assert train(*words).code == 0
    (file,) = tmp_path.glob(f"*/{RECORD_FILE}")
    run, stored = RunRecord.read(file), read_network(file.parent / "network.pt")
    network = digits_cnn(num_classes=10, in_channels=1)
    stored.fill(network)
    own = {
        "lab": Lab(*words),
        "network": network,
        "masks": stored.content["masks"],
        "images": torch.rand(4, 1, 8, 8),
    }
    again = RunRecord.read(record(own, tmp_path / "own", model="digits_cnn", data="digits"))
    assert again.weights == run.weights
    assert again.name == run.name
    for part in ("total", "dense", "ratio", "layers"):
        assert again.hardware[part] == run.hardware[part]


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"accuracy": {"dense": 0.9}}, "give the test accuracy of each of dense, pruned, retrained"),
        ({"accuracy": {**ACCURACY, "dense": 97.0}}, "fraction between 0 and 1, not a percentage"),
        ({"model": "my net"}, "model=my net: must be a plain name"),
        ({"data": "../mnist"}, "data=../mnist: must be a plain name"),
    ],
)
def test_what_is_told_wrong_is_refused(own: dict[str, Any], tmp_path: Path, told: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        record(own, tmp_path / "new", **told)
    assert not (tmp_path / "new").exists()


def test_masks_that_keep_nothing_are_refused(own: dict[str, Any], tmp_path: Path) -> None:
    own["masks"] = {name: torch.zeros_like(mask) for name, mask in own["masks"].items()}
    with pytest.raises(CimlabError, match="keep no weight"):
        record(own, tmp_path / "new")
    assert not (tmp_path / "new").exists()
