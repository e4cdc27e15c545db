"""A sweep of accelerators: one CSV with everything, one table of the best, one plot with the Pareto front."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from cimlab.reporting.chart import Spec, by_granularity, by_series, chart, framed, logarithmic, only, share
from cimlab.reporting.front import front
from cimlab.reporting.hardware import FIGURES, component, quantities
from cimlab.reporting.studies import worded
from cimlab.reporting.table import Table

SHOWN = 60
"""Rows of the table, a screenful; all of them are in the CSV."""
DENSE = 8
"""Dense networks that have a row of their own."""
COMPARED = {"energy_j": "energy per image", "images_per_s": "throughput", "area_m2": "area"}
"""Figures of the table, and their headings."""
FAR = 10
"""Factor between two choices of a group above which the component is named that differs most."""
UNEQUAL = 1.05
"""Factor between areas above which throughputs of different chips are no comparison."""
PRICING = ("technology", "adc_price", "chip")
"""Groups whose choices are prices of the same work."""
TOLD = 20
"""Notes that are repeated below the table."""
NAMED = 6
"""Networks of one granularity that a plot can name."""
CROWD = 100
"""Points above which each is drawn small."""
Row = Mapping[str, Any]


def unbeaten(rows: Sequence[Row]) -> frozenset[int]:
    """Places of the points that none beats: in energy and, where networks differ, accuracy, else throughput."""
    by_accuracy = _by_accuracy(rows)

    def worth(place: int) -> float:
        return rows[place]["accuracy"] if by_accuracy else rows[place]["total"]["images_per_s"]

    return frozenset(front(range(len(rows)), lambda place: rows[place]["total"]["energy_j"], worth))


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
    dense network there, which stands above them where several points share it.
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
    heads += ["accuracy"] if accurate else []
    for heading in COMPARED.values():
        heads += [heading, "ratio"]
    marked = [*_dense(rows), *(("*" if i in best else "", rows[i]) for i in order[:SHOWN])]
    texts = {
        figure: iter(quantities((row["total"][figure] for _, row in marked), FIGURES[figure][1]))
        for figure in COMPARED
    }
    lines = []
    for mark, row in marked:
        line = [mark, *([called.get(row["name"], "")] if several else [])]
        line += [row["axes"].get(key, "") for key in axes]
        if accurate:
            line.append("" if row["accuracy"] is None else f"{100 * row['accuracy']:.2f} %")
        for figure in COMPARED:
            ratio = row["ratio"].get(figure)
            line += [next(texts[figure]), "" if ratio is None else f"{ratio:.3f}"]
        lines.append(line)
    more = f", the first {SHOWN} shown" if len(rows) > SHOWN else ""
    against = "accuracy" if _by_accuracy(rows) else "throughput"
    title = (
        f"{len(rows):,} points, {len(best)} on the Pareto front (*) of energy and {against}{more}; ratios over the "
        "dense network there"
    )
    return Table.of_texts(heads, lines, title, words)


def _dense(rows: Sequence[Row]) -> list[tuple[str, Row]]:
    """A row per dense network that several points are compared with, of what these share, where they are few."""
    found: dict[tuple, list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row["dense"][figure] for figure in COMPARED), []).append(row)
    if len(found) > DENSE or len(rows) < 2 * len(found):
        return []
    lines = []
    for own in found.values():
        first = own[0]
        axes = {
            key: value
            for key, value in first["axes"].items()
            if all(r["axes"].get(key) == value for r in own)
        }
        name = first["name"] if all(row["name"] == first["name"] for row in own) else ""
        ratio = {figure: 1.0 for figure in COMPARED if first["dense"][figure]}
        lines.append({"name": name, "axes": axes, "accuracy": None, "total": first["dense"], "ratio": ratio})
    return [("dense", line) for line in lines]


def far_apart(rows: Sequence[Row]) -> list[str]:
    """Where choices of a pricing group lie far apart for the same work, a line on the part that differs most."""
    lines = []
    for group in PRICING:
        alike: dict[tuple, list[Row]] = {}
        for row in (row for row in rows if group in row["axes"]):
            others = tuple((key, value) for key, value in row["axes"].items() if key.split(".")[0] != group)
            alike.setdefault((row["name"], others), []).append(row)
        for figure, heading in COMPARED.items():
            pair = max(
                (_extremes(own, figure) for own in alike.values()),
                key=lambda pair: _factor(pair, figure),
                default=None,
            )
            if pair is None or (factor := _factor(pair, figure)) < FAR:
                continue
            parts = [row["parts"][figure] for row in pair]
            name = max(parts[0], key=lambda part: abs(parts[0][part] - parts[1].get(part, 0.0)))
            unit = FIGURES[figure][1].replace("images/s", "s")
            texts = quantities((own.get(name, 0.0) for own in parts), unit)
            told = [f"{text} with {row['axes'][group]}" for text, row in zip(texts, pair, strict=True)]
            lines.append(
                f"{heading} differs by a factor of up to {factor:.0f} between choices of {group}, above all by the "
                f"{component(name)}: {', '.join(told)}"
            )
    return lines


def unequal_areas(rows: Sequence[Row]) -> list[str]:
    """A line where chips of one network differ in area: only dense and pruned in a row are on equal ones."""
    areas = [row["total"]["area_m2"] for row in rows]
    if max(areas) < UNEQUAL * min(areas):
        return []
    return [
        f"areas of these chips differ by a factor of up to {max(areas) / min(areas):.3g}: ratios are of dense and "
        "pruned on the same chip; throughputs of rows compare where chip.area_m2=AREA gives all of them one area"
    ]


def _by_accuracy(rows: Sequence[Row]) -> bool:
    """Whether points differ in accuracy, which then counts beside energy; else throughput does."""
    return len({row["name"] for row in rows}) > 1 and all(row["accuracy"] is not None for row in rows)


def _extremes(rows: Sequence[Row], figure: str) -> tuple[Row, Row]:
    """The row with the most of a figure, and that with the least."""
    low, high = (pick(rows, key=lambda row: row["total"][figure]) for pick in (min, max))
    return high, low


def _factor(pair: Sequence[Row], figure: str) -> float:
    one, other = (row["total"][figure] for row in pair)
    return one / other if other else 1.0


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
    by_accuracy = _by_accuracy(rows)
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
    axes = {
        "x": logarithmic("energy", "energy per image (µJ)", [1e6 * row["total"]["energy_j"] for row in rows]),
        "y": share("other", "test accuracy", scale=framed([row["accuracy"] for row in rows], 0.02))
        if by_accuracy
        else logarithmic("other", "throughput (images/s)", [row["total"]["images_per_s"] for row in rows]),
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
