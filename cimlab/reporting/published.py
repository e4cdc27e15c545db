"""Published figures beside ours: T3, the headline claim; T4, other work; T6, the hardware model's validation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cimlab.reporting.estimates import Estimate
from cimlab.reporting.studies import SKIPPED, Point, Study, accuracy, base, left, loss, worded
from cimlab.reporting.table import NONE, Cell, Column, Table


@dataclass(frozen=True)
class Published:
    """published.yaml beside this module: the reproduced claim and the work beside it."""

    remaining: float
    compression: float
    drop: float
    work: tuple[dict[str, Any], ...]

    @classmethod
    def read(cls) -> Published:
        path = Path(__file__).with_name("published.yaml")
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        claim = content["reproduced"]
        return cls(
            claim["remaining"], claim["compression"], claim["accuracy_drop_points"], tuple(content["work"])
        )


@dataclass(frozen=True)
class Headline:
    """Our measurement beside the claim.

    Args:
        study: the study it is from.
        point: its granularity, of those whose zeros a crossbar skips, that loses least at the claimed fraction.
        candidates: how many points at that fraction it is the best of.
        furthest: the most compressed point that stays within the claimed loss, with its study; None if there is none.
    """

    study: Study
    point: Point
    candidates: int
    furthest: tuple[Study, Point] | None


def headline(found: list[Study], published: Published) -> Headline | None:
    """The least loss at the claimed fraction in all studies on the hardest data run there; None if none was.

    The claim counts all weights, a run's setting the prunable ones: a setting that rounds to the claim is at it.
    """
    tried = [
        (study, (name, fraction), lost.mean)
        for study in found
        for name, fraction in study.points
        if round(fraction, 2) == published.remaining
        and base(name) in SKIPPED
        and (lost := study.of((name, fraction), loss))
    ]
    tried = [entry for entry in tried if entry[0].data == tried[0][0].data]
    if not tried:
        return None
    study, point, _ = min(tried, key=lambda entry: entry[2])
    return Headline(study, point, len(tried), _furthest_within(found, study.data, published.drop))


def _furthest_within(found: list[Study], data: str, drop: float) -> tuple[Study, Point] | None:
    reached = [
        (study, point)
        for study in found
        for point in study.points
        if study.data == data
        and base(point[0]) in SKIPPED
        and (lost := study.of(point, loss))
        and lost.mean <= drop
    ]
    return max(reached, key=lambda entry: _compression(*entry).mean) if reached else None


def _compression(study: Study, point: Point) -> Estimate:
    found = study.of(point, lambda record: record.weights["compression"])
    assert found is not None
    return found


def headline_table(ours: Headline | None, published: Published) -> Table:
    """T3: the claim and our measurement, quantity by quantity."""
    columns = (Column("quantity", text=True), Column("published"), Column("cimlab"))
    said = f"at most {published.drop:g}"
    if ours is None:
        measured: list[Cell] = [None] * 8
    else:
        study, point = ours.study, ours.point
        measured = [
            study.title, point[0], study.of(point, left),
            study.of(point, lambda r: r.weights["compression"]), study.dense, study.of(point, accuracy),
            study.of(point, loss), NONE if ours.furthest is None else _compression(*ours.furthest),
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
    notes = ()
    if ours is not None:
        seeds, many = len(ours.study.points[ours.point]), ours.candidates
        notes = (f"The best of {many} points that were run at this fraction; seeds: {seeds}.",)
    return Table(
        "T3", "The headline claim, side by side", columns,
        tuple((*row, cell) for row, cell in zip(rows, measured, strict=True)), notes,
    )  # fmt: skip


def work_table(published: Published) -> Table:
    """T4: other published work, quoted, with what makes it hard to compare."""
    keys = ("method", "network", "compression", "accuracy_drop", "hardware", "conditions")
    columns = tuple(Column(name.replace("_", " "), text=True) for name in ("source", *keys))
    rows = tuple((w["label"], *(str(w[key]) for key in keys)) for w in published.work)
    notes = ("Quoted from the abstracts; none of it was measured here.",)
    return Table("T4", "Published work on pruning for crossbars, as quoted", columns, rows, notes)


def validation_table(readme: Path) -> Table:
    """T6: the hardware model against published designs, from the table that experiments/validation writes.

    The table has no rows where the validation was not run.
    """
    columns = (
        Column("case", text=True), Column("figure", text=True), Column("published", text=True),
        Column("cimlab", text=True), Column("error", "%", 1), Column("allowed", text=True),
    )  # fmt: skip
    rows = []
    if readme.is_file():
        for line in readme.read_text(encoding="utf-8").splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if line.startswith("|") and len(cells) == 6 and re.fullmatch(r"[+-][\d.]+ %", cells[4]):
                cells = [cell.replace("um^2", "µm²").replace("mm^2", "mm²") for cell in cells]
                rows.append(
                    (
                        worded(cells[0]),
                        worded(cells[1]),
                        *cells[2:4],
                        float(cells[4].removesuffix(" %")),
                        cells[5],
                    )
                )
    notes = ("“reported”: shown, but not held to a bound; the reasons stand in experiments/validation.",)
    return Table("T6", "The hardware model against published designs", columns, tuple(rows), notes)
