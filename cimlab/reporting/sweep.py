"""A sweep of accelerators: one CSV with everything, one table of the best, one plot with the Pareto front."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from cimlab.reporting.chart import Spec, by_granularity, by_series, chart, only, share, spanning
from cimlab.reporting.chart import quantity as axis
from cimlab.reporting.hardware import FIGURES, quantity
from cimlab.reporting.studies import worded
from cimlab.reporting.table import Table

SHOWN = 20
"""Rows of the table; all of them are in the CSV."""
TOLD = 20
"""Notes that are repeated below the table."""
NAMED = 6
"""Networks of one granularity that a plot can name."""
CROWD = 100
"""Points above which each is drawn small."""
Row = Mapping[str, Any]


def flat(rows: Sequence[Row], best: Collection[int]) -> list[dict[str, Any]]:
    """One dictionary a point: what was varied, totals in SI units, the dense network's, their ratios, and the notes."""
    lines = []
    for place, row in enumerate(rows):
        line = {
            "network": row["name"],
            "granularity": row["granularity"],
            **row["axes"],
            "pareto": int(place in best),
            "accuracy": row["accuracy"],
        }
        line |= {key: row[key] for key in ("technology", "adc_price", "adc_bits") if key not in line}
        line |= row["total"]
        line |= {f"dense/{key}": value for key, value in row["dense"].items()}
        line |= {f"ratio/{key}": value for key, value in row["ratio"].items()}
        lines.append({**line, "notes": "; ".join(row["notes"])})
    return lines


def csv_text(lines: Sequence[Mapping[str, Any]]) -> str:
    """A line per point, of `flat`."""
    names = list(dict.fromkeys(key for line in lines for key in line))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def points_table(rows: Sequence[Row], best: Collection[int], order: Sequence[int] = ()) -> Table:
    """The Pareto front first, then the others, each by energy, or in the order that was asked for; ratios are over the
    dense network there.
    """
    axes = list(dict.fromkeys(key for row in rows for key in row["axes"]))
    called = _short(rows)
    several = len(called) > 1
    accurate = any(row["accuracy"] is not None for row in rows)
    order = order or sorted(range(len(rows)), key=lambda i: (i not in best, rows[i]["total"]["energy_j"]))
    short = [key.rpartition(".")[2] for key in axes]
    names = [name if short.count(name) == 1 else key for name, key in zip(short, axes, strict=True)]
    heads = ["", *(["network"] if several else []), *names]
    words = len(heads)
    heads += [
        *(["accuracy"] if accurate else []),
        "energy per image",
        "ratio",
        "throughput",
        "ratio",
        "area",
        "ratio",
    ]
    lines = []
    for place in order[:SHOWN]:
        row = rows[place]
        line = ["*" if place in best else "", *([called[row["name"]]] if several else [])]
        line += [row["axes"].get(key, "") for key in axes]
        if accurate:
            line.append("" if row["accuracy"] is None else f"{100 * row['accuracy']:.2f} %")
        for figure in ("energy_j", "images_per_s", "area_m2"):
            ratio = row["ratio"].get(figure)
            line += [
                quantity(row["total"][figure], FIGURES[figure][1]),
                "" if ratio is None else f"{ratio:.3f}",
            ]
        lines.append(line)
    more = f", {len(rows) - SHOWN:,} more in the CSV" if len(rows) > SHOWN else ""
    title = f"{len(rows):,} points, {len(best)} on the Pareto front (*){more}; ratios over the dense network there"
    return Table.of_texts(heads, lines, title, words)


def _short(rows: Sequence[Row]) -> dict[str, str]:
    """Networks as a narrow column calls them: without the hash of a run where the rest tells them apart."""
    short = {row["name"]: re.sub("-[0-9a-f]{8}$", "", row["name"]) for row in rows}
    return short if len({*short.values()}) == len(short) else {name: name for name in short}


def _series(rows: Sequence[Row]) -> list[str]:
    """What sets the points of several networks apart: their granularity or, where they share it, their name."""
    units = [worded(row["granularity"]) for row in rows]
    called = _short(rows)
    if len({*units}) > 1:
        return units
    return [called[row["name"]] for row in rows] if 1 < len(called) <= NAMED else []


def notes(rows: Sequence[Row]) -> list[str]:
    """What all points assume, and how many notes hold for some."""
    found: dict[str, int] = {}
    for row in rows:
        for note in row["notes"]:
            found[note] = found.get(note, 0) + 1
    told = sorted(found, key=lambda note: -found[note])
    lines = [
        note if found[note] == len(rows) else f"{note} ({found[note]:,} of {len(rows):,} points)"
        for note in told[:TOLD]
    ]
    return lines + ([f"{len(told) - TOLD} more notes stand in the CSV"] if len(told) > TOLD else [])


def points_plot(rows: Sequence[Row], best: Collection[int]) -> Spec:
    """Energy against accuracy where networks differ, else against throughput; the Pareto front as a line."""
    by_accuracy = len({row["name"] for row in rows}) > 1 and all(row["accuracy"] is not None for row in rows)
    kinds = ("Pareto front", "others")
    series = _series(rows)
    values = [
        {
            "energy": 1e6 * row["total"]["energy_j"],
            "other": row["accuracy"] if by_accuracy else row["total"]["images_per_s"],
            "kind": kinds[place not in best],
            "series": series[place] if series else "",
        }
        for place, row in enumerate(rows)
    ]
    values.sort(key=lambda value: value["kind"] == kinds[0])  # drawn last, on top
    log = {"type": "log", "nice": False, "padding": 8}
    reached = spanning([row["accuracy"] for row in rows], 0.02) if by_accuracy else {}
    axes = {
        "x": axis("energy", "energy per image (uJ)", scale=log),
        "y": share("other", "test accuracy", scale={"padding": 8, **reached})
        if by_accuracy
        else axis("other", "throughput (images/s)", scale=log),
    }
    if series:
        named = len({row["granularity"] for row in rows}) == 1
        style = by_granularity(series, field="series")
        if named:
            style = by_series("series", None, sorted({*series}), 1)
        drawn: Spec = {"color": {"value": "#B0B0B0"}}
    else:
        style = by_series("kind", None, list(kinds), 2)
        style["color"]["scale"]["range"][1] = "#B0B0B0"
        drawn = only(style, "color")
    line: Spec = {
        "transform": [{"filter": {"field": "kind", "equal": kinds[0]}}],
        "mark": {"type": "line", "strokeWidth": 1.3},
        "encoding": {**axes, **drawn},
    }
    marks: Spec = {
        "mark": {"type": "point", "filled": True, "size": 14 if len(rows) > CROWD else 40, "opacity": 0.9},
        "encoding": {**axes, **only(style, "color", "shape")},
    }
    title = {"text": "line: Pareto front", "fontSize": 10, "anchor": "end", "color": "#666666"}
    return chart(
        values,
        width=380,
        height=280,
        layer=[line, marks],
        **({"title": title} if series and len(best) > 1 else {}),
    )
