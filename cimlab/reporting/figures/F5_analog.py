"""F5: accuracy behind real converters and devices, against the resolution of the converters."""

from __future__ import annotations

from collections import Counter
from typing import Any

from cimlab.records.simulation import SimulationRecord
from cimlab.reporting.analog_series import Names, by_resolution, lines
from cimlab.reporting.chart import LEAST_POINTS, WIDTH, by_series, chart, line_and_points, quantity, spanning
from cimlab.reporting.estimates import Estimate
from cimlab.reporting.evidence import Evidence
from cimlab.reporting.parts import Drawing, NotRun, figure


@figure("F5", "Accuracy on the analog array against ADC resolution and device variation")
def analog_figure(evidence: Evidence) -> Drawing:
    """With ideal and with real devices, dense and pruned."""
    simulations = list(evidence.simulations)
    if not simulations:
        raise NotRun("no network was simulated on the analog array (cimlab simulate)")
    names = Names.of(simulations, evidence.records)
    shown = _asked_much(simulations, names)
    rows = [
        _simulated_point(name, names.network(line[0]), bits, records)
        for name, line in lines(simulations, names).items()
        for bits, records in by_resolution(line).items()
        if names.network(line[0]) in shown
    ]
    notes = _notes(simulations, names, shown)
    return Drawing(chart(rows, width=WIDTH, height=175, layer=_layers(rows)), wide=True, notes=notes)


def _asked_much(simulations: list[SimulationRecord], names: Names) -> set[str]:
    """Networks whose arrays were asked what could cost accuracy; all of them where none was."""
    series = lines(simulations, names).values()
    much = {names.network(line[0]) for line in series if not _lossless(line)}
    return much or {names.network(record) for record in simulations}


def _layers(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lines, points and their intervals; side by side, as several networks reach the same accuracy."""
    order = sorted({row["adc"] for row in rows}, key=lambda bits: int(bits) if bits.isdigit() else 99)
    x = {
        "field": "adc", "type": "ordinal", "title": "ADC resolution (bits)", "sort": order,
        "axis": {"labelAngle": 0, "grid": True, "tickBand": "extent"},
    }  # fmt: skip
    colours, shapes = (_channels(rows, field) for field in ("network", "arrays"))
    reached = [row[name] for row in rows for name in ("accuracy", "low", "high") if name in row]
    y = quantity("accuracy", "test accuracy (%)", scale=spanning(reached, LEAST_POINTS, 100))
    line, points = line_and_points(x, y, {**shapes, "color": colours["color"]})
    line["encoding"]["detail"] = {"field": "series"}
    networks = list(dict.fromkeys(row["network"] for row in rows))
    beside = {"field": "network", "type": "nominal", "sort": networks}
    for layer in (line, points):
        layer["encoding"]["xOffset"] = beside
    intervals = {
        "transform": [{"filter": "isValid(datum.low)"}],
        "mark": {"type": "rule"},
        "encoding": {
            "x": x, "xOffset": beside, "color": colours["color"],
            "y": {"field": "low", "type": "quantitative"}, "y2": {"field": "high"},
        },
    }  # fmt: skip
    return [line, points, intervals]


def _notes(simulations: list[SimulationRecord], names: Names, shown: set[str]) -> tuple[str, ...]:
    """What bars are, on how many images the points stand, and what is not drawn."""
    notes = [
        "Marks between two lines stand side by side, network by network.",
        "Bars: 95 % interval over simulated chips, or over three or more networks trained with different seeds.",
        _images([(names.network(r), r.images) for r in simulations if names.network(r) in shown]),
    ]
    alone = [record for record in simulations if names.network(record) not in shown]
    if alone:
        furthest = 100 * max(abs(r.accuracy["mean"] - r.accuracy["float"]) for r in alone)
        notes.append(
            f"Not drawn: {len(alone)} simulations on lossless arrays alone, within {furthest:.2f} points of floating "
            "point."
        )
    if all(record.choices["device"] == "ideal" for record in simulations):
        notes.append("Device variation: not run.")
    return tuple(notes)


def _images(simulated: list[tuple[str, int]]) -> str:
    """On how many test images, and which networks on another number than most."""
    usual = Counter(images for _, images in simulated).most_common(1)[0][0]
    others = dict.fromkeys(pair for pair in simulated if pair[1] != usual)
    return (
        "; ".join([f"Test images: {usual:,}", *(f"{images:,} for {name}" for name, images in others)]) + "."
    )


def _lossless(line: list[SimulationRecord]) -> bool:
    """Whether nothing was asked of the arrays that could cost accuracy but 8 bits or so of weights and inputs."""
    return set(by_resolution(line)) == {"lossless"} and line[0].choices["device"] == "ideal"


def _channels(rows: list[dict[str, Any]], field: str) -> dict[str, Any]:
    """Looks of one half of a line's name: the network has a colour, its arrays a mark and a dash."""
    channels = by_series(field, field, list(dict.fromkeys(row[field] for row in rows)), 1)
    return {name: {**own, "legend": own["legend"] | {"orient": "right"}} for name, own in channels.items()}


def _simulated_point(name: str, of: str, bits: str, records: list[SimulationRecord]) -> dict[str, Any]:
    """One point: the mean of one network over its chips, or of several networks."""
    arrays = "lossless" if bits == "lossless" else name.removeprefix(f"{of}, ")
    point: dict[str, Any] = {"series": name, "network": of, "arrays": arrays, "adc": bits}
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
