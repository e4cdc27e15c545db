"""F4: speed-up against weights left, and how much of it is lost to arrays that wait for others."""

from __future__ import annotations

from math import ceil, inf
from typing import Any

from cimlab.records.record import RunRecord
from cimlab.reporting.chart import Spec, chart, framed, lines, log_percent, quantity
from cimlab.reporting.evidence import CURVED, Evidence
from cimlab.reporting.parts import Drawing, figure
from cimlab.reporting.priced import cost
from cimlab.reporting.studies import Study, geometry_of, left

LEAST_WAIT = 0.2
"""The axis of load imbalance spans at least this ratio."""


@figure("F4", "Speed-up against weights left, and what load imbalance takes of it", CURVED)
def speed_figure(evidence: Evidence, curved: list[list[Study]]) -> Drawing:
    """Beside the speed-up that evenly loaded arrays would have; of the first main study that has a curve."""
    ((study,),) = curved
    priced = all(cost(record) for record in study.records)
    rows: list[dict[str, Any]] = [
        {
            "granularity": point[0],
            "left": study.mean(point, left),
            "real": study.mean(point, _throughput if priced else _busiest_speed_up),
            "wait": study.mean(point, imbalance),
        }
        for point in study.points
    ]
    spec = chart(rows, hconcat=_panels(rows, study.granularities, priced, dense_imbalance(study.records[0])))
    notes = (
        f"{study.title}. Dotted: time in proportion to weights. Right: steps of each layer's busiest array over the "
        "mean of the layer's arrays, both summed over layers; 1: no array waits; dotted there: the dense network.",
    )
    return Drawing(spec, wide=True, notes=notes)


def _panels(rows: list[dict[str, Any]], names: list[str], priced: bool, dense: float) -> list[Spec]:
    x = log_percent("left", "weights left, of all (%)", [row["left"] for row in rows])
    gained = "throughput, pruned / dense" if priced else "speed-up, busiest arrays (x)"
    y = quantity(
        "real",
        gained,
        scale={"type": "log", "nice": False},
        axis={"format": "~g", "values": [0.5, 1, 2, 3, 5, 10, 20, 50]},
    )
    edges = [min(row["left"] for row in rows), 100]
    ideal: Spec = {
        "data": {"values": [{"left": edge, "real": 100 / edge} for edge in edges]},
        "mark": {"type": "line", "color": "#888888", "strokeDash": [2, 2], "clip": True},
        "encoding": {"x": x, "y": y},
    }  # fmt: skip
    scale = framed((dense, *(row["wait"] for row in rows)), LEAST_WAIT, inf)
    waiting = quantity("wait", "load imbalance", scale=scale)
    unpruned: Spec = {
        "data": {"values": [{"wait": dense}]},
        "mark": {"type": "rule", "strokeDash": [2, 2], "color": "#888888"},
        "encoding": {"y": waiting},
    }
    return [
        {"width": 270, "height": 155, "layer": [ideal, *lines(x, y, names, columns=6)]},
        {"width": 270, "height": 155, "layer": [unpruned, *lines(x, waiting, names, columns=6)]},
    ]


def _throughput(record: RunRecord) -> float:
    priced = cost(record)
    assert priced is not None
    return priced["ratio"]["images_per_s"]


def _busiest_speed_up(record: RunRecord) -> float:
    return 1 / record.hardware["ratio"]["critical_steps"]


def imbalance(record: RunRecord) -> float:
    """Steps of each layer's busiest array over those of a mean one, both summed over layers."""
    layers = [counts for counts in record.hardware["layers"].values() if counts["arrays"]]
    shared_evenly = sum(counts["steps"] / counts["arrays"] for counts in layers)
    return sum(counts["critical_steps"] for counts in layers) / shared_evenly


def dense_imbalance(record: RunRecord) -> float:
    """The same of the unpruned network, whose arrays follow from its matrices."""
    hardware, array = record.hardware, geometry_of(record)
    shared_evenly = sum(
        counts["dense_steps"]
        / (counts["groups"] * ceil(counts["rows"] / array.rows) * ceil(counts["cols"] / array.logical_cols))
        for counts in hardware["layers"].values()
    )
    return hardware["dense"]["critical_steps"] / shared_evenly
