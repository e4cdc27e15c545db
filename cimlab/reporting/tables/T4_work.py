"""T4: other published work, quoted, with what makes it hard to compare, and cimlab's figure of the same count."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from cimlab.reporting.evidence import Evidence
from cimlab.reporting.looks import finer_and_skipped
from cimlab.reporting.parts import table
from cimlab.reporting.priced import cost_ratio
from cimlab.reporting.published import compression
from cimlab.reporting.studies import Point, Study, loss, worded
from cimlab.reporting.table import Column, Table


def _arrays(study: Study, point: Point) -> float:
    return 1 / study.mean(point, lambda record: record.hardware["ratio"]["arrays"])


def _energy(study: Study, point: Point) -> float | None:
    ratio = cost_ratio(study, point, "energy_j")
    return None if ratio is None else 1 / ratio.mean


COUNTS: dict[str, Callable[[Study, Point], float | None]] = {
    "weights": lambda study, point: compression(study, point).mean,
    "arrays": _arrays,
    "energy": _energy,
}
"""What a published ratio counts -> ours, dense over pruned."""


@table("T4", "Published work on pruning for crossbars, as quoted, and what cimlab reaches by the same count")
def work_table(evidence: Evidence) -> Table:
    """A row for each entry of published.yaml."""
    keys = ("method", "network", "compression", "accuracy_drop", "hardware", "conditions")
    names = ("source", *(key.replace("_", " ") for key in keys), "cimlab, same count")
    rows = tuple(
        (w["label"], *(str(w[key]) for key in keys), _alike(evidence, w)) for w in evidence.published.work
    )
    notes = (
        "Quoted from the abstracts; none of it was measured here. Last column: the largest ratio of a unit that a "
        f"crossbar skips, at a loss of at most {evidence.published.drop:g} points, on the same data and the same "
        "network; where that has none, on one of its family.",
    )
    return Table(tuple(Column(name, text=True) for name in names), rows, notes)


def _alike(evidence: Evidence, work: dict[str, Any]) -> str:
    counted = work.get("counts")
    if counted is None:
        return "not counted"
    named = work["network"].split(", ")
    alike = [
        study
        for study in evidence.studies
        if worded(study.data) in named and _family(worded(study.model)) in map(_family, named)
    ]
    if not alike:
        return f"{counted}: none of ours is alike (network {work['network']})"
    found = []
    for study in alike:
        for point in study.points:
            lost, reached = study.of(point, loss), COUNTS[counted](study, point)
            if finer_and_skipped(point[0]) and reached and lost and lost.mean <= evidence.published.drop:
                said = f"{worded(study.model)}, {point[0]}, {_placed(study)}, {lost.mean:.2f} points"
                found.append((worded(study.model) in named, reached, said))
    if not found:
        return f"{counted}: none at a loss of {evidence.published.drop:g} points or less"
    _, reached, where = max(found)
    return f"{reached:.1f}x ({counted}; {where})"


def _placed(study: Study) -> str:
    """Whether empty arrays' room was given up: work that compacts counts fewer arrays."""
    placements = dict.fromkeys(record.hardware["mapping"]["placement"] for record in study.records)
    return " or ".join(placements).replace("_", " ")


def _family(network: str) -> str:
    """ResNet, of ResNet-18."""
    return re.split(r"[-\d]", network)[0]
