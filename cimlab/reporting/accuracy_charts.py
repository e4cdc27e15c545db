"""Figures of accuracy: F1 against compression, F2 against the operation unit's size, F5 on the analog array, F7
against energy."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from cimlab.records.record import RunRecord, content_hash
from cimlab.reporting.chart import SHAPES, WIDTH, Chart, Spec, by_granularity, chart, intervals, lines, log_percent, only, quantity
from cimlab.reporting.estimates import Estimate
from cimlab.reporting.figures import ORDER, granularity_style
from cimlab.reporting.studies import Study, accuracy, cells_per_weight, cost, left, loss, worded

SHAPE_OF_UNIT = ("geometry.active_rows", "geometry.columns_per_adc", "geometry.adc_bits")


def mean(estimate: Estimate | None) -> float | None:
    return None if estimate is None else estimate.mean


def interval(estimate: Estimate | None) -> dict[str, float]:
    """Ends of the 95 % interval, as fields; none where there are too few seeds."""
    if estimate is None or estimate.half_width is None:
        return {}
    return {"low": estimate.mean - estimate.half_width, "high": estimate.mean + estimate.half_width}


def accuracy_chart(study: Study | None) -> Chart:
    """F1: accuracy against weights left, one line a granularity."""
    title = "Test accuracy against weights left, by pruned unit"
    if study is None:
        return Chart("F1", title, None, "no runs were recorded")
    rows = [
        {
            "granularity": name, "left": mean(study.of((name, fraction), left)),
            "accuracy": mean(found := study.of((name, fraction), accuracy)), **interval(found),
        }
        for name, fraction in study.points
    ]  # fmt: skip
    x = log_percent("left", "weights left, of all (%)", [row["left"] for row in rows])
    y = quantity("accuracy", "test accuracy (%)")
    dense = {
        "data": {"values": [{"accuracy": study.dense.mean}]},
        "mark": {"type": "rule", "strokeDash": [2, 2], "color": "#888888"},
        "encoding": {"y": y, "tooltip": [{"field": "accuracy", "title": "dense, %", "format": ".4~g"}]},
    }
    layers = [dense, *intervals(x, study.granularities, columns=3), *lines(x, y, study.granularities, columns=3)]
    notes = (f"{study.title}; dotted: dense network; {_seeds(study)}.",)
    return Chart("F1", title, chart(rows, width=WIDTH, height=210, layer=layers), notes=notes)


def _seeds(study: Study) -> str:
    if study.seeds == 1:
        return "one seed, no band"
    return f"means over up to {study.seeds} seeds, bands: 95 % interval where there are three or more"


def families(studies: list[Study], loose: tuple[str, ...]) -> list[list[Study]]:
    """Studies that differ in the loose settings alone, in groups of two or more."""
    groups: dict[str, list[Study]] = defaultdict(list)
    for study in studies:
        fixed = {key: value for key, value in study.settings.items() if key not in loose}
        groups[content_hash(fixed)].append(study)
    return [group for group in groups.values() if len(group) > 1]


def unit_size_chart(studies: list[Study]) -> Chart:
    """F2: accuracy, energy and throughput against rows and columns of the operation unit, at fixed compression."""
    title = "Effect of the operation unit's rows and columns, at fixed compression"
    found = families(studies, SHAPE_OF_UNIT)
    if not found:
        return Chart("F2", title, None, "no two runs differ in the operation unit's size alone (experiments/operation_unit_size.yaml)")
    family = max(found, key=len)
    points = [point for study in family for point in study.points]
    point = max(sorted(set(points)), key=points.count)
    family = [study for study in family if point in study.points]
    priced = all(cost(record) is not None for study in family for record in study.points[point])
    rows = [_unit_row(study, point, priced) for study in family]
    x = quantity("rows", "rows on at once", scale={"type": "log", "base": 2, "nice": False}, axis={"values": sorted({row["rows"] for row in rows})})  # fmt: skip
    colour = {
        "field": "columns", "type": "ordinal", "title": "weights read at once",
        "legend": {"orient": "bottom"},
    }  # fmt: skip
    domain = sorted({row["columns"] for row in rows})
    styles = [granularity_style(name) for name in ORDER[: len(domain)]]
    shades = {"scale": {"domain": domain, "range": [style["color"] for style in styles]}}
    marks = {"scale": {"domain": domain, "range": [SHAPES[style["marker"]] for style in styles]}}
    si = {"format": "~s"}
    effort = (
        [("energy", "energy per image (µJ)", {}), ("rate", "throughput (images/s)", si)]
        if priced
        else [("conversions", "ADC conversions per image", si), ("steps", "steps per image, busiest arrays", si)]
    )
    panels = [
        {
            "width": 165, "height": 150, "mark": {"type": "line", "point": {"size": 45, "filled": True, "opacity": 1}},
            "encoding": {"x": x, "y": quantity(field, label, axis=axis), "color": colour | shades, "shape": colour | marks},
        }
        for field, label, axis in [("loss", "loss of accuracy (points)", {}), *effort]
    ]  # fmt: skip
    notes = (f"{family[0].title}; {point[0]}, {100 * point[1]:g} % kept.",)
    return Chart("F2", title, chart(rows, hconcat=panels), wide=True, notes=notes)


def _unit_row(study: Study, point: tuple[str, float], priced: bool) -> dict[str, Any]:
    geometry = study.records[0].hardware["geometry"]
    row = {
        "rows": geometry["active_rows"],
        "columns": geometry["cols"] // (geometry["columns_per_adc"] * cells_per_weight(geometry)),
        "loss": mean(study.of(point, loss)),
        "conversions": mean(study.of(point, lambda r: r.hardware["total"]["adc_conversions"])),
        "steps": mean(study.of(point, lambda r: r.hardware["total"]["critical_steps"])),
    }
    if priced:
        row["energy"] = mean(study.of(point, lambda r: 1e6 * r.hardware["cost"]["total"]["energy_j"]))
        row["rate"] = mean(study.of(point, lambda r: r.hardware["cost"]["total"]["images_per_s"]))
    return row


def analog_chart(simulations: list[dict[str, Any]]) -> Chart:
    """F5: accuracy on the analog array against ADC bits, and under device errors, dense and pruned."""
    title = "Accuracy on the analog array against ADC resolution and device variation"
    if not simulations:
        return Chart("F5", title, None, "no network was simulated on the analog array (cimlab simulate)")
    rows = [_simulation_row(content) for content in simulations]
    order = sorted({row["adc"] for row in rows}, key=_bits)
    axis = {"labelAngle": 0}
    x = {"field": "adc", "type": "ordinal", "title": "ADC resolution (bits)", "sort": order, "axis": axis}
    y = quantity("accuracy", "test accuracy (%)")
    names = list(dict.fromkeys(row["series"] for row in rows))
    styles = [granularity_style(name) for name in (*ORDER, *ORDER)[: len(names)]]

    def series(values: list) -> Spec:
        shown = {"orient": "bottom", "title": None, "columns": 1, "symbolSize": 60, "labelLimit": 300}
        return {"field": "series", "type": "nominal", "scale": {"domain": names, "range": values}, "legend": shown}

    colour = series([style["color"] for style in styles])
    dash = series([[1, 0] if i % 2 else [4, 3] for i in range(len(names))])
    shape = series([SHAPES[style["marker"]] for style in styles])
    spec = chart(
        rows, width=WIDTH, height=190,
        layer=[
            {"mark": {"type": "line", "strokeWidth": 1.3}, "encoding": {"x": x, "y": y, "color": colour, "strokeDash": dash}},
            {"mark": {"type": "point", "filled": True, "size": 45}, "encoding": {"x": x, "y": y, "color": colour, "shape": shape}},
            {"transform": [{"filter": "isValid(datum.low)"}], "mark": {"type": "rule"}, "encoding": {"x": x, "y": {"field": "low", "type": "quantitative"}, "y2": {"field": "high"}, "color": colour}},
        ],
    )  # fmt: skip
    return Chart("F5", title, spec, notes=("Bars: 95 % interval over simulated chips.",))


def _bits(text: str) -> int:
    return int(text) if text.isdigit() else 99


def _simulation_row(content: dict[str, Any]) -> dict[str, Any]:
    found, weights = content["accuracy"], content["weights"]
    bits = content["config"]["geometry"]["adc_bits"]
    device = content["choices"].get("device", "ideal")
    share = weights["left"] / weights["total"]
    low, high = found["interval"] or (None, None)
    kept = "dense" if share == 1 else f"{100 * share:.0f} % left"
    devices = ", ".join(map(worded, device)) if isinstance(device, list) else worded(str(device))
    return {
        "adc": "lossless" if bits is None else str(bits), "accuracy": 100 * found["mean"],
        "series": f"{worded(content['choices']['model'])}, {kept}, {devices}",
        **({"low": 100 * low, "high": 100 * high} if low is not None and high is not None else {}),
    }  # fmt: skip


def pareto_chart(study: Study | None) -> Chart:
    """F7: accuracy against energy per image, with the points that no other beats in both."""
    title = "Accuracy against energy per image, and the Pareto front"
    rows = [] if study is None else _priced_rows(study)
    if study is None or not rows:
        return Chart("F7", title, None, "no run was priced by the hardware model")
    front = _front(rows)
    energies = [row["energy"] for row in rows]
    scale = {"type": "log", "domain": [min(energies) / 1.1, max(energies) * 1.1], "nice": False}
    x = quantity("energy", "energy per image (µJ)", scale=scale)
    y = quantity("accuracy", "test accuracy (%)")
    named = [row for row in rows if row["granularity"] != "dense"]
    style = by_granularity([row["granularity"] for row in named], columns=3)
    path: Spec = {
        "data": {"values": front},
        "mark": {"type": "line", "color": "#888888", "interpolate": "step-after", "strokeWidth": 1},
        "encoding": {"x": x, "y": y, "order": {"field": "energy"}},
    }
    dense: Spec = {
        "data": {"values": [row for row in rows if row["granularity"] == "dense"]},
        "mark": {"type": "text", "text": "dense", "fontSize": 10, "align": "right", "dx": -4},
        "encoding": {"x": x, "y": y},
    }
    points: Spec = {
        "data": {"values": named},
        "mark": {"type": "point", "filled": True, "size": 50, "opacity": 1},
        "encoding": {"x": x, "y": y, **only(style, "color", "shape"), "tooltip": [{"field": "granularity"}, {"field": "kept", "title": "kept, %"}, {"field": "energy", "format": ".4~g"}, {"field": "accuracy", "format": ".4~g"}]},
    }  # fmt: skip
    spec = chart(rows, width=WIDTH, height=210, layer=[path, points, dense])
    return Chart("F7", title, spec, notes=(f"{study.title}; grey steps: the front.",))


def _priced_rows(study: Study) -> list[dict[str, Any]]:
    def energy(total: str):
        return lambda record: 1e6 * record.hardware["cost"][total]["energy_j"]

    rows: list[dict[str, Any]] = []
    whole: list[RunRecord] = []
    for (name, fraction), runs in study.points.items():
        priced = [record for record in runs if cost(record)]
        if priced:
            whole += priced
            rows.append({
                "granularity": name, "kept": 100 * fraction,
                "energy": mean(Estimate.of(map(energy("total"), priced))),
                "accuracy": mean(Estimate.of(map(accuracy, priced))),
            })  # fmt: skip
    if whole:
        dense = mean(Estimate.of(map(energy("dense"), whole)))
        rows.append({"granularity": "dense", "kept": 100, "energy": dense, "accuracy": study.dense.mean})
    return rows


def _front(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Points that no other beats in both: cheapest first, each more accurate than all cheaper ones."""
    front: list[dict[str, Any]] = []
    for row in sorted(rows, key=lambda row: (row["energy"], -row["accuracy"])):
        if not front or row["accuracy"] > front[-1]["accuracy"]:
            front.append(row)
    return front
