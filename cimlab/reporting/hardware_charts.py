"""Figures of work and cost: F3 energy by component, F4 speed-up and imbalance, F6 layers and their arrays."""

from __future__ import annotations

from typing import Any

from cimlab.records.record import RunRecord
from cimlab.reporting.accuracy_charts import mean
from cimlab.reporting.chart import Chart, Spec, chart, lines, log_percent, quantity
from cimlab.reporting.studies import Study, cells_per_weight, cost, left, place

PARTS = {
    "ADC": ("adc",),
    "cells and their drivers": ("cells", "wordline_driver", "level_shifter", "column_mux", "sample_hold"),
    "shift-add and adders": ("shift_add", "partial_sum_adder", "activation", "pooling"),
    "registers": ("input_register", "output_register"),
    "buffers and links": ("input_buffer", "output_buffer", "interconnect"),
    "pruning support": ("index_memory", "input_selection", "output_alignment"),
    "leakage": ("leakage",),
}
"""Components of the hardware model in the groups that a reader can tell apart; all others are `other`."""
PART_COLOURS = ("#0072B2", "#56B4E9", "#009E73", "#E69F00", "#CC79A7", "#D55E00", "#7F7F7F", "#C8C8C8")


def energy_chart(study: Study | None) -> Chart:
    """F3: energy per image by component, dense and at each granularity; pruning support on its own."""
    title = "Energy per image by component, dense and pruned"
    rows = [] if study is None else _energy_rows(study)
    if study is None or not rows:
        return Chart("F3", title, None, "no run was priced by the hardware model")
    order = ["dense", *study.granularities]
    names = [name for name in (*PARTS, "other") if any(row["part"] == name for row in rows)]
    colours = dict(zip((*PARTS, "other"), PART_COLOURS, strict=True))
    spec = chart(
        rows, width=220, height={"step": 15},
        mark={"type": "bar", "stroke": "white", "strokeWidth": 0.5},
        encoding={
            "y": {"field": "granularity", "type": "nominal", "sort": order, "title": None},
            "x": {"field": "energy", "type": "quantitative", "title": "energy per image (µJ)", "stack": "zero"},
            "color": {
                "field": "part", "type": "nominal",
                "scale": {"domain": names, "range": [colours[name] for name in names]},
                "legend": {"orient": "bottom", "columns": 2, "title": None},
            },
            "order": {"field": "place", "type": "ordinal"},
            "tooltip": [{"field": "granularity"}, {"field": "part"}, {"field": "energy", "format": ".4~g"}],
        },
    )  # fmt: skip
    notes = (f"{study.title}, {100 * study.reference:g} % kept; stacked in the order of the legend.",)
    return Chart("F3", title, spec, notes=notes)


def _part_of(component: str) -> str:
    return next((part for part, members in PARTS.items() if component in members), "other")


def _energy_rows(study: Study) -> list[dict[str, Any]]:
    places = {name: i for i, name in enumerate((*PARTS, "other"))}
    rows = []
    dense_done = False
    for name in study.granularities:
        priced = [c for c in map(cost, study.points.get((name, study.reference), ())) if c]
        for label, key in (("dense", "dense_energy_j"), (name, "energy_j")):
            if not priced or (label == "dense" and dense_done):
                continue
            dense_done = True
            sums: dict[str, float] = {}
            for summary in priced:
                for component, joules in summary[key].items():
                    part = _part_of(component)
                    sums[part] = sums.get(part, 0.0) + 1e6 * joules / len(priced)
            rows += [
                {"granularity": label, "part": part, "energy": energy, "place": places[part]}
                for part, energy in sums.items() if energy
            ]  # fmt: skip
    return rows


def speed_chart(study: Study | None) -> Chart:
    """F4: speed-up against weights left, beside the speed-up that evenly loaded arrays would have."""
    title = "Speed-up against weights left, and what load imbalance takes of it"
    if study is None:
        return Chart("F4", title, None, "no runs were recorded")
    priced = all(cost(record) for record in study.records)
    speed_up = _priced_speed_up if priced else _busiest_speed_up
    rows: list[dict[str, Any]] = [
        {
            "granularity": point[0],
            "left": mean(study.of(point, left)),
            "real": mean(study.of(point, speed_up)),
            "wait": mean(study.of(point, _waiting)),
        }
        for point in study.points
    ]
    x = log_percent("left", "weights left, of all (%)", [row["left"] for row in rows])
    gained = "throughput, pruned / dense" if priced else "speed-up of the busiest arrays (x)"
    y = quantity(
        "real",
        gained,
        scale={"type": "log", "nice": False},
        axis={"format": "~g", "values": [0.5, 1, 2, 3, 5, 10, 20, 50]},
    )
    edges = [min(row["left"] for row in rows), 100]
    ideal: Spec = {
        "data": {"values": [{"left": edge, "real": 100 / edge} for edge in edges]},
        "mark": {"type": "line", "color": "#888888", "strokeDash": [2, 2], "clip": True},
        "encoding": {"x": x, "y": y},
    }  # fmt: skip
    names = study.granularities
    waiting = quantity("wait", "time of the busiest over evenly shared time")
    spec = chart(
        rows,
        hconcat=[
            {"width": 270, "height": 190, "layer": [ideal, *lines(x, y, names, columns=6)]},
            {"width": 270, "height": 190, "layer": lines(x, waiting, names, columns=6)},
        ],
    )
    notes = (
        f"{study.title}. Dotted: time in proportion to weights. Right: steps of the busiest array of each "
        "layer, summed, over what even sharing of the same steps would take, as a ratio to dense; above 1, "
        "arrays wait for others.",
    )
    return Chart("F4", title, spec, wide=True, notes=notes)


def _priced_speed_up(record: RunRecord) -> float:
    return record.hardware["cost"]["ratio"]["images_per_s"]


def _busiest_speed_up(record: RunRecord) -> float:
    return 1 / record.hardware["ratio"]["critical_steps"]


def _waiting(record: RunRecord) -> float:
    """Steps of the busiest arrays over steps if the same work were shared evenly, relative to dense."""
    return record.hardware["ratio"]["critical_steps"] / record.hardware["ratio"]["steps"]


def layers_chart(study: Study | None) -> Chart:
    """F6: by layer and granularity, the weights left and the steps that remain."""
    title = "By layer: weights left, and array steps that remain"
    if study is None:
        return Chart("F6", title, None, "no runs were recorded")
    rows = []
    for name in study.granularities:
        runs = study.points.get((name, study.reference), ())
        if runs:
            rows += _layer_rows(name, runs[0].hardware)
    layers = list(dict.fromkeys(row["layer"] for row in rows))
    fields = {"weights": "weights left (%)", "steps": "steps left (%)", "occupied": "occupied cells (%)"}
    panels = [_heat(field, label, study.granularities, layers) for field, label in fields.items()]
    for panel in panels[1:]:  # the layers' names stand at the first
        panel["encoding"]["y"]["axis"]["labels"] = False
    notes = (
        f"{study.title}, {100 * study.reference:g} % of the prunable weights kept, seed {study.records[0].seed}; "
        "layers in the order of computation, the first and the last exempt where the settings say so. Occupied: "
        "cells that hold a kept weight, of all cells of the layer's arrays.",
    )
    spec = chart(rows, hconcat=panels, resolve={"scale": {"color": "independent"}})
    return Chart("F6", title, spec, wide=True, notes=notes)


def _layer_rows(name: str, hardware: dict[str, Any]) -> list[dict[str, Any]]:
    cells = cells_per_weight(hardware["geometry"])
    return [
        {
            "granularity": name,
            "layer": layer,
            "weights": 100 * counts["weights_left"] / counts["weights"],
            "steps": 100 * counts["steps"] / counts["dense_steps"],
            "occupied": 100 * cells * counts["weights_left"] / counts["cells"] if counts["cells"] else None,
        }
        for layer, counts in hardware["layers"].items()
    ]


def _heat(field: str, label: str, names: list[str], layers: list[str]) -> Spec:
    def words(field: str, order: list[str], axis: Spec) -> Spec:
        return {"field": field, "type": "nominal", "sort": order, "title": None, "axis": axis}

    return {
        "title": label,
        "width": 165,
        "height": {"step": 10 if len(layers) > 12 else 16},
        "mark": {"type": "rect", "stroke": "white", "strokeWidth": 0.5},
        "encoding": {
            "x": words("granularity", sorted(names, key=place), {"labelAngle": -50}),
            "y": words("layer", layers, {"labelLimit": 110, "labelFontSize": 9}),
            "color": {
                "field": field,
                "type": "quantitative",
                "title": None,
                "scale": {"type": "sqrt", "scheme": "viridis"},
                "legend": {"gradientLength": 90, "gradientThickness": 8},
            },
            "tooltip": [
                {"field": "layer"},
                {"field": "granularity"},
                {"field": field, "title": label, "format": ".4~g"},
            ],
        },
    }
