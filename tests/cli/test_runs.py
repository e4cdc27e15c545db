"""The table of runs: states, filters, order, JSON, and records that were damaged since they were last read."""

import csv
import hashlib
import io
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Cimlab, one_line

from cimlab.cli.fields import ordered
from cimlab.records import load
from cimlab.records.failure import Failure
from cimlab.records.index import INDEX_FILE, rows, simulations
from cimlab.records.locks import locked
from cimlab.records.record import RECORD_FILE, RunRecord
from cimlab.records.simulation import SIMULATION_FILE, SimulationRecord

LAYER = {"weights": 100, "weights_left": 25, "steps": 10, "dense_steps": 40}


def record(number: int, accuracy: float, granularity: str = "filter") -> RunRecord:
    """A record as a run would leave it, with numbers of its own."""
    return RunRecord(
        run=f"{number:064d}",
        name=f"net-{number:03d}",
        created="2026-01-01T00:00:00+00:00",
        seed=number % 3,
        choices={"model": "net", "data": "digits", "granularity": granularity, "geometry": "default"},
        config={"prune": {"remaining": 0.25}, "tracker": {"group": None}},
        code={"version": "0", "git_commit": "abc", "git_changed": False},
        packages={},
        machine={},
        wall_time_s={"dense": 1.0, "retrain": 2.0},
        accuracy={phase: {"test": accuracy} for phase in ("dense", "pruned", "retrained")},
        weights={"remaining_all": 0.25, "compression": 4.0},
        hardware={"total": {"arrays": 10 * number}, "ratio": {"steps": 0.25}, "layers": {"0": LAYER}},
    )


@pytest.fixture
def output(tmp_path: Path) -> Path:
    folder = tmp_path / "outputs"
    for number, accuracy in enumerate((0.5, 0.9, 0.7)):
        made = record(number, accuracy, ("filter", "weight", "filter")[number])
        made.write(folder / made.name / RECORD_FILE)
    return folder


def names(cimlab: Cimlab, *words: str) -> list[str]:
    answer = cimlab("runs", "--json", *words)
    assert answer.code == 0, answer.err
    return [row["name"] for row in json.loads(answer.out)]


def test_runs_are_filtered_and_sorted(cimlab: Cimlab, output: Path) -> None:
    place = str(output)
    assert names(cimlab, place) == ["net-000", "net-001", "net-002"]
    assert names(cimlab, place, "--sort=-accuracy") == ["net-001", "net-002", "net-000"]
    assert names(cimlab, place, "granularity=filter") == ["net-000", "net-002"]
    assert names(cimlab, place, "accuracy>=0.7", "--sort=accuracy") == ["net-002", "net-001"]
    assert names(cimlab, place, "seed=0,1", "accuracy<0.9") == ["net-000"]
    assert names(cimlab, place, "granularity!=filter") == ["net-001"]
    assert names(cimlab, place, "energy_j>0") == []


def test_rows_are_sorted_by_numbers_then_words_and_those_without_come_last() -> None:
    found = [{"energy_j": 2.0}, {}, {"energy_j": "lossless"}, {"energy_j": 1.5}, {"energy_j": "10"}]
    assert ordered(found, "energy", {"energy": "energy_j"}) == [3, 0, 4, 2, 1]
    assert ordered(found, "-energy_j", {"energy_j": "energy_j"}) == [2, 4, 0, 3, 1]


def test_a_filter_is_no_mistake_where_nothing_is_finished_yet(cimlab: Cimlab, tmp_path: Path) -> None:
    assert names(cimlab, str(tmp_path), "accuracy>0.9", "state=failed", "--sort=-accuracy") == []


def test_the_table_shows_what_people_ask_for(cimlab: Cimlab, output: Path) -> None:
    answer = cimlab("runs", str(output))
    assert "90.00 %" in answer.out
    assert "4.00 x" in answer.out
    assert "3 of 3 runs" in answer.out


def test_a_group_in_which_runs_differ_is_a_column_and_a_filter(cimlab: Cimlab, output: Path) -> None:
    other = replace(record(7, 0.8), choices={**record(7, 0.8).choices, "cooling": "wind"})
    plain = replace(record(8, 0.8), choices={**record(8, 0.8).choices, "cooling": "none"})
    for made in (other, plain):
        made.write(output / made.name / RECORD_FILE)
    assert "cooling wind" in cimlab("runs", str(output), "cooling=wind").out  # what is the same in all
    shown = cimlab("runs", str(output), "cooling=wind,none", "--sort=cooling").out
    assert "cooling" in shown
    assert "wind" in shown
    assert names(cimlab, str(output), "cooling=wind") == ["net-007"]


def simulation(bits: int | None, accuracy: float) -> SimulationRecord:
    """A record as a simulation would leave it."""
    return SimulationRecord(
        simulation=f"{bits or 0:064d}",
        name=f"simulate-net-{bits}b",
        created="2026-01-01T00:00:00+00:00",
        seed=0,
        choices={"model": "net", "data": "digits", "adc": "mse", "device": "ideal"},
        config={"geometry": {"adc_bits": bits}},
        code={"git_commit": None},
        packages={},
        machine={},
        wall_time_s={},
        images=2000,
        accuracy={"float": 0.91, "quantised": 0.9, "draws": [accuracy], "mean": accuracy, "spread": None},
        weights={"total": 100, "left": 25},
        layers={},
        origin={"granularity": "filter", "remaining": 0.25},
    )


def test_simulations_stand_below_the_runs_with_their_adcs(cimlab: Cimlab, output: Path) -> None:
    for made in (simulation(4, 0.5), simulation(None, 0.9)):
        made.write(output / made.name / SIMULATION_FILE)
    simulation(5, 0.8).write(output / "net-000" / SIMULATION_FILE)  # of a run, at its end
    told = cimlab("runs", str(output)).out
    assert "3 of 3 runs" in told
    assert told.index("3 of 3 simulations") > told.index("3 of 3 runs")
    assert "lossless" in told
    assert "adc_bits 4" in cimlab("runs", str(output), "adc_bits=4").out
    numbers_alone = cimlab("runs", str(output), "adc_bits=4,5").out
    assert "adc_bits" in next(line for line in numbers_alone.splitlines() if "float" in line)
    assert "adc mse" in told
    assert names(cimlab, str(output), "kind=simulation", "--sort=adc_bits") == [
        "simulate-net-4b", "simulate-net-5b", "simulate-net-Noneb",
    ]  # fmt: skip
    assert names(cimlab, str(output), "adc_bits=4,5", "accuracy>0.6") == ["simulate-net-5b"]
    assert len(rows(output)[0]) == len(simulations(output)[0]) == 3
    (output / "simulate-net-4b" / SIMULATION_FILE).write_text("{")
    assert len(rows(output)[1]) == 0
    assert len(simulations(output)[1]) == 1


def test_columns_that_have_no_room_are_named_and_all_are_in_the_csv(
    cimlab: Cimlab, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cimlab.cli.runs.PIPED", 60)
    told = cimlab("runs", str(output)).out
    assert max(map(len, told.splitlines())) <= 60
    assert "no room for seconds, arrays" in told
    assert "net-002" in told
    table = list(csv.DictReader(io.StringIO(cimlab("runs", "--csv", str(output)).out)))
    assert [row["arrays"] for row in table] == ["0", "10", "20"]


def test_what_is_the_same_in_all_is_told_once(cimlab: Cimlab, output: Path) -> None:
    told = cimlab("runs", str(output)).out
    heading = told.splitlines()[1]
    assert "granularity" in heading
    assert "model" not in heading
    assert "state done, model net, data digits, remaining 0.25" in told.replace("\n", " ")
    assert "same in all that are done" in told
    odd = record(9, 0.8)
    other = replace(odd, choices={name: odd.choices[name] for name in ("model", "data", "granularity")})
    other.write(output / f"{odd.name}-00000000" / RECORD_FILE)
    answer = cimlab("runs", str(output), "--sort=throughput")
    assert answer.code == 0, answer.err
    told = answer.out
    assert "geometry default" not in told  # which the odd one does not say
    assert "net-009-00000000" in told  # as its folder is typed


def test_every_state_is_told(cimlab: Cimlab, output: Path) -> None:
    Failure("failed", "the loss became nan [red]", "now", {}).write(output / "failed")
    (output / "killed").mkdir()
    (output / "killed" / "lock.json").write_text('{"host": "h", "pid": 1, "since": 0, "deaths": 0}')
    (output / "stopped").mkdir()
    (output / "stopped" / "config.yaml").touch()
    with locked(output / "running"):
        answer = cimlab("runs", "--json", str(output))
        table = cimlab("runs", str(output), "state=failed")
    states = {row["name"]: row["state"] for row in json.loads(answer.out)}
    for state in ("failed", "killed", "stopped", "running"):
        assert states[state] == state
    assert "the loss became nan [red]" in table.out


def test_what_was_begun_is_found_as_deep_as_what_is_done(cimlab: Cimlab, output: Path) -> None:
    (output / "stopped").mkdir()
    (output / "stopped" / "config.yaml").touch()
    (output / "config.yaml").touch()  # of a person: it makes no run of a folder of runs
    for folder in (output, output.parent):
        rows = json.loads(cimlab("runs", "--json", str(folder)).out)
        states = {row["name"]: row["state"] for row in rows}
        assert states.pop("stopped") == "stopped"
        assert set(states.values()) == {"done"}


def test_a_folder_may_be_called_like_a_filter(
    cimlab: Cimlab, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(output.parent)
    output.rename("seed=1")
    assert len(names(cimlab, "seed=1")) == 3


@pytest.mark.parametrize("odd", [{"hardware": []}, {"choices": []}, {"accuracy": None}, {"created": 5}, {"config": {}},
                                 {"wall_time_s": {"a": "b"}}, {"weights": {"compression": 4.0}}])  # fmt: skip
def test_a_record_of_odd_kinds_is_named_and_hides_no_other(cimlab: Cimlab, output: Path, odd: dict) -> None:
    replace(record(7, 0.5), **odd).write(output / "odd" / RECORD_FILE)
    answer = cimlab("runs", "--json", str(output))
    assert answer.code == 0
    assert one_line(answer.err).startswith(f"cimlab: record {output}/odd/{RECORD_FILE}")
    assert answer.err.strip().endswith("no cimlab wrote it so")
    assert len(json.loads(answer.out)) == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nope=3",), "fields: state, model, data"),
        (("--sort=nope",), "there is no 'nope'; fields: state, model, data"),
        (("accuracy<high",), "compares with one number"),
        (("no/such/folder",), "is no folder"),
    ],
)
def test_bad_words_are_refused(words: tuple[str, ...], message: str, cimlab: Cimlab, output: Path) -> None:
    place = () if words[0].startswith("no/") else (str(output),)
    answer = cimlab("runs", *place, *words)
    assert answer.code == 2
    assert message in one_line(answer.err)


def test_a_damaged_record_is_named_and_the_others_are_shown(cimlab: Cimlab, output: Path) -> None:
    assert len(names(cimlab, str(output))) == 3
    path = output / "net-001" / RECORD_FILE
    path.write_text(path.read_text().replace('"seed": 1', '"seed": 2'))
    os.utime(path, ns=(1, 1))  # written anew with the same size
    answer = cimlab("runs", "--json", str(output))
    assert "does not match its checksum" in answer.err
    assert len([row for row in json.loads(answer.out) if row["state"] == "done"]) == 2


def test_a_record_that_lacks_a_choice_is_shown_and_one_without_numbers_named(
    cimlab: Cimlab, output: Path
) -> None:
    bare, empty = record(7, 0.5), record(8, 0.5)
    replace(bare, choices={"granularity": "filter"}).write(output / "bare" / RECORD_FILE)
    replace(empty, config={}).write(output / "empty" / RECORD_FILE)
    answer = cimlab("runs", str(output), "name=net-007,net-008", "--json")
    assert answer.code == 0
    assert one_line(answer.err).endswith(
        f"record {output}/empty/{RECORD_FILE} says no config.prune.remaining; no cimlab wrote it so"
    )
    assert [row["data"] for row in json.loads(answer.out)] == [None]


def test_the_index_says_what_reading_every_record_says(output: Path) -> None:
    first, _ = rows(output)
    assert (output / INDEX_FILE).exists()
    assert rows(output) == (first, [])
    whole = (output / INDEX_FILE).read_bytes()
    assert b'"accuracy": 0.9' in whole
    another = whole.partition(b"\n")[2].replace(b'"layout": 3', b'"layout": 2')
    for damaged in (
        b"half an ind", whole[:-1], whole.replace(b'"accuracy": 0.9', b'"accuracy": 0.8'), b"\xff" * 9,
        hashlib.sha256(another).hexdigest().encode() + b"\n" + another,
    ):  # fmt: skip
        (output / INDEX_FILE).write_bytes(damaged)
        assert rows(output) == (first, [])
        assert (output / INDEX_FILE).read_bytes() == whole
    newer = record(1, 0.1)
    newer.write(output / newer.name / RECORD_FILE)
    assert [row["accuracy"] for row in rows(output)[0]] == [0.5, 0.1, 0.7]


def test_records_are_a_data_frame(output: Path) -> None:
    frame = load(output)
    assert frame["accuracy/retrained/test"].tolist() == [0.5, 0.9, 0.7]
    assert frame["config/prune.remaining"].unique().tolist() == [0.25]
    assert frame.groupby("granularity")["hardware/total/arrays"].sum().to_dict() == {
        "filter": 20,
        "weight": 10,
    }
    layers = load(output, layers=True)
    assert layers["layer/weights_left"].tolist() == [25, 25, 25]
    (output / "net-000" / RECORD_FILE).write_text("{")
    with pytest.warns(UserWarning, match="can't be read"):
        assert len(load(output)) == 2
