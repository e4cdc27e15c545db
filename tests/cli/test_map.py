"""`cimlab map`: random, stored and foreign weights, several chips side by side, one line for bad input."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Answer, Cimlab, one_line

from cimlab.analog.learned_steps import LayerSteps, TrainedSteps
from cimlab.models.compact_transformer import CompactTransformer
from cimlab.models.digits_cnn import digits_cnn

DIGITS = ("model=digits_cnn", "data=digits")


@pytest.fixture
def map_digits(cimlab: Cimlab, tmp_path: Path) -> Cimlab:
    """`cimlab map` of the small digits network into tmp_path."""

    def run(*words: str) -> Answer:
        many = [word for word in words if word == "-m"]  # Hydra wants it before the overrides
        rest = [word for word in words if word != "-m"]
        return cimlab("map", *many, *DIGITS, f"paths.output_dir={tmp_path}", *rest)

    return run


def test_a_model_by_name_is_reported_with_tables_and_plots(map_digits: Cimlab, tmp_path: Path) -> None:
    answer = map_digits("--adc-sensitivity")
    assert (answer.code, answer.err) == (0, "")
    for part in (
        "isaac32, ADC price isaac_table at 6 bits",
        "25 % of the prunable ones",
        "input bit density assumed",
        "priced for images of 1 x 8 x 8 and 10 classes: data=digits",
        "by layer, of the pruned network",
    ):
        assert part in answer.out
    for part in ("murmann", "sar", "sensitivity to the ADC price"):
        assert part in answer.out
    for plot in ("components", "placement"):
        (path,) = (tmp_path / "map").glob(f"digits_cnn-{plot}-*.png")
        assert path.stat().st_size > 5000


def test_json_holds_what_the_tables_say(map_digits: Cimlab) -> None:
    content = json.loads(map_digits("--json", "--adc-sensitivity", "prune.remaining=0.5").out)
    assert content["technology"] == "isaac32"
    assert content["total"]["energy_j"] == pytest.approx(sum(content["energy_j"].values()))
    assert content["total"]["energy_j"] == pytest.approx(sum(row["energy_j"] for row in content["layers"]))
    assert content["total"]["area_m2"] == pytest.approx(sum(content["area_m2"].values()))
    assert 0 < content["ratio"]["dynamic_j"] < 1
    assert set(content["adc_sensitivity"]) == {"isaac_table", "murmann", "sar"}
    adc = {name: c["energy_j"]["adc"] for name, c in content["adc_sensitivity"].items()}
    assert adc["sar"] < adc["murmann"] < adc["isaac_table"]


def test_a_budget_that_units_can_t_meet_is_told_before_all_other_notes(map_digits: Cimlab) -> None:
    words = ("--json", "prune.budget=steps", "prune.remaining=0.09")
    shared, own = (
        json.loads(map_digits(*words, f"granularity={name}").out)["notes"]
        for name in ("column_segment", "operation_unit")
    )
    assert "of the prunable array steps are kept, not 9 %" in shared[0]
    assert not any("are kept" in note for note in own)


def test_csv_has_one_row_a_layer(map_digits: Cimlab) -> None:
    rows = list(csv.DictReader(io.StringIO(map_digits("--csv").out)))
    names = [n for n, m in digits_cnn(num_classes=10, in_channels=1).named_modules() if hasattr(m, "weight")]
    assert {row["layer"] for row in rows} <= set(names)
    assert all(float(row["energy_j"]) > 0 for row in rows)


def test_several_chips_stand_side_by_side(map_digits: Cimlab, tmp_path: Path) -> None:
    answer = map_digits("-m", "geometry=default,independent", "technology=isaac32,neurosim22_rram", "--json")
    assert answer.code == 0
    content = json.loads((tmp_path / "map.json").read_text())
    assert [(c["axes"]["geometry"], c["technology"]) for c in content] == [
        (g, t) for g in ("default", "independent") for t in ("isaac32", "neurosim22_rram")
    ]
    map_digits("-m", "geometry=default,isaac")
    table = map_digits("-m", "geometry=default,independent", "--sort=-geometry")
    assert "2 points" in table.out
    rows = list(csv.DictReader((tmp_path / "map.csv").open()))
    assert [row["geometry"] for row in rows] == ["default", "independent"]
    assert float(rows[0]["energy_j"]) == content[0]["total"]["energy_j"]
    pictures = [*tmp_path.glob("map-*.png")]
    assert len(pictures) == 2  # of other points, which these leave alone
    assert min(path.stat().st_size for path in pictures) > 5000
    assert table.out.count(str(tmp_path)) == 2  # one CSV, one plot
    assert table.out.index("│ independent") < table.out.index("│ default")
    refused = map_digits("-m", "geometry=default,independent", "--sort=enrgy")
    assert "did you mean energy?" in one_line(refused.err)


def test_a_point_of_a_sweep_is_what_it_is_alone(map_digits: Cimlab, tmp_path: Path) -> None:
    axes = {
        "geometry": ("default", "isaac"), "chip": ("default", "isaac"), "geometry.active_rows": ("8", "128"),
        "adc_price.rate_hz": ("1e8", "1e9"), "prune.remaining": ("0.25", "0.5"),
    }  # fmt: skip
    fixed = ("adc_price=murmann", "geometry.mux_control=independent", "mapping.placement=compacted")
    words = [f"{key}={','.join(values)}" for key, values in axes.items()]
    assert map_digits("-m", *fixed, *words, "--json").code == 0
    points = json.loads((tmp_path / "map.json").read_text())
    assert len(points) == 32
    for number in (0, 13, 31):
        asked = points[number]["axes"] | dict([points[number]["name"].split("=")])
        alone = json.loads(map_digits(*fixed, *(f"{k}={v}" for k, v in asked.items()), "--json").out)
        assert alone["total"] == points[number]["total"]
        assert alone["dense"] == points[number]["dense"]
        assert alone["notes"] == points[number]["notes"]


def test_a_reloaded_dense_network_is_told_alone_and_among_the_points_of_a_sweep(
    map_digits: Cimlab, tmp_path: Path
) -> None:
    """35 arrays, pruned to 11: a chip of 12 holds the pruned network alone, one of 40 holds both."""
    words = ("granularity=filter", "prune.remaining=0.1", "mapping.placement=compacted")
    told = "the unpruned network is larger than the chip's 12 arrays: reloaded in 5 parts per batch, "
    told += "one copy of each layer"
    assert f"note: {told}" in map_digits(*words, "chip.max_arrays=12").out
    swept = map_digits("-m", *words, "chip.max_arrays=12,40", "--json")
    assert swept.code == 0
    small, large = json.loads((tmp_path / "map.json").read_text())
    assert small["total"]["load_s"] == 0 < small["dense"]["load_s"]
    assert told in small["notes"]
    assert not any("reloaded" in note for note in large["notes"])


def test_accelerators_that_can_t_be_built_are_counted_and_the_others_priced(
    map_digits: Cimlab, tmp_path: Path
) -> None:
    answer = map_digits("-m", "geometry.dac_bits=1,2", "geometry.active_rows=8,16", "--csv")
    assert answer.code == 2
    assert "2 of 4: technology isaac32 can't build geometry.dac_bits=2" in answer.err
    assert "2 of 4 points have no price, see above" in answer.err
    assert len(list(csv.DictReader((tmp_path / "map.csv").open()))) == 2
    unknown = map_digits("-m", "geometry.activ_rows=8,16", "--csv")
    assert unknown.code == 2
    assert "unknown key geometry.activ_rows" in unknown.err
    lone = map_digits("geometry.active_rows=8,16")
    assert lone.code == 2


def pruned_state() -> dict[str, torch.Tensor]:
    """Random weights of the digits network with half of the second convolution's filters gone."""
    torch.manual_seed(0)
    state = digits_cnn(num_classes=10, in_channels=1).state_dict()
    name = [n for n, w in state.items() if w.dim() == 4][1]
    state[name][: len(state[name]) // 2] = 0
    return state


@pytest.mark.parametrize("kind", ["state_dict", "lightning", "cimlab"])
def test_stored_weights_bring_their_own_sparsity(map_digits: Cimlab, tmp_path: Path, kind: str) -> None:
    state = pruned_state()
    name = next(n for n, w in state.items() if w.dim() == 4 and bool((w[0] == 0).all()))
    content = {
        "state_dict": state,
        "lightning": {"state_dict": {f"network.{n}": w for n, w in state.items()}},
        "cimlab": {"network": state, "masks": {name.removesuffix(".weight"): state[name] != 0}},
    }[kind]
    torch.save(content, tmp_path / "weights.pt")
    found = json.loads(map_digits("--json", f"checkpoint={tmp_path / 'weights.pt'}").out)
    left = {row["layer"]: row["weights_left"] / row["weights"] for row in found["layers"]}
    layer = name.removesuffix(".weight")
    assert left.pop(layer) == pytest.approx(0.5)
    assert set(left.values()) == {1.0}
    assert not any("kept cells assumed" in note for note in found["notes"])


def cells_energy(found: dict[str, Any]) -> float:
    return found["energy_j"]["cells"]


def test_stored_weights_of_a_transformer_are_measured_as_they_lie_on_the_arrays(
    cimlab: Cimlab, tmp_path: Path
) -> None:
    small = {"layers": 1, "heads": 2, "channels": 16, "hidden": 16}
    network = CompactTransformer(**small, num_classes=10, in_channels=3)
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    words = ("model=cct2_3x2", *(f"model.{key}={value}" for key, value in small.items()), "data=cifar10")
    answer = cimlab("map", "--json", *words, f"checkpoint={tmp_path / 'weights.pt'}")
    assert not [note for note in json.loads(answer.out)["notes"] if "cells" in note and "assumed" in note]


def test_cells_hold_what_quantised_retraining_learned_at_the_bits_that_it_learned_for(
    map_digits: Cimlab, tmp_path: Path
) -> None:
    network = digits_cnn(num_classes=10, in_channels=1)
    layers = {
        name: layer
        for name, layer in network.named_modules()
        if hasattr(layer, "weight") and layer.weight.ndim > 1
    }
    coarse = {
        name: LayerSteps(torch.full((len(layer.weight),), 1e3), 1.0, 0) for name, layer in layers.items()
    }
    plain = {"network": network.state_dict()}
    torch.save(plain | {"steps": 10_000}, tmp_path / "plain.pt")  # as other trainers count theirs
    torch.save(plain | {"steps": TrainedSteps(8, 8, coarse).to_checkpoint()}, tmp_path / "learned.pt")
    found = {
        (name, bits): json.loads(
            map_digits("--json", f"checkpoint={tmp_path / name}.pt", f"geometry.weight_bits={bits}").out
        )
        for name in ("plain", "learned")
        for bits in (8, 5)
    }
    assert cells_energy(found["learned", 8]) < cells_energy(found["plain", 8])
    assert cells_energy(found["learned", 5]) == cells_energy(found["plain", 5])
    told = {
        key: [n for n in content["notes"] if "learned its steps for weight_bits=8" in n]
        for key, content in found.items()
    }
    assert {key for key, notes in told.items() if notes} == {("learned", 5)}


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        (["technology=tsmc5"], 2, "isaac32"),
        (["geometry.dac_bits=2"], 2, "isaac32 can't build geometry.dac_bits=2: its figures cover 1 to 1"),
        (
            ["geometry.active_rows=128", "geometry.cell_bits=4"],
            2,
            "adc_price isaac_table covers 4 to 10 bits, not 11",
        ),
        (
            ["technology.components.cells.energy_j.cell_read.value=-1"],
            2,
            "conf/technology/isaac32.yaml: components.cells.energy_j.cell_read.value=-1 must be a number from 0",
        ),
        (
            ["technology.components.cells.energy_j.cell_read.value=nan"],
            2,
            "cell_read.value=nan must be a number",
        ),
        (["~technology.components.wordline_driver"], 2, "components.wordline_driver is missing"),
        (["technology.node_m=7e-9"], 2, "adc_price isaac_table covers nodes from 22 to 65 nm, not 7 nm"),
        (["adc_price=murmann", "adc_price.rate_hz=-1"], 2, "rate_hz=-1.0 must be a number above 0"),
        (["chip.batch=0"], 2, "chip.batch=0 must be a number from 1"),
        (["chip.bitlines_per_conversion_slot=3"], 2, "does not divide the 16 bitlines of a step"),
        (["picture=nowhere"], 2, "picture=nowhere: the layers are"),
        (["checkpoint=nowhere.pt"], 2, "checkpoint nowhere.pt does not exist"),
        (["activity.input_density=2"], 2, "activity.input_density=2"),
        (["chips.batch=1"], 2, "unknown key chips"),
    ],
)
def test_bad_input_is_one_line(map_digits: Cimlab, words: list[str], code: int, complaint: str) -> None:
    answer = map_digits(*words)
    assert answer.code == code
    assert complaint in one_line(answer.err)


def test_an_axis_of_folders_is_refused(
    cimlab: Cimlab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = cimlab(
        "map", "-m", "model=digits_cnn", "paths.output_dir=a,b", "technology=isaac32,neurosim22_rram"
    )
    assert answer.code == 2
    assert "paths.output_dir: its 2 values have the same price" in one_line(answer.err)
    assert not list(tmp_path.iterdir())


def test_a_resolution_below_a_price_list_is_told_with_every_table(map_digits: Cimlab) -> None:
    three = "geometry.adc_bits=3"
    below = "3 bits would do, but isaac_table starts at 4: a 4-bit ADC is charged"
    assert f"note: {below}" in map_digits(three, "adc_price=isaac_table").out
    assert f"note: isaac_table: {below}" in map_digits(three, "adc_price=murmann", "--adc-sensitivity").out
    swept = map_digits("-m", "geometry.adc_bits=3,4,5,6", "adc_price=isaac_table,murmann,sar").out
    assert f"{below} (1 of 12 points)" in swept
