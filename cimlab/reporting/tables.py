"""Tables for the terminal: one run, and a comparison of many."""

from __future__ import annotations

from rich.table import Table

from cimlab.records.record import RunRecord


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


def _order(record: RunRecord) -> tuple:
    return (
        record.choices["model"],
        record.choices["data"],
        -record.config["prune"]["remaining"],
        -record.accuracy["retrained"]["test"],
        record.seed,
    )
