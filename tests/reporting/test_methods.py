"""T8: which methods a study has, and comparisons at equal conditions."""

from dataclasses import replace
from typing import Any

import pytest

from cimlab.records.record import RunRecord
from cimlab.reporting.numbers import numbers
from cimlab.reporting.studies import studies
from cimlab.reporting.tables.T8_methods import methods_table
from tests.reporting.made_up import evidence, run

GRADUAL: dict[str, Any] = {"schedule": {"_target_": "x.Gradual", "epochs": 6, "prune_events": 10}}
HINTON: dict[str, Any] = {"distillation": {"weight": 0.9, "temperature": 4.0}}
GATHER: dict[str, Any] = {"permutation": {"rows": True, "columns": True, "rounds": 8}}
ADMM: dict[str, Any] = {"sparsity": {"share": 0.4, "updates": 8, "first_rho": 0.001, "last_rho": 0.03}}


def per_step(remaining: float) -> dict[str, Any]:
    return {"prune": {"remaining": remaining, "allocation": "steps"}}


def rows(records: list[RunRecord]) -> list[list[str]]:
    (table,) = methods_table.tables(evidence(records))
    return table.shown()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ()),
        (GRADUAL, ("gradual",)),
        ({"schedule": {"_target_": "x.Iterative", "epochs": 6, "prune_rounds": 3}}, ("iterative",)),
        (
            GRADUAL | HINTON | GATHER | ADMM | per_step(0.25),
            ("admm", "distillation", "gradual", "reorder", "per step"),
        ),
    ],
)
def test_records_of_the_first_schema_tell_their_methods(
    changes: dict[str, Any], expected: tuple[str, ...]
) -> None:
    (study,) = studies([run(**changes)])
    assert study.methods == expected


def test_each_method_stands_beside_the_baseline_by_itself_first() -> None:
    records = [run(remaining=0.09, seed=s, **more) for s in (0, 1) for more in ({}, HINTON, HINTON | GATHER)]
    records += [run(remaining=0.09, **per_step(0.09)), run("filter", 0.09), run("channel", 0.5, **GRADUAL)]
    shown = rows(records)
    assert [row[2] for row in shown] == ["one-shot", "distillation", "per step", "distillation + reorder"]
    assert {row[0] for row in shown} == {"operation unit"}  # filters have no method, channels no baseline
    by_label = {row[2]: row for row in shown}
    assert by_label["one-shot"][6] == "0.00 ± 0.00"
    assert by_label["distillation"][6] == "0.00 ± 0.00"  # the made-up loss knows no method
    assert (
        by_label["per step"][6] == "0.00"
    )  # against the one seed that both have, though seeds differ in accuracy
    assert "±" in by_label["distillation"][4]
    assert "±" not in by_label["per step"][4]


def test_other_epochs_are_another_comparison() -> None:
    longer: dict[str, Any] = {"schedule": GRADUAL["schedule"] | {"epochs": 12}}
    assert rows([run(remaining=0.09), run(remaining=0.09, **longer)]) == []


def test_each_network_has_a_table_of_its_own() -> None:
    records = [run(remaining=0.09, **more) for more in ({}, HINTON)]
    others = [replace(r, run=r.run[::-1], choices=r.choices | {"model": "vgg8"}) for r in records]
    titles = [table.title for table in methods_table.tables(evidence([*records, *others]))]
    assert [title.rpartition(": ")[2] for title in titles] == [
        "ResNet-20 on CIFAR-10 (dense 91.50 %, 6 epochs after pruning)",
        "VGG-8 on CIFAR-10 (dense 91.50 %, 6 epochs after pruning)",
    ]


def test_of_networks_with_one_name_the_most_accurate_comes_first_in_a_table_of_its_own() -> None:
    weak = [run(remaining=0.09, **more) for more in ({}, HINTON)]
    longer = [run(remaining=0.09, recipe={"epochs": 200}, **more) for more in ({}, HINTON)]
    strong = [replace(r, accuracy=r.accuracy | {"dense": {"test": 0.95}}) for r in longer]
    tables = methods_table.tables(evidence([*weak, *strong]))
    assert ["dense 95.00 %" in str(table.title) for table in tables] == [True, False]
    told = numbers(evidence([*weak, *strong]))["methods"]
    assert "dense 95.00 %" in told["title"]


def test_the_learning_rate_of_retraining_is_told_among_the_methods() -> None:
    def rate(name: str) -> dict[str, Any]:
        return {"schedule": {"_target_": "x.OneShot", "epochs": 6, "rate": name}}

    restarted, rewound = (HINTON | rate(name) for name in ("restart", "rewind"))
    shown = rows([run(remaining=0.09, **more) for more in (rate("restart"), restarted, rewound)])
    told = [row[2] for row in shown if row[2] != "one-shot"]
    assert told == ["distillation (rate restarted)", "distillation (rate rewound)"]


def test_one_method_with_two_strengths_is_two_rows_that_say_so() -> None:
    weaker: dict[str, Any] = {"distillation": {"weight": 0.5, "temperature": 4.0}}
    shown = rows([run(remaining=0.09, **more) for more in ({}, HINTON, weaker)])
    named = [row[2] for row in shown if row[2].startswith("distillation")]
    assert named == ["distillation (distillation.weight=0.5)", "distillation (distillation.weight=0.9)"]


def test_without_any_method_there_is_no_row() -> None:
    assert rows([run(), run("filter")]) == []


def test_a_method_that_no_list_knows_is_told_apart_and_never_averaged_with_others() -> None:
    """A network whose dense training began on small images once stood as `hinton gather`."""
    smaller: dict[str, Any] = {"resizing": {"first_size": 16}}
    shown = rows([run(remaining=0.09, **more) for more in ({}, HINTON, HINTON | smaller)])
    assert [row[2] for row in shown] == ["one-shot", "distillation", "distillation + resizing"]


def test_records_of_the_second_schema_name_their_methods() -> None:
    settings = {"reorder": {"rows": True}, "my_own": {"strength": 2}}
    (study,) = studies([run(method=settings)])
    assert study.methods == ("my_own", "reorder")
    assert [row[2] for row in rows([run(), run(method=settings)])] == ["one-shot", "my_own + reorder"]


def test_what_took_part_in_the_dense_training_alone_is_no_method_of_pruning() -> None:
    dense_only, both = {"resizing": {"phases": ["dense"]}}, {"resizing": {"phases": ["dense", "retrain"]}}
    assert [run(method=settings).methods for settings in (dense_only, both)] == [(), ("resizing",)]
    reorder = {"reorder": {"phases": ["retrain"]}}
    shown = rows([run(method=dense_only), run(method=dense_only | reorder)])
    assert [row[2] for row in shown] == ["one-shot", "reorder"]


def gained(points: float, **more: Any) -> RunRecord:
    """A run whose retraining ends so many points above the one-shot run's."""
    record = run(remaining=0.09, **more)
    tests = record.accuracy["retrained"]["test"] + points / 100
    return replace(record, accuracy=record.accuracy | {"retrained": {"test": tests}})


def test_sentences_rank_single_methods_and_tell_the_best_together() -> None:
    records = [
        gained(0), gained(0.5, **HINTON), gained(2, **GATHER), gained(-1, **GRADUAL),
        gained(2.5, **(HINTON | GATHER)), gained(1, **(GRADUAL | HINTON)), run("filter", 0.09),
    ]  # fmt: skip
    told = numbers(evidence(records))["methods"]
    assert told["title"] == "ResNet-20 on CIFAR-10 (dense 91.50 %, 6 epochs after pruning)"
    (unit,) = told["units"]
    assert (unit["name"], unit["asked"]) == ("operation unit", "9")
    changes = [(method["name"], method["change"]) for method in unit["single"]]
    assert changes == [("reorder", "+2.00"), ("distillation", "+0.50"), ("gradual", "-1.00")]
    assert unit["together"] == {"name": "distillation + reorder", "change": "+2.50"}


def test_sentences_say_nothing_of_methods_without_a_baseline() -> None:
    assert numbers(evidence([gained(0, **GATHER)]))["methods"] is None


def test_a_figure_of_prices_shows_the_largest_study_of_each_budget_and_leaves_other_methods_to_their_table() -> (
    None
):
    large = [run(name, 0.09, priced=True) for name in ("weight", "filter", "operation_unit")]
    methods = [run(remaining=0.09, priced=True, **more) for more in (HINTON, GATHER)]
    longer = run(remaining=0.09, priced=True, schedule={"_target_": "x.OneShot", "epochs": 20})
    (family,) = evidence([*large, *methods, longer]).priced
    assert [(study.methods, study.settings["schedule.epochs"]) for study in family] == [((), 6), ((), 20)]
