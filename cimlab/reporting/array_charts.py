"""Figures of the array itself: F2, the operation unit's size, and F5, accuracy behind real converters and devices."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from cimlab.records.record import content_hash
from cimlab.records.simulation import SimulationRecord
from cimlab.reporting.accuracy_charts import mean
from cimlab.reporting.analog_series import by_resolution, lines
from cimlab.reporting.chart import SHAPES, WIDTH, Chart, Spec, chart, quantity
from cimlab.reporting.estimates import Estimate
from cimlab.reporting.figures import ORDER, granularity_style
from cimlab.reporting.studies import Point, Study, cells_per_weight, cost, loss

UNIT_SIZE = ("geometry.active_rows", "geometry.columns_per_adc", "geometry.adc_bits")


def families(studies: list[Study], loose: tuple[str, ...]) -> list[list[Study]]:
    """Studies that differ in the loose settings alone, in groups of two or more."""
    groups: dict[str, list[Study]] = defaultdict(list)
    for study in studies:
        fixed = {key: value for key, value in study.settings.items() if key not in loose}
        groups[content_hash(fixed)].append(study)
    return [group for group in groups.values() if len(group) > 1]


def series(field: str, title: str | None, names: list[Any], columns: int) -> dict[str, Spec]:
    """Colour, dash and shape channels of a field that is no granularity, with one joint legend below the figure."""
    styles = [granularity_style(name) for name in (*ORDER, *ORDER)[: len(names)]]
    legend = {"orient": "bottom", "title": title, "columns": columns, "symbolSize": 60, "labelLimit": 500}

    def channel(values: list[Any]) -> Spec:
        scale = {"domain": names, "range": values}
        return {"field": field, "type": "nominal", "scale": scale, "legend": legend}

    return {
        "color": channel([style["color"] for style in styles]),
        "strokeDash": channel([[1, 0] if i % 2 == 0 else [4, 3] for i in range(len(names))]),
        "shape": channel([SHAPES[style["marker"]] for style in styles]),
    }


def line_and_points(x: Spec, y: Spec, channels: dict[str, Spec]) -> list[Spec]:
    """Layers of a line with markers for each series."""
    colour = {"color": channels["color"]}
    return [
        {
            "mark": {"type": "line", "strokeWidth": 1.3},
            "encoding": {"x": x, "y": y, **colour, "strokeDash": channels["strokeDash"]},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 45, "opacity": 1},
            "encoding": {"x": x, "y": y, **colour, "shape": channels["shape"]},
        },
    ]


def unit_size_chart(studies: list[Study]) -> Chart:
    """F2: loss, energy and throughput against rows and columns of the operation unit, at fixed compression.

    Of several groups of runs it shows the one on the hardest data, of those the one with the most sizes.
    """
    title = "Effect of the operation unit's rows and columns, at fixed compression"
    found = families(studies, UNIT_SIZE)
    if not found:
        missing = (
            "no two runs differ in the operation unit's size alone (experiments/operation_unit_size.yaml)"
        )
        return Chart("F2", title, None, missing)
    hardest = found[0][0].data  # studies come harder data first
    family = max((group for group in found if group[0].data == hardest), key=len)
    points = [point for study in family for point in study.points]
    point = max(sorted(set(points)), key=points.count)
    family = [study for study in family if point in study.points]
    priced = all(cost(record) is not None for study in family for record in study.points[point])
    rows = [_unit_row(study, point, priced) for study in family]
    scale = {"type": "log", "base": 2, "nice": False}
    ticks = {"values": sorted({row["rows"] for row in rows}), "labelOverlap": False}
    x = quantity("rows", "rows on at once", scale=scale, axis=ticks)
    channels = series("columns", "weights read at once", sorted({row["columns"] for row in rows}), 6)
    effort = (
        {"energy": "energy per image (µJ)", "rate": "throughput (images/s)"}
        if priced
        else {"conversions": "ADC conversions per image", "steps": "steps per image, busiest arrays"}
    )
    panels = [
        {
            "width": 165,
            "height": 150,
            "layer": line_and_points(x, quantity(field, label, axis=axis), channels),
        }
        for field, label, axis in [
            ("loss", "loss of accuracy (points)", {}),
            *((field, label, {"format": "~s"}) for field, label in effort.items()),
        ]
    ]
    seeds = ", ".join(map(str, sorted({len(study.points[point]) for study in family})))
    notes = (f"{family[0].title}; {point[0]}, {100 * point[1]:g} % kept; seeds a point: {seeds}.",)
    return Chart("F2", title, chart(rows, hconcat=panels), wide=True, notes=notes)


def _unit_row(study: Study, point: Point, priced: bool) -> dict[str, float]:
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


def analog_chart(simulations: list[SimulationRecord]) -> Chart:
    """F5: accuracy on the analog array against ADC bits, with ideal and with real devices, dense and pruned."""
    title = "Accuracy on the analog array against ADC resolution and device variation"
    if not simulations:
        return Chart("F5", title, None, "no network was simulated on the analog array (cimlab simulate)")
    rows = [
        _simulated_point(name, bits, records)
        for name, line in lines(simulations).items()
        for bits, records in by_resolution(line).items()
    ]
    order = sorted({row["adc"] for row in rows}, key=lambda bits: int(bits) if bits.isdigit() else 99)
    x = {
        "field": "adc", "type": "ordinal", "title": "ADC resolution (bits)", "sort": order, "axis": {"labelAngle": 0},
    }  # fmt: skip
    channels = series("series", None, list(dict.fromkeys(row["series"] for row in rows)), 1)
    bars = {
        "transform": [{"filter": "isValid(datum.low)"}],
        "mark": {"type": "rule"},
        "encoding": {
            "x": x, "y": {"field": "low", "type": "quantitative"}, "y2": {"field": "high"}, "color": channels["color"],
        },
    }  # fmt: skip
    layers = [*line_and_points(x, quantity("accuracy", "test accuracy (%)"), channels), bars]
    images = ", ".join(f"{n:,}" for n in sorted({record.images for record in simulations}))
    notes = [
        "Bars: 95 % interval over simulated chips, or over three or more networks trained with different seeds.",
        f"Test images: {images}.",
    ]
    if all(record.choices["device"] == "ideal" for record in simulations):
        notes.append("Device variation: not run.")
    return Chart("F5", title, chart(rows, width=WIDTH, height=190, layer=layers), notes=tuple(notes))


def _simulated_point(name: str, bits: str, records: list[SimulationRecord]) -> dict[str, Any]:
    """One point: the mean of one network over its chips, or of several networks."""
    point: dict[str, Any] = {"series": name, "adc": bits}
    if len(records) == 1:
        point["accuracy"], ends = 100 * records[0].accuracy["mean"], records[0].accuracy["interval"]
        if ends is not None:
            point["low"], point["high"] = (100 * end for end in ends)
        return point
    estimate = Estimate(tuple(100 * record.accuracy["mean"] for record in records))
    point["accuracy"] = estimate.mean
    if (half := estimate.half_width) is not None:
        point["low"], point["high"] = estimate.mean - half, estimate.mean + half
    return point
