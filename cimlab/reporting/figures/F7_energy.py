"""F7: energy per image by component, dense and at each granularity."""

from __future__ import annotations

from typing import Any

from cimlab.records.components import OFF_ARRAYS, SUPPORT
from cimlab.reporting.chart import chart
from cimlab.reporting.evidence import BEST, Evidence
from cimlab.reporting.methods import apart, one_a_budget
from cimlab.reporting.parts import Drawing, NotRun, figure
from cimlab.reporting.priced import prices
from cimlab.reporting.studies import Point, Study, asked

PARTS = {
    "ADC": ("adc",),
    "cells and their drivers": ("cells", "wordline_driver", "level_shifter", "column_mux", "sample_hold"),
    "adders, activation, pooling": ("shift_add", "partial_sum_adder", "activation", "pooling"),
    "registers": ("input_register", "output_register"),
    "buffers and links": ("input_buffer", "output_buffer", "interconnect"),
    "pruning support": SUPPORT,
    "leakage": ("leakage",),
    "digital products": OFF_ARRAYS,
}
"""Components of the hardware model in the groups that a reader can tell apart; all others are `other`."""
PART_COLOURS = (
    "#0072B2",
    "#56B4E9",
    "#009E73",
    "#E69F00",
    "#CC79A7",
    "#D55E00",
    "#7F7F7F",
    "#F0E442",
    "#C8C8C8",
)


@figure("F7", "Energy per image by component, dense and pruned", BEST)
def energy_figure(evidence: Evidence, best: list[list[Study]]) -> Drawing:
    """The first network with prices at its reference, a bar per granularity and budget; pruning support on its own."""
    family = one_a_budget(*best)
    rows = energy_rows(family)
    if not rows:
        share = f"{100 * family[0].reference:g} %"
        raise NotRun(f"no run with a price is near the {share} that most units were asked to keep")
    order = list(dict.fromkeys(row["bar"] for row in rows))
    names = [name for name in (*PARTS, "other") if any(row["part"] == name for row in rows)]
    colours = dict(zip((*PARTS, "other"), PART_COLOURS, strict=True))
    spec = chart(
        rows, width=400, height={"step": 12},
        mark={"type": "bar", "stroke": "white", "strokeWidth": 0.5},
        encoding={
            "y": {"field": "bar", "type": "nominal", "sort": order, "title": None},
            "x": {"field": "energy", "type": "quantitative", "title": "energy per image (µJ)", "stack": "zero"},
            "color": {
                "field": "part", "type": "nominal",
                "scale": {"domain": names, "range": [colours[name] for name in names]},
                "legend": {"orient": "bottom", "columns": 4, "title": None},
            },
            "order": {"field": "place", "type": "ordinal"},
            "tooltip": [{"field": "bar"}, {"field": "part"}, {"field": "energy", "format": ".4~g"}],
        },
    )  # fmt: skip
    shares = asked(point for study in family for point in _shown(family, study))
    notes = (f"{family[0].title}, {shares} % of the budget asked; stacked in the order of the legend.",)
    return Drawing(spec, wide=True, notes=notes)


def _part_of(component: str) -> str:
    return next((part for part, members in PARTS.items() if component in members), "other")


def _shown(family: list[Study], study: Study) -> list[Point]:
    return [point for point in study.at(family[0].reference) if prices(study, point)]


def energy_rows(family: list[Study]) -> list[dict[str, Any]]:
    """Dense first, then each unit and budget at the reference or near it: what each part takes (µJ)."""
    rows: list[dict[str, Any]] = []
    bars = [
        (
            f"{point[0]}, {told}" if len(family) > 1 else point[0],
            prices(study, point),
        )
        for study, told in zip(family, apart(family), strict=True)
        for point in _shown(family, study)
    ]
    for bar, priced in bars:
        if not rows:
            rows += _bar("dense", priced, "dense_energy_j")
        rows += _bar(bar, priced, "energy_j")
    return rows


def _bar(bar: str, priced: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """Means over the runs of a point, part by part (µJ)."""
    places = {name: i for i, name in enumerate((*PARTS, "other"))}
    sums: dict[str, float] = {}
    for summary in priced:
        for component, joules in summary[key].items():
            part = _part_of(component)
            sums[part] = sums.get(part, 0.0) + 1e6 * joules / len(priced)
    return [
        {"bar": bar, "part": part, "energy": energy, "place": places[part]}
        for part, energy in sums.items() if energy
    ]  # fmt: skip
