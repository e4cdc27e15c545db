"""Tables for the terminal: one run, a comparison of many, and what `cimlab runs` lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from cimlab.records.flat import in_yaml
from cimlab.records.record import PHASES, RunRecord
from cimlab.records.simulation import SimulationRecord
from cimlab.records.study import settings
from cimlab.reporting.hardware import FIGURES, figure, quantities
from cimlab.reporting.methods import VARIED as METHOD_SETTINGS
from cimlab.reporting.priced import cost, priced_by
from cimlab.reporting.table import Column, Table

SHARES = (
    "accuracy", "dense", "pruned", "left", "remaining", "float", "quantised", "spread",
)  # fmt: skip
"""Fields of rows that are shown in percent."""


FAR_MORE = 1.5
"""Share of array steps over that of weights from which on it is told why."""
COUNTS = {
    "arrays": "arrays", "steps": "array steps", "adc_conversions": "ADC conversions", "cell_reads": "cell reads",
    "wordline_drives": "wordline drives",
}  # fmt: skip
"""Counts of a run beside those of the unpruned network: field and heading."""


def percent(value: float) -> str:
    """A fraction as people read it."""
    return f"{100 * value:.2f} %"


def run_table(record: RunRecord) -> Table:
    """One run: accuracies by phase, weights left, and what the crossbars do, beside the unpruned network."""
    weights = record.weights
    rows: list[tuple[str, ...]] = [
        ("test accuracy", *(percent(record.accuracy[phase]["test"]) for phase in PHASES)),
        ("weights", f"{weights['total']:,.0f}", "", f"{weights['left']:,.0f}"),
        *((f"of them {kind}", *counts) for kind, *counts in _kinds(weights)),
        ("compression", "1.00 x", "", f"{weights['compression']:.2f} x"),
    ]
    rows += _prices(record)
    dense, total = record.hardware["dense"], record.hardware["total"]
    for name, heading in COUNTS.items():
        saved = f"  (-{percent(1 - total[name] / dense[name])})" if total[name] < dense[name] else ""
        rows.append((heading, f"{dense[name]:,}", "", f"{total[name]:,}{saved}"))
    rows.append(("index bits", "0", "", f"{total['index_bits']:,}"))
    rows.append(
        ("utilisation", percent(_dense_utilisation(record)), "", percent(record.hardware["utilisation"]))
    )
    return replace(Table.of_texts(("", *PHASES), rows, record.name), notes=tuple(_conditions(record)))


def _dense_utilisation(record: RunRecord) -> float:
    """Kept weights over cells provided, as of the pruned network: a weight takes as many cells in both."""
    dense, total = record.hardware["dense"], record.hardware["total"]
    denser = (dense["weights_left"] / total["weights_left"]) / (dense["cells"] / total["cells"])
    return record.hardware["utilisation"] * denser


def _unspared(record: RunRecord) -> Iterator[str]:
    """Why far more array steps than weights are left, where a budget of weights leaves them."""
    weights, steps = record.weights["remaining_all"], record.hardware["ratio"]["steps"]
    if record.config["prune"].get("budget", "weights") == "weights" and steps > FAR_MORE * weights:
        yield (
            f"{percent(weights)} of the weights are left, but {percent(steps)} of the array steps: a step stays while "
            "one weight of it does, and layers differ in steps per weight; prune.budget=steps gives a budget in steps."
        )


def _conditions(record: RunRecord) -> Iterator[str]:
    """What the prices rest on, and why arrays of grouped convolutions are all but empty."""
    if priced := cost(record):
        yield f"Throughput and energy: equal area, {priced_by(priced)}."
    yield from _unspared(record)
    layers = record.hardware["layers"].values()
    grouped = [layer for layer in layers if layer["groups"] > 1]
    if grouped:
        held, arrays = (sum(layer["arrays"] for layer in some) for some in (grouped, layers))
        yield (
            f"{len(grouped)} grouped or depthwise layers hold {held:,} of the {arrays:,} arrays: each of their groups "
            "needs wordlines and bitlines of its own, which leaves most cells empty (utilisation)."
        )


def _prices(record: RunRecord) -> list[tuple[str, ...]]:
    """Throughput and energy on equal area, dense and pruned; no rows where the record has no price."""
    priced = cost(record)
    if priced is None:
        return []
    rows = []
    for name in ("images_per_s", "energy_j"):
        heading, unit = figure(name, priced)
        dense, now = priced["dense"][name], priced["total"][name]
        ratio = f"  ({now / dense:.3g} x)" if dense else ""
        dense_text, now_text = quantities((dense, now), unit)
        rows.append((heading, dense_text, "", f"{now_text}{ratio}"))
    return rows


def _kinds(weights: dict[str, float]) -> list[tuple[str, str, str, str]]:
    """Prunable weights, and digital ones where there are any, before and after."""
    prunable = weights["prunable"]
    left = round(prunable * weights["remaining_prunable"])
    rows = [("prunable", f"{prunable:,.0f}", "", f"{left:,}")]
    digital = weights.get("digital", 0)  # which older records did not count
    return rows + ([("digital", f"{digital:,.0f}", "", f"{digital:,.0f}")] if digital else [])


def comparison_table(
    records: list[RunRecord], order: list[int] | None = None, simulations: Iterable[SimulationRecord] = ()
) -> Table:
    """Many runs, one per row, with every setting they differ in.

    Args:
        records: the runs.
        order: places of the rows; None is by model, data, weights left and accuracy.
        simulations: of the runs' networks on the arrays, at the runs' end.
    """
    on_arrays = {own.origin["run"]: own for own in simulations if own.origin}
    simulated = [percent(on_arrays[r.run].accuracy["mean"]) if r.run in on_arrays else "" for r in records]
    order = order or sorted(range(len(records)), key=lambda i: _order(records[i]))
    varied = _varied(records)
    short = [key.rpartition(".")[2] for key in varied]
    names = [last if short.count(last) == 1 else key for last, key in zip(short, varied, strict=True)]
    words = ("granularity", *names)
    numbers = (
        "asked",
        "left",
        "compression",
        *PHASES,
        *(["accuracy on arrays"] if on_arrays else []),
        "arrays",
        "array steps saved",
        "energy",
        "images/s",
        "seed",
    )
    totals = [record.hardware.get("cost", {}).get("total", {}) for record in records]
    joules = quantities((total.get("energy_j") for total in totals), "J")
    rates = quantities((total.get("images_per_s") for total in totals), "")
    rows = [
        (
            record.choices.get("granularity", ""),
            *(varied[key][i] for key in varied),
            percent(record.config["prune"]["remaining"]),
            percent(record.weights["remaining_all"]),
            f"{record.weights['compression']:.2f} x",
            *(percent(record.accuracy[phase]["test"]) for phase in PHASES),
            *([simulated[i]] if on_arrays else []),
            f"{record.hardware['total']['arrays']:,}",
            percent(1 - record.hardware["ratio"]["steps"]),
            joules[i],
            rates[i],
            str(record.seed),
        )
        for i, record in ((i, records[i]) for i in order)
    ]
    title = "test accuracy and crossbar work, by granularity"
    images = " or ".join(f"{n:,}" for n in sorted({own.images for own in on_arrays.values()}))
    note = f"on arrays: retrained, as the arrays compute {images} test images; simulation.json of each run"
    table = Table.of_texts((*words, *numbers), rows, title, len(words))
    return replace(table, notes=(note,) if on_arrays else ())


def _varied(records: list[RunRecord]) -> dict[str, list[str]]:
    """Setting -> its value in each record, of those in which they differ beside granularity, weights left and seed.

    Where methods or the choices of a group differ, these stand for all settings of theirs.
    """
    groups = sorted(
        {group for record in records for group in record.choices} - {"granularity", "method", "schedule"}
    )
    values = {"methods": ["+".join(record.methods) or "none" for record in records]}
    values |= {group: [record.choices.get(group, "none") for record in records] for group in groups}
    found = {name: own for name, own in values.items() if len(set(own)) > 1}
    told = tuple(f"{group}." for group in found) + (METHOD_SETTINGS if "methods" in found else ())
    every = [settings(record) for record in records]
    for key in dict.fromkeys(key for own in every for key in own):
        texts = [in_yaml(own.get(key, "")) for own in every]
        if len(set(texts)) > 1 and key not in found and not f"{key}.".startswith(told):
            found[key] = texts
    return found


def runs_table(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> Table:
    """Rows of `cimlab.records.index`, one per run; a value that is not known yet is left blank."""
    words = {name for name in columns if any(isinstance(row.get(name), str) for row in rows)}
    headed = tuple(Column(heading(name), text=name in words) for name in columns)
    cells = ([row.get(name) for row in rows] for name in columns)
    shown = [_cells(name, values) for name, values in zip(columns, cells, strict=True)]
    return Table(headed, tuple(zip(*shown, strict=True)))


def heading(field: str) -> str:
    """What the column of a run's field is called: values carry the unit."""
    return "throughput" if field == "images_per_s" else field.removesuffix("_j")


def _cells(name: str, values: list[Any]) -> Sequence[str]:
    """A column; energies and rates are compared."""
    if name in ("energy_j", "images_per_s"):
        return quantities(values, FIGURES[name][1])
    return [_cell(name, value) for value in values]


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name in SHARES:
        return percent(value)
    if name == "compression":
        return f"{value:.2f} x"
    if name.endswith("_ratio"):
        return f"{value:#.3g} x"
    return str(value) if isinstance(value, str) else f"{value:,.0f}"


def _order(record: RunRecord) -> tuple:
    return (
        record.choices.get("model", ""),
        record.choices.get("data", ""),
        -record.config["prune"]["remaining"],
        -record.accuracy["retrained"]["test"],
        record.seed,
    )
