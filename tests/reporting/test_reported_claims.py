"""A claim is judged by its rule, from the records alone: it holds, it does not hold, or it was not tested."""

from dataclasses import replace

import pytest

from cimlab.records.record import RunRecord
from cimlab.reporting.estimates import Estimate
from cimlab.reporting.published import Published
from cimlab.reporting.report import Report, assemble
from cimlab.reporting.studies import accuracy
from tests.reporting.made_up import grid, run


def report(records: list[RunRecord]) -> Report:
    return assemble(records, [], [], Published.read(), (), [])


def verdict(records: list[RunRecord], name: str) -> str:
    return report(records).numbers["claims"][name]["verdict"]


def losing(record: RunRecord, points: float) -> RunRecord:
    test = record.accuracy["dense"]["test"] - points / 100
    return replace(record, accuracy=record.accuracy | {"retrained": {"test": test}})


def at_compression(record: RunRecord, compression: float) -> RunRecord:
    return replace(record, weights=record.weights | {"compression": compression})


@pytest.mark.parametrize(
    ("lost", "compression", "expected"),
    [(0.59, 11.2, "holds"), (0.61, 11.2, "does not hold"), (0.1, 10.9, "does not hold")],
)
def test_the_headline_needs_both_the_compression_and_the_loss(
    lost: float, compression: float, expected: str
) -> None:
    record = at_compression(losing(run("column_segment", 0.09), lost), compression)
    assert verdict([record], "compression") == expected


@pytest.mark.parametrize(("kept", "expected"), [(0.086, "holds"), (0.084, "not tested"), (0.1, "not tested")])
def test_the_headline_takes_a_setting_that_rounds_to_the_claimed_fraction(kept: float, expected: str) -> None:
    record = at_compression(losing(run("column_segment", kept), 0.5), 11.2)
    assert verdict([record], "compression") == expected


def test_quoted_work_stands_beside_the_same_data_and_network_family_only() -> None:
    record = at_compression(losing(run("column_segment", 0.09), 0.5), 11.2)
    other = replace(record, run="other", choices=record.choices | {"model": "vgg8"})
    arrays = 1 / record.hardware["ratio"]["arrays"]
    for found, said in (
        (record, f"{arrays:.1f}x (arrays; ResNet-20, column segment, in place, 0.50 points)"),
        (other, "arrays: none of ours is alike (network ResNet-18, CIFAR-10)"),
    ):
        table = report([found]).table("T4")
        assert table is not None
        assert {row[0]: row[-1] for row in table.rows}["PIM-Prune 2020"] == said


def test_the_headline_is_not_tested_by_a_unit_that_no_crossbar_skips() -> None:
    assert verdict([losing(run("weight", 0.09), 0.0)], "compression") == "not tested"


def test_a_headline_from_another_recipe_counts_and_says_how_many_were_tried() -> None:
    records = grid(("column_segment", "operation_unit", "filter"), (0.25, 0.09), 1)
    better = at_compression(losing(run("operation_unit", 0.09, recipe={"epochs": 99}), 0.3), 11.5)
    made = report([*records, better])
    assert made.numbers["headline"]["loss"] == "0.30"
    assert made.numbers["headline"]["candidates"] == "3"
    assert made.numbers["claims"]["compression"]["verdict"] == "holds"


def test_fine_beats_coarse_only_if_it_loses_less() -> None:
    fine, coarse = run("operation_unit", 0.09), run("filter", 0.09)
    assert verdict([losing(fine, 1.0), losing(coarse, 2.0)], "fine") == "holds"
    assert verdict([losing(fine, 2.0), losing(coarse, 1.0)], "fine") == "does not hold"
    assert verdict([fine], "fine") == "not tested"


def test_the_same_rule_on_a_stronger_network_with_prices_stands_beside_the_verdict_and_leaves_it() -> None:
    first = grid(("operation_unit", "filter"), (0.25, 0.09), 1)
    strong = [run(name, 0.09, priced=True, recipe={"epochs": 99}) for name in ("operation_unit", "filter")]
    losses = {"operation_unit": 4.0, "filter": 2.0}
    strong = [losing(record, losses[record.choices["granularity"]]) for record in strong]
    claim = report([*first, *strong]).numbers["claims"]["fine"]
    assert claim["verdict"] == "holds"
    assert claim["evidence"].count("one seed") == 2
    assert "By the same rule it does not hold: operation unit pruning loses 4.00 points" in claim["evidence"]


def test_structured_is_compared_with_single_weights() -> None:
    free, coarse = run("weight", 0.09), run("channel", 0.09)
    assert verdict([losing(free, 1.0), losing(coarse, 2.0)], "coarse") == "holds"
    assert verdict([losing(free, 2.0), losing(coarse, 1.0)], "coarse") == "does not hold"


def test_unstructured_pruning_is_judged_by_the_steps_it_saves() -> None:
    idle = run("weight", 0.09)
    assert verdict([idle], "unstructured") == "holds"
    ratio = idle.hardware["ratio"] | {"steps": 0.5}
    assert (
        verdict([replace(idle, hardware=idle.hardware | {"ratio": ratio})], "unstructured") == "does not hold"
    )


def test_overhead_and_performance_wait_for_prices() -> None:
    assert verdict([run("operation_unit", 0.09)], "overhead") == "not tested"
    priced = run("operation_unit", 0.09, priced=True)
    share = 100 * 7e-8 / priced.hardware["cost"]["total"]["energy_j"]
    assert verdict([priced], "overhead") == ("holds" if share <= 5 else "does not hold")
    assert verdict([priced], "performance") == "holds"


def test_the_hardware_claims_are_judged_by_the_runs_with_prices_and_a_budget_of_weights() -> None:
    better = run("column_segment", 0.09, recipe={"epochs": 99})  # no price, less loss
    made = report([losing(better, 0.0), losing(run("operation_unit", 0.09, priced=True), 2.0)])
    assert made.numbers["claims"]["performance"]["verdict"] == "holds"
    assert (
        "operation unit pruning, which loses 2.00 points" in made.numbers["claims"]["performance"]["evidence"]
    )
    other = {"remaining": 0.09, "allocation": "global", "budget": "steps"}
    assert verdict([run("operation_unit", 0.09, priced=True, prune=other)], "performance") == "not tested"


def test_one_seed_is_said_to_be_one_seed() -> None:
    assert "one seed" in report([run("column_segment", 0.09)]).numbers["claims"]["compression"]["evidence"]
    three = report(grid(("column_segment",), (0.09,), 3)).numbers["claims"]["compression"]["evidence"]
    assert "3 seeds" in three


def test_records_of_different_code_machines_or_with_changes_are_reported() -> None:
    mixed = [
        replace(run(), code={"version": "0.1.0", "git_commit": "a" * 40, "git_changed": True}),
        replace(run(seed=1), code={"version": "0.1.0", "git_commit": "b" * 40, "git_changed": False}),
    ]
    said = " ".join(report(mixed).problems)
    assert "Records of 2 code versions are mixed" in said
    listed = report(mixed).table("provenance")
    assert listed is not None
    ((schema, _, _, commits, runs, *_),) = listed.rows  # one machine
    assert (schema, commits, runs) == (mixed[0].schema, 2, 2)
    assert "1 runs came from a checkout with uncommitted changes." in said
    assert report([run(), run(seed=1)]).problems == ()


def test_the_compression_is_told_of_the_nearest_point_and_of_the_smallest_within_the_loss() -> None:
    near = at_compression(losing(run("column_segment", 0.09), 0.3), 11.1)
    small = at_compression(losing(run("column_segment", 0.05), 0.5), 20)
    (told,) = [v.evidence for v in report([near, small]).verdicts if v.name == "compression"]
    assert told.startswith("column segment pruning at 11.10x loses 0.30 points")
    assert "; column segment pruning at 20.00x loses 0.50 points" in told


def test_a_column_of_accuracies_has_the_dense_networks_of_its_own_seeds() -> None:
    records = [run("filter", 0.25), run("filter", 0.09), run("filter", 0.09, seed=1)]
    table = report(records).table("T1a")
    assert table is not None
    dense, _ = table.rows
    first, second = (accuracy(record, "dense") for record in records[1:])
    assert dense[1:] == (Estimate((first,)), Estimate((first, second)))


def test_a_change_of_method_is_told_over_the_seeds_that_both_have() -> None:
    main = [run("filter", kept, seed=seed) for kept in (0.25, 0.09) for seed in (0, 1)]
    other = losing(run("filter", 0.25, seed=1, schedule={"epochs": 9}), 1.0)
    table = report([*main, other]).table("T5")
    assert table is not None
    (row,) = table.rows
    expected = accuracy(other) - accuracy(main[1])
    assert row[-1] == Estimate((expected,))


def test_a_claim_names_the_dense_networks_that_its_losses_are_from() -> None:
    better = run("filter", 0.25, seed=1)
    better = replace(better, accuracy=better.accuracy | {"dense": {"test": 0.97}})
    records = [run("weight", 0.25), run("filter", 0.25), better]
    evidence = report(records).numbers["claims"]["unstructured"]["evidence"]
    alone = f"{accuracy(run('weight', 0.25), 'dense'):.2f}"
    assert f"dense {alone} %; one seed" in evidence


def test_what_scatters_more_than_it_changes_keeps_the_accuracy() -> None:
    runs = [
        at_compression(losing(run("column_segment", 0.09, seed), lost), 11.2)
        for seed, lost in enumerate((-0.2, 0.1))
    ]
    told = report(runs).numbers["claims"]["compression"]["evidence"]
    assert "column segment pruning at 11.20x keeps the accuracy, +0.05 ± 0.21 points (" in told
