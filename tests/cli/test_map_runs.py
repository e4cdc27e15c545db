"""`cimlab map run=...`: finished runs on other accelerators, from their records alone."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Cimlab, one_line

from cimlab.records import store
from cimlab.records.record import RECORD_FILE, RunRecord
from cimlab.runs.reprice import priced_today

FEW = (
    "granularity=column_segment",
    "prune.remaining=0.2",
    "geometry=independent",
    "mapping.placement=compacted",
)


def test_a_finished_run_is_priced_anywhere_without_its_network(
    train: Cimlab, cimlab: Cimlab, tmp_path: Path
) -> None:
    outputs, shown = tmp_path / "outputs", f"paths.output_dir={tmp_path / 'shown'}"
    assert train(*FEW, f"paths.output_dir={outputs}").code == 0
    (file,) = outputs.glob(f"*/{RECORD_FILE}")
    record = RunRecord.read(file)
    (file.parent / "network.pt").unlink()

    def priced(*words: str) -> dict:
        answer = cimlab("map", f"run={file.parent}", *words, "--json", shown)
        assert (answer.code, answer.err) == (0, "")
        return json.loads(answer.out)

    here = priced()
    several = cimlab("map", "-m", f"run={tmp_path}/outp*/digits*", "geometry.active_rows=8,16", shown)
    assert (several.code, several.err) == (0, "")
    assert "2 points" in several.out
    for part in ("total", "dense", "ratio", "energy_j", "notes", "layers"):
        assert here[part] == record.hardware["cost"][part]
    assert priced("technology=neurosim22_rram", "adc_price=sar")["technology"] == "neurosim22_rram"
    assert priced("geometry.adc_bits=4")["adc_bits"] == 4
    in_place = priced("mapping.placement=in_place")["total"]
    assert in_place["images_per_s"] <= here["total"]["images_per_s"]  # what is squeezed out holds more copies
    assert in_place["area_m2"] == pytest.approx(here["total"]["area_m2"])

    ((_, source),), _ = store.load_with_files(outputs)
    committed = store.publish(record, tmp_path / "paper", source)
    other = replace(record, run="f" * 64, name=f"{record.name}-again")
    store.publish(other, tmp_path / "paper", source)
    again = cimlab("map", f"run={committed}", "--json", shown)
    assert json.loads(again.out)["total"] == here["total"]

    folder = ("map", "-m", f"run={tmp_path / 'paper'}", "geometry.active_rows=8,16", shown)
    answer = cimlab(*folder)
    assert answer.code == 0
    assert "4 points" in answer.out
    rows = list(csv.DictReader((tmp_path / "shown" / "map.csv").open()))
    assert len({row["network"] for row in rows}) == 2
    assert {row["geometry.active_rows"] for row in rows} == {"8", "16"}
    same = [row for row in rows if row["geometry.active_rows"] == "16"]
    assert {float(row["energy_j"]) for row in same} == {here["total"]["energy_j"]}

    for words, complaint in (
        ((f"run={tmp_path / 'nowhere'}",), "nowhere: does not exist; give a run's folder"),
        ((f"run={file}", "model=vgg16"), "model: a run brings its own; beside run= are taken geometry"),
        ((f"run={file}", "mapping.row_order=kernel_major"), "mapping.row_order: a run brings its own"),
        ((f"run={file}", "geometry.active_rows=8,16"), "several values are compared by cimlab map -m"),
        ((f"run={file}", "picture=nowhere"), "picture=nowhere: the layers are"),
        ((f"run={file}", "technology=tsmc5"), "isaac32"),
    ):
        refused = cimlab("map", *words, shown)
        assert refused.code == 2
        assert complaint in one_line(refused.err)

    named = cimlab("map", "-m", f"run={tmp_path / 'paper'}/*.json", "geometry.active_rows=8,16", shown)
    assert (named.code, named.out) == (0, answer.out)
    one = cimlab("map", f"run={tmp_path}/outputs/*/record.js*", "--json", shown)
    assert json.loads(one.out)["total"] == here["total"]

    replace(record, schema=1).write(tmp_path / "old" / RECORD_FILE)
    refused = cimlab("map", f"run={tmp_path / 'old'}", shown)
    assert refused.code == 2
    assert "a record of schema 1 kept accuracy and counts, not its masks" in one_line(refused.err)
    mixed = cimlab("map", f"run={tmp_path}", "--json", shown)
    assert mixed.code == 0
    assert "left out" in mixed.err


def test_a_run_is_priced_on_its_own_accelerator_with_what_was_set_by_hand(
    train: Cimlab, cimlab: Cimlab, tmp_path: Path
) -> None:
    by_hand = ("chip.adc_idle_share=0.2", "adc_price=murmann", "adc_price.rate_hz=1e8")
    assert train(*by_hand, "technology.digital_mac_j.value=1e-12").code == 0
    (file,) = tmp_path.glob(f"*/{RECORD_FILE}")
    record = RunRecord.read(file)
    assert record.hardware["altered"] == ["technology", "adc_price"]
    cost = record.hardware["cost"]
    assert priced_today(record, file).hardware["cost"]["total"] == cost["total"]

    def priced(*words: str) -> dict:
        answer = cimlab(
            "map", f"run={file.parent}", *words, "--json", f"paths.output_dir={tmp_path / 'shown'}"
        )
        assert (answer.code, answer.err) == (0, "")
        return json.loads(answer.out)

    assert [priced()[part] for part in ("total", "dense", "notes")] == [
        cost[part] for part in ("total", "dense", "notes")
    ]
    assert priced("chip.adc_idle_share=0")["total"]["leakage_w"] < cost["total"]["leakage_w"]
    other = priced("adc_price=isaac_table")
    assert (other["adc_price"], other["choices"]["adc_price"]) == ("isaac_table", "isaac_table")
    assert any("chip.adc_idle_share=0.2" in note for note in other["notes"])


def test_a_file_that_is_no_record_is_refused_and_the_run_beside_it_named(
    cimlab: Cimlab, tmp_path: Path
) -> None:
    (tmp_path / "record.json").write_text("{}")
    (tmp_path / "network.pt").write_bytes(b"PK")
    answer = cimlab("map", f"run={tmp_path / 'network.pt'}", f"paths.output_dir={tmp_path / 'out'}")
    assert answer.code == 2
    assert f"is no record; give the run's folder, run={tmp_path}" in one_line(answer.err)
