"""Only runs that differ in granularity, weights kept and seed are compared; everything else sets them apart."""

from dataclasses import replace
from math import sqrt
from typing import Any

import pytest

from cimlab.records.record import RunRecord
from cimlab.reporting.estimates import Estimate
from cimlab.reporting.figures.F8_unit_size import unit_size_figure
from cimlab.reporting.looks import finer_and_skipped
from cimlab.reporting.published import Published
from cimlab.reporting.report import assemble
from cimlab.reporting.studies import (
    Study,
    best,
    differences,
    granularity,
    latest,
    main_studies,
    studies,
)  # fmt: skip
from cimlab.reporting.tables.T5_ablation import ablation_table
from tests.reporting.made_up import evidence, grid, run


def one(found: list[Study]) -> Study:
    (study,) = found
    return study


def test_seeds_of_a_point_stand_together() -> None:
    study = one(studies(grid(("weight", "filter"), (0.25, 0.1), 3)))
    assert {point: len(runs) for point, runs in study.points.items()} == dict.fromkeys(
        [("weight", 0.25), ("weight", 0.1), ("filter", 0.25), ("filter", 0.1)], 3
    )
    assert study.seeds == 3


@pytest.mark.parametrize(
    "change",
    [
        {"recipe": {"epochs": 13}},
        {"schedule": {"_target_": "x.Gradual", "epochs": 6}},
        {"saliency": {"_target_": "x.L1"}},
        {"data": {"batch_size": 128}},
        {"trainer": {"precision": "32-true"}},
        {"technology": {"name": "other"}},
        {"checkpoint": "elsewhere/network.pt"},
    ],
)
def test_a_setting_that_shapes_accuracy_or_cost_makes_another_study(change: dict) -> None:
    assert len(studies([run(), run(**change)])) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"paths": {"data_dir": "elsewhere"}},
        {"tracker": {"name": "none"}},
        {"trainer": {"precision": "bf16-mixed", "threads": 7}},
        {"experiment": {"question": "another"}},
    ],
)
def test_a_setting_that_changes_no_number_does_not(change: dict) -> None:
    assert len(studies([run(), run(seed=1, **change)])) == 1


def later(**changes: Any) -> RunRecord:
    """A run of the second schema, which says what of its settings did not count."""
    record = run(**changes)
    uncounted = ["paths", "tracker", "technology", "geometry.adc_bits", "chip"]
    choices = record.choices | {"technology": "isaac32", "adc_price": "sar"} | changes.get("choices", {})
    return replace(record, schema=2, uncounted=uncounted, choices=choices, sources=changes.get("sources", {}))


@pytest.mark.parametrize(
    ("changes", "number"),
    [
        ({"paths": {"data_dir": "elsewhere"}}, 1),
        ({"technology": {"cells": {"energy_j": 2.0}}}, 1),  # whose numbers are today's
        ({"geometry": {"adc_bits": 4}}, 2),
        ({"chip": {"batch": 4}}, 2),
        ({"choices": {"technology": "neurosim22_rram"}}, 2),
        ({"sources": {"mynet.py": "0" * 64}}, 2),
        ({"a_new_setting": 1}, 2),
    ],
)
def test_later_records_say_what_sets_them_apart_and_what_prices_them_does_too(
    changes: dict[str, Any], number: int
) -> None:
    assert len(studies([later(), later(seed=1, **changes)])) == number


def test_seeds_that_start_from_checkpoints_of_their_own_stand_together() -> None:
    assert len(studies([run(seed=seed, checkpoint=f"{seed}/network.pt") for seed in range(3)])) == 1


def test_the_geometry_sets_studies_apart_and_is_what_differs() -> None:
    wide, narrow = studies([run(), run(geometry={"active_rows": 8})])
    assert set(differences(wide, narrow)) == {"geometry.active_rows"}


def test_a_granularity_names_its_parameters() -> None:
    assert granularity(run()) == "operation unit"
    block = run("block")
    block = replace(block, config=block.config | {"granularity": {"_target_": "x", "rows": 9, "cols": 8}})
    assert granularity(block) == "block (rows=9, cols=8)"


def test_a_run_that_was_made_again_counts_once_and_as_the_newest() -> None:
    old = run()
    new = replace(
        old, created="2027-01-01T00:00:00+00:00", accuracy=old.accuracy | {"retrained": {"test": 0.5}}
    )
    kept, notes = latest([new, old, run(seed=1)])
    assert new in kept
    assert old not in kept
    assert len(kept) == 2
    assert notes == ["1 records of runs that were made again are passed over."]


def test_dense_networks_of_one_seed_that_came_out_apart_are_told_from_lowest_to_highest() -> None:
    def trained(dense: float, remaining: float, seed: int = 0) -> RunRecord:
        made = run(remaining=remaining, seed=seed)
        return replace(made, accuracy=made.accuracy | {"dense": {"test": dense}})

    def told(*records: RunRecord) -> tuple[float, str]:
        (study,) = studies(records)
        return round(study.dense.mean, 4), study.dense_told

    first = trained(0.91, 0.25)
    assert told(first, trained(0.91, 0.5)) == (91.0, "91.00")
    assert told(first, trained(0.92, 0.5)) == (91.5, "91.00 to 92.00")
    assert told(first, trained(0.92, 0.5), trained(0.90, 0.25, seed=1)) == (90.75, "90.75")


def test_of_a_network_the_study_with_most_points_is_the_main_one() -> None:
    found = studies([*grid(("weight", "filter"), (0.25,), 1), run(recipe={"epochs": 1})])
    assert len(main_studies(found)) == 1
    assert len(main_studies(found)[0].points) == 2


def test_an_interval_is_students_and_needs_three_values() -> None:
    three = Estimate((1.0, 2.0, 3.0))
    assert three.half_width == pytest.approx(4.302652729911275 / sqrt(3))  # t(0.975, 2) x 1 / sqrt 3
    assert Estimate((1.0, 2.0)).half_width is None
    assert Estimate((1.0,)).spread is None
    assert Estimate.of([]) is None


def test_the_best_is_found_among_points_that_were_run() -> None:
    """Loss is harm x 0.05 / remaining: 0.6 points at 0.25 for filters (6.4 x 0.05 / 0.25 = 1.28) is out of reach."""
    study = one(studies(grid(("column_segment", "operation_unit", "filter"), (0.5, 0.25, 0.09), 1)))
    found = best(study, finer_and_skipped, 0.09)
    assert found is not None
    assert found[0] == "column segment"
    assert found[1].mean == pytest.approx(1.6 * 0.05 / 0.09)
    assert best(study, {"row segment"}.__contains__, 0.09) is None


def test_an_ablation_names_what_changed_and_leaves_geometries_to_their_figure() -> None:
    records = [*grid(("operation_unit", "filter"), (0.09,), 1), run(remaining=0.09, geometry={"active_rows": 8}),
               run(remaining=0.09, schedule={"_target_": "x.OneShot", "epochs": 12}, saliency={"_target_": "x.L1"}),
               run(remaining=0.09, schedule={"_target_": "x.Gradual", "epochs": 6})]  # fmt: skip
    (table,) = ablation_table.tables(evidence(records))
    (row,) = table.shown()  # gradual pruning is for T8
    assert row[3] == "saliency=L1, not L2; schedule.epochs=12, not 6"


def test_sizes_of_the_operation_unit_are_drawn_on_the_hardest_data() -> None:
    def sizes(data: str, rows: tuple[int, ...]) -> list[RunRecord]:
        made = [run(remaining=0.09, priced=True, geometry={"active_rows": n}) for n in rows]
        return [replace(record, choices=record.choices | {"data": data}) for record in made]

    (chart,) = unit_size_figure.charts(
        evidence([*sizes("digits", (4, 8, 16, 32)), *sizes("cifar10", (8, 16))])
    )
    assert chart.notes == (
        "ResNet-20 on CIFAR-10 (dense 91.50 %, 6 epochs after pruning); operation unit, one-shot, asked for 9 % of the "
        "weights of each size's dense network; seeds per point: 1.",
        "Of the dense network's energy, all included, 11 to 11 % is left.",
        "Converters have 5 bits at 8 rows, 6 bits at 16 rows.",
    )


def test_a_report_says_which_runs_its_figures_leave_out() -> None:
    own = run("weight", 0.09, priced=True)
    own = replace(own, run="other", choices=own.choices | {"model": "mine", "data": "photos"})
    made = assemble([run("weight", 0.09, priced=True), own], [], [], Published.read(), (), [])
    assert made.summary.startswith("2 runs at 2 points")
    assert "ResNet-20 on CIFAR-10; mine on photos; granularities: 1." in made.summary
    (line,) = (line for line in made.left_out if line.startswith("Not in "))
    assert "F3, F4, F6, F7, T2, T7, T9: mine on photos (1 run)." in line
    alone = assemble([own], [], [], Published.read(), (), [])
    assert not alone.left_out
    unjudged = assemble([run("kernel", 0.09)], [], [], Published.read(), (), [])
    assert "Claims" not in unjudged.summary
    assert not {"T3", "T4", "claims"} & {table.name for table in unjudged.shown_tables}


def test_a_network_that_compares_units_leads_before_a_more_accurate_one_that_does_not() -> None:
    units = [run(name, 0.09, priced=True) for name in ("weight", "filter", "operation_unit")]
    alone = run("operation_unit", 0.09, priced=True)
    alone = replace(alone, run="f" * 64, choices=alone.choices | {"model": "vgg8"})
    alone = replace(alone, accuracy=alone.accuracy | {"dense": {"test": 0.95}})
    assert [family[0].model for family in evidence([alone, *units]).priced] == ["resnet20", "vgg8"]
    assert [family[0].model for family in evidence([alone, *units[:2]]).priced] == ["vgg8", "resnet20"]


def test_a_unit_that_was_not_run_at_a_share_stands_with_its_nearest() -> None:
    study = one(
        studies(
            [
                *grid(("weight",), (0.5, 0.085), 1),
                run("row_segment", 0.15),
                *grid(("filter",), (0.04, 0.02), 1),
                run("kernel", 0.3),  # too far from the others
            ]
        )
    )
    assert study.reference == 0.085
    assert study.at(study.reference) == [("weight", 0.085), ("row segment", 0.15), ("filter", 0.04)]
