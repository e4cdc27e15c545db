"""The dense networks in paper/dense are those that the experiment files ask for, are whole, and keep their accuracy on
the arrays."""

from pathlib import Path

import pytest
from conftest import Cimlab

from cimlab.grids.planning import make_plan
from cimlab.models.resnet_cifar import CifarResNet
from cimlab.network.stored import read
from cimlab.records.history import read_rows
from cimlab.records.simulation import SIMULATION_FILE, SimulationRecord
from cimlab.training import checkpoints

ROOT = Path(__file__).parents[2]
DENSE = ROOT / "paper" / "dense"
STARTED_FROM = DENSE / "d01d957bea180e570f14b48649e5b647e8fde16b1f359e81b4f5cf8cd4580e36"
"""The network that the records of the strong ResNet-20 start from, of seed 0."""
PLACES = [
    path
    for path in (ROOT / "data", ROOT.parent / "shared" / "data")
    if (path / "cifar-10-batches-py").is_dir()
]


def test_the_committed_dense_network_is_where_the_cifar_experiments_look_for_it() -> None:
    for name in ("units", "ablation", "strong_dense"):
        plan = make_plan(ROOT / "experiments" / f"{name}.yaml", ["seed=0", "trainer=cpu_bf16"])
        (dense,) = {point.dense_run for point in plan.points}
        assert (DENSE / dense / checkpoints.NETWORK_FILE).is_file()


def test_committed_dense_networks_load_and_say_how_they_were_trained() -> None:
    folders = [path for path in DENSE.iterdir() if path.is_dir()]
    assert folders
    for folder in folders:
        path = folder / checkpoints.NETWORK_FILE
        content = checkpoints.load(path)
        assert content["dense_run"] == folder.name
        network = CifarResNet(depth=20, num_classes=10, in_channels=3)
        read(path).fill(network)
        last = read_rows(folder / "history.jsonl")[-1]
        if "accuracy/validation" in last:
            assert last["accuracy/validation"] > 0.85
        else:  # trained on all images
            assert last["loss/train"] < 0.1


@pytest.mark.skipif(not PLACES, reason="CIFAR-10 lies neither in data nor in ../shared/data")
def test_eight_bits_and_a_lossless_adc_keep_the_accuracy_on_all_test_images(
    cimlab: Cimlab, tmp_path: Path
) -> None:
    answer = cimlab(
        "simulate", f"checkpoint={STARTED_FROM / checkpoints.NETWORK_FILE}", "model=resnet20", "data=cifar10",
        "data.download=false", f"paths.data_dir={PLACES[0]}", f"paths.output_dir={tmp_path}",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    (path,) = tmp_path.rglob(SIMULATION_FILE)
    record = SimulationRecord.read(path)
    assert record.images == 10_000
    assert record.config["geometry"]["weight_bits"] == record.config["geometry"]["input_bits"] == 8
    assert record.accuracy["float"] > 0.91
    assert abs(record.accuracy["mean"] - record.accuracy["float"]) <= 0.003
