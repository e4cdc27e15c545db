"""Tables of simulations: accuracy on the arrays, and how much noise each layer adds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from cimlab.records.simulation import SimulationRecord
from cimlab.reporting.analog_series import CHOSEN, REPEATED, granularity, network_hash, resolution
from cimlab.reporting.table import Column, Table


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f} %"


SPARED = (
    "95 % interval", "quantised", "standard error", "spread", "chips", "images", "asked", "weights left", "active rows",
)  # fmt: skip
"""What a narrow terminal leaves out of the table of simulations, what is missed least first."""
ANSWERS = ("accuracy on arrays", "points lost")
"""What is asked for, and stays also where it is the same in all rows."""
TOLD = tuple(
    f"{key}." for key in (*REPEATED, "geometry.active_rows", "images") if key not in ("seed", "draws")
)
"""Settings that have a column of their own, and those that change no number."""
FITTED = "ADC ranges were fitted on ideal cells; devices shift and spread the sums afterwards"
RESULTS = ("float", "quantised", *ANSWERS, "standard error", "spread", "95 % interval", "chips")


def simulation_table(records: list[SimulationRecord]) -> Table:
    """One row a simulation: the settings in which they differ, and what came of each; a note says what all share."""
    words = ("granularity", "ADC", "device")
    headings = (
        "granularity", "ADC", "bits", "device", "active rows", "asked", "weights left", "images", *RESULTS,
    )  # fmt: skip
    varied = _varied(records)
    columns = tuple(Column(head, text=head in words or head in varied) for head in (*varied, *headings))
    rows = tuple((*(own[i] for own in varied.values()), *_row(record)) for i, record in enumerate(records))
    fitted = any(layer.get("fitted_on_ideal") for record in records for layer in record.layers.values())
    notes = (FITTED,) if fitted else ()
    table = Table(columns, rows, title="accuracy on the analog arrays", notes=notes)
    return table.apart(ANSWERS if len(records) > 1 else RESULTS)


def _varied(records: list[SimulationRecord]) -> dict[str, list[str]]:
    """Settings in which the simulations differ and that the table's own columns don't show, and their values."""
    every = [record.settings for record in records]
    told = TOLD + tuple(f"{group}." for group in CHOSEN if len({r.choices[group] for r in records}) > 1)
    keys = [k for k in dict.fromkeys(k for own in every for k in own) if not f"{k}.".startswith(told)]
    texts = {
        key.rpartition(".")[2].replace("_", " "): [str(own.get(key, "")) for own in every] for key in keys
    }
    if any(record.choices["model"] != records[0].choices["model"] for record in records):
        texts["model"] = [record.choices["model"] for record in records]
    texts["network"] = [network_hash(record) for record in records]
    return {key: own for key, own in texts.items() if len({*own}) > 1}


def _row(record: SimulationRecord) -> tuple[str, ...]:
    accuracy = record.accuracy
    interval = accuracy["interval"]
    return (
        granularity(record),
        record.choices["adc"],
        resolution(record),
        record.choices["device"],
        str(record.config["geometry"]["active_rows"]),
        _percent((record.origin or {}).get("remaining")),
        _percent(record.weights["left"] / record.weights["total"]),
        f"{record.images:,}",
        *(_percent(accuracy[key]) for key in ("float", "quantised", "mean")),
        f"{record.points_lost:z.2f}",
        "" if record.points_lost_error is None else f"{record.points_lost_error:.2f}",
        _percent(accuracy["spread"]),
        "" if interval is None else f"{100 * interval[0]:.2f} to {100 * interval[1]:.2f} %",
        str(len(accuracy["draws"])),
    )


WEAK_DB = 20.0
"""Below it a layer's own error is over a tenth of its signal (10^(-20/20))."""


def layer_table(record: SimulationRecord) -> Table:
    """One row per layer: its signal-to-noise ratio alone, and with the errors of the layers before it."""
    headings = ("layer", "ADC step (levels)", "alone (dB)", "accumulated (dB)")
    rows = [
        (name, f"{layer['adc_step']:.2f}", *(_decibels(layer[key]) for key in ("own_snr_db", "snr_db")))
        for name, layer in record.layers.items()
    ]
    table = Table.of_texts(headings, rows, "signal-to-noise ratio by layer")
    return replace(table, notes=tuple(_weak_layers(record)))


def _weak_layers(record: SimulationRecord) -> Iterator[str]:
    """Which layers lose most by themselves, the worst first, and what can be done for them."""
    alone = {n: layer["own_snr_db"] for n, layer in record.layers.items() if layer["own_snr_db"] is not None}
    weak = sorted((name for name in alone if alone[name] < WEAK_DB), key=lambda name: alone[name])
    if not weak:
        return
    worst = ", ".join(f"{name} {alone[name]:.1f}" for name in weak[:3]) + (", ..." if len(weak) > 3 else "")
    own = [record.layers[name] for name in weak]
    exact = all(layer.get("exact", False) for layer in own)
    clipped = (
        not exact and record.choices["device"] == "ideal" and all(layer["adc_step"] == 1 for layer in own)
    )
    cause = ": their ADCs round nothing (step 1) but clip larger sums" if clipped else ""
    bits = "geometry.weight_bits or input_bits" if exact else "geometry.adc_bits"
    yield (
        f"{len(weak)} of {len(record.layers)} layers are below {WEAK_DB:g} dB alone, an error of over a tenth of the "
        f"signal ({worst}){cause}; more {bits} may help them, and analog.digital=[{','.join(weak[:3])}] computes them "
        "beside the arrays"
    )


def _decibels(value: float | None) -> str:
    return "exact" if value is None else f"{value:.1f}"
