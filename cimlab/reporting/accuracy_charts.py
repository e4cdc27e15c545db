"""Figures of accuracy: F1 against compression, F7 against energy."""

from __future__ import annotations

from typing import Any

from cimlab.records.record import RunRecord
from cimlab.reporting.chart import (
    WIDTH,
    Chart,
    Spec,
    by_granularity,
    chart,
    intervals,
    lines,
    log_percent,
    only,
    quantity,
)  # fmt: skip
from cimlab.reporting.estimates import Estimate
from cimlab.reporting.means import combination, with_means
from cimlab.reporting.studies import Study, accuracy, cost, left, place

PANELS = 3
"""Most studies that stand side by side in a figure."""


def mean(estimate: Estimate | None) -> float:
    """The mean of a point that was run."""
    assert estimate is not None
    return estimate.mean


def interval(estimate: Estimate | None) -> dict[str, float]:
    """Ends of the 95 % interval, as fields; none where there are too few seeds."""
    if estimate is None or estimate.half_width is None:
        return {}
    return {"low": estimate.mean - estimate.half_width, "high": estimate.mean + estimate.half_width}


def accuracy_chart(mains: list[Study]) -> Chart:
    """F1: accuracy against weights left, one line a granularity; a panel each study that has a curve."""
    title = "Test accuracy against weights left, by pruned unit"
    if not mains:
        return Chart("F1", title, None, "no runs were recorded")
    shown = [study for study in mains if len(study.remaining) > 1][:PANELS] or mains[:1]
    names = sorted({name for study in shown for name in study.granularities}, key=place)
    rows = [row for study in shown for row in _accuracy_rows(study)]
    notes = tuple(f"{study.title}; dotted: dense network; {_seeds(study)}." for study in shown)
    if len(shown) == 1:
        spec = chart(rows, width=WIDTH, height=210, layer=_accuracy_layers(shown[0], names, columns=3))
        return Chart("F1", title, spec, notes=notes)
    width = round(2 * WIDTH / len(shown)) - 45
    panels = [
        {
            "title": study.title, "width": width, "height": 200,
            "transform": [{"filter": {"field": "study", "equal": study.title}}],
            "layer": _accuracy_layers(study, names, columns=6),
        }
        for study in shown
    ]  # fmt: skip
    return Chart("F1", title, chart(rows, hconcat=panels), wide=True, notes=notes)


def _accuracy_rows(study: Study) -> list[dict[str, Any]]:
    return [
        {
            "study": study.title, "granularity": name, "left": mean(study.of((name, fraction), left)),
            "accuracy": mean(found := study.of((name, fraction), accuracy)), **interval(found),
        }
        for name, fraction in study.points
    ]  # fmt: skip


def _accuracy_layers(study: Study, names: list[str], columns: int) -> list[Spec]:
    rows = _accuracy_rows(study)
    x = log_percent("left", "weights left, of all (%)", [row["left"] for row in rows])
    # three seeds that differ much give intervals wider than the figure: the means set the scale
    reach = [*(row["accuracy"] for row in rows), study.dense.mean]
    scale = {"domain": [max(0.0, min(reach) - 5), min(100.0, max(reach) + 1)], "nice": False}
    y = quantity("accuracy", "test accuracy (%)", scale=scale)
    dense = {
        "data": {"values": [{"accuracy": study.dense.mean}]},
        "mark": {"type": "rule", "strokeDash": [2, 2], "color": "#888888"},
        "encoding": {"y": y, "tooltip": [{"field": "accuracy", "title": "dense, %", "format": ".4~g"}]},
    }
    return [dense, *intervals(x, names, columns), *lines(x, y, names, columns)]


def _seeds(study: Study) -> str:
    if study.seeds == 1:
        return "one seed, no band"
    return f"means over up to {study.seeds} seeds, bands: 95 % interval where there are three or more"


def pareto_chart(study: Study | None, found: list[Study]) -> Chart:
    """F7: accuracy against energy per image, with the points that no other beats in both.

    Of all studies that were found it also shows those that add means beyond one-shot pruning, as hollow marks.
    """
    title = "Accuracy against energy per image, and the Pareto front"
    others = [] if study is None else with_means(study, found)
    beyond = [row for other in others for row in _priced_rows(other) if row["granularity"] != "dense"]
    own = [] if study is None else _priced_rows(study)
    if study is None or not own:
        return Chart("F7", title, None, "no run was priced by the hardware model")
    rows = [*own, *beyond]
    front = _front(rows)
    energies = [row["energy"] for row in rows]
    scale = {"type": "log", "domain": [min(energies) / 1.1, max(energies) * 1.1], "nice": False}
    x = quantity("energy", "energy per image (µJ)", scale=scale)
    y = quantity(
        "accuracy", "test accuracy (%)", scale={"padding": 10}
    )  # room for the word at the dense point
    named = [row for row in own if row["granularity"] != "dense"]
    style = by_granularity([row["granularity"] for row in [*named, *beyond]], columns=3)
    tooltip = [
        {"field": "granularity"},
        {"field": "means"},
        {"field": "kept", "title": "kept, %"},
        {"field": "energy", "title": "energy, µJ", "format": ".4~g"},
        {"field": "accuracy", "title": "accuracy, %", "format": ".4~g"},
    ]
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
    marks: list[Spec] = [
        {
            "data": {"values": drawn},
            "mark": {"type": "point", "filled": filled, "size": 50, "opacity": 1},
            "encoding": {"x": x, "y": y, **only(style, "color", "shape"), "tooltip": tooltip},
        }
        for drawn, filled in ((named, True), (beyond, False))
        if drawn
    ]
    spec = chart(rows, width=WIDTH, height=210, layer=[path, *marks, dense])
    hollow = " Hollow: with means beyond one-shot pruning." if beyond else ""
    return Chart("F7", title, spec, notes=(f"{study.title}; grey steps: the front.{hollow}",))


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
                "granularity": name, "means": combination(study), "kept": 100 * fraction,
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
