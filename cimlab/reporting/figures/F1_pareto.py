"""F1: accuracy against weights left beside accuracy against energy, where the units change their order.

Twice if steps can gather the rows that stay, which changes the order again.
"""

from __future__ import annotations

from operator import itemgetter
from statistics import fmean
from typing import Any

from cimlab.reporting.chart import (
    LEAST_POINTS,
    Spec,
    by_granularity,
    chart,
    line_and_points,
    log_percent,
    only,
    quantity,
    spanning,
)
from cimlab.reporting.evidence import LEADING, Evidence
from cimlab.reporting.front import front
from cimlab.reporting.methods import apart, is_hollow, marks
from cimlab.reporting.parts import Drawing, figure
from cimlab.reporting.priced import cost, gathered_ratio
from cimlab.reporting.studies import Point, Study, accuracy, left

COST = {
    "left": "weights left, of all (%)",
    "energy": "energy, of dense at equal area (%)",
    "gathered": "the same, rows gathered (%)",
}
ENERGIES = ("energy", "gathered")
"""Costs on one scale."""


@figure("F1", "Accuracy against weights left, and against the energy that is left", LEADING)
def pareto_figure(evidence: Evidence, shown: list[list[Study]]) -> Drawing:
    """A row of panels for each network with prices, one for each cost."""
    rows = [row for family in shown for row in _rows(family)]
    names = {row["granularity"] for row in rows}
    energies = [row[field] for row in rows for field in ENERGIES if field in row]
    costs = {
        field: log_percent(field, title, energies if field in ENERGIES else [row[field] for row in rows])
        for field, title in COST.items()
        if any(field in row for row in rows)
    }
    grid = [{"hconcat": [_panel(family, names, x) for x in costs.values()]} for family in shown]
    told = (
        "Dotted: dense. Faint lines join the shares kept of one unit. Grey steps: points that no other beats in "
        "accuracy and energy."
    )
    if "gathered" in costs:
        told += " Rows gathered: steps filled up with the rows that their columns keep."
    return Drawing(chart(rows, vconcat=grid), wide=True, notes=(*map(marks, shown), told))


def _rows(family: list[Study]) -> list[dict[str, Any]]:
    return [
        {
            "network": study.title, "granularity": name, "series": f"{name} {told}", "told": told,
            "kept": 100 * fraction, "hollow": is_hollow(study, family), "left": study.mean((name, fraction), left),
            "energy": fmean(100 * priced["ratio"]["energy_j"] for priced in known),
            "accuracy": study.mean((name, fraction), accuracy), **_gathered(study, (name, fraction)),
        }
        for study, told in zip(family, apart(family), strict=True)
        for (name, fraction), runs in study.points.items()
        if (known := [priced for record in runs if (priced := cost(record))])
    ]  # fmt: skip


def _gathered(study: Study, point: Point) -> dict[str, float]:
    """Energy where rows are gathered, of points that were priced so."""
    energy = gathered_ratio(study, point, "energy_j")
    return {"gathered": 100 * energy.mean} if energy else {}


def _panel(family: list[Study], names: set[str], x: Spec) -> Spec:
    """One network over one cost, whose axis all networks share."""
    rows, dense_accuracy = [row for row in _rows(family) if x["field"] in row], family[0].dense.mean
    reached = [dense_accuracy, *(row["accuracy"] for row in rows)]
    y = quantity("accuracy", "test accuracy (%)", scale=spanning(reached, LEAST_POINTS, 100))
    style = by_granularity(names, columns=6)
    tooltip = [
        {"field": "granularity"},
        {"field": "told", "title": "runs"},
        {"field": "kept", "title": "asked, %"},
        *({"field": name, "title": title, "format": ".4~g"} for name, title in COST.items()),
        {"field": "accuracy", "title": "accuracy, %", "format": ".4~g"},
    ]
    line, point = line_and_points(x, y, style, tooltip)
    line["encoding"] = {**only(line["encoding"], "x", "y", "color"), "detail": {"field": "series"}}
    line["mark"] |= {"strokeWidth": 1, "opacity": 0.4}
    drawn = [
        {
            **point, "mark": {**point["mark"], "filled": not hollow, "strokeWidth": 1.2},
            "transform": [{"filter": f"datum.hollow == {str(hollow).lower()}"}],
        }
        for hollow in (False, True)
    ]  # fmt: skip
    dense: Spec = {
        "data": {"values": [{"accuracy": dense_accuracy}]},
        "mark": {"type": "rule", "strokeDash": [2, 2], "color": "#888888"},
        "encoding": {"y": y},
    }
    unbeaten: Spec = {
        "data": {"values": front(rows, itemgetter(x["field"]), itemgetter("accuracy"))},
        "mark": {"type": "line", "color": "#888888", "interpolate": "step-after", "strokeWidth": 1},
        "encoding": {"x": x, "y": y, "order": {"field": x["field"]}},
    }
    return {
        "title": family[0].title, "width": 165, "height": 150,
        "transform": [
            {"filter": {"field": "network", "equal": family[0].title}}, {"filter": f"isValid(datum.{x['field']})"},
        ],
        "layer": [dense, *([unbeaten] if x["field"] in ENERGIES else []), line, *drawn],
    }  # fmt: skip
