"""A network in a file of one's own: from one file to a priced, simulated run, and every way to name it wrongly."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from conftest import ROOT, Cimlab, one_line
from pages import blocks, commands
from PIL import Image
from torch import nn

from cimlab.config.sources import source_hashes

OWN = ("model=own", "model.file=mynet.py")
NETWORK = """
from torch import nn
from blocks import conv

def build(num_classes, in_channels, width: int = 8):
    print("built")
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, num_classes)]
    return nn.Sequential(conv(in_channels, width), nn.ReLU(), conv(width, width), nn.ReLU(), *pool)

def small(num_classes, in_channels):
    return build(num_classes, in_channels, 4)

def fixed(outputs: int = 5):
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, outputs)]
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), *pool)

def number():
    return 3

def failing():
    return {}["absent"]

made = fixed()
"""
BLOCKS = """
from torch import nn

def conv(inputs, outputs):
    return nn.Conv2d(inputs, outputs, 3, padding=1)
"""
SERIES = """
import torch
from torch import nn

class Series(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv, self.norm = nn.Conv1d(1, 16, 8, stride=4), nn.BatchNorm1d(16)
        self.middle = nn.Parameter(torch.randn(240, 32) / 16)
        self.head = nn.Linear(32, classes)

    def forward(self, x):
        return self.head((self.norm(self.conv(x.flatten(2))).relu().flatten(1) @ self.middle).relu())

def build(num_classes):
    return Series(num_classes)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own, where the command is called."""
    place = tmp_path / "own"
    place.mkdir()
    (place / "mynet.py").write_text(NETWORK)
    (place / "blocks.py").write_text(BLOCKS)
    monkeypatch.chdir(place)
    return place


def run_folder(tmp_path: Path, name: str) -> Path:
    (found,) = [path.parent for path in tmp_path.rglob("record.json") if path.parent.name.startswith(name)]
    return found


@pytest.fixture
def readme(folder: Path) -> tuple[str, list[list[str]]]:
    """The program of the README's own network, and its commands' words; its file stands in the folder."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    file, typed, program = blocks(
        text.partition("## Your own network in five lines\n")[2].partition("\n## ")[0]
    )
    assert file.file == "mynet.py"
    (folder / file.file).write_text(file.text)
    return program.text, commands(typed)


def test_the_readmes_own_network_is_priced_and_simulated_by_its_commands(
    readme: tuple[str, list[list[str]]], folder: Path, cimlab: Cimlab
) -> None:
    """As the README has them, word by word: a newcomer's first minute."""
    price, train = readme[1]
    answer = cimlab(*price).out
    assert "leakage" in answer
    assert answer.splitlines()[-1].startswith(
        "random, 25 % of the prunable ones left by uniform allocation: "
    )
    answer = cimlab(*train)
    assert answer.code == 0, answer.err
    place = run_folder(folder, "mynet-digits-operation_unit-0.25-s0-")
    record = json.loads((place / "record.json").read_text())
    assert record["accuracy"]["retrained"]["test"] > 0.9
    assert 0 < record["hardware"]["cost"]["ratio"]["energy_j"] < 1
    simulated = json.loads((place / "simulation.json").read_text())["accuracy"]["mean"]
    assert simulated > 0.9
    assert f"on the analog arrays: {100 * simulated:.2f} % of 360 test images" in answer.out


def test_the_readmes_own_network_is_priced_and_simulated_in_a_program(
    readme: tuple[str, list[list[str]]], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "mynet", raising=False)
    names: dict = {}
    exec(readme[0], names)
    assert 0 < names["cost"].ratios()["energy_j"] < 1
    assert names["scores"].shape == (8, 10)
    assert torch.isfinite(names["scores"]).all()
    kept = sum(int(mask.sum()) for mask in names["masks"].values())
    assert kept / sum(mask.numel() for mask in names["masks"].values()) == pytest.approx(0.25, abs=0.01)


def test_a_network_from_one_file_is_trained_priced_and_simulated(
    folder: Path, tmp_path: Path, train: Cimlab, cimlab: Cimlab
) -> None:
    answer = train(*OWN, "model.width=6", "simulate.at_end=true", "simulate.images=20")
    assert answer.code == 0, answer.err
    assert "built" not in answer.out
    place = run_folder(tmp_path, "mynet-digits-operation_unit-0.25-s0-")
    record = json.loads((place / "record.json").read_text())
    assert record["choices"]["model"] == "mynet"
    assert {Path(file).name for file in record["sources"]} == {"mynet.py", "blocks.py"}
    assert not list(folder.rglob("__pycache__"))

    priced = json.loads(cimlab("map", f"run={place}", "--json").out)
    assert [layer["layer"] for layer in priced["layers"]] == ["0", "2", "6"]
    stored = f"checkpoint={place}/network.pt"
    read = cimlab("map", stored, "model.file=mynet.py", "--json")
    assert read.err.strip().splitlines() == ["built"]
    again = json.loads(read.out)
    assert again["choices"]["model"] == "mynet"
    assert [layer["steps"] for layer in again["layers"]] == [layer["steps"] for layer in priced["layers"]]
    assert [layer["weights"] for layer in again["layers"]] == [6 * 9, 36 * 9, 60]

    words = (stored, "images=20", f"paths.output_dir={tmp_path}/simulated")
    answer = cimlab("simulate", *words, "model.file=mynet.py")
    assert answer.code == 0, answer.err
    ((simulation),) = (tmp_path / "simulated").rglob("simulation.json")
    assert simulation.parent.name.startswith("simulate-mynet-digits-")
    assert json.loads(simulation.read_text())["config"]["model"]["width"] == 6


def test_layers_of_every_kind_are_put_on_arrays_after_training(
    folder: Path, tmp_path: Path, train: Cimlab
) -> None:
    """A convolution over a sequence, a matrix product by hand, and attention in a network of ours."""
    (folder / "series.py").write_text(SERIES)
    for words in (("model=own", "model.file=series.py"), ("model=cct2_3x2", "model.image_size=8")):
        answer = train(*words, "simulate.at_end=true", "simulate.images=60", "recipe.epochs=2")
        assert answer.code == 0, answer.err
        (place,) = (path.parent for path in tmp_path.rglob("simulation.json"))
        simulated, record = (
            json.loads((place / name).read_text()) for name in ("simulation.json", "record.json")
        )
        assert simulated["layers"].keys() == record["hardware"]["layers"].keys()
        assert simulated["accuracy"]["mean"] == pytest.approx(simulated["accuracy"]["float"], abs=0.05)
        assert simulated["accuracy"]["float"] > 0.3
        shutil.rmtree(place)


def test_a_network_of_ones_own_is_trained_on_a_folder_of_images(
    tmp_path: Path, train: Cimlab, cimlab: Cimlab
) -> None:
    for part, images in (("train", 8), ("val", 4)):
        for shade, name in ((0, "dark"), (200, "light")):
            (tmp_path / "shades" / part / name).mkdir(parents=True)
            for k in range(images):
                Image.new("RGB", (12, 12), (shade + k, shade, shade)).save(
                    tmp_path / "shades" / part / name / f"{k}.png"
                )
    data = ("data=image_folder", f"paths.data_dir={tmp_path / 'shades'}", "data.image_size=12")
    data += ("data.batch_size=4", "data.validation_size=4", "data.num_workers=0")
    answer = train(*OWN, *data)
    assert answer.code == 0, answer.err
    place = run_folder(tmp_path, "mynet-image_folder-")
    again = cimlab("map", f"checkpoint={place}/network.pt", "model.file=mynet.py", "--json")
    assert json.loads(again.out)["layers"][0]["weights"] == 3 * 9 * 8
    assert json.loads(again.out)["layers"][-1]["weights"] == 2 * 8


def test_functions_and_their_arguments_are_axes_and_names_tell_them_apart(
    tmp_path: Path, train: Cimlab, cimlab: Cimlab
) -> None:
    answer = train("-m", *OWN, "model.function=build,small")
    assert answer.code == 0, answer.err
    names = sorted(path.parent.name.rpartition("-")[0] for path in tmp_path.rglob("record.json"))
    assert names == [f"{name}-digits-operation_unit-0.25-s0" for name in ("mynet", "mynet.small")]
    swept = cimlab("map", "-m", *OWN, "model.width=4,8,16", "--json", f"paths.output_dir={tmp_path}/priced")
    assert swept.code == 0, swept.err
    assert len(json.loads((tmp_path / "priced" / "map.json").read_text())) == 3


def test_what_is_in_the_files_is_the_run_and_where_they_lie_is_not(
    folder: Path, tmp_path: Path, cimlab: Cimlab
) -> None:
    def hashes(file: str = "mynet.py") -> list[str]:
        return sorted(source_hashes({"model": {"file": file, "function": "build"}, "data": {}}).values())

    first = hashes()
    (folder / "elsewhere").mkdir()
    for name in ("mynet.py", "blocks.py"):
        (folder / "elsewhere" / name).write_bytes((folder / name).read_bytes())
    assert hashes("elsewhere/mynet.py") == first == hashes(str(folder / "mynet.py"))
    (folder / "blocks.py").write_text(BLOCKS + "# edited\n")
    assert hashes() != first

    from cimlab.config.schema import TrainConfig
    from cimlab.records.identity import ALWAYS, selector

    counted = selector(ALWAYS, TrainConfig, "run", frozenset())
    assert counted({"model": {"file": "a/mynet.py", "function": "f"}}) == {"model": {"function": "f"}}


def test_an_edit_runs_at_once_and_modules_of_one_name_are_told_apart(folder: Path, cimlab: Cimlab) -> None:
    def weights(file: str) -> int:
        words = (f"model.file={file}", "input.channels=1", "input.size=8", "--json")
        answer = cimlab("map", "model=own", *words)
        assert answer.code == 0, answer.err
        return sum(layer["weights"] for layer in json.loads(answer.out)["layers"])

    other = folder / "other"
    other.mkdir()
    (other / "mynet.py").write_text(NETWORK)
    (other / "blocks.py").write_text(BLOCKS.replace("outputs, 3, padding=1", "outputs, 1"))
    assert weights("mynet.py") == 9 * (8 + 64) + 80
    assert weights("other/mynet.py") == 8 + 64 + 80
    (folder / "blocks.py").write_text(BLOCKS.replace("outputs, 3, padding=1", "outputs, 5, padding=2"))
    assert weights("mynet.py") == 25 * (8 + 64) + 80


def test_a_file_of_a_package_imports_as_it_does_there(folder: Path, cimlab: Cimlab) -> None:
    package = folder / "nets" / "small"
    package.mkdir(parents=True)
    for place in (package, package.parent):
        (place / "__init__.py").touch()
    (package.parent / "blocks.py").write_text(BLOCKS)
    (package / "mynet.py").write_text(NETWORK.replace("from blocks", "from ..blocks"))
    answer = cimlab("map", "model=own", "model.file=nets/small/mynet.py", "--json")
    assert answer.code == 0, answer.err
    named = source_hashes({"model": {"file": "nets/small/mynet.py"}})
    assert {Path(file).name for file in named} == {"mynet.py", "blocks.py", "__init__.py"}


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["model=own"], "model.file=null: name the file of your network: model=own model.file=mynet.py"),
        (["model=own", "model.file=absent.py"], "model.file=absent.py: does not exist (looked for it in "),
        (["model=own", "model.file=."], "model.file=.: is a folder; give the Python file"),
        (["model=own", "model.file=notes.txt"], "model.file=notes.txt: is no Python file"),
        (["model.file=mynet.py"], "unknown key model.file; a file of your own goes with model=own"),
        ([*OWN, "model.function=biuld"], "biuld: is nothing in mynet.py, which defines build, small, fixed"),
        ([*OWN, "model.function=made"], "model.function=made: is no function; write one into mynet.py"),
        ([*OWN, "model.function=number"], "model.function=number: returns int, no torch.nn.Module"),
        ([*OWN, "model.function=failing"], "line 21: KeyError: 'absent'"),
        ([*OWN, "model.widht=3"], "unknown key model.widht; did you mean model.width? build takes"),
        ([*OWN, "model.width=wide"], "model.width=wide: input should be a valid integer"),
        ([*OWN, "model.num_classes=3"], "unknown key model.num_classes"),
        (["model=own", "model.file=needs.py"], "model.depth is missing; build needs it"),
        (["model=own", "model.file=raises.py"], "raises.py, line 2: RuntimeError: no licence"),
        (["model=own", "model.file=broken.py"], "broken.py, line 1: SyntaxError: "),
        (["model=own", "model.file=imports.py"], "No module named 'nowhere'; modules are imported from "),
        (["model=own", "model.file=program.py"], "line 1: SystemExit: 3; put what only a program does below"),
    ],
)
def test_what_is_named_wrongly_is_one_line(
    words: list[str], complaint: str, folder: Path, cimlab: Cimlab
) -> None:
    (folder / "notes.txt").touch()
    (folder / "needs.py").write_text("def build(depth, num_classes):\n    return None\n")
    (folder / "raises.py").write_text("import torch\nraise RuntimeError('no licence')\n")
    (folder / "broken.py").write_text("def build(:\n")
    (folder / "imports.py").write_text("import nowhere\n")
    (folder / "program.py").write_text("raise SystemExit(3)\n")
    for command in ("map", "train"):
        answer = cimlab(command, *words, "paths.output_dir=out")
        assert answer.code == 2
        assert complaint in one_line(answer.err)
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    "words", [["model=own", "model.file=wrong.py"], ["model=torchvision", "model.name=x"]]
)
def test_a_network_that_fails_leaves_no_folder(words: list[str], folder: Path, train: Cimlab) -> None:
    """Its forward pass fails, in a way that nobody foresaw; or it can't be built."""
    (folder / "wrong.py").write_text(
        "from torch import nn\n\nclass Wrong(nn.Linear):\n    def forward(self, x):\n        return {}['x']\n\n"
        "def build(num_classes):\n    return Wrong(64, num_classes)\n"
    )
    answer = train(*words, "paths.output_dir=out")
    assert answer.code != 0
    assert one_line(answer.err)
    assert not (folder / "out").exists()


def test_scores_that_are_not_the_classes_are_refused_before_training(train: Cimlab) -> None:
    answer = train(*OWN, "model.function=fixed")
    assert answer.code == 2
    assert "gives (1, 5) for one image, not (1, 10)" in one_line(answer.err)
    assert train(*OWN, "model.function=fixed", "model.outputs=10").code == 0


def test_scores_that_are_not_the_classes_are_refused_before_a_simulation(
    cimlab: Cimlab,
) -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    )
    torch.save(network.state_dict(), "weights.pt")
    answer = cimlab(
        "simulate", "checkpoint=weights.pt", *OWN, "model.function=fixed", "images=4", "paths.output_dir=out"
    )
    assert answer.code == 2
    assert "gives (1, 5) for one image, not (1, 10)" in one_line(answer.err)


def test_infinities_that_a_network_has_by_design_are_no_divergence(folder: Path, train: Cimlab) -> None:
    (folder / "masked.py").write_text(
        "import torch\nfrom torch import nn\n\ndef build(num_classes):\n"
        "    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, num_classes))\n"
        "    network.register_buffer('mask', torch.full((2, 2), -torch.inf).triu(1))\n    return network\n"
    )
    answer = train("model=own", "model.file=masked.py", "prune.exempt_first=false")
    assert answer.code == 0, answer.err


def test_neither_a_checkpoint_nor_a_yaml_file_names_code(
    folder: Path, tmp_path: Path, train: Cimlab, cimlab: Cimlab
) -> None:
    train(*OWN)
    stored = f"checkpoint={run_folder(tmp_path, 'mynet')}/network.pt"
    answer = cimlab("map", stored)
    assert f"only the command line may name code; add model.file={folder}/mynet.py" in one_line(answer.err)
    (folder / "blocks.py").write_text(BLOCKS + "# edited\n")
    answer = cimlab("map", stored, "model.file=mynet.py")
    assert answer.code == 0
    assert "was made before an edit of blocks.py; today's is used" in answer.err
    (folder / "mynet.py").rename(folder / "moved.py")
    for words in ([stored], [stored, "model=own"]):
        answer = cimlab("simulate", *words)
        assert answer.code == 2
    assert "mynet.py is not there any more" in one_line(cimlab("map", stored).err)
    assert cimlab("map", stored, "model.file=moved.py").code == 0

    (folder / "grid.yaml").write_text(
        "# @package _global_\nmodel: {_target_: null, file: moved.py, function: build}\n"
        "hydra: {sweeper: {params: {seed: '0,1'}}}\n"
    )
    answer = cimlab("sweep", "grid.yaml", "--dry-run")
    assert answer.code == 2
    assert "model.file=moved.py: a file may not name code" in one_line(answer.err)


def test_arguments_that_a_checkpoint_can_not_say_are_told(
    folder: Path, tmp_path: Path, train: Cimlab, cimlab: Cimlab
) -> None:
    (folder / "mynet.py").write_text(NETWORK.replace("width: int = 8", "width: int = 8, note: str = ''"))
    train(*OWN, "model.note='a b/c'")
    place = run_folder(tmp_path, "mynet")
    answer = cimlab("map", f"checkpoint={place}/network.pt", "model.file=mynet.py")
    assert "does not say its model.note; give it again" in answer.err
    assert (
        torch.load(place / "network.pt", weights_only=True)["description"]["settings"]["model.function"]
        == "build"
    )
