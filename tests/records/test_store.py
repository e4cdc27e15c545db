"""Records are found wherever they lie, and a bad file is named without hiding the good ones."""

from dataclasses import replace
from pathlib import Path

import pytest

from cimlab.records.record import RECORD_FILE, RecordError, RunRecord
from cimlab.records.simulation import SIMULATION_FILE
from cimlab.records.store import load, load_simulations, publish
from tests.records.examples import example, renamed
from tests.reporting.made_up import simulation


def test_records_are_found_at_any_depth_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name, folder in (("b", "x/1"), ("a", "y"), ("c", "x/2/deep")):
        renamed(example(), name).write(tmp_path / folder / RECORD_FILE)
    records, problems = load(tmp_path / "x", tmp_path / "y", tmp_path)
    assert [record.name for record in records] == ["a", "b", "c"]
    assert problems == []


def test_bad_files_are_reported_one_line_each_and_good_ones_still_read(tmp_path: Path) -> None:
    for name in ("good", "cut", "changed", "other"):
        renamed(example(), name).write(tmp_path / name / RECORD_FILE)
    cut, changed, other = (tmp_path / name / RECORD_FILE for name in ("cut", "changed", "other"))
    cut.write_bytes(cut.read_bytes()[:-50])
    changed.write_text(changed.read_text().replace('"seed": 0', '"seed": 7'))
    other.write_text("[]")
    records, problems = load(tmp_path)
    assert [record.name for record in records] == ["good"]
    assert len(problems) == 3
    for path, line in zip(sorted([cut, changed, other]), problems, strict=True):
        assert str(path) in line
        assert "\n" not in line


def test_a_folder_that_is_not_there_holds_no_records(tmp_path: Path) -> None:
    assert load(tmp_path / "nowhere") == ([], [])


def test_committed_records_are_found_beside_each_other_and_a_copy_counts_once(tmp_path: Path) -> None:
    record = renamed(example(), "a-s0")
    record.write(tmp_path / "outputs" / "a-s0-0123abcd" / RECORD_FILE)
    copied = publish(record, tmp_path / "paper" / "records" / "headline")
    assert copied.name == f"a-s0-{record.run[:8]}.json"
    (tmp_path / "outputs" / "settings.json").write_text("{}")
    assert load(tmp_path) == ([record], [])


def test_a_damaged_committed_record_is_named(tmp_path: Path) -> None:
    path = publish(replace(example(), run="a" * 64), tmp_path / "records")
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    records, (problem,) = load(tmp_path)
    assert records == []
    assert str(path) in problem


def test_a_committed_record_keeps_its_identity_and_tells_no_path_of_the_machine(tmp_path: Path) -> None:
    config = {
        "paths": {"data_dir": "/home/someone/data", "more": ["/a/b", "c/d"]},
        "prune": {"remaining": 0.25},
    }
    record = replace(example(), config=config, run="a" * 64)
    found = RunRecord.read(publish(record, tmp_path))
    assert found == replace(
        record, config={"paths": {"data_dir": "data", "more": ["b", "c/d"]}, "prune": {"remaining": 0.25}}
    )


@pytest.mark.parametrize("name", ["../out", "/out", "a/../../out", ".hidden", "", "a\nb", "a b"])
def test_a_record_of_a_stranger_is_written_nowhere_else(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "paper" / "records"
    for record in (replace(example(), name=name, run="a" * 64), replace(simulation(5, "ideal"), name=name)):
        with pytest.raises(RecordError, match="has no plain name"):
            publish(record, folder)
    with pytest.raises(RecordError, match="has no plain name"):
        publish(replace(example(), run="../../x"), folder)
    assert list(tmp_path.iterdir()) == []


def test_simulations_are_read_on_their_own_and_are_no_damaged_runs(tmp_path: Path) -> None:
    record = simulation(5, "ideal")
    record.write(tmp_path / "simulate-a" / SIMULATION_FILE)
    publish(record, tmp_path / "records")
    publish(replace(example(), run="a" * 64), tmp_path / "records")
    assert load_simulations(tmp_path) == ([record], [])
    assert len(load(tmp_path)[0]) == 1
    assert load(tmp_path)[1] == []
    (tmp_path / "simulate-a" / SIMULATION_FILE).write_text('{"simulation": "x"}')
    assert len(load_simulations(tmp_path)[1]) == 1
