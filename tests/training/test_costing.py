"""The record of a run says what its network costs, from its own weights and inputs."""

import json
from pathlib import Path

import pytest
from conftest import Cimlab, one_line


def test_a_record_prices_the_network_beside_the_unpruned_one(train: Cimlab, tmp_path: Path) -> None:
    assert train("prune.remaining=0.25").code == 0
    (path,) = tmp_path.glob("*/record.json")
    hardware = json.loads(path.read_text())["hardware"]
    cost = hardware["cost"]
    assert (cost["technology"], cost["adc_price"]) == ("isaac32", "isaac_table")
    assert cost["energy_j"]["adc"] == pytest.approx(hardware["total"]["adc_conversions"] * 1.125e-12)
    assert cost["ratio"]["dynamic_j"] == pytest.approx(
        cost["total"]["dynamic_j"] / cost["dense"]["dynamic_j"]
    )
    assert 0.2 < cost["ratio"]["dynamic_j"] < 0.5
    assert cost["total"]["energy_j"] == pytest.approx(sum(cost["energy_j"].values()))
    assert {row["layer"] for row in cost["layers"]} == set(hardware["layers"])
    assert not any("density assumed" in note or "cells assumed" in note for note in cost["notes"])


def test_a_geometry_that_cant_be_priced_is_refused_before_training(train: Cimlab, tmp_path: Path) -> None:
    answer = train("geometry.dac_bits=2")
    assert answer.code == 2
    assert "can't build geometry.dac_bits=2" in one_line(answer.err)
    assert not list(tmp_path.glob("*/history.jsonl"))
