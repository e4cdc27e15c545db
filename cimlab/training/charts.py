"""The project's charts in wandb, defined in code: what they show of a run, and how its own form of chart is drawn.

A chart is a small table that a run leaves when it is done; wandb joins the tables of all runs in view, so that the
charts of a grid are those of its runs together. Every chart has a form of wandb's own. Accuracy over what is left has
a better one, a line per granularity, which a server knows once `cimlab charts ENTITY` has stored it there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cimlab.records.record import RunRecord
from cimlab.records.study import study_of
from cimlab.reporting.chart import share
from cimlab.reporting.plots import GROUPS, curves

BARS, POINTS = "wandb/bar/v0", "wandb/scatter/v0"
CURVES = "cimlab-accuracy-v2"  # a stored form is never changed: another drawing is another name


@dataclass(frozen=True)
class Chart:
    """One chart of one run.

    Args:
        name: where wandb files it.
        title: what it shows.
        rows: its table; all rows have the same columns.
        form: how wandb draws it.
        fields: what the form asks for -> the column that has it.
        own_form: of `FORMS`, drawn instead where it is stored.
    """

    name: str
    title: str
    rows: list[dict[str, Any]]
    form: str
    fields: dict[str, str]
    own_form: str | None = None


def charts(record: RunRecord) -> list[Chart]:
    """Accuracy over what is left; energy by component; what is left of each layer."""
    cost = record.hardware["cost"]
    left = {
        "weights": record.weights["remaining_all"],
        "steps": record.hardware["ratio"]["steps"],
        "energy": cost["ratio"]["energy_j"],
    }
    point = {
        "granularity": record.choices["granularity"],
        "remaining": record.config["prune"]["remaining"],
        "seed": record.seed,
        "network": f"{record.choices['model']} on {record.choices['data']}",
        "methods": "+".join(record.methods),
        "study": study_of(record),
        "accuracy": record.accuracy["retrained"]["test"],
        "dense_accuracy": record.accuracy["dense"]["test"],
        **{f"{name}_left": value for name, value in left.items()},
    }
    layers = [
        {
            "layer": name,
            "weights_left": counts["weights_left"] / counts["weights"],
            "steps_left": counts["steps"] / counts["dense_steps"] if counts["dense_steps"] else 0.0,
        }
        for name, counts in record.hardware["layers"].items()
    ]
    energy = [{"component": name, "energy_j": value} for name, value in cost["energy_j"].items() if value]
    return [
        *(_curves(name, point) for name in left),
        _bars("energy_by_component", "Energy of an image by component (J)", energy, "component", "energy_j"),
        _bars("weights_left_by_layer", "Weights left of each layer", layers, "layer", "weights_left"),
        _bars(
            "steps_left_by_layer", "Operation-unit steps left of each layer", layers, "layer", "steps_left"
        ),
    ]


def _curves(left: str, point: dict[str, Any]) -> Chart:
    fields = {"x": f"{left}_left", "y": "accuracy"}
    fields |= {name: name for name in (*GROUPS, "network")}
    title = f"Test accuracy after retraining over {left} left"
    return Chart(f"charts/accuracy_by_{left}_left", title, [point], POINTS, fields, CURVES)


def _bars(name: str, title: str, rows: list[dict[str, Any]], label: str, value: str) -> Chart:
    return Chart(f"charts/{name}", title, rows, BARS, {"label": label, "value": value})


def _column(name: str, kind: str, title: str) -> dict[str, str]:
    return {"field": f"${{field:{name}}}", "type": kind, "title": title}


_COLOURS = {"color": _column("granularity", "nominal", "granularity")}
_LINE, _POINTS = curves(
    share("${field:x}", "${field:x}"),
    share("${field:y}", "${field:y}"),
    _COLOURS,
    [f"${{field:{name}}}" for name in GROUPS],
)
FORMS: dict[str, dict[str, Any]] = {
    CURVES: {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "description": "A line per granularity through the means over seeds, and a point per run",
        "data": {"name": "wandb"},
        "title": "${string:title}",
        "layer": [
            _LINE,
            {
                "mark": _POINTS["mark"] | {"tooltip": {"content": "data"}},
                "encoding": _POINTS["encoding"] | {"shape": _column("network", "nominal", "network")},
            },
        ],
    }
}
"""Name -> Vega-Lite with wandb's placeholders: ${field:NAME} is a column, ${string:NAME} a text that a chart gives."""
