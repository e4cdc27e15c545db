"""A figure as a Vega-Lite specification: one definition for paper, plots, HTML report, dashboard and wandb.

The grammar is written as the plain dictionaries that all five take as they are: vl-convert (SVG and PNG), Vega's own
library in the page, streamlit and wandb, whose templates no builder of charts would let through. It costs no import.
Colour, mark and line of a granularity are those of its own file. A figure whose runs are missing says why instead of
being drawn.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10, sqrt
from pathlib import Path
from typing import Any

from cimlab.records.record import content_hash, write_atomically, write_bytes_atomically
from cimlab.reporting.looks import looks, place, series_looks

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
WIDTH, HEIGHT = 300, 200
"""Of a one-column figure, in pixels; a figure across both columns is 2.1 times as wide."""
TICKS = 6
"""Labels, about, of an axis of shares."""
EDGE = 0.03
"""Room between the outermost labels and the frame, of what lies between them."""
LEAST_POINTS = 4
"""Percentage points that an axis of accuracy spans at least."""
Spec = dict[str, Any]


def _looks_with(font: str) -> Spec:
    text = {"labelFont": font, "titleFont": font}
    small = {"labelFontSize": 10, "titleFontSize": 10, "titleFontWeight": "normal", "labelLimit": 240}
    return {
        "font": font, "background": "white", "padding": 2,
        "axis": {"labelFontSize": 10, "titleFontSize": 11, "titleFontWeight": "normal", "gridOpacity": 0.5,
                 "labelLimit": 260, **text},
        "legend": {**small, **text},
        "title": {"fontSize": 11, "fontWeight": "normal", "font": font},
        "header": {"labelFontSize": 10, "titleFontSize": 11, "labelFont": font},
        "view": {"stroke": "#999999"},
    }  # fmt: skip


PAPER = _looks_with("Libertinus Serif")
"""How figures look on paper, in the font that Typst brings; the HTML report brings its own."""
PLOT = _looks_with("sans-serif")
"""How plots look, in the font that vl-convert brings: a picture has no words in a font that isn't there."""


def on_screen(dark: bool) -> Spec:
    """How figures look in a browser, on a light or a dark ground."""
    ink, line = ("#e6e9ed", "#3a424b") if dark else ("#1b1f24", "#d0d7de")
    text = {
        "labelColor": ink,
        "titleColor": ink,
        "labelFontSize": 11,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    }
    return {
        "background": "transparent", "font": "system-ui, sans-serif", "view": {"stroke": line}, "text": {"color": ink},
        "title": {"color": ink, "fontSize": 12, "fontWeight": "normal"},
        "axis": {**text, "gridColor": line, "domainColor": line, "tickColor": line, "labelLimit": 260},
        "legend": {**text, "labelLimit": 260, "symbolBaseFillColor": ink, "symbolBaseStrokeColor": ink},
    }  # fmt: skip


LEGEND = {"orient": "bottom", "symbolSize": 60, "symbolStrokeWidth": 0}
"""Below the figure; without strokes, which dashes would cut into the marks."""


@dataclass(frozen=True)
class Chart:
    """One figure.

    Args:
        name: short and stable: F1 ...
        title: what it shows, for a caption.
        spec: Vega-Lite, data inside; None where its runs are missing.
        missing: which runs those are.
        wide: spans both columns of the paper.
        notes: conditions, a sentence each.
    """

    name: str
    title: str
    spec: Spec | None
    missing: str = ""
    wide: bool = False
    notes: tuple[str, ...] = ()

    def svg(self) -> str:
        """The figure as it looks on paper.

        Raises:
            ValueError: its runs are missing.
        """
        if self.spec is None:
            raise ValueError(f"{self.name} can't be drawn: {self.missing}")
        return svg(self.spec)


def svg(spec: Spec, config: Spec = PAPER) -> str:
    """A specification as it looks on paper."""
    import vl_convert

    return vl_convert.vegalite_to_svg({**copy.deepcopy(spec), "config": config})


def save(spec: Spec, path: Path) -> Path:
    """Write a plot in the format of its name: .svg, .pdf, or a .png of twice the size.

    Raises:
        RecordError: the folder can't be written.
    """
    if path.suffix == ".svg":
        write_atomically(path, svg(spec, PLOT))
        return path
    import vl_convert

    drawn = {**copy.deepcopy(spec), "config": PLOT}
    pdf = path.suffix == ".pdf"
    content = vl_convert.vegalite_to_pdf(drawn) if pdf else vl_convert.vegalite_to_png(drawn, scale=2)
    write_bytes_atomically(path, content)
    return path


def save_apart(spec: Spec, path: Path) -> Path:
    """`save`, and a hash of what is drawn ends the name: no other picture takes its place, the same one does."""
    return save(spec, path.with_stem(f"{path.stem}-{content_hash(spec)[:8]}"))


def chart(values: Sequence[dict[str, Any]], **parts: Any) -> Spec:
    """A specification over rows of data; a figure is complete with this, and refers to nothing outside."""
    return {"$schema": SCHEMA, "data": {"values": list(values)}, **parts}


def quantity(field: str, title: str, **more: Any) -> Spec:
    """A numeric channel; the axis does not have to start at 0."""
    scale = {"zero": False, **more.pop("scale", {})}
    return {"field": field, "type": "quantitative", "title": title, "scale": scale, **more}


def share(field: str, title: str | None, **more: Any) -> Spec:
    """A numeric channel of a fraction, told in percent."""
    axis = {"format": "~%", "tickCount": TICKS} | ({} if title is None else {"title": title})
    return {"field": field, "type": "quantitative", "scale": {"zero": False}, "axis": axis} | more


def spanning(values: Iterable[float], least: float, whole: float = 1.0) -> Spec:
    """The scale of shares of `whole` that spans `least` at least: differences that are none don't fill a plot.

    >>> spanning([0.9375, 0.938], 0.125)
    {'zero': False, 'domain': [0.875, 1.0]}
    """
    known = list(values)
    low, high = min(known), max(known)
    if high - low >= least:
        return {"zero": False, "padding": 6}
    low = min(max(0.0, (low + high - least) / 2), whole - least)
    return {"zero": False, "domain": [low, low + least]}


def framed(values: Iterable[float], least: float, whole: float = 1.0) -> Spec:
    """`spanning` for an axis of some `TICKS`: labels reach the outermost points, none lies beyond `whole`, and no point
    on the frame.

    >>> framed([0.93, 0.9375, 1.0], 0.02)
    {'zero': False, 'nice': False, 'domain': [0.9279, 1.0021]}
    """
    known = list(values)
    low, high = spanning(known, least, whole).get("domain", (min(known), max(known)))
    edges = (low, high)
    for _ in range(3):  # the room at the edges can make the axis' step greater
        step = _tick_step(edges[1] - edges[0])
        first, last = floor(low / step + 1e-9) * step, ceil(high / step - 1e-9) * step
        last = max(high, min(last, whole))
        room = EDGE * (last - first)
        edges = (first - room, last + room)
    return {"zero": False, "nice": False, "domain": [round(edge, 9) for edge in edges]}


def _tick_step(span: float) -> float:
    """The round step of an axis of some `TICKS`, as Vega takes it: 1, 2, 5 or 10 of a power of ten."""
    power = 10.0 ** floor(log10(span / TICKS))
    times = span / TICKS / power
    return power * (10 if times >= sqrt(50) else 5 if times >= sqrt(10) else 2 if times >= sqrt(2) else 1)


def logarithmic(field: str, title: str, values: Iterable[float]) -> Spec:
    """A logarithmic channel from label to label, with every value between the outermost; what is 0 has no place on it.

    >>> logarithmic("energy", "energy (µJ)", [0.21, 0.99])["axis"]["values"]
    [0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0]
    >>> logarithmic("rate", "images/s", [620, 1220])["axis"]["values"]
    [600.0, 700.0, 800.0, 900.0, 1000.0, 1100.0, 1200.0, 1300.0]
    """
    known = [value for value in values if value > 0 and isfinite(value)] or [1.0]
    ticks = _log_ticks(min(known), max(known))
    scale = {"type": "log", "nice": False, "domain": [ticks[0], ticks[-1]], "padding": 8}
    return quantity(field, title, scale=scale, axis={"values": ticks, "format": ",~r"})


def _log_ticks(low: float, high: float) -> list[float]:
    """Round values around a range: about `TICKS`, evenly spaced where it is too short for those of a decade."""
    if high < 1.05 * low:
        low, high = low / 1.05, 1.05 * high
    if high < 2.5 * low:
        step = _tick_step(high - low)
        return [round(i * step, 12) for i in range(floor(low / step), ceil(high / step) + 1)]
    first, last = floor(log10(low)), ceil(log10(high))
    for every, digits in (
        (1, (1, 1.5, 2, 3, 4, 5, 6, 8)),
        (1, (1, 2, 5)),
        (ceil((last - first) / TICKS), (1,)),
    ):
        ticks = [float(f"{d}e{p}") for p in range(first, last + every, every) for d in digits]
        start = max((i for i, tick in enumerate(ticks) if tick <= low), default=0)
        end = min((i for i, tick in enumerate(ticks) if tick >= high), default=len(ticks) - 1)
        if end - start <= TICKS + 1:
            break
    return ticks[start : end + 1]


def log_percent(field: str, title: str, values: Iterable[float]) -> Spec:
    """A logarithmic channel in percent, with a tick at each round value in reach."""
    known = list(values)
    low, high = min(known), max(known)
    ticks = [t for t in (1, 2, 3, 5, 10, 15, 25, 50, 100) if low / 1.3 <= t <= high * 1.3]
    scale = {"type": "log", "domain": [low / 1.15, high * 1.15], "nice": False}
    return quantity(field, title, scale=scale, axis={"values": ticks, "format": "~g"})


def by_granularity(names: Iterable[str], columns: int = 4, field: str = "granularity") -> Spec:
    """Colour, dash and shape channels of the granularities, with one joint legend below the figure."""
    domain = sorted(set(names), key=place)
    drawn = looks(domain)
    shown = {
        "orient": "bottom",
        "columns": columns,
        "title": None,
        "symbolSize": 60,
        "symbolStrokeWidth": 0,
        "symbolOpacity": 1,
    }
    return {
        "color": _nominal(field, domain, [own.colour for own in drawn], shown),
        "strokeDash": _nominal(field, domain, [[5, 3] if own.dashed else [1, 0] for own in drawn], shown),
        "shape": _nominal(field, domain, [own.mark for own in drawn], shown),
    }


def by_series(field: str, title: str | None, names: list[Any], columns: int) -> dict[str, Spec]:
    """The same channels for a field that is no granularity."""
    drawn = series_looks(len(names))
    shown = {
        "orient": "bottom",
        "title": title,
        "columns": columns,
        "symbolSize": 60,
        "symbolStrokeWidth": 0,
        "labelLimit": 500,
    }
    return {
        "color": _nominal(field, names, [own.colour for own in drawn], shown),
        "strokeDash": _nominal(
            field, names, [[1, 0] if i % 2 == 0 else [4, 3] for i in range(len(names))], shown
        ),
        "shape": _nominal(field, names, [own.mark for own in drawn], shown),
    }


def _nominal(field: str, domain: list[Any], values: list[Any], legend: Spec) -> Spec:
    return {"field": field, "type": "nominal", "scale": {"domain": domain, "range": values}, "legend": legend}


def only(channels: Spec, *names: str) -> Spec:
    """Some of the channels."""
    return {name: channels[name] for name in names}


def line_and_points(
    x: Spec, y: Spec, channels: dict[str, Spec], tooltip: list[Spec] | None = None
) -> list[Spec]:
    """Layers of a line with markers for each series."""
    told = {} if tooltip is None else {"tooltip": tooltip}
    return [
        {
            "mark": {"type": "line", "strokeWidth": 1.3},
            "encoding": {"x": x, "y": y, **only(channels, "color", "strokeDash")},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 45, "opacity": 1},
            "encoding": {"x": x, "y": y, **only(channels, "color", "shape"), **told},
        },
    ]


def lines(x: Spec, y: Spec, names: Iterable[str], columns: int = 4) -> list[Spec]:
    """Layers of a line with markers for each granularity."""
    tooltip = [
        {"field": "granularity"},
        {"field": x["field"], "title": x["title"], "format": ".4~g"},
        {"field": y["field"], "title": y["title"], "format": ".4~g"},
    ]
    return line_and_points(x, y, by_granularity(names, columns), tooltip)


def intervals(x: Spec, names: Iterable[str], columns: int = 4) -> list[Spec]:
    """Layers of a band between `low` and `high` where there are such fields (three seeds or more), and of bars."""
    style = only(by_granularity(names, columns), "color")
    edges = {"y": {"field": "low", "type": "quantitative"}, "y2": {"field": "high"}}
    known = [{"filter": "isValid(datum.low)"}]
    return [
        {
            "transform": known,
            "mark": {"type": "area", "opacity": 0.18, "clip": True},
            "encoding": {"x": x, **edges, **style},
        },
        {
            "transform": known,
            "mark": {"type": "rule", "opacity": 0.7, "clip": True},
            "encoding": {"x": x, **edges, **style},
        },
    ]
