"""Tables for the terminal: one run, and a comparison of many."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from cimlab.records.record import RunRecord

LEFT = ("state", "model", "data", "granularity", "name")


def percent(value: float) -> str:
    """A fraction as people read it."""
    return f"{100 * value:.2f} %"


def run_table(record: RunRecord) -> Table:
    """One run: accuracies by phase, weights left, and what the crossbars do, beside the unpruned network."""
    table = Table(title=record.name, title_justify="left")
    for heading in ("", "dense", "pruned", "retrained"):
        table.add_column(heading, justify="left" if not heading else "right")
    accuracy = [percent(record.accuracy[phase]["test"]) for phase in ("dense", "pruned", "retrained")]
    table.add_row("test accuracy", *accuracy)
    weights = record.weights
    table.add_row("weights", f"{weights['total']:,.0f}", "", f"{weights['left']:,.0f}")
    table.add_row("compression", "1.00 x", "", f"{weights['compression']:.2f} x")
    for name in ("arrays", "steps", "adc_conversions", "cell_reads", "wordline_drives"):
        dense, now = record.hardware["dense"][name], record.hardware["total"][name]
        saved = f"  (-{percent(1 - now / dense)})" if now < dense else ""
        table.add_row(name.replace("_", " "), f"{dense:,}", "", f"{now:,}{saved}")
    table.add_row("index bits", "0", "", f"{record.hardware['total']['index_bits']:,}")
    table.add_row("utilisation", "", "", percent(record.hardware["utilisation"]))
    return table


def comparison_table(records: list[RunRecord]) -> Table:
    """Many runs, one a row, ordered by model, data, weights left and granularity."""
    table = Table(title="test accuracy and crossbar work, by granularity", title_justify="left")
    table.add_column("granularity")
    for heading in (
        "asked",
        "left",
        "compression",
        "dense",
        "pruned",
        "retrained",
        "arrays",
        "OU steps saved",
    ):
        table.add_column(heading, justify="right")
    table.add_column("seed", justify="right")
    for record in sorted(records, key=_order):
        accuracy = [percent(record.accuracy[phase]["test"]) for phase in ("dense", "pruned", "retrained")]
        table.add_row(
            record.choices["granularity"],
            percent(record.config["prune"]["remaining"]),
            percent(record.weights["remaining_all"]),
            f"{record.weights['compression']:.2f} x",
            *accuracy,
            f"{record.hardware['total']['arrays']:,}",
            percent(1 - record.hardware["ratio"]["steps"]),
            str(record.seed),
        )
    return table


def runs_table(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> Table:
    """Rows of `cimlab.records.index`, one a run; a value that is not known yet is left blank."""
    table = Table()
    for name in columns:
        table.add_column(
            name.removesuffix("_j"), justify="left" if name in LEFT else "right", overflow="fold"
        )
    for row in rows:
        table.add_row(*(Text(_cell(name, row.get(name))) for name in columns))
    return table


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
