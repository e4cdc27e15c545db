"""F6: where in the network weights and array steps are left, layer by layer."""

from __future__ import annotations

from typing import Any

from cimlab.records.record import RunRecord
from cimlab.reporting.chart import Spec, chart
from cimlab.reporting.evidence import STRONGEST, Evidence
from cimlab.reporting.looks import place
from cimlab.reporting.parts import Drawing, figure
from cimlab.reporting.studies import Study, dense_told, geometry_of, granularity


@figure("F6", "By layer: weights and array steps that are left, and cells that are occupied", STRONGEST)
def layers_figure(evidence: Evidence, strongest: list[list[Study]]) -> Drawing:
    """Layers down, granularities across, at the reference of the study."""
    ((study,),) = strongest
    firsts = [
        runs[0] for name in study.granularities if (runs := study.points.get((name, study.reference), ()))
    ]
    rows = [row for record in firsts for row in _layer_rows(granularity(record), record)]
    layers = list(dict.fromkeys(row["layer"] for row in rows))
    fields = {"weights": "weights left (%)", "steps": "steps left (%)", "occupied": "occupied cells (%)"}
    panels = [_heat(field, label, study.granularities, layers) for field, label in fields.items()]
    for panel in panels[1:]:  # the layers' names stand at the first
        panel["encoding"]["y"]["axis"]["labels"] = False
    notes = (
        f"{study.title}, dense {dense_told(firsts)} %, {100 * study.reference:g} % of the prunable weights kept, seed "
        f"{firsts[0].seed}; layers in the order of computation. Occupied: cells that hold a kept weight, of those of "
        "the arrays.",
    )
    spec = chart(rows, hconcat=panels, resolve={"scale": {"color": "independent"}})
    return Drawing(spec, wide=True, notes=notes)


def _layer_rows(name: str, record: RunRecord) -> list[dict[str, Any]]:
    cells, hardware = geometry_of(record).columns_per_weight, record.hardware
    return [
        {
            "granularity": name,
            "layer": layer,
            "weights": 100 * counts["weights_left"] / counts["weights"],
            "steps": 100 * counts["steps"] / counts["dense_steps"],
            "occupied": 100 * cells * counts["weights_left"] / counts["cells"] if counts["cells"] else None,
        }
        for layer, counts in hardware["layers"].items()
    ]


def _heat(field: str, label: str, names: list[str], layers: list[str]) -> Spec:
    def words(field: str, order: list[str], axis: Spec) -> Spec:
        return {"field": field, "type": "nominal", "sort": order, "title": None, "axis": axis}

    return {
        "title": label,
        "width": 132,
        "height": {"step": 10 if len(layers) > 12 else 16},
        "mark": {"type": "rect", "stroke": "white", "strokeWidth": 0.5},
        "encoding": {
            "x": words("granularity", sorted(names, key=place), {"labelAngle": -50}),
            "y": words("layer", layers, {"labelLimit": 240, "labelFontSize": 10}),
            "color": {
                "field": field,
                "type": "quantitative",
                "title": None,
                "scale": {"type": "sqrt", "scheme": "viridis", "domain": [0, 100]},
                "legend": {"gradientLength": 90, "gradientThickness": 8, "values": [1, 10, 25, 50, 100]},
            },
            "tooltip": [
                {"field": "layer"},
                {"field": "granularity"},
                {"field": field, "title": label, "format": ".4~g"},
            ],
        },
    }
