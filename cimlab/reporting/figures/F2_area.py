"""F2: throughput over the area of the chip, dense and pruned on the same silicon."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

from cimlab.reporting.chart import Spec, by_granularity, chart, line_and_points, only, quantity
from cimlab.reporting.evidence import LEADING, Evidence
from cimlab.reporting.front import front
from cimlab.reporting.looks import BLACK
from cimlab.reporting.methods import apart, marks
from cimlab.reporting.parts import Drawing, NotRun, figure
from cimlab.reporting.priced import NO_PRICE, cost, cost_ratio
from cimlab.reporting.studies import Study, accuracy


@figure("F2", "Throughput over the area of the chip, dense and pruned", LEADING)
def area_figure(evidence: Evidence, leading: list[list[Study]]) -> Drawing:
    """A panel for each network with prices, at the fraction that most granularities were run at."""
    shown = [(family, rows) for family in leading if (rows := _rows(family))]
    if not shown:
        raise NotRun(NO_PRICE)
    rows = [row for _, own in shown for row in own]
    names = {row["granularity"] for row in rows if row["granularity"] != "dense"}
    panels = [_panel(family[0].title, own, names) for family, own in shown]
    notes = [
        f"{marks(family)[:-1]}; {100 * family[0].reference:g} % of the budget asked." for family, _ in shown
    ]
    told = (
        "Drawn: units that no other beats in accuracy and energy. Area and throughput are over those of the dense "
        "network with one copy of each layer; what a network leaves of the chip holds copies of its slowest layers. "
        "Black, without marks: dense."
    )
    return Drawing(chart(rows, hconcat=panels), wide=len(shown) > 1, notes=(*notes, told))


def unbeaten(family: list[Study]) -> list[dict[str, Any]]:
    """The units at the reference that no other beats in accuracy and energy, and the name of each one's study."""
    at = family[0].reference
    points = [
        {
            "told": told, "study": study, "granularity": name,
            "energy": energy.mean, "accuracy": study.mean((name, at), accuracy),
        }
        for study, told in zip(family, apart(family), strict=True)
        for name in study.granularities
        if (energy := cost_ratio(study, (name, at), "energy_j"))
    ]  # fmt: skip
    return front(points, itemgetter("energy"), itemgetter("accuracy"))


def _rows(family: list[Study]) -> list[dict[str, Any]]:
    """Throughput at every area, of the first priced run of each unbeaten unit, and of the dense network."""
    rows: list[dict[str, Any]] = []
    for unit in unbeaten(family):
        study, name, told = unit["study"], unit["granularity"], unit["told"]
        runs = study.points[name, family[0].reference]
        curve = next((c["area_curve"] for c in map(cost, runs) if c and c.get("area_curve")), None)
        if curve is None:
            continue
        dense = next(point["dense_images_per_s"] for point in curve if point["dense_images_per_s"])
        own = {"network": study.title, "told": told, "hollow": study is not family[0]}
        if not rows:
            rows += _line(
                curve, "dense_images_per_s", dense, own | {"granularity": "dense", "series": "dense"}
            )
        rows += _line(curve, "images_per_s", dense, own | {"granularity": name, "series": f"{name} {told}"})
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
        {"field": "area", "title": "area", "format": ".3~g"},
        {"field": "rate", "title": "throughput", "format": ".4~g"},
    ]
    line, point = line_and_points(x, y, by_granularity(names, columns=3), tooltip)
    pruned = {"filter": "datum.granularity != 'dense'"}
    line |= {
        "transform": [pruned],
        "encoding": {**only(line["encoding"], "x", "y", "color"), "detail": {"field": "series"}},
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
