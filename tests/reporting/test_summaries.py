"""Golden tables: what is printed for a small fixed set of records, cell by cell."""

from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from cimlab.reporting.hardware import area_curve_table
from cimlab.reporting.simulation import SPARED, layer_table, simulation_table
from cimlab.reporting.summaries import comparison_table, percent, run_table, runs_table
from cimlab.reporting.table import Column, Table
from tests.records.examples import example
from tests.reporting.made_up import run, simulation


def rows(table: Table) -> list[list[str]]:
    return table.shown()


def headings(table: Table) -> list[str]:
    return [column.label for column in table.columns]


def test_in_the_terminal_text_is_never_markup(capsys: pytest.CaptureFixture[str]) -> None:
    Console(width=100).print(runs_table([{"name": "[red]x[/red]", "seed": 3}], ("name", "seed")))
    assert "[red]x[/red]" in capsys.readouterr().out


def test_a_cell_of_markdown_is_text_and_no_link() -> None:
    made = Table((Column("a", text=True),), (("![y](http://e.invalid/p.png)",),)).markdown()
    assert made.splitlines()[2] == "| !&#91;y](http://e.invalid/p.png) |"


def test_markdown_keeps_a_table_in_its_cells() -> None:
    table = Table((Column("a", text=True), Column("b", "%")), (("x|y", 1.5), ("z", None)))
    assert table.markdown() == "| a | b (%) |\n| --- | ---: |\n| x&#124;y | 1.50 |\n| z | not run |\n"


def test_one_run_beside_its_dense_network() -> None:
    table = run_table(example())
    assert table.title == "digits_cnn-digits-operation_unit-0.25-s0"
    assert headings(table) == ["", "dense", "pruned", "retrained"]
    assert rows(table) == [
        ["test accuracy", "98.00 %", "50.00 %", "92.50 %"],
        ["weights", "1,000", "", "250"],
        ["of them prunable", "900", "", "225"],
        ["compression", "1.00 x", "", "4.00 x"],
        ["arrays", "10", "", "8  (-20.00 %)"],
        ["array steps", "4,000", "", "1,000  (-75.00 %)"],
        ["ADC conversions", "64,000", "", "64,000"],
        ["cell reads", "90,000", "", "90,000"],
        ["wordline drives", "50,000", "", "50,000"],
        ["index bits", "0", "", "128"],
        ["utilisation", "50.00 %", "", "12.50 %"],
    ]


def test_the_layers_whose_groups_fill_arrays_of_their_own_are_told() -> None:
    hardware = example().hardware
    layers = hardware["layers"] | {"depthwise": {**hardware["layers"]["conv1"], "groups": 32, "arrays": 24}}
    (note,) = run_table(replace(example(), hardware={**hardware, "layers": layers})).notes
    assert note.startswith("1 grouped or depthwise layers hold 24 of the 32 arrays")


def test_far_more_steps_than_weights_are_explained_where_the_budget_is_of_weights() -> None:
    kept = example("weight", 0.1)  # all of its steps are left
    (note,) = run_table(kept).notes
    assert note.startswith("10.00 % of the weights are left, but 100.00 % of the array steps")
    spent = kept.config | {"prune": kept.config["prune"] | {"budget": "steps"}}
    assert not run_table(replace(kept, config=spent)).notes
    assert not run_table(example()).notes


def test_layers_that_lose_most_by_themselves_are_told_the_worst_first() -> None:
    own = {"a": 30.0, "b": 6.9, "c": 12.8, "d": None}
    layers = {name: {"adc_step": 1.0, "own_snr_db": ratio, "snr_db": ratio} for name, ratio in own.items()}
    record = replace(simulation(5, "ideal"), layers=layers)
    (note,) = layer_table(record).notes
    assert note.startswith("2 of 4 layers are below 20 dB alone")
    assert "(b 6.9, c 12.8): their ADCs round nothing" in note
    assert "geometry.adc_bits" in note
    assert "analog.digital=[b,c]" in note
    exact = {
        name: layer | {"exact": True} for name, layer in layers.items()
    }  # rounded weights and inputs alone
    (lossless,) = layer_table(replace(record, layers=exact)).notes
    assert "clip" not in lossless
    assert "geometry.weight_bits" in lossless
    coarse = replace(record, layers=layers | {"b": layers["b"] | {"adc_step": 3.0}})
    assert "round nothing" not in layer_table(coarse).notes[0]
    assert not layer_table(replace(record, layers={"a": layers["a"], "d": layers["d"]})).notes


def test_simulations_tell_the_error_that_the_choice_of_images_leaves() -> None:
    older = simulation(4, "ideal")
    own = replace(older, accuracy=older.accuracy | {"loss_error": 0.0031})
    table = simulation_table([older, own])
    place = headings(table).index("standard error")
    assert [row[place] for row in rows(table)] == ["", "0.31"]


def test_digital_weights_are_told_beside_the_prunable_ones() -> None:
    weights = example().weights | {"total": 1100, "left": 350, "digital": 100, "compression": 1100 / 350}
    assert rows(run_table(replace(example(), weights=weights)))[1:5] == [
        ["weights", "1,100", "", "350"],
        ["of them prunable", "900", "", "225"],
        ["of them digital", "100", "", "100"],
        ["compression", "1.00 x", "", "3.14 x"],
    ]


def test_a_priced_run_says_throughput_and_energy_of_equal_area() -> None:
    cost = {
        "technology": "isaac32", "adc_price": "sar", "dense": {"images_per_s": 100.0, "energy_j": 4e-6},
        "total": {"images_per_s": 450.0, "energy_j": 1e-6},
    }  # fmt: skip
    table = run_table(replace(example(), hardware=example().hardware | {"cost": cost}))
    assert rows(table)[4:6] == [
        ["throughput", "100 images/s", "", "450 images/s  (4.5 x)"],
        ["energy per image", "4 µJ", "", "1 µJ  (0.25 x)"],
    ]
    assert table.notes == ("Throughput and energy: equal area, isaac32 with ADC price sar.",)


def test_a_comparison_goes_from_many_weights_to_few_and_the_best_first() -> None:
    records = [
        example("weight", 0.1),
        example("weight", 0.25),
        example(seed=1),
        example(remaining=0.1),
        example(),
    ]
    table = comparison_table(records)
    assert headings(table) == [
        "granularity", "asked", "left", "compression", "dense", "pruned", "retrained", "arrays",
        "array steps saved", "energy", "images/s", "seed",
    ]  # fmt: skip
    assert rows(table) == [
        [
            "operation_unit",
            "25.00 %",
            "25.00 %",
            "4.00 x",
            "98.10 %",
            "50.00 %",
            "92.60 %",
            "8",
            "75.00 %",
            "",
            "",
            "1",
        ],
        [
            "weight",
            "25.00 %",
            "25.00 %",
            "4.00 x",
            "98.00 %",
            "50.00 %",
            "92.50 %",
            "10",
            "0.00 %",
            "",
            "",
            "0",
        ],
        [
            "operation_unit",
            "25.00 %",
            "25.00 %",
            "4.00 x",
            "98.00 %",
            "50.00 %",
            "92.50 %",
            "8",
            "75.00 %",
            "",
            "",
            "0",
        ],
        [
            "weight",
            "10.00 %",
            "10.00 %",
            "10.00 x",
            "98.00 %",
            "50.00 %",
            "91.00 %",
            "10",
            "0.00 %",
            "",
            "",
            "0",
        ],
        [
            "operation_unit",
            "10.00 %",
            "10.00 %",
            "10.00 x",
            "98.00 %",
            "50.00 %",
            "91.00 %",
            "8",
            "90.00 %",
            "",
            "",
            "0",
        ],
    ]


def test_every_setting_in_which_runs_differ_has_a_column() -> None:
    """Two rows that differ in their methods, or in the ADC, once looked alike."""
    gradual: dict[str, Any] = {"schedule": {"_target_": "x.Gradual", "epochs": 6}}
    table = comparison_table([run(), run(**gradual), run(optimizer={"lr": 0.1})])
    assert headings(table)[:3] == ["granularity", "methods", "lr"]
    assert sorted(row[1:3] for row in rows(table)) == [["gradual", ""], ["none", ""], ["none", "0.1"]]
    later = [run(method=chosen) for chosen in ({}, {"gradual": {"prune_events": 10}})]
    assert headings(comparison_table(later))[:3] == ["granularity", "methods", "asked"]
    models = [replace(run(), choices=run().choices | {"model": name}) for name in ("vgg8", "resnet20")]
    assert headings(comparison_table(models))[:2] == ["granularity", "model"]
    table = comparison_table([run(geometry={"adc_bits": bits}) for bits in (3, None)])
    assert [row[1] for row in rows(table)] == ["3", "null"]


def test_simulations_show_what_sets_them_apart_and_the_points_that_they_lose() -> None:
    records = [simulation(bits, "ideal") for bits in (3, 4, None)]
    encoded = {"geometry": records[0].config["geometry"] | {"signed_encoding": "offset"}}
    records.append(replace(records[0], config=encoded))
    table = simulation_table(records)
    assert headings(table) == ["signed encoding", "bits", "accuracy on arrays", "points lost"]
    assert [row[1:] for row in rows(table)] == [
        ["3", "87.25 %", "4.25"], ["4", "89.12 %", "2.38"], ["lossless", "91.00 %", "0.50"], ["3", "87.25 %", "4.25"]
    ]  # fmt: skip
    assert rows(table)[3][0] == "offset"
    (note,) = table.notes
    assert note.startswith("same in all: ADC full_scale, device ideal, active rows ")
    (alone,) = rows(simulation_table(records[:1]))
    assert alone[:4] == ["91.50 %", "91.20 %", "87.25 %", "4.25"]


@pytest.mark.parametrize("width", [100, 140])
def test_no_heading_of_simulations_is_broken(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    spread = simulation(3, "read_noise").accuracy | {"spread": 0.001, "draws": [0.9, 0.8]}
    records = [replace(simulation(bits, "read_noise"), accuracy=spread) for bits in (3, 4)]
    origin = {"granularity": "operation_unit", "parameters": {"rows": 4}, "run": "0" * 64, "seed": 0}
    odd = [replace(simulation(5, "on_off_ratio", 500), origin=origin), simulation(None, "ideal", 90)]
    table, _ = simulation_table([*records, *odd]).fitted(width, SPARED)
    Console(width=width).print(table)
    printed = capsys.readouterr().out
    assert all(heading in printed for heading in ("granularity", "device", "points lost"))
    assert len(printed.splitlines()) == 4 + 4 + 1  # title, heading, rule, a line a row, rule


@pytest.mark.parametrize("width", [60, 80, 100, 140, 160])
def test_no_word_of_a_comparison_is_broken_and_no_column_lost(
    width: int, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [
        run(granularity=unit, remaining=left)
        for unit in ("balanced_segment", "weight")
        for left in (0.5, 0.1)
    ]
    table = comparison_table(records)
    Console(width=width).print(table)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    words = {word for line in lines for word in line.split()}
    asked = {word for column in table.columns for word in column.label.split()}
    assert words >= asked | {"balanced_segment"}
    cells = [cell.strip() for line in lines for cell in line.replace("┃", "│").split("│")]
    assert all(cells.count(cell) >= 1 for row in table.shown() for cell in row if cell)
    rows_of_parts = [tuple(map(str.strip, line.split("│")[1:3])) for line in lines if line.startswith("│")]
    assert set(rows_of_parts) == {tuple(row[:2]) for row in table.shown()}  # each says of which run it is


def test_a_comparison_has_what_the_arrays_compute_of_runs_simulated_at_their_end() -> None:
    origin = {"run": example().run, "granularity": "x", "parameters": {}, "seed": 0}
    own = replace(simulation(4, "ideal"), origin=origin)
    table = comparison_table([example("weight", 0.1), example()], None, [own])
    place = headings(table).index("accuracy on arrays")
    assert [row[place] for row in rows(table)] == ["89.12 %", ""]
    assert "simulation.json" in table.notes[0]


def test_the_row_of_the_chip_is_marked_in_the_table_over_areas() -> None:
    summary = {**run(priced=True).hardware["cost"], "chip_over_dense": 2.0}
    table = area_curve_table(summary)
    assert [row[0] for row in rows(table)] == ["0.50", "one dense copy 1.00", "this chip 2.00"]
    assert "the first table's chip: 2.00" in table.title


def test_the_order_of_the_records_does_not_matter_where_runs_differ() -> None:
    records = [example(remaining=remaining, seed=seed) for remaining in (0.5, 0.1) for seed in (0, 1)]
    assert rows(comparison_table(records)) == rows(comparison_table(records[::-1]))


def test_a_comparison_of_nothing_is_an_empty_table() -> None:
    assert rows(comparison_table([])) == []


@pytest.mark.parametrize(("value", "text"), [(0.0, "0.00 %"), (0.12345, "12.35 %"), (1, "100.00 %")])
def test_fractions_are_shown_in_percent(value: float, text: str) -> None:
    assert percent(value) == text
