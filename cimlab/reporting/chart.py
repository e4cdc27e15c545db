"""A figure as a Vega-Lite specification: one definition, drawn as SVG in the paper and live in the HTML report.

Colour, dash and marker of a granularity are those of `figures.granularity_style`. A figure whose runs are missing
says why instead of being drawn.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from cimlab.reporting.figures import granularity_style
from cimlab.reporting.studies import base, place

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
WIDTH, HEIGHT = 300, 200
"""Of a one-column figure, in pixels; a figure across both columns is 2.1 times as wide."""
Spec = dict[str, Any]

SHAPES = {
    "o": "circle", "s": "square", "^": "triangle-up", "D": "diamond", "v": "triangle-down", "P": "cross",
    "X": "M-.7,-1L0,-.3L.7,-1L1,-.7L.3,0L1,.7L.7,1L0,.3L-.7,1L-1,.7L-.3,0L-1,-.7Z", "<": "triangle-left",
    ">": "triangle-right", "*": "M0,-1L.3,-.3L1,-.3L.45,.15L.65,.9L0,.45L-.65,.9L-.45,.15L-1,-.3L-.3,-.3Z",
    "h": "M-.5,-.87L.5,-.87L1,0L.5,.87L-.5,.87L-1,0Z", "p": "M0,-1L.95,-.31L.59,.81L-.59,.81L-.95,-.31Z",
}  # fmt: skip
DASHES = {"-": [1, 0], "--": [5, 3]}
PAPER = {
    "font": "Libertinus Serif", "background": "white", "padding": 2,
    "axis": {"labelFontSize": 10, "titleFontSize": 11, "titleFontWeight": "normal", "gridOpacity": 0.5,
             "labelFont": "Libertinus Serif", "titleFont": "Libertinus Serif"},
    "legend": {"labelFontSize": 10, "titleFontSize": 10, "titleFontWeight": "normal", "labelLimit": 240,
               "labelFont": "Libertinus Serif", "titleFont": "Libertinus Serif"},
    "title": {"fontSize": 11, "fontWeight": "normal", "font": "Libertinus Serif"},
    "header": {"labelFontSize": 10, "titleFontSize": 11, "labelFont": "Libertinus Serif"},
    "view": {"stroke": "#999999"},
}  # fmt: skip
"""How figures look on paper; the HTML report brings its own."""


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
        import vl_convert

        return vl_convert.vegalite_to_svg({**copy.deepcopy(self.spec), "config": PAPER})


def chart(values: Sequence[dict[str, Any]], **parts: Any) -> Spec:
    """A specification over rows of data; a figure is complete with this, and refers to nothing outside."""
    return {"$schema": SCHEMA, "data": {"values": list(values)}, **parts}


def quantity(field: str, title: str, **more: Any) -> Spec:
    """A numeric channel; the axis does not have to start at 0."""
    scale = {"zero": False, **more.pop("scale", {})}
    return {"field": field, "type": "quantitative", "title": title, "scale": scale, **more}


def log_percent(field: str, title: str, values: Iterable[float]) -> Spec:
    """A logarithmic channel in percent, with a tick at each round value in reach."""
    known = list(values)
    low, high = min(known), max(known)
    ticks = [t for t in (1, 2, 3, 5, 10, 15, 25, 50, 100) if low / 1.3 <= t <= high * 1.3]
    scale = {"type": "log", "domain": [low / 1.15, high * 1.15], "nice": False}
    return quantity(field, title, scale=scale, axis={"values": ticks, "format": "~g"})


def by_granularity(names: Iterable[str], columns: int = 4) -> Spec:
    """Colour, dash and shape channels of the granularities, with one joint legend below the figure."""
    domain = sorted(set(names), key=place)
    styles = [granularity_style(base(name)) for name in domain]
    shown = {"orient": "bottom", "columns": columns, "title": None, "symbolSize": 60, "symbolOpacity": 1}

    def channel(values: list[Any]) -> Spec:
        scale = {"domain": domain, "range": values}
        return {"field": "granularity", "type": "nominal", "scale": scale, "legend": shown}

    return {
        "color": channel([style["color"] for style in styles]),
        "strokeDash": channel([DASHES[style["linestyle"]] for style in styles]),
        "shape": channel([SHAPES[style["marker"]] for style in styles]),
    }


def only(channels: Spec, *names: str) -> Spec:
    return {name: channels[name] for name in names}


def lines(x: Spec, y: Spec, names: Iterable[str], columns: int = 4) -> list[Spec]:
    """Layers of a line with markers for each granularity."""
    style = by_granularity(names, columns)
    tooltip = [
        {"field": "granularity"},
        {"field": x["field"], "title": x["title"], "format": ".4~g"},
        {"field": y["field"], "title": y["title"], "format": ".4~g"},
    ]
    return [
        {
            "mark": {"type": "line", "strokeWidth": 1.3},
            "encoding": {"x": x, "y": y, **only(style, "color", "strokeDash")},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 45, "opacity": 1},
            "encoding": {"x": x, "y": y, **only(style, "color", "shape"), "tooltip": tooltip},
        },
    ]


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
