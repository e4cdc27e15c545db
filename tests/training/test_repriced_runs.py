"""A run is trained once: priced from its record, it costs on another accelerator what a run there says."""

import json
from pathlib import Path
from typing import Any

from conftest import Cimlab

from cimlab.config.hardware import load_accelerator
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.hardware.kept import read
from cimlab.hardware.price import NetworkShape, PrunedNetwork, price
from cimlab.pruning.granularities.column_segment import ColumnSegment
from cimlab.records.record import RECORD_FILE, RunRecord

FEW = ("granularity=column_segment", "prune.remaining=0.2", "mapping.placement=compacted")
ELSEWHERE = {"technology": "neurosim22_rram", "adc_price": "sar", "chip": "isaac"}


def the_record(folder: Path) -> tuple[RunRecord, Path]:
    (path,) = folder.glob(f"*/{RECORD_FILE}")
    return RunRecord.read(path), path


def test_a_record_priced_elsewhere_says_to_the_last_digit_what_a_run_there_says(
    train: Cimlab, tmp_path: Path
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    assert train(*FEW, f"paths.output_dir={here}").code == 0
    words = [f"{group}={choice}" for group, choice in ELSEWHERE.items()]
    assert train(*FEW, *words, f"paths.output_dir={there}").code == 0
    record, path = the_record(here)
    other, _ = the_record(there)
    assert record.hardware["cost"]["technology"] != other.hardware["cost"]["technology"]
    kept = read(record, path)
    shape = NetworkShape(kept.matrices, ColumnSegment().index, "compacted")
    accelerator = load_accelerator(CrossbarGeometry(), **ELSEWHERE)
    repriced = price(PrunedNetwork(shape, kept.masks), kept.activity, accelerator)
    assert plain(repriced.summary()) == other.hardware["cost"]


def plain(summary: dict[str, Any]) -> Any:
    return json.loads(json.dumps(summary))


def test_a_finished_run_is_shown_with_the_price_that_is_asked_for(train: Cimlab, tmp_path: Path) -> None:
    assert train(*FEW).code == 0
    _, path = the_record(tmp_path)
    before = path.read_bytes()
    again = train(*FEW)
    assert "priced" not in again.out
    assert "isaac32 with ADC price isaac_table" in again.out
    elsewhere = train(*FEW, *(f"{group}={choice}" for group, choice in ELSEWHERE.items()))
    assert "already done" in elsewhere.out
    assert "priced here on the one asked for" in elsewhere.out
    assert "neurosim22_rram with ADC price sar" in elsewhere.out
    assert path.read_bytes() == before
