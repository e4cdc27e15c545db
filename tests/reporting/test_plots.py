"""Plots that commands leave: in the format of their name, every run a point, means over like runs alone."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from cimlab.pruning.granularities import granularities
from cimlab.records.record import RunRecord
from cimlab.reporting.chart import save, svg
from cimlab.reporting.figures.F4_speed import imbalance
from cimlab.reporting.looks import look
from cimlab.reporting.plots import GROUPS, accuracy_plot, components_plot, front_plot, placement_plot
from cimlab.reporting.sweep import SHOWN, far_apart, points_plot, points_table, unequal_areas
from tests.records.examples import example
from tests.reporting.made_up import run

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def records() -> list[RunRecord]:
    return [
        example(granularity, remaining, seed)
        for granularity in ("weight", "operation_unit")
        for remaining in (0.25, 0.1)
        for seed in (0, 1)
    ]


@pytest.mark.parametrize(
    ("name", "start"), [("a.png", b"\x89PNG"), ("deep/a.svg", b"<svg"), ("a.pdf", b"%PDF")]
)
def test_a_plot_is_written_in_the_format_of_its_name(
    tmp_path: Path, records: list[RunRecord], name: str, start: bytes
) -> None:
    path = save(accuracy_plot(records), tmp_path / name)
    assert path == tmp_path / name
    assert path.read_bytes().startswith(start)


def test_words_are_drawn_in_a_picture_too(records: list[RunRecord], tmp_path: Path) -> None:
    spec = accuracy_plot(records)
    without = json.loads(json.dumps(spec).replace("array steps left", ""))
    pictures = [save(own, tmp_path / f"{i}.png").read_bytes() for i, own in enumerate((spec, without))]
    assert pictures[0] != pictures[1]


def marks(spec: dict[str, Any], kind: str) -> list[ElementTree.Element]:
    """What is drawn as one kind of mark."""
    root = ElementTree.fromstring(svg(spec))
    return [node for node in root.iter() if node.get("aria-roledescription") == kind]


def test_every_run_is_a_point_and_every_granularity_a_line_in_each_panel(records: list[RunRecord]) -> None:
    spec = accuracy_plot(records)
    assert len(marks(spec, "point")) == 2 * len(records)
    assert len(marks(spec, "line mark")) == 2 * 2
    assert {row["accuracy"] for row in spec["data"]["values"]} == {
        r.accuracy["retrained"]["test"] for r in records
    }


def test_the_lines_of_each_panel_go_through_its_own_points(records: list[RunRecord]) -> None:
    """Vega-Lite joins aggregates of one name, and once drew the weights that are left over the steps that are left."""
    left, steps = (
        {node.get("d") for node in marks(own, "line mark")} for own in single_panels(accuracy_plot(records))
    )
    both = [node.get("d") for node in marks(accuracy_plot(records), "line mark")]
    assert set(both[:2]) == left
    assert set(both[2:]) == steps
    assert left != steps


def single_panels(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Each panel of a figure by itself."""
    return [{"data": spec["data"], **panel} for panel in spec["hconcat"]]


@pytest.mark.parametrize(
    "changes",
    [
        (
            {"distillation": {"weight": 0.9}},
            {"distillation": {"weight": 0.9}, "resizing": {"first_size": 16}},
        ),
        ({"optimizer": {"lr": 0.1}}, {"optimizer": {"lr": 0.4}}),
    ],
)
def test_runs_with_other_settings_are_never_averaged_together(changes: tuple[dict[str, Any], ...]) -> None:
    made = [run(remaining=left, **more) for left in (0.25, 0.1) for more in changes]
    spec = accuracy_plot(made)
    assert len({row["study"] for row in spec["data"]["values"]}) == 2
    assert "study" in GROUPS
    assert len(marks(spec, "line mark")) == 2 * 2


def test_every_granularity_looks_different_from_every_other() -> None:
    looks = [look(name) for name in granularities()]
    assert len({(own.colour, own.mark, own.dashed) for own in looks}) == len(looks)
    assert len({own.place for own in looks}) == len(looks)
    assert look("operation unit") == granularities()["operation_unit"].look


def test_parameters_of_one_granularity_are_told_apart_and_others_keep_their_look() -> None:
    sizes = [{"_target_": "Block", "rows": rows, "cols": 16} for rows in (4, 8, 16)]
    blocks = [(run("block", left), size) for size in sizes for left in (0.25, 0.1)]
    made = [replace(record, config=record.config | {"granularity": size}) for record, size in blocks]
    spec = accuracy_plot([*made, run("weight", 0.25), run("weight", 0.1)])
    drawn = {node.get("stroke") for node in marks(spec, "line mark")}
    assert len(drawn) == 4
    assert {look("weight").colour, look("block").colour} <= {str(colour).upper() for colour in drawn}


def test_a_granularity_of_somebody_elses_package_is_drawn_last_and_in_grey() -> None:
    assert look("my own").colour == "#7F7F7F"
    assert look("my own").place > max(kind.look.place for kind in granularities().values())


def test_arrays_that_are_left_out_are_no_imbalance_and_arrays_that_wait_are() -> None:
    """Two layers: one on one array where dense needs two, one on two of which the busier does 3 of 4 steps."""
    made = run()
    array = {"groups": 1, "rows": 256, "cols": 16, "dense_steps": 4}
    layers = {
        "packed": {**array, "arrays": 1, "steps": 2, "critical_steps": 2},
        "waits": {**array, "arrays": 2, "steps": 4, "critical_steps": 3},
        "nothing left": {**array, "arrays": 0, "steps": 0, "critical_steps": 0},
    }
    assert imbalance(replace(made, hardware=made.hardware | {"layers": layers})) == (2 + 3) / (2 + 4 / 2)


def test_no_record_is_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match="no records"):
        accuracy_plot([])


def test_a_front_is_a_line_through_the_best_trials() -> None:
    spec = front_plot([(1.0, 2.0), (2.0, 3.0), (3.0, 2.5)], [(1.0, 2.0), (2.0, 3.0)], ("steps", "accuracy"))
    assert len(marks(spec, "point")) == 5
    assert len(marks(spec, "line mark")) == 1


def test_bars_of_components_are_as_high_as_their_total() -> None:
    parts = {"adc": 6e-6, "cells": 3e-6, "leakage": 1e-9}
    layer = {"layer": "conv1", **{f"energy_j/{name}": joules for name, joules in parts.items()}}
    summary = {
        "technology": "t", "adc_price": "p", "adc_bits": 5, "energy_j": parts, "dense_energy_j": parts,
        "area_m2": {"adc": 1e-7}, "dense_area_m2": {"adc": 1e-7}, "layers": [layer],
        "total": {"energy_j": sum(parts.values()), "area_m2": 1e-7},
    }  # fmt: skip
    spec = components_plot(summary)
    for panel, total in zip(spec["hconcat"], (9.001, 9.001, 0.1), strict=True):
        heights: dict[str, float] = {}
        for row in panel["data"]["values"]:
            heights[row["bar"]] = heights.get(row["bar"], 0.0) + row["amount"]
        assert all(height == pytest.approx(total) for height in heights.values())
        assert {row["part"] for row in panel["data"]["values"]} <= {"ADC", "cells", "others"}
    assert svg(spec)


@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (700, 1000)])
def test_every_step_of_a_layer_is_drawn_whatever_its_size(shape: tuple[int, int], tmp_path: Path) -> None:
    executed = np.random.default_rng(0).random(shape) < 0.5
    path = save(placement_plot(executed, 8, 16, "conv1"), tmp_path / "placement.png")
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("named", "shown"),
    [
        ({"a-12345678": "weight", "b-12345678": "operation_unit"}, {"weight", "operation unit"}),
        (
            {"a-12345678": "filter", "b-12345678": "filter"},
            {"a", "b"},
        ),  # a hash only where it tells them apart
        ({"a-12345678": "filter", "a-9abcdef0": "filter"}, {"a-12345678", "a-9abcdef0"}),
        ({"a-12345678": "filter"}, {""}),
    ],
)
def test_networks_on_accelerators_are_told_apart_by_granularity_or_name(
    named: dict[str, str], shown: set[str]
) -> None:
    total = {"energy_j": 1e-6, "images_per_s": 1.0}
    rows = [
        {"name": name, "granularity": unit, "accuracy": 0.9, "axes": {}, "total": total}
        for name, unit in named.items()
    ]
    drawn = points_plot(rows, {0})
    assert {value["series"] for value in drawn["data"]["values"]} == shown


def test_a_difference_of_a_tenth_of_a_point_does_not_fill_a_plot() -> None:
    records = [
        replace(
            run(remaining=left),
            accuracy={phase: {"test": 0.9 + left / 100} for phase in ("dense", "retrained")},
        )
        for left in (0.25, 0.15)
    ]
    drawn = accuracy_plot(records)["hconcat"][0]["layer"][2]["encoding"]["y"]["scale"]["domain"]
    assert 0.02 < drawn[1] - drawn[0] < 0.035


def priced(technology: str, granularity: str, adc_j: float) -> dict[str, Any]:
    """A point of a sweep as `cimlab map -m` keeps it: cells take 1 nJ, the ADC what is given."""
    total = {"energy_j": adc_j + 1e-9, "images_per_s": 1e3, "area_m2": 1e-6}
    parts = {
        "energy_j": {"cells": 1e-9, "adc": adc_j},
        "area_m2": {"adc": 1e-6},
        "images_per_s": {"step": 1e-3},
    }
    dense = {name: 2 * value for name, value in total.items()} | {
        "energy_j": {"a": 1e-3, "b": 2e-3}[technology]
    }
    return {
        "name": "net", "granularity": granularity, "axes": {"technology": technology, "granularity": granularity},
        "accuracy": None, "technology": technology, "adc_price": "x", "adc_bits": 8, "total": total, "dense": dense,
        "ratio": dict.fromkeys(total, 0.5), "parts": parts, "notes": [],
    }  # fmt: skip


def test_technologies_far_apart_are_told_with_the_component_that_makes_it() -> None:
    rows = [priced(t, g, {"a": 3.1e-6, "b": 24e-9}[t]) for t in "ab" for g in ("filter", "weight")]
    (line,) = far_apart(rows)
    assert line == (
        "energy per image differs by a factor of up to 124 between choices of technology, above all by the ADC: "
        "3.1 µJ with a, 0.024 µJ with b"
    )
    assert far_apart(rows[:2]) == []


def test_chips_of_unequal_area_are_told_where_their_throughputs_stand_side_by_side() -> None:
    rows = [priced("a", "filter", 1e-6), priced("a", "weight", 1e-6)]
    assert unequal_areas(rows) == []
    rows[1] = rows[1] | {"total": rows[1]["total"] | {"area_m2": 3 * rows[0]["total"]["area_m2"]}}
    (line,) = unequal_areas(rows)
    assert line.startswith("areas of these chips differ by a factor of up to 3:")


def test_a_sweep_shows_a_screenful_and_each_dense_network_that_points_share() -> None:
    rows = [priced(t, f"unit{n}", 1e-6 * (n + 1)) for t in "ab" for n in range(SHOWN)]
    table = points_table(rows, {0})
    assert [(row[0], *row[1:3]) for row in table.rows[:3]] == [
        ("dense", "a", ""),
        ("dense", "b", ""),
        ("*", "a", "unit0"),
    ]
    assert len(table.rows) == 2 + SHOWN
    assert f"the first {SHOWN} shown" in (table.title or "")
    assert len(points_table(rows[:SHOWN], {0}).rows) == 1 + SHOWN
    assert len(points_table([rows[0], rows[-1]], {0}).rows) == 2  # each has its own: the ratio says as much
