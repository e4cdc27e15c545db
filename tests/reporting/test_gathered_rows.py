"""What reports say of masks whose rows are gathered into full steps."""

from dataclasses import replace
from typing import Any

from cimlab.records.record import RunRecord
from cimlab.reporting.figures.F2_area import area_figure
from cimlab.reporting.gathered_numbers import gathered_numbers
from cimlab.reporting.tables.T9_gathered import gathered_table
from tests.reporting.made_up import evidence, run


def _curve(steps: float) -> list[dict[str, float]]:
    return [{"area_over_dense": 2.0, "images_per_s": 1 / steps, "dense_images_per_s": 1.0}]


def priced(name: str, *, steps: float, gathered: float | None, points: float) -> RunRecord:
    """A run at 9 % with the given steps, aligned and gathered, that loses some points."""
    made = run(name, 0.09, priced=True)
    cost: dict[str, Any] = made.hardware["cost"]
    together = gathered and {
        "ratio": {"steps": gathered, "energy_j": gathered, "images_per_s": 1 / gathered},
        "area_curve": _curve(gathered),
    }
    aligned = cost["ratio"] | {"steps": steps, "energy_j": steps, "images_per_s": 1 / steps}
    hardware = made.hardware | {
        "ratio": made.hardware["ratio"] | {"steps": steps},
        "cost": cost | {"ratio": aligned, "gathered": together, "area_curve": _curve(steps)},
    }  # fmt: skip
    dense = made.accuracy["dense"]["test"]
    lost = made.accuracy | {"retrained": {"test": dense - points / 100}}
    return replace(made, hardware=hardware, accuracy=lost)


UNIT = priced("operation_unit", steps=0.25, gathered=0.25, points=5)
WEIGHT = priced("weight", steps=0.9, gathered=0.4, points=1)
ROWS = priced("row_segment", steps=0.7, gathered=0.2, points=3)
FILTER = priced("filter", steps=0.5, gathered=0.45, points=12)


def test_units_that_gain_and_that_no_other_beats_are_told_the_most_accurate_first() -> None:
    told = gathered_numbers(evidence([UNIT, WEIGHT, ROWS, FILTER]))
    assert told is not None
    (budget,) = told["budgets"]
    assert [unit["name"] for unit in budget["units"]] == ["weight", "row segment"]
    assert budget["units"][1] == {
        "name": "row segment", "loss": "3.00", "aligned": "70.0", "energy": "20.0", "throughput": "5.00",
    }  # fmt: skip
    assert budget["yardstick"]["energy"] == "25.0"
    assert budget["order_turns"]


def test_operation_units_that_stay_among_the_best_are_not_said_to_have_fallen() -> None:
    dear = priced("row_segment", steps=0.7, gathered=0.3, points=3)
    told = gathered_numbers(evidence([UNIT, WEIGHT, dear]))
    assert told is not None
    assert not told["budgets"][0]["order_turns"]


def test_nothing_is_said_where_nobody_can_gather_or_gains() -> None:
    assert gathered_numbers(evidence([priced("weight", steps=0.9, gathered=None, points=1), UNIT])) is None
    assert gathered_numbers(evidence([UNIT])) is None
    assert gathered_numbers(evidence([])) is None
    (table,) = gathered_table.tables(evidence([priced("weight", steps=0.9, gathered=None, points=1)]))
    assert table.shown() == []


def test_the_table_shows_what_changes_and_names_what_does_not() -> None:
    (table,) = gathered_table.tables(evidence([UNIT, WEIGHT, ROWS, FILTER]))
    assert [row[3] for row in table.shown()] == ["weight", "row segment", "filter"]
    assert table.shown()[1][5:] == ["0.700", "0.200", "0.700", "0.200", "1.43", "5.00"]
    assert any("Gathering saves no step of operation unit." in note for note in table.notes)


def test_throughput_over_area_is_drawn_dashed_where_gathering_pays() -> None:
    """Aligned lines of what is unbeaten aligned; dashed ones of what is unbeaten gathered, if that changes anything."""
    drawn = area_figure.draw(evidence([UNIT, WEIGHT, ROWS, FILTER]))
    rows = [row for row in drawn.spec["data"]["values"] if row["granularity"] != "dense"]
    found = [(row["granularity"], row["gathered"], round(row["rate"], 2)) for row in rows]
    assert found == [
        ("operation unit", False, 4.0), ("row segment", False, 1.43), ("weight", False, 1.11),
        ("row segment", True, 5.0), ("weight", True, 2.5),
    ]  # fmt: skip
