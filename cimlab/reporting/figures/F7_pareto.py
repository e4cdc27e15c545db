"""F7: accuracy against energy per image, with the points that no other beats in both."""

from __future__ import annotations

from statistics import fmean
from typing import Any

from cimlab.reporting.chart import WIDTH, Spec, by_granularity, chart, only, quantity
from cimlab.reporting.evidence import Evidence
from cimlab.reporting.methods import combination, with_methods
from cimlab.reporting.parts import Drawing, NotRun, figure
from cimlab.reporting.priced import NO_PRICE, cost
from cimlab.reporting.studies import Study, accuracy


@figure("F7", "Accuracy against energy per image, and the Pareto front")
def pareto_figure(evidence: Evidence) -> Drawing:
    """The study with prices, and as hollow marks the studies that add methods beyond one-shot pruning to it."""
    study = evidence.priced
    own = [] if study is None else _priced_rows(study)
    if study is None or not own:
        raise NotRun(NO_PRICE)
    others = with_methods(study, evidence.studies)
    beyond = [row for other in others for row in _priced_rows(other) if row["granularity"] != "dense"]
    rows = [*own, *beyond]
    spec = chart(rows, width=WIDTH, height=210, layer=_layers(rows, own, beyond))
    hollow = " Hollow: with methods beyond one-shot pruning." if beyond else ""
    return Drawing(spec, notes=(f"{study.title}; grey steps: the front.{hollow}",))


def _layers(
    rows: list[dict[str, Any]], own: list[dict[str, Any]], beyond: list[dict[str, Any]]
) -> list[Spec]:
    """The front as steps, a mark per point, and the word at the dense network."""
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
        {"field": "methods"},
        {"field": "kept", "title": "kept, %"},
        {"field": "energy", "title": "energy, µJ", "format": ".4~g"},
        {"field": "accuracy", "title": "accuracy, %", "format": ".4~g"},
    ]
    path: Spec = {
        "data": {"values": _front(rows)},
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
    return [path, *marks, dense]


def _priced_rows(study: Study) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    whole: list[float] = []
    for (name, fraction), runs in study.points.items():
        known = [(record, priced) for record in runs if (priced := cost(record))]
        if not known:
            continue
        whole += [1e6 * priced["dense"]["energy_j"] for _, priced in known]
        rows.append({
            "granularity": name, "methods": combination(study), "kept": 100 * fraction,
            "energy": fmean(1e6 * priced["total"]["energy_j"] for _, priced in known),
            "accuracy": fmean(accuracy(record) for record, _ in known),
        })  # fmt: skip
    if whole:
        rows.append(
            {"granularity": "dense", "kept": 100, "energy": fmean(whole), "accuracy": study.dense.mean}
        )
    return rows


def _front(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Points that no other beats in both: cheapest first, each more accurate than all cheaper ones."""
    front: list[dict[str, Any]] = []
    for row in sorted(rows, key=lambda row: (row["energy"], -row["accuracy"])):
        if not front or row["accuracy"] > front[-1]["accuracy"]:
            front.append(row)
    return front
