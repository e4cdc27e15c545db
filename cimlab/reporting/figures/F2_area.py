"""F2: throughput over the area of the chip, dense and pruned on the same silicon."""

from __future__ import annotations

from itertools import chain
from operator import itemgetter
from typing import Any

from cimlab.reporting.chart import Spec, by_granularity, chart, line_and_points, only, quantity
from cimlab.reporting.evidence import LEADING, Evidence
from cimlab.reporting.front import front
from cimlab.reporting.looks import BLACK
from cimlab.reporting.methods import apart, is_hollow, marks
from cimlab.reporting.parts import Drawing, NotRun, figure
from cimlab.reporting.priced import NO_PRICE, Ratio, area_curve, cost_ratio, gathered_ratio
from cimlab.reporting.studies import Study, accuracy, asked


@figure("F2", "Throughput over the area of the chip, dense and pruned", LEADING)
def area_figure(evidence: Evidence, leading: list[list[Study]]) -> Drawing:
    """A panel for each network with prices, at the share that most granularities were asked to keep, or near it."""
    shown = [(family, drawn) for family in leading if (drawn := _drawn(family))]
    if not shown:
        raise NotRun(NO_PRICE)
    lines = [_rows(family, drawn) for family, drawn in shown]
    names = {unit["point"][0] for _, drawn in shown for unit in drawn}
    panels = [_panel(family[0].title, own, names) for (family, _), own in zip(shown, lines, strict=True)]
    notes = [
        f"{marks(family)[:-1]}; {asked(unit['point'] for unit in drawn)} % of the budget asked."
        for family, drawn in shown
    ]
    told = (
        "Drawn: units that no other beats in accuracy and energy; dashed: where steps gather the rows that stay. Area "
        "and throughput are over those of the dense network with one copy of each layer; what a network leaves of the "
        "chip holds copies of its slowest layers. Black, without marks: dense."
    )
    return Drawing(chart([*chain(*lines)], hconcat=panels), wide=len(shown) > 1, notes=(*notes, told))


def unbeaten(family: list[Study], ratio: Ratio = cost_ratio) -> list[dict[str, Any]]:
    """The units near the reference that no other beats in accuracy and energy, and the name of each one's study."""
    at = family[0].reference
    points = [
        {
            "told": told, "study": study, "point": point,
            "energy": energy.mean, "accuracy": study.mean(point, accuracy),
        }
        for study, told in zip(family, apart(family), strict=True)
        for point in study.at(at)
        if (energy := ratio(study, point, "energy_j"))
    ]  # fmt: skip
    return front(points, itemgetter("energy"), itemgetter("accuracy"))


def _drawn(family: list[Study]) -> list[dict[str, Any]]:
    """Unbeaten units with their throughput at every area, rows in their row groups and, where that saves, gathered."""
    drawn = []
    for gathered, ratio in ((False, cost_ratio), (True, gathered_ratio)):
        for unit in unbeaten(family, ratio):
            curve, aligned = (area_curve(unit["study"], unit["point"], gathered=g) for g in (gathered, False))
            if curve and not (gathered and curve == aligned):
                drawn.append({**unit, "gathered": gathered, "curve": curve})
    return drawn


def _rows(family: list[Study], drawn: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines of a panel point by point, the dense network's first."""
    rows: list[dict[str, Any]] = []
    for unit in drawn:
        curve, gathered, told = unit["curve"], unit["gathered"], unit["told"]
        (name, share), study = unit["point"], unit["study"]
        dense = next(point["dense_images_per_s"] for point in curve if point["dense_images_per_s"])
        own = {"network": study.title, "told": told, "hollow": is_hollow(study, family), "gathered": gathered}
        if not rows:
            unpruned = own | {"granularity": "dense", "series": "dense"}
            rows += _line(curve, "dense_images_per_s", dense, unpruned)
        own |= {"granularity": name, "asked": 100 * share, "series": f"{name} {told} {gathered}"}
        rows += _line(curve, "images_per_s", dense, own)
    return rows


def _line(curve: list[dict[str, Any]], field: str, unit: float, own: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {**own, "area": point["area_over_dense"], "rate": point[field] / unit}
        for point in curve
        if point[field] is not None
    ]


def _panel(title: str, rows: list[dict[str, Any]], names: set[str]) -> Spec:
    log = {"type": "log", "nice": False}
    areas = {"values": [0.25, 0.5, 1, 2, 4, 8], "format": "~g"}
    rates = {"values": [0.5, 1, 2, 5, 10, 20, 50, 100], "format": "~g"}
    x = quantity("area", "area of the chip, over dense", scale=log | {"base": 2}, axis=areas)
    y = quantity("rate", "throughput, over dense at area 1", scale=log, axis=rates)
    tooltip = [
        {"field": "granularity"},
        {"field": "told", "title": "runs"},
        {"field": "asked", "title": "asked (%)", "format": "~g"},
        {"field": "gathered", "title": "rows gathered"},
        {"field": "area", "title": "area", "format": ".3~g"},
        {"field": "rate", "title": "throughput", "format": ".4~g"},
    ]
    line, point = line_and_points(x, y, by_granularity(names, columns=3), tooltip)
    pruned = {"filter": "datum.granularity != 'dense'"}
    line |= {
        "transform": [pruned],
        "encoding": {
            **only(line["encoding"], "x", "y", "color"),
            "detail": {"field": "series"},
            "strokeDash": {"condition": {"test": "datum.gathered", "value": [4, 2]}, "value": [1, 0]},
        },
    }
    drawn = [
        {
            **point, "mark": {**point["mark"], "size": 25, "filled": not hollow, "strokeWidth": 1},
            "transform": [pruned, {"filter": f"datum.hollow == {str(hollow).lower()}"}],
        }
        for hollow in (False, True)
    ]  # fmt: skip
    dense: Spec = {
        "transform": [{"filter": "datum.granularity == 'dense'"}],
        "mark": {"type": "line", "color": BLACK, "strokeWidth": 1.5},
        "encoding": {"x": x, "y": y},
    }
    return {
        "title": title, "width": 255, "height": 172,
        "transform": [{"filter": {"field": "network", "equal": title}}], "layer": [dense, line, *drawn],
    }  # fmt: skip
