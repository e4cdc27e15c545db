"""A small fixed set of records gives the same CSV bytes and the same figures, today and tomorrow.

`CIMLAB_WRITE_GOLDEN=1` writes the files of golden/ anew, to be looked at and committed.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from cimlab.records.record import RunRecord, content_hash
from cimlab.reporting import parts
from cimlab.reporting.estimates import Estimate
from cimlab.reporting.paper import as_data
from cimlab.reporting.planned import PlannedGrid
from cimlab.reporting.published import Published, read_validation
from cimlab.reporting.report import Report, assemble
from cimlab.reporting.tables.T1_accuracy import accuracy_tables
from tests.reporting.made_up import evidence, grid, run, simulation

GOLDEN = Path(__file__).with_name("golden")
PLAN = PlannedGrid(
    "resnet20", "cifar10", ("weights",),
    {
        "granularity": ("weight", "operation_unit", "filter", "kernel"), "prune.remaining": (0.25, 0.09),
        "seed": (0, 1, 2),
    },
)  # fmt: skip


def small_report() -> Report:
    """Three granularities of four that were planned, one point of one missing, two unit sizes, an ablation."""
    records = [
        record
        for record in grid(("weight", "operation_unit", "filter"), (0.25, 0.09), 3, priced=True)
        if (record.choices["granularity"], record.config["prune"]["remaining"]) != ("filter", 0.09)
    ]
    records.append(run(remaining=0.09, priced=True, geometry={"active_rows": 32}))
    records.append(run(remaining=0.09, priced=True, schedule={"_target_": "x.Gradual", "epochs": 6}))
    records.append(run(remaining=0.09, saliency={"_target_": "x.L1"}))
    simulations = [simulation(bits, device) for bits in (5, None) for device in ("ideal", "stuck_at")]
    readme = Path(__file__).with_name("golden") / "validation.md"
    return assemble(records, simulations, [PLAN], Published.read(), read_validation(readme), [])


@pytest.fixture(scope="module")
def report() -> Report:
    return small_report()


def compare(path: Path, text: str) -> None:
    """A new figure or table is only made until its file is written."""
    if os.environ.get("CIMLAB_WRITE_GOLDEN") == "1":
        path.write_text(text, encoding="utf-8", newline="")
    kept = path.read_bytes() if path.exists() else text.encode()
    assert kept == text.encode(), f"{path.name} changed; look at it, then CIMLAB_WRITE_GOLDEN=1"


def test_every_table_is_the_same_csv_byte_for_byte(report: Report) -> None:
    for table in report.tables:
        compare(GOLDEN / f"{table.name}.csv", table.csv())


def test_every_figure_has_the_same_structure_and_data(report: Report) -> None:
    for chart in report.charts:
        assert chart.spec is not None
        compare(
            GOLDEN / f"{chart.name}.json",
            json.dumps(_rounded(chart.spec), indent=1, ensure_ascii=False) + "\n",
        )


def test_every_golden_file_is_of_a_figure_or_table_that_is_there(report: Report) -> None:
    names = {f"{table.name}.csv" for table in report.tables} | {
        f"{chart.name}.json" for chart in report.charts
    }
    assert {path.name for path in GOLDEN.iterdir()} <= names | {"validation.md"}


def _rounded(value: Any) -> Any:
    """Numbers to nine digits: the last bits of a float are not a figure's structure."""
    match value:
        case dict():
            return {key: _rounded(entry) for key, entry in value.items()}
        case list() | tuple():
            return [_rounded(entry) for entry in value]
        case float():
            return float(f"{value:.9g}")
    return value


def test_the_order_of_the_records_changes_nothing(report: Report) -> None:
    records = grid(("weight", "filter"), (0.25, 0.09), 2, priced=True)
    made = [assemble(given, [], [PLAN], Published.read(), (), []) for given in (records, records[::-1])]
    assert [t.csv() for t in made[0].tables] == [t.csv() for t in made[1].tables]
    assert [c.spec for c in made[0].charts] == [c.spec for c in made[1].charts]


def test_every_network_with_a_curve_gets_its_own_panel_with_its_own_points_and_one_legend() -> None:
    def of(model: str, data: str, records: list[RunRecord]) -> list[RunRecord]:
        names = {"model": model, "data": data}
        return [replace(r, run=content_hash([r.run, names]), choices=r.choices | names) for r in records]

    other = of("cct2_3x2", "cifar10", grid(("weight", "kernel"), (0.25, 0.09), 1))
    easier = of("digits_cnn", "digits", grid(("weight", "kernel"), (0.25, 0.09), 3))
    flat = of("vgg8_half", "cifar10", grid(("weight",), (0.09,), 1))
    records = [*grid(("weight", "filter"), (0.25, 0.09), 2), *other, *easier, *flat]
    made = assemble(records, [], [], Published.read(), (), [])
    chart = next(chart for chart in made.charts if chart.name == "F3")
    assert chart.spec is not None
    assert chart.wide
    assert [panel["title"] for panel in chart.spec["hconcat"]] == [
        "ResNet-20 on CIFAR-10",
        "CCT-2/3x2 on CIFAR-10",
    ]
    assert [panel["transform"][0]["filter"]["equal"] for panel in chart.spec["hconcat"]] == [
        "ResNet-20 on CIFAR-10", "CCT-2/3x2 on CIFAR-10",
    ]  # fmt: skip
    counts = Counter(row["study"] for row in chart.spec["data"]["values"])
    assert counts == {"ResNet-20 on CIFAR-10": 4, "CCT-2/3x2 on CIFAR-10": 4}
    domains = [
        layer["encoding"]["color"]["scale"]["domain"]
        for panel in chart.spec["hconcat"] for layer in panel["layer"] if "color" in layer["encoding"]
    ]  # fmt: skip
    assert all(domain == ["weight", "kernel", "filter"] for domain in domains)
    ElementTree.fromstring(chart.svg())


def test_a_share_that_coarse_units_could_not_meet_is_told_below_the_table() -> None:
    met = run("filter", 0.09)
    coarse = run("balanced_segment", 0.09)
    coarse = replace(coarse, weights={**coarse.weights, "remaining_prunable": 0.125})
    (table,) = accuracy_tables.tables(evidence([met, coarse]))
    assert table.notes[1:] == ("Kept, as units are coarse: balanced segment 12.5 % for 9 %.",)


def test_seeds_that_part_are_told_one_by_one_below_the_table() -> None:
    kept, lost = run("crossbar", 0.09, seed=0), run("crossbar", 0.09, seed=1)
    kept, lost = (
        replace(record, accuracy=record.accuracy | {"retrained": {"test": test}})
        for record, test in ((kept, 0.984), (lost, 0.1))
    )
    (table,) = accuracy_tables.tables(evidence([kept, lost]))
    assert "Seeds more than 10 points apart: crossbar at 9 %: 98.4, 10.0." in table.notes


def test_a_point_that_is_missing_reads_not_run_and_never_blank_or_zero(report: Report) -> None:
    table = report.table("T1a")
    assert table is not None
    shown = {row[0]: row[1:] for row in table.shown()}
    assert shown["filter"][1] == "not run"
    assert shown["filter"][0].startswith("7") or shown["filter"][0].startswith("9")
    assert "Planned and not run: kernel." in table.notes
    work = report.table("T2")
    assert work is not None
    assert {row[3] for row in work.rows} == {"weight", "operation unit", "filter"}
    assert any("not run with masks: kernel, filter at 9 %." in note for note in work.notes)


def test_a_long_study_stands_in_the_paper_at_the_share_that_most_units_were_asked_to_keep() -> None:
    units = ("weight", "row_segment", "column_segment", "operation_unit", "kernel", "channel", "filter")
    shares = [(name, share) for name in units for share in (0.25, 0.09)][
        :-1
    ]  # one unit lacks the second share
    records = [run(name, share, priced=True) for name, share in shares]
    made = assemble(records, [], [], Published.read(), (), [])
    table = made.table("T2")
    assert table is not None
    assert len(table.rows) == 13
    printed = as_data(made)["tables"]["T2"]
    assert [row[3] for row in printed["rows"]] == list(dict.fromkeys(row[3] for row in table.rows))
    assert {row[1] for row in printed["rows"]} == {"25"}
    assert printed["notes"][-1] == "7 of 13 rows; the report and the CSV file have all."
    few = assemble(records[:12], [], [], Published.read(), (), [])
    assert len(as_data(few)["tables"]["T2"]["rows"]) == 12


STEPS: dict[str, Any] = {"prune": {"remaining": 0.09, "allocation": "global", "budget": "steps"}}


@pytest.mark.parametrize(
    ("changes", "told", "others"),
    [
        (STEPS, ["weights", "steps"], 1),
        ({"schedule": {"epochs": 20}}, ["weights, 8 epochs", "weights, 20 epochs"], 0),
        (STEPS | {"schedule": {"epochs": 20}}, ["weights, 8 epochs", "steps, 20 epochs"], 1),
    ],
)
def test_other_budgets_and_longer_retraining_stand_side_by_side_and_are_told_apart(
    changes: dict[str, Any], told: list[str], others: int
) -> None:
    eight: dict[str, Any] = {"schedule": {"epochs": 8}}
    first = run("operation_unit", 0.09, priced=True, **eight)
    records = [first, run("operation_unit", 0.09, priced=True, **(eight | changes))]
    made = assemble(records, [], [], Published.read(), (), [])
    table = made.table("T2")
    assert table is not None
    assert [row[2] for row in table.rows] == told
    assert len(made.numbers["priced"][0]["others"]) == others
    pareto = next(chart for chart in made.charts if chart.name == "F1")
    assert pareto.spec is not None
    assert [row["hollow"] for row in pareto.spec["data"]["values"]] == [False, bool(others)]
    lengths = "budget of weights, 8 epochs or 20 epochs of retraining"
    assert others or pareto.notes[0] == f"ResNet-20 on CIFAR-10, one seed; {lengths}."


def test_a_network_that_compares_too_few_units_gets_no_panel_of_its_own() -> None:
    def of(model: str, names: tuple[str, ...]) -> list[RunRecord]:
        found = (run(name, 0.09, priced=True) for name in names)
        return [
            replace(r, run=content_hash([r.run, model]), choices=r.choices | {"model": model}) for r in found
        ]

    few, several = ("weight", "filter"), ("weight", "operation_unit", "filter")
    records = [*of("resnet20", several), *of("resnet18", few), *of("vgg8_half", several)]
    made = assemble(records, [], [], Published.read(), (), [])
    for name in ("F1", "F2"):
        (drawn,) = (chart.spec for chart in made.charts if chart.name == name)
        assert drawn is not None
        assert {row["network"] for row in drawn["data"]["values"]} == {
            "ResNet-20 on CIFAR-10", "VGG-8 half on CIFAR-10",
        }  # fmt: skip


def test_no_cell_of_any_table_is_empty(report: Report) -> None:
    for table in report.tables:
        assert all(cell.strip() for row in table.shown() for cell in row), table.name


def test_without_records_every_figure_says_what_is_missing() -> None:
    empty = assemble([], [], [], Published.read(), (), [])
    assert [chart.spec for chart in empty.charts] == [None] * len(parts.figures())
    assert all(chart.missing for chart in empty.charts)
    assert {verdict.verdict for verdict in empty.verdicts} == {"not tested"}
    assert len(empty.not_run) >= 9


def test_the_energy_ratio_at_another_converter_price_is_exact(report: Report) -> None:
    """Made-up prices: see cases._cost; at a free converter only the rest counts."""
    table = report.table("T7")
    assert table is not None
    (row,) = (row for row in table.rows if row[2:4] == ("weights", "operation unit"))
    share, rest = 0.25 * 1.2, 4e-6
    support = 4e-8 + 3e-8
    for cell, factor in zip(row[4:], (0.1, 1.0, 10.0), strict=True):
        assert isinstance(cell, Estimate)
        dense = 6e-6 * factor + rest
        assert cell.mean == pytest.approx((share * dense + support) / dense)


def test_what_was_not_priced_is_not_run_rather_than_free() -> None:
    made = assemble(grid(("weight", "filter"), (0.25,), 1), [], [], Published.read(), (), [])
    (energy,) = (chart for chart in made.charts if chart.name == "F7")
    assert energy.spec is None
    table = made.table("T2")
    assert table is not None
    assert table.rows == ()
    assert table.notes == ("no run kept the masks that a price needs.",)


@pytest.mark.parametrize("devices", [("ideal",), ("ideal", "stuck_at")])
def test_f5_says_where_no_device_was_simulated(devices: tuple[str, ...]) -> None:
    simulations = [simulation(5, device) for device in devices]
    made = assemble([], simulations, [], Published.read(), (), [])
    chart = next(chart for chart in made.charts if chart.name == "F5")
    assert ("Device variation: not run." in chart.notes) == (devices == ("ideal",))
