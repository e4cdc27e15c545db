"""Networks that others' tables are about, from a command to their record: trained, pruned, mapped, on arrays."""

import json
from pathlib import Path

import pytest
from conftest import Cimlab

STAGES = ((16, 16), (16, 32), (32, 64))
WEIGHTS = 3 * 16 * 9 + sum(9 * a * b + 3 * 9 * b * b + (a != b) * a * b for a, b in STAGES) + 64 * 10
"""Of WRN-16-1 (Zagoruyko and Komodakis 2016, table 1): a stem; four convolutions a stage, and a projection where its
channels are more; scores."""


def test_a_wide_resnet_is_trained_pruned_mapped_and_simulated(train: Cimlab, tmp_path: Path) -> None:
    """On random pictures of the digits' size; its accuracy means nothing, what is counted does."""
    data = (
        "data=fake",
        "data.num_images=32",
        "data.validation_size=16",
        "data.image_size=8",
        "data.batch_size=8",
    )
    recipe = ("recipe.gradient_batches=2", "simulate.at_end=true", "simulate.images=8")
    answer = train("model=wrn16_4", "model.width=1", *data, *recipe, "simulate.calibration_batches=1")
    assert answer.code == 0, answer.err
    (place,) = (path.parent for path in tmp_path.rglob("record.json"))
    record = json.loads((place / "record.json").read_text())
    layers = record["hardware"]["layers"]
    assert len(layers) == 1 + 4 + 5 + 5 + 1
    assert sum(layer["weights"] for layer in layers.values()) == WEIGHTS == 174_128
    prunable = sum(layer["weights_left"] for layer in layers.values()) - 3 * 16 * 9 - 64 * 10
    assert prunable / (WEIGHTS - 3 * 16 * 9 - 64 * 10) == pytest.approx(0.25, abs=1e-3)
    assert layers["conv1"]["products"] == 8 * 8
    assert record["hardware"]["cost"]["ratio"]["energy_j"] < 1
    simulated = json.loads((place / "simulation.json").read_text())
    assert simulated["layers"].keys() == layers.keys()
    assert simulated["images"] == 8
