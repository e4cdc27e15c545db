"""T3: the reproduced claim and our measurement."""

from __future__ import annotations

from cimlab.reporting.evidence import Evidence
from cimlab.reporting.parts import table
from cimlab.reporting.published import compression
from cimlab.reporting.studies import accuracy, left, loss
from cimlab.reporting.table import NONE, Cell, Column, Table


@table("T3", "The headline claim, side by side")
def headline_table(evidence: Evidence) -> Table:
    """Quantity by quantity."""
    ours, published = evidence.headline, evidence.published
    columns = (Column("quantity", text=True), Column("published"), Column("cimlab"))
    said = f"at most {published.drop:g}"
    if ours is None:
        measured: list[Cell] = [None] * 8
    else:
        study, point = ours.study, ours.point
        measured = [
            study.title, point[0], study.of(point, left),
            study.of(point, lambda r: r.weights["compression"]), study.dense, study.of(point, accuracy),
            study.of(point, loss), NONE if ours.furthest is None else compression(*ours.furthest),
        ]  # fmt: skip
    rows = [
        ("network, data", "not named in the abstract"),
        ("pruned unit", "follows the array's computation"),
        ("weights left, of all (%)", 100 * published.remaining),
        ("compression (x)", published.compression),
        ("dense test accuracy (%)", "not quoted"),
        ("pruned test accuracy (%)", "not quoted"),
        ("loss (points)", said[8:]),
        (f"most compression at loss ≤ {published.drop:g} (x)", published.compression),
    ]
    notes: tuple[str, ...] = ()
    if ours is not None:
        seeds, many = len(ours.study.points[ours.point]), ours.candidates
        notes = (f"The best of {many} points that were run at this fraction; seeds: {seeds}.",)
    return Table(columns, tuple((*row, cell) for row, cell in zip(rows, measured, strict=True)), notes)
