"""Tables of simulations: accuracy on the arrays, and how much noise each layer adds."""

from __future__ import annotations

from cimlab.records.simulation import SimulationRecord
from cimlab.reporting.analog_series import granularity, resolution
from cimlab.reporting.table import Column, Table


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f} %"


def simulation_table(records: list[SimulationRecord]) -> Table:
    """One row a simulation."""
    words = ("granularity", "ADC", "device")
    headings = (
        "granularity", "ADC", "bits", "device", "active rows", "weights left", "images", "float", "quantised", "arrays",
        "spread", "95 % interval", "chips",
    )  # fmt: skip
    columns = tuple(Column(heading, text=heading in words) for heading in headings)
    return Table(columns, tuple(map(_row, records)), title="accuracy on the analog arrays")


def _row(record: SimulationRecord) -> tuple[str, ...]:
    accuracy = record.accuracy
    interval = accuracy["interval"]
    return (
        granularity(record),
        record.choices["adc"],
        resolution(record),
        record.choices["device"],
        str(record.config["geometry"]["active_rows"]),
        _percent(record.weights["left"] / record.weights["total"]),
        f"{record.images:,}",
        *(_percent(accuracy[key]) for key in ("float", "quantised", "mean", "spread")),
        "" if interval is None else f"{100 * interval[0]:.2f} to {100 * interval[1]:.2f} %",
        str(len(accuracy["draws"])),
    )


def layer_table(record: SimulationRecord) -> Table:
    """One row per layer: its signal-to-noise ratio alone, and with the errors of the layers before it."""
    headings = ("layer", "ADC step (levels)", "alone (dB)", "accumulated (dB)")
    rows = [
        (name, f"{layer['adc_step']:.2f}", *(_decibels(layer[key]) for key in ("own_snr_db", "snr_db")))
        for name, layer in record.layers.items()
    ]
    return Table.of_texts(headings, rows, "signal-to-noise ratio by layer")


def _decibels(value: float | None) -> str:
    return "exact" if value is None else f"{value:.1f}"
