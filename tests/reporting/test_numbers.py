"""Sentences of the paper that state a result are chosen by what the records say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cimlab.records.record import RunRecord
from cimlab.reporting.published import Published
from cimlab.reporting.report import assemble
from tests.reporting.made_up import CONFIG, run


def numbers(*records: RunRecord) -> dict[str, Any]:
    return assemble(records, [], [], Published.read(), (), []).numbers


def losing(record: RunRecord, points: float) -> RunRecord:
    test = record.accuracy["dense"]["test"] - points / 100
    return replace(record, accuracy=record.accuracy | {"retrained": {"test": test}})


def from_dense(record: RunRecord, percent: float) -> RunRecord:
    return replace(record, accuracy=record.accuracy | {"dense": {"test": percent / 100}})


def on_chip(record: RunRecord, area: float) -> RunRecord:
    return replace(record, config=record.config | {"chip": {"area_over_dense": area}})


def test_converters_are_the_largest_part_only_where_they_are() -> None:
    record = run("operation_unit", 0.09, priced=True)
    assert numbers(record)["bars"] == {"all": "2", "converters": "2"}
    cost = record.hardware["cost"]
    dear = cost | {"energy_j": cost["energy_j"] | {"index_memory": 1.0}}
    other = replace(record, hardware=record.hardware | {"cost": dear})
    assert numbers(other)["bars"] == {"all": "2", "converters": "1"}


def test_the_area_at_which_throughput_is_told_is_the_chips_and_above() -> None:
    made = numbers(on_chip(run("operation_unit", 0.09, priced=True), 2.0))["area"]
    assert (made["first"], made["from"], made["to"]) == ("9.3", "2", "2")
    assert not made["tight"]  # the made-up curve has one ratio everywhere
    assert numbers(run("operation_unit", 0.09, priced=True))["area"] is None


def test_a_dense_network_that_was_trained_longer_and_loses_more_is_told_of() -> None:
    recipe = CONFIG["recipe"]
    short = losing(from_dense(run("column_segment", 0.09), 89.0), 0.6)
    long = run("column_segment", 0.09, recipe=recipe | {"epochs": 99}, distillation={"temperature": 4.0})
    told = numbers(short, losing(from_dense(long, 91.5), 2.7))["flattered"]
    assert (told["short"]["loss"], told["long"]["loss"]) == ("0.60", "2.70")
    assert numbers(short, losing(from_dense(long, 91.5), 0.5))["flattered"] is None
    assert numbers(short, losing(from_dense(long, 88.0), 2.7))["flattered"] is None


def test_time_is_the_busiest_arrays_where_they_stay_and_latency_where_they_are_filled_anew() -> None:
    stays = run("operation_unit", 0.25, priced=True)  # its steps: 0.3 of dense, its busiest array's: 0.375
    moved = replace(stays, hardware=stays.hardware | {"mapping": {"placement": "compacted"}})
    unpriced = replace(moved, hardware={k: v for k, v in moved.hardware.items() if k != "cost"})
    told = [numbers(record)["main"]["fine"] for record in (stays, moved, unpriced)]
    assert [(own["time_saved"], own["time_of"]) for own in told] == [
        ("62.5", "the busiest arrays' time"), ("70.0", "latency"), (None, "latency"),
    ]  # fmt: skip


def costing(record: RunRecord, **totals: float) -> RunRecord:
    cost = record.hardware["cost"]
    return replace(record, hardware=record.hardware | {"cost": cost | {"total": cost["total"] | totals}})


def test_one_size_of_the_operation_unit_is_best_at_all_or_not() -> None:
    small, large = (
        losing(run(remaining=0.09, priced=True, geometry={"active_rows": rows}), points)
        for rows, points in ((8, 1.0), (16, 2.0))
    )
    told = numbers(small, large)["unit_size"]
    assert (told["loss"]["name"], told["loss"]["points"], told["asked"]) == (
        "8 × 2",
        "1.00",
        "9 % of the weights",
    )
    assert numbers(losing(small, 3.0), large)["unit_size"]["loss"]["name"] == "16 × 2"
    cheap = costing(large, energy_j=1e-6, images_per_s=9e9)
    told = numbers(small, cheap)["unit_size"]
    assert [told[kind]["name"] for kind in ("loss", "energy", "rate")] == ["8 × 2", "16 × 2", "16 × 2"]
    assert (told["energy"]["energy"], told["energy"]["points"], told["same"]) == ("1", "2.00", False)
    assert numbers(losing(small, 3.0), cheap)["unit_size"]["same"]
    assert numbers(small)["unit_size"] is None


def test_the_headline_is_alone_only_where_no_other_unit_was_run_on_its_network() -> None:
    best = losing(run("column_segment", 0.09), 0.1)
    assert numbers(best)["headline"]["alone"]
    assert not numbers(best, losing(run("operation_unit", 0.09), 0.2))["headline"]["alone"]
    smaller = losing(run("column_segment", 0.09, seed=1), 0.2)
    smaller = replace(
        smaller,
        choices=smaller.choices | {"model": "vgg8"},
        weights=smaller.weights | {"total": best.weights["total"] - 1},
    )
    told = numbers(best, smaller)["headline"]
    assert (told["alone"], told["others"]) == (True, "1")


def test_runs_are_counted_by_data() -> None:
    digits = replace(run(), run="d" * 64, choices={**run().choices, "data": "digits"})
    assert numbers(run(), run(seed=1), digits)["records"]["by_data"] == [
        {"data": "CIFAR-10", "runs": "2"},
        {"data": "digits", "runs": "1"},
    ]


def test_what_other_units_give_stands_beside_the_claim_on_energy_and_throughput() -> None:
    units = [run("weight", 0.09, priced=True), losing(run("column_segment", 0.09, priced=True), 0.1)]
    claim = numbers(*units)["claims"]["performance"]
    assert claim["verdict"] == "holds"
    assert claim["evidence"].endswith("By the same rule it does not hold for weight pruning (1.01 and 1.00)")
