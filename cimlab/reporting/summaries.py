"""Tables for the terminal: one run, a comparison of many, and what `cimlab runs` lists."""

from __future__ import annotations

from typing import Any

from cimlab.records.record import RunRecord
from cimlab.reporting.table import Column, Table

WORDS = ("state", "model", "data", "granularity", "name")
PHASES = ("dense", "pruned", "retrained")


def percent(value: float) -> str:
    """A fraction as people read it."""
    return f"{100 * value:.2f} %"


def run_table(record: RunRecord) -> Table:
    """One run: accuracies by phase, weights left, and what the crossbars do, beside the unpruned network."""
    weights = record.weights
    rows = [
        ("test accuracy", *(percent(record.accuracy[phase]["test"]) for phase in PHASES)),
        ("weights", f"{weights['total']:,.0f}", "", f"{weights['left']:,.0f}"),
        ("compression", "1.00 x", "", f"{weights['compression']:.2f} x"),
    ]
    for name in ("arrays", "steps", "adc_conversions", "cell_reads", "wordline_drives"):
        dense, now = record.hardware["dense"][name], record.hardware["total"][name]
        saved = f"  (-{percent(1 - now / dense)})" if now < dense else ""
        rows.append((name.replace("_", " "), f"{dense:,}", "", f"{now:,}{saved}"))
    rows.append(("index bits", "0", "", f"{record.hardware['total']['index_bits']:,}"))
    rows.append(("utilisation", "", "", percent(record.hardware["utilisation"])))
    return Table.of_texts(("", *PHASES), rows, record.name)


def comparison_table(records: list[RunRecord]) -> Table:
    """Many runs, one a row, ordered by model, data, weights left and granularity."""
    headings = ("granularity", "asked", "left", "compression", *PHASES, "arrays", "OU steps saved", "seed")
    rows = [
        (
            record.choices["granularity"],
            percent(record.config["prune"]["remaining"]),
            percent(record.weights["remaining_all"]),
            f"{record.weights['compression']:.2f} x",
            *(percent(record.accuracy[phase]["test"]) for phase in PHASES),
            f"{record.hardware['total']['arrays']:,}",
            percent(1 - record.hardware["ratio"]["steps"]),
            str(record.seed),
        )
        for record in sorted(records, key=_order)
    ]
    return Table.of_texts(headings, rows, "test accuracy and crossbar work, by granularity")


def runs_table(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> Table:
    """Rows of `cimlab.records.index`, one a run; a value that is not known yet is left blank."""
    headed = tuple(Column(name.removesuffix("_j"), text=name in WORDS) for name in columns)
    return Table(headed, tuple(tuple(_cell(name, row.get(name)) for name in columns) for row in rows))


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name in ("accuracy", "dense", "pruned", "left", "steps_ratio", "remaining"):
        return percent(value)
    if name == "compression":
        return f"{value:.2f} x"
    if name == "energy_j":
        return f"{value:.3g} J"
    return f"{value:,.0f}" if isinstance(value, float) else str(value)


def _order(record: RunRecord) -> tuple:
    return (
        record.choices["model"],
        record.choices["data"],
        -record.config["prune"]["remaining"],
        -record.accuracy["retrained"]["test"],
        record.seed,
    )
