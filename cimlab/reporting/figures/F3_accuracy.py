"""F3: test accuracy against weights left, one line per granularity."""

from __future__ import annotations

from typing import Any

from cimlab.reporting.chart import WIDTH, Spec, chart, intervals, lines, log_percent, quantity
from cimlab.reporting.estimates import Estimate
from cimlab.reporting.evidence import LEADING, NO_RUN, Evidence, Selection
from cimlab.reporting.looks import place
from cimlab.reporting.parts import Drawing, figure
from cimlab.reporting.studies import Study, accuracy, left

PANELS = 3
"""Most studies that stand side by side."""


def _shown(evidence: Evidence) -> list[list[Study]]:
    """The main studies on the hardest data that have a curve, of several units if any; those without intervals where F1
    draws none of them.

    Where none has a curve, the first.
    """
    drawn = [study for family in LEADING.chosen(evidence) for study in family]
    hardest = [study for study in evidence.mains if study.data == evidence.mains[0].data]
    curved = [
        study for study in hardest
        if len(study.remaining) > 1 and (_has_interval(study) or study not in drawn)
    ]  # fmt: skip
    several = [study for study in curved if len(study.granularities) > 1]
    return [[study] for study in (several or curved)[:PANELS] or evidence.mains[:1]]


def _has_interval(study: Study) -> bool:
    estimates = [study.of(point, accuracy) for point in study.points]
    return any(estimate and estimate.half_width for estimate in estimates)


@figure("F3", "Test accuracy against weights left, by pruned unit", Selection(_shown, NO_RUN))
def accuracy_figure(evidence: Evidence, chosen: list[list[Study]]) -> Drawing:
    """A panel for each."""
    shown = [study for (study,) in chosen]
    names = sorted({name for study in shown for name in study.granularities}, key=place)
    rows = [row for study in shown for row in _rows(study)]
    notes = tuple(f"{study.title}; dotted: dense network; {_seeds(study)}." for study in shown)
    if len(shown) == 1:
        return Drawing(
            chart(rows, width=WIDTH, height=210, layer=_layers(shown[0], names, columns=3)), notes=notes
        )
    width = round(2 * WIDTH / len(shown)) - 45
    panels = [
        {
            "title": study.title, "width": width, "height": 165,
            "transform": [{"filter": {"field": "study", "equal": study.title}}],
            "layer": _layers(study, names, columns=6),
        }
        for study in shown
    ]  # fmt: skip
    return Drawing(chart(rows, hconcat=panels), wide=True, notes=notes)


def _rows(study: Study) -> list[dict[str, Any]]:
    return [
        {
            "study": study.title, "granularity": name, "left": study.mean((name, fraction), left),
            "accuracy": study.mean((name, fraction), accuracy), **_interval(study.of((name, fraction), accuracy)),
        }
        for name, fraction in study.points
    ]  # fmt: skip


def _layers(study: Study, names: list[str], columns: int) -> list[Spec]:
    rows = _rows(study)
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


def _interval(estimate: Estimate | None) -> dict[str, float]:
    """Ends of the 95 % interval, as fields; none where there are too few seeds."""
    if estimate is None or estimate.half_width is None:
        return {}
    return {"low": estimate.mean - estimate.half_width, "high": estimate.mean + estimate.half_width}
