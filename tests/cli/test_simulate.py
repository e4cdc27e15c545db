"""`cimlab simulate` end to end on a small trained network, its record, and what it refuses in one line."""

import hashlib
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Cimlab, one_line
from hydra import compose, initialize_config_dir
from PIL import Image

from cimlab.analog import simulation
from cimlab.choices import choices, conf_dir
from cimlab.config.components import Component
from cimlab.config.schema import check
from cimlab.models.digits_cnn import digits_cnn
from cimlab.records.simulation import SIMULATION_FILE, SimulationRecord
from cimlab.runs.planned_simulation import SimulateConfig

ORIGIN = {
    "run": "0" * 64, "name": "x", "seed": 0, "granularity": "block", "parameters": {"rows": 4}, "remaining": 0.5,
}  # fmt: skip


def compose_simulate(*overrides: str) -> SimulateConfig:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return check(compose("simulate", list(overrides)), SimulateConfig)


@pytest.mark.parametrize("adc", choices("adc"))
def test_every_adc_composes_and_accepts_its_values(adc: str) -> None:
    Component("adc", compose_simulate(f"adc={adc}").adc, []).build()


@pytest.mark.parametrize("device", choices("device"))
def test_every_device_composes_and_accepts_its_values(device: str) -> None:
    parts = compose_simulate(f"device=[{device}]").device
    assert parts
    for key, node in parts.items():
        if isinstance(node, dict):
            Component(f"device.{key}", node, []).build()


def test_devices_compose_with_each_other() -> None:
    device = compose_simulate("device=[on_off_ratio,programming_variation,read_noise]").device
    assert set(device) == {"on_off_ratio", "programming_variation", "read_noise"}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = digits_cnn(num_classes=10, in_channels=1)
    masks = {"3": torch.rand(64, 32, 3, 3) < 0.5}
    path = tmp_path / "network.pt"
    torch.save({"network": network.state_dict(), "masks": masks}, path)
    return path


def test_a_simulation_writes_a_record_and_finds_it_again(
    cimlab: Cimlab, checkpoint: Path, tmp_path: Path
) -> None:
    words = [
        "simulate",
        f"checkpoint={checkpoint}",
        f"paths.output_dir={tmp_path}/out",
        "images=20",
        "draws=2",
        "calibration_batches=1",
        "geometry.adc_bits=5",
        "device=[programming_variation]",
    ]
    first = cimlab(*words)
    assert first.code == 0, first.err
    (path,) = (tmp_path / "out").rglob(SIMULATION_FILE)
    record = SimulationRecord.read(path)
    assert record.images == 20
    assert len(record.accuracy["draws"]) == 2
    low, high = record.accuracy["interval"]
    assert low <= record.accuracy["mean"] <= high
    assert record.weights["left"] == record.weights["total"] - int(
        (~torch.load(checkpoint)["masks"]["3"]).sum()
    )
    assert set(record.layers) == {"0", "3", "7", "12"}
    assert json.loads(path.read_text())["schema"] == 1
    again = cimlab(*words)
    assert "already done" in again.out
    path.write_text(path.read_text().replace('"images": 20', '"images": 30'))
    repaired = cimlab(*words)
    assert repaired.code == 0
    assert "does not match its checksum" in one_line(repaired.err)
    assert SimulationRecord.read(path).accuracy == record.accuracy


SMALL = {"simulate": ("images=4",), "map": ("model=digits_cnn", "input.channels=1", "input.size=8")}
NOT_FINITE = {"0.weight": torch.full((32, 1, 3, 3), float("inf"))}


@pytest.mark.parametrize("command", SMALL)
def test_of_two_networks_in_a_checkpoint_it_is_said_which_one_was_read(
    command: str, cimlab: Cimlab, checkpoint: Path, tmp_path: Path
) -> None:
    average = {name: 2.0 * value for name, value in torch.load(checkpoint)["network"].items()}
    torch.save({**torch.load(checkpoint), "model_ema": average}, checkpoint)
    answer = cimlab(
        command, f"checkpoint={checkpoint}", f"paths.output_dir={tmp_path / 'out'}", *SMALL[command]
    )
    assert answer.code == 0, answer.err
    said = "network was read, and the weights in model_ema left out; to use others, save them alone"
    assert f"cimlab: checkpoint {checkpoint}: {said}" in answer.err.splitlines()


@pytest.mark.parametrize(
    ("command", "part", "damage", "complaint"),
    [
        ("simulate", "steps", {"weight_bits": 8}, "learned steps are damaged"),
        ("map", "steps", {"weight_bits": 8}, "learned steps are damaged"),
        ("simulate", "permutation", 3, "fits no such network"),
        ("map", "permutation", 3, "fits no such network"),
        ("simulate", "masks", {"3": torch.ones(2, 2, dtype=torch.bool)}, "the mask of layer 3 has shape"),
        ("map", "masks", {"3": torch.ones(2, 2, dtype=torch.bool)}, "the mask of layer 3 has shape"),
        ("map", "network", {"0.weight": torch.ones(1)}, "is of another network"),
        ("simulate", "network", 3, "no weights by name"),
        ("simulate", "network", NOT_FINITE, "has NaN or infinity in 0.weight"),
        ("map", "network", NOT_FINITE, "has NaN or infinity in 0.weight"),
        ("simulate", "", None, "truncated, damaged"),
    ],
)
def test_a_damaged_checkpoint_is_one_line(
    command: str, part: str, damage: object, complaint: str, cimlab: Cimlab, checkpoint: Path, tmp_path: Path
) -> None:
    content = torch.load(checkpoint)
    if damage is NOT_FINITE:
        damage = content["network"] | NOT_FINITE
    torch.save(content | {part: damage}, checkpoint)
    if not part:
        checkpoint.write_bytes(checkpoint.read_bytes()[:-5000])
    output = f"paths.output_dir={tmp_path / 'out'}"
    answer = cimlab(command, f"checkpoint={checkpoint}", output, *SMALL[command])
    assert answer.code in (1, 2)
    assert complaint in one_line(answer.err)
    assert not list((tmp_path / "out").rglob("*.json"))


@pytest.mark.parametrize(("word", "told"), [("adc_bits=5", 0), ("adc_bits=6", 1), ("adc_bits=null", 0)])
def test_converters_of_as_many_bits_as_no_sum_needs_more_are_told(
    word: str, told: int, cimlab: Cimlab, checkpoint: Path, tmp_path: Path
) -> None:
    """16 rows of 2-bit cells and input bits sum to 48: 49 levels, 6 bits."""
    words = [f"checkpoint={checkpoint}", f"paths.output_dir={tmp_path}", "images=20", "calibration_batches=1"]
    answer = cimlab("simulate", *words, f"geometry.{word}", "adc=mse")
    assert answer.code == 0, answer.err
    assert answer.out.count("note: 6 ADC bits lose nothing with geometry.active_rows=16") == told


def test_a_run_that_gathers_rows_is_simulated_so_unless_it_is_told_otherwise(
    cimlab: Cimlab, checkpoint: Path, tmp_path: Path
) -> None:
    """Behind 2 bits the sums of other rows are other codes; in place and compacted, they are the same sums."""
    content = torch.load(checkpoint)
    for name, mask in content["masks"].items():
        mask.copy_((torch.rand(len(mask), *mask.shape[1:]) < 0.3) & mask)
        content["network"][f"{name}.weight"] *= mask
    said = {"choices": {"model": "digits_cnn"}, "settings": {"mapping.placement": "gathered"}}
    torch.save(content | {"description": said}, checkpoint)
    words = [f"checkpoint={checkpoint}", "images=20", "calibration_batches=1", "geometry.adc_bits=2"]

    def simulated(*more: str) -> SimulationRecord:
        folder = tmp_path / "-".join(["out", *more])
        answer = cimlab("simulate", *words, *more, f"paths.output_dir={folder}")
        assert answer.code == 0, answer.err
        (file,) = folder.glob("*/simulation.json")
        return SimulationRecord.read(file)

    gathered = simulated()
    assert gathered.config["mapping"]["placement"] == "gathered"
    compacted, in_place = (
        simulated(f"mapping.placement={placement}") for placement in ("compacted", "in_place")
    )
    assert compacted.simulation == in_place.simulation != gathered.simulation
    assert compacted.layers == in_place.layers != gathered.layers
    assert gathered.weights == compacted.weights


def test_muxes_that_can_t_gather_are_refused_with_a_mend_that_works(
    cimlab: Cimlab, checkpoint: Path, tmp_path: Path
) -> None:
    words = [f"checkpoint={checkpoint}", f"paths.output_dir={tmp_path}", "images=20", "calibration_batches=1"]
    words += ["geometry.mux_control=independent"]
    answer = cimlab("simulate", *words, "mapping.placement=gathered")
    assert answer.code == 2
    line = one_line(answer.err)
    assert line.startswith("cimlab: mapping.placement=gathered gives each mux position")
    assert line.endswith("use geometry.mux_control=lockstep, or mapping.placement=compacted")
    assert cimlab("simulate", *words, "mapping.placement=compacted").code == 0


@pytest.mark.parametrize(
    ("adc", "device", "told"),
    [("mse", "on_off_ratio", 1), ("percentile", "ideal", 0), ("full_scale", "on_off_ratio", 0)],
)
def test_ranges_fitted_on_ideal_cells_are_told_where_devices_are_not(
    adc: str, device: str, told: int, cimlab: Cimlab, checkpoint: Path, tmp_path: Path
) -> None:
    words = [f"checkpoint={checkpoint}", f"paths.output_dir={tmp_path}", "images=4", "calibration_batches=1"]
    answer = cimlab("simulate", *words, f"adc={adc}", f"device=[{device}]", "geometry.adc_bits=5")
    assert answer.code == 0, answer.err
    assert answer.out.count("ADC ranges were fitted on ideal cells") == told


def test_chips_that_are_all_alike_are_one_chip_without_a_spread(
    cimlab: Cimlab, checkpoint: Path, tmp_path: Path
) -> None:
    words = [
        f"checkpoint={checkpoint}",
        f"paths.output_dir={tmp_path}/out",
        "images=20",
        "calibration_batches=1",
    ]
    answer = cimlab("simulate", *words, "device=[on_off_ratio,wire_resistance]", "draws=2")
    assert answer.code == 0, answer.err
    (path,) = (tmp_path / "out").rglob(SIMULATION_FILE)
    accuracy = SimulationRecord.read(path).accuracy
    assert (len(accuracy["draws"]), accuracy["spread"], accuracy["interval"]) == (1, None, None)


def test_points_of_a_grid_share_what_the_arrays_do_not_change(
    cimlab: Cimlab, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = []
    original = simulation.right

    def counted(network: torch.nn.Module, *rest: Any) -> torch.Tensor:
        passes.append(network)
        return original(network, *rest)

    monkeypatch.setattr(simulation, "right", counted)
    monkeypatch.setattr("cimlab.runs.simulate._MEASURED", {})
    words = ["simulate", f"checkpoint={checkpoint}", "images=20", "calibration_batches=1"]
    axes = ("geometry.adc_bits=4,null", "geometry.signed_encoding=differential,offset")
    grid = cimlab(*words, "-m", f"paths.output_dir={tmp_path}/grid", *axes)
    assert grid.code == 0, grid.err
    assert (
        len(passes) == 1 + 1 + 2
    )  # in floating point, without the arrays' errors, and behind either lossy ADC
    monkeypatch.setattr("cimlab.runs.simulate._MEASURED", {})
    alone = cimlab(
        *words, f"paths.output_dir={tmp_path}/1", "geometry.adc_bits=4", "geometry.signed_encoding=offset"
    )
    assert alone.code == 0, alone.err
    assert len(passes) == 4 + 3
    (path,) = (tmp_path / "1").rglob(SIMULATION_FILE)
    one = SimulationRecord.read(path)
    other = SimulationRecord.read(tmp_path / "grid" / path.parent.name / SIMULATION_FILE)
    assert (one.accuracy, one.layers, one.weights) == (other.accuracy, other.layers, other.weights)


def test_a_grid_over_two_folders_measures_each(cimlab: Cimlab, tmp_path: Path) -> None:
    """The second folder's classes are the first one's the other way round."""
    for folder, bright in (("a", "0"), ("b", "1")):
        for kind, label in itertools.product(("train", "test"), "01"):
            place = tmp_path / folder / "photos" / kind / label
            place.mkdir(parents=True)
            for number in range(12):
                Image.new("RGB", (8, 8), (200 if label == bright else 40,) * 3).save(place / f"{number}.png")
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\n\ndef build(num_classes, in_channels):\n"
        "    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(in_channels, num_classes))\n"
    )
    weights = {"2.weight": torch.tensor([[1.0] * 3, [-1.0] * 3]), "2.bias": torch.zeros(2)}
    torch.save(weights, tmp_path / "net.pt")
    answer = cimlab(
        "simulate", "-m", "model=own", f"model.file={tmp_path}/net.py", f"checkpoint={tmp_path}/net.pt",
        "data=image_folder", "data.image_size=8", "data.num_workers=0", "data.batch_size=4",
        f"paths.output_dir={tmp_path}/out",
        f"paths.data_dir={tmp_path}/a/photos,{tmp_path}/b/photos",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    records = map(SimulationRecord.read, (tmp_path / "out").rglob(SIMULATION_FILE))
    assert sorted(record.accuracy["float"] for record in records) == [0.0, 1.0]


@pytest.mark.parametrize("origin", ["operation_unit", {"run": 3}, {**ORIGIN, "parameters": {"rows": [4]}}])
def test_a_checkpoint_with_a_strange_origin_is_refused_before_compute(
    cimlab: Cimlab, checkpoint: Path, tmp_path: Path, origin: object
) -> None:
    torch.save({**torch.load(checkpoint), "origin": origin}, checkpoint)
    result = cimlab("simulate", f"checkpoint={checkpoint}", f"paths.output_dir={tmp_path}/out")
    assert result.code == 2
    assert "save it again" in one_line(result.err)


def test_records_of_earlier_versions_have_no_origin_and_stay_readable(tmp_path: Path) -> None:
    committed = sorted((conf_dir().parent / "paper" / "records" / "adc_bits").glob("*.json"))
    content = json.loads(committed[0].read_text())
    earlier = {name: value for name, value in content.items() if name not in ("origin", "sha256")}
    canonical = json.dumps(earlier, sort_keys=True, separators=(",", ":"))
    earlier["sha256"] = hashlib.sha256(canonical.encode()).hexdigest()
    file = tmp_path / "simulation.json"
    file.write_text(json.dumps(earlier))
    assert SimulationRecord.read(file).origin is None


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "checkpoint=null: name the network.pt of a run"),
        (["checkpoint=missing.pt"], "checkpoint=missing.pt: No such file"),
        (["geometry.adc_bits=99"], "adc_bits=99 must be from 1 to 24"),
        (["analog.backend=fast"], "analog.backend=fast"),
        (["analog.percentile=0.1"], "percentile=0.1 must be above 0.5"),
        (["adc.gain_sigm=1"], "adc.gain_sigm"),
        (["draws=0"], "draws=0"),
        (
            ["run=outputs"],
            "unknown key run; a run's network is its checkpoint, checkpoint=outputs/RUN/network.pt",
        ),
        (
            ["run=outputs", "-m", "seed=0,1"],
            "unknown key run; a run's network is its checkpoint, checkpoint=",
        ),
        (["device=[ideal,nope]"], "device=nope: is no choice; choices: drift, ideal"),
    ],
)
def test_a_bad_request_is_one_line(cimlab: Cimlab, words: list[str], complaint: str) -> None:
    result = cimlab("simulate", *words)
    assert result.code == 2
    assert complaint in one_line(result.err)


@pytest.mark.parametrize(
    ("word", "complaint"),
    [
        ("adc.gain_sigma=-1", "gain_sigma=-1"),
        ("++device.on_off=3", "unknown key device.on_off"),
        ("++device.on_off_ratio=0.5", "on_off_ratio=0.5 must be above 1"),
        ("geometry.signed_encoding=twos_complement", "puts the sign bit into a cell with others"),
        ("analog.backend=exact geometry.adc_bits=3", "backend=exact can't compute layer 0"),
        ("model=resnet20", "is of another network"),
    ],
)
def test_what_the_arrays_cannot_do_is_one_line(
    cimlab: Cimlab, checkpoint: Path, tmp_path: Path, word: str, complaint: str
) -> None:
    result = cimlab(
        "simulate", f"checkpoint={checkpoint}", f"paths.output_dir={tmp_path}/out", "images=4", *word.split()
    )
    assert result.code in (1, 2)
    assert complaint in one_line(result.err)
