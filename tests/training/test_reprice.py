"""Reports price with today's model: a run from its masks, and a run that kept none not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Cimlab

from cimlab.records.masks import masks_beside
from cimlab.records.record import RECORD_FILE, RunRecord
from cimlab.records.study import study_of
from cimlab.reporting.priced import cost, pricing_notes
from cimlab.runs.reprice import priced_in_row_groups, priced_today
from tests.reporting.made_up import run


@pytest.fixture
def trained(train: Cimlab, tmp_path: Path) -> tuple[RunRecord, Path]:
    assert train("granularity=column_segment", "prune.remaining=0.2").code == 0
    (path,) = tmp_path.glob(f"*/{RECORD_FILE}")
    return RunRecord.read(path), path


def test_a_price_is_todays_whatever_was_logged(trained: tuple[RunRecord, Path]) -> None:
    record, path = trained
    logged = record.hardware["cost"]
    old = {**logged, "energy_j": {"adc": 1.0}, "total": {"energy_j": 1.0}}
    priced = priced_today(replace(record, hardware=record.hardware | {"cost": old}), path)
    found = cost(priced)
    assert found is not None
    curve, gathered = found.pop("area_curve"), found.pop("gathered")
    assert found == logged  # nothing changed since it was trained
    assert gathered["ratio"]["steps"] <= found["ratio"]["steps"]  # column segments stand in whole row groups
    assert min(p["area_over_dense"] for p in curve if p["dense_images_per_s"]) == pytest.approx(1.0)
    assert {key: priced.hardware[key] for key in ("total", "dense", "ratio", "layers")} == {
        key: record.hardware[key] for key in ("total", "dense", "ratio", "layers")
    }
    assert pricing_notes([priced])[0].startswith("Costs by isaac32 with ADC price isaac_table")

    masks_beside(path).unlink()
    without = priced_today(record, path)
    assert cost(without) is None
    assert "masks" in pricing_notes([without])[-1]


def test_reports_price_a_run_both_ways_whichever_it_was_asked_with(train: Cimlab, tmp_path: Path) -> None:
    words = ("granularity=row_segment", "prune.remaining=0.2")
    assert train(*words, "mapping.placement=gathered").code == 0
    (path,) = tmp_path.glob(f"*/{RECORD_FILE}")
    asked = RunRecord.read(path)
    mapping = {"mapping": asked.config["mapping"] | {"placement": "compacted"}}
    laid = {"mapping": asked.hardware["mapping"] | {"placement": "compacted"}}
    apart = replace(asked, config=asked.config | mapping, hardware=asked.hardware | laid)
    one, other = (priced_in_row_groups(record, path) for record in (asked, apart))
    assert one == other
    assert study_of(one) == study_of(apart)
    found, logged = cost(one), cost(asked)
    assert found is not None
    assert logged is not None
    assert found["gathered"]["ratio"] == logged["ratio"]
    assert found["gathered"]["ratio"]["steps"] < found["ratio"]["steps"]
    as_asked = cost(priced_today(asked, path))
    assert as_asked is not None
    assert as_asked["ratio"] == logged["ratio"]


@pytest.mark.parametrize("group", ["geometry", "technology", "adc_price", "chip"])
def test_a_record_that_does_not_say_its_accelerator_has_no_price_and_says_why(
    trained: tuple[RunRecord, Path], group: str
) -> None:
    record, path = trained
    config = {key: value for key, value in record.config.items() if key != group}
    priced = priced_today(replace(record, config=config), path)
    assert cost(priced) is None
    assert priced.hardware["unpriced"] == f"its configuration lacks {group}"


def test_an_old_price_is_never_shown_beside_todays(tmp_path: Path) -> None:
    old = replace(run(priced=True), schema=1)
    assert cost(old) is not None
    priced = priced_today(old, tmp_path / RECORD_FILE)
    assert cost(priced) is None
    assert priced.hardware["ratio"] == old.hardware["ratio"]
    assert pricing_notes([priced, priced]) == (
        "No price for 2 of 2 runs: a record of schema 1 kept accuracy and counts, not its masks.",
    )


def test_a_record_calls_no_code_that_is_not_cimlabs_own(trained: tuple[RunRecord, Path]) -> None:
    record, path = trained
    stranger = {"granularity": {"_target_": "os.getcwd"}, "extensions": ["os"]}
    priced = priced_today(replace(record, config=record.config | stranger), path)
    assert cost(priced) is None
    assert "os.getcwd" in priced.hardware["unpriced"]


def test_a_setting_of_the_chip_that_is_none_today_is_not_passed_over(trained: tuple[RunRecord, Path]) -> None:
    record, path = trained
    chip = {**record.config["chip"], "spare_arrays": 5}
    priced = priced_today(replace(record, config=record.config | {"chip": chip}), path)
    assert cost(priced) is None
    assert "chip.spare_arrays" in priced.hardware["unpriced"]
    unset = {**chip, "spare_arrays": None}
    assert cost(priced_today(replace(record, config=record.config | {"chip": unset}), path)) is not None
