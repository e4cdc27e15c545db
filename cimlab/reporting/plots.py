"""Plots of commands and dashboard: accuracy over what is left, fronts, costs by component, executed steps."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cimlab.records.record import RunRecord
from cimlab.records.study import study_of
from cimlab.reporting.chart import Spec, by_granularity, by_series, chart, framed, only, quantity, share
from cimlab.reporting.hardware import component, of_sample
from cimlab.reporting.studies import granularity


def curves(
    x: Spec, y: Spec, style: Spec, groups: Sequence[str], tooltip: list[Spec] | None = None, panel: str = ""
) -> list[Spec]:
    """Layers of a line through the means of each group of runs, and of a point for each run.

    Args:
        x, y: quantitative channels.
        style: colour, and dash and shape where there are any.
        groups: fields whose values a mean's runs share; a line is of runs that share all but the last.
        panel: another for each of several, or Vega-Lite joins their means and draws the first panel's in all.
    """
    mean_x, mean_y = f"mean_x{panel}", f"mean_y{panel}"
    means = [{"op": "mean", "field": axis["field"], "as": name} for name, axis in ((mean_x, x), (mean_y, y))]
    line = {axis: channel for axis, channel in style.items() if axis in ("color", "strokeDash")}
    point = {axis: channel for axis, channel in style.items() if axis in ("color", "shape")}
    return [
        {
            "transform": [{"aggregate": means, "groupby": list(groups)}],
            "mark": {"type": "line", "strokeWidth": 1.3},
            "encoding": {
                "x": {**x, "field": mean_x}, "y": {**y, "field": mean_y}, **line,
                "detail": [{"field": name, "type": "nominal"} for name in groups[:-1]],
            },
        },
        {
            "mark": {"type": "point", "filled": True, "size": 45, "opacity": 1},
            "encoding": {"x": x, "y": y, **point, **({} if tooltip is None else {"tooltip": tooltip})},
        },
    ]  # fmt: skip


def accuracy_plot(records: Sequence[RunRecord]) -> Spec:
    """Retrained test accuracy against weights left, and against array steps left; one line per granularity.

    A point is a run; lines go through the means over seeds.

    Raises:
        ValueError: there are no records.
    """
    if not records:
        raise ValueError("no records to draw; train first, or name another folder")
    rows = [_row(record) for record in records]
    style = by_granularity([row["granularity"] for row in rows], columns=6)
    dense: Spec = {
        "mark": {"type": "rule", "color": "#888888", "strokeDash": [2, 2]},
        "encoding": {"y": {"field": "dense", "type": "quantitative", "aggregate": "mean"}},
    }
    reached = [row[phase] for row in rows for phase in ("accuracy", "dense")]
    y = share("accuracy", "test accuracy after retraining", scale=framed(reached, 0.02))
    panels = [
        {
            "width": 330,
            "height": 260,
            "layer": [dense, *curves(share(field, title, scale=scale), y, style, GROUPS, panel=field)],
        }
        for field, title, scale in (
            (field, title, framed([row[field] for row in rows], 0.1))
            for field, title in (("left", "weights left"), ("steps", "array steps left"))
        )
    ]
    title = {"text": "dotted: dense network", "fontSize": 10, "anchor": "end", "color": "#666666"}
    return chart(rows, hconcat=panels, title=title)


GROUPS = ("study", "granularity", "remaining")
"""What the runs of one mean share; a line is of runs that share all but the last."""


def _row(record: RunRecord) -> dict[str, Any]:
    return {
        "study": study_of(record),
        "granularity": granularity(record), "remaining": record.config["prune"]["remaining"], "seed": record.seed,
        "left": record.weights["remaining_all"], "steps": record.hardware["ratio"]["steps"],
        "accuracy": record.accuracy["retrained"]["test"], "dense": record.accuracy["dense"]["test"],
    }  # fmt: skip


def front_plot(
    points: Sequence[tuple[float, float]], front: Sequence[tuple[float, float]], labels: tuple[str, str]
) -> Spec:
    """All trials of a search, and a line through those that no other beats in both objectives."""
    rows = [
        {"x": x, "y": y, "trial": kind}
        for kind, some in (("trials", points), ("Pareto front", sorted(front)))
        for x, y in some
    ]
    axes = {"x": quantity("x", labels[0]), "y": quantity("y", labels[1])}
    style = by_series("trial", None, ["Pareto front", "trials"], 2)
    style["color"]["scale"]["range"][1] = "#B0B0B0"
    line: Spec = {
        "transform": [{"filter": {"field": "trial", "equal": "Pareto front"}}],
        "mark": {"type": "line", "strokeWidth": 1.3},
        "encoding": {**axes, **only(style, "color")},
    }
    marks: Spec = {
        "mark": {"type": "point", "filled": True, "size": 40, "opacity": 1},
        "encoding": {**axes, **only(style, "color", "shape")},
    }
    return chart(rows, width=380, height=280, layer=[marks, line])


def components_plot(summary: Mapping[str, Any]) -> Spec:
    """Stacked bars: energy by layer and component, and energy and area of the whole, dense beside pruned.

    Components below a hundredth of the total are drawn as one, so that heights are totals.
    """
    energy, area = summary["energy_j"], summary["area_m2"]
    shown = [n for n in energy if energy[n] > 0.01 * summary["total"]["energy_j"]]
    shown += [n for n in area if area[n] > 0.01 * summary["total"]["area_m2"] and n not in shown]
    layers = {r["layer"]: {n: r.get(f"energy_j/{n}", 0.0) for n in energy} for r in summary["layers"]}
    for row in summary.get("off_arrays", ()):
        layers.setdefault(row["name"], {})[row["component"]] = row["energy_j"]
    panels = {
        f"energy of {of_sample(summary)} by layer, pruned (µJ)": layers,
        f"energy of {of_sample(summary)} (µJ)": {"dense": summary["dense_energy_j"], "pruned": energy},
        "area, sum of parts (mm²)": {"dense": summary["dense_area_m2"], "pruned": area},
    }
    names = [*map(component, shown), "others"]
    title = f"{summary['technology']}, ADC {summary['adc_price']} {summary['adc_bits']} b"
    drawn = [_stack(panel, bars, shown, names) for panel, bars in panels.items()]
    return chart([], title={"text": title, "fontSize": 11}, hconcat=drawn)


def _stack(
    title: str, bars: Mapping[str, Mapping[str, float]], shown: Sequence[str], names: list[str]
) -> Spec:
    """One panel of stacked bars; J as µJ, m² as mm²."""
    rows = []
    for label, parts in bars.items():
        known = {name: 1e6 * parts[name] for name in shown if name in parts}
        known["others"] = max(0.0, 1e6 * sum(parts.values()) - sum(known.values()))
        rows += [
            {"bar": label, "part": component(part), "amount": amount, "place": place}
            for place, (part, amount) in enumerate(known.items())
        ]
    colours = [COLOURS[i % len(COLOURS)] for i in range(len(names) - 1)] + ["#C8C8C8"]
    angle = -60 if len(bars) > 2 else 0
    return {
        "data": {"values": rows}, "width": {"step": 14 if len(bars) > 2 else 34}, "height": 220,
        "mark": {"type": "bar", "stroke": "white", "strokeWidth": 0.3},
        "encoding": {
            "x": {"field": "bar", "type": "nominal", "sort": list(bars), "title": None,
                  "axis": {"labelAngle": angle, "labelLimit": 130}},
            "y": {"field": "amount", "type": "quantitative", "title": title, "stack": "zero"},
            "color": {"field": "part", "type": "nominal", "scale": {"domain": names, "range": colours},
                      "legend": {"orient": "right", "title": None}},
            "order": {"field": "place", "type": "ordinal"},
        },
    }  # fmt: skip


def paired_bars(
    rows: list[dict[str, Any]], value: Spec, label: Spec, kind: str, kinds: list[str], title: str
) -> Spec:
    """Bars of two kinds side by side at each label, along whichever axis `label` is on."""
    offset = "xOffset" if "x" in label else "yOffset"
    colour = {
        "field": kind, "type": "nominal", "scale": {"domain": kinds, "range": [COLOURS[0], COLOURS[4]]},
        "legend": {"orient": "top", "title": None},
    }  # fmt: skip
    encoding = {**value, **label, offset: {"field": kind, "sort": kinds}, "color": colour}
    return chart(rows, title=title, mark={"type": "bar", "tooltip": {"content": "data"}}, encoding=encoding)


COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F", "#6A3D9A", "#B15928",
    "#B2DF8A", "#FB9A99",
)  # fmt: skip
"""Of components: Okabe and Ito's, and four more that stay apart from them and from each other."""
EDGE = "#D55E00"


def placement_plot(executed: np.ndarray, groups_per_array: int, steps_per_array: int, title: str) -> Spec:
    """Where a layer's steps are: one cell a (row group, step), dark where it is executed, white where skipped.

    Args:
        executed: bool [row groups, steps] of one layer.
        groups_per_array, steps_per_array: where one array ends and the next begins.
        title: the layer.
    """
    skipped = 100 * (1 - executed.mean())
    said = f"{title}: {skipped:.1f} % of {executed.size:,} steps skipped"
    axes = ("row group", "step (operation units across; lines are array edges)")
    return picture(executed, (groups_per_array, steps_per_array), axes, said)


def mask_plot(kept: np.ndarray, rows_per_array: int, columns_per_array: int, title: str) -> Spec:
    """Where a layer's weights are left: one cell per weight of its crossbar matrix, or a shade for many.

    Args:
        kept: bool [rows, columns] of one group of a layer.
        rows_per_array, columns_per_array: of an array, in weights: units are cut there. A chip may share the rows of a
            layer that fills no whole number of arrays out evenly.
        title: the layer.
    """
    tall, wide = (max(1, -(-side // most)) for side, most in zip(kept.shape, (640, 900), strict=True))
    edges = [np.arange(0, side, step) for side, step in zip(kept.shape, (tall, wide), strict=True)]
    sums = np.add.reduceat(np.add.reduceat(kept, edges[0], 0, dtype=float), edges[1], 1)
    ones = np.add.reduceat(np.add.reduceat(np.ones_like(kept), edges[0], 0, dtype=float), edges[1], 1)
    said = f"{title}: {100 * kept.mean():.1f} % of {kept.size:,} weights left (blue)"
    said += f"; a shade is of {tall} x {wide} weights" if tall * wide > 1 else ""
    axes = ("row (input)", "column (output; lines at multiples of an array's rows and columns)")
    return picture(sums / ones, (rows_per_array, columns_per_array), axes, said, kept.shape)


def picture(
    cells: np.ndarray,
    per_array: tuple[int, int],
    titles: tuple[str, str],
    title: str,
    shape: tuple[int, ...] | None = None,
) -> Spec:
    """A matrix of cells from white (0) to dark (1), with lines at the edges of arrays.

    Args:
        cells: bool or 0 to 1 [rows, columns].
        per_array: rows and columns of an array.
        titles: of the axes, rows first.
        title: above.
        shape: what the axes count, where a cell stands for many.
    """
    tall, wide = shape or cells.shape
    width, height = min(900, max(240, 6 * wide)), min(640, max(160, 6 * tall))
    x = {
        "type": "quantitative",
        "scale": {"domain": [0, wide], "nice": False},
        "axis": {"grid": False, "tickMinStep": 1},
    }
    y = {**x, "scale": {"domain": [tall, 0], "nice": False}}
    drawn: Spec = {
        "data": {"values": [{"url": _png(cells), "x": 0, "x2": wide, "y": 0, "y2": tall}]},
        "mark": {"type": "image", "aspect": False, "smooth": False},
        "encoding": {
            "x": {**x, "field": "x", "title": titles[1]}, "x2": {"field": "x2"},
            "y": {**y, "field": "y", "title": titles[0]}, "y2": {"field": "y2"},
            "url": {"field": "url", "type": "nominal"},
        },
    }  # fmt: skip
    frame = {**drawn, "mark": {"type": "rect", "filled": False, "color": "#999999"}}
    frame["encoding"] = only(drawn["encoding"], "x", "x2", "y", "y2")
    edges: list[Spec] = [
        {
            "data": {"values": [{axis: edge} for edge in range(size, whole, size)]},
            "mark": {"type": "rule", "color": EDGE, "strokeWidth": 0.7},
            "encoding": {axis: {**channel, "field": axis}},
        }
        for axis, channel, size, whole in (("y", y, per_array[0], tall), ("x", x, per_array[1], wide))
    ]
    said = {"text": title, "fontSize": 11}
    return chart([], title=said, width=width, height=height, layer=[drawn, frame, *edges])


def _png(shades: np.ndarray) -> str:
    """Cells of 0 to 1 as a PNG inside an address, a pixel or more a cell (ISO/IEC 15948)."""
    cells = (255 * (1.0 - shades)).round().astype(np.uint8)
    cells = np.kron(cells, np.ones((max(1, 640 // cells.shape[0]), max(1, 900 // cells.shape[1])), np.uint8))
    lines = np.pad(cells, ((0, 0), (1, 0)))  # each line of a PNG begins with the number of its filter: none
    header = struct.pack(">IIBBBBB", cells.shape[1], cells.shape[0], 8, 3, 0, 0, 0)  # 8 bits into a palette
    palette = np.linspace([8, 69, 148], [255, 255, 255], 256).round().astype(np.uint8)
    parts = {
        b"IHDR": header,
        b"PLTE": palette.tobytes(),
        b"IDAT": zlib.compress(lines.tobytes()),
        b"IEND": b"",
    }
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts.items()
    )
    return "data:image/png;base64," + base64.b64encode(content).decode()
