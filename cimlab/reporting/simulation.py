"""Tables of simulations: accuracy on the arrays, and how much noise each layer adds."""

from __future__ import annotations

from rich.table import Table

from cimlab.records.simulation import SimulationRecord
from cimlab.reporting.analog_series import granularity, resolution


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f} %"


def simulation_table(records: list[SimulationRecord]) -> Table:
    """One row a simulation."""
    table = Table(title="accuracy on the analog arrays")
    columns = (
        "granularity", "ADC", "bits", "device", "active rows", "weights left", "images", "float", "quantised", "arrays",
        "spread", "95 % interval", "chips",
    )  # fmt: skip
    for column in columns:
        table.add_column(column, justify="left" if column in ("granularity", "ADC", "device") else "right")
    for record in records:
        geometry, accuracy = record.config["geometry"], record.accuracy
        interval = accuracy["interval"]
        table.add_row(
            granularity(record),
            record.choices["adc"],
            resolution(record),
            record.choices["device"],
            str(geometry["active_rows"]),
            _percent(record.weights["left"] / record.weights["total"]),
            f"{record.images:,}",
            _percent(accuracy["float"]),
            _percent(accuracy["quantised"]),
            _percent(accuracy["mean"]),
            _percent(accuracy["spread"]),
            "" if interval is None else f"{100 * interval[0]:.2f} to {100 * interval[1]:.2f} %",
            str(len(accuracy["draws"])),
        )
    return table


def layer_table(record: SimulationRecord) -> Table:
    """One row a layer: its signal-to-noise ratio alone, and with the errors of the layers before it."""
    table = Table(title="signal-to-noise ratio by layer")
    table.add_column("layer")
    for column in ("ADC step (levels)", "alone (dB)", "accumulated (dB)"):
        table.add_column(column, justify="right")
    for name, layer in record.layers.items():
        ratios = ["exact" if layer[key] is None else f"{layer[key]:.1f}" for key in ("own_snr_db", "snr_db")]
        table.add_row(name, f"{layer['adc_step']:.2f}", *ratios)
    return table
