"""The dense networks in paper/dense are those that the experiment files ask for, and are whole."""

from pathlib import Path

from cimlab.cli.grid.planning import make_plan
from cimlab.models.resnet_cifar import CifarResNet
from cimlab.records.history import read_rows
from cimlab.training import checkpoints

ROOT = Path(__file__).parents[2]
DENSE = ROOT / "paper" / "dense"


def test_the_committed_dense_network_is_where_the_cifar_experiments_look_for_it() -> None:
    for name in ("granularity", "ablation", "strong_dense"):
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
        checkpoints.load_into(network, checkpoints.network_weights(content), path)
        last = read_rows(folder / "history.jsonl")[-1]
        if "accuracy/validation" in last:
            assert last["accuracy/validation"] > 0.85
        else:  # trained on all images
            assert last["loss/train"] < 0.1
