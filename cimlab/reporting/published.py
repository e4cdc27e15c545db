"""Published figures: the reproduced claim with our measurement of it, other work, the hardware model's validation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cimlab.reporting.estimates import Estimate
from cimlab.reporting.looks import finer_and_skipped
from cimlab.reporting.methods import budget
from cimlab.reporting.studies import Point, Study, loss


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
        others: the points at that fraction that it loses less than.
        furthest: the most compressed point that stays within the claimed loss, with its study; None if there is none.
    """

    study: Study
    point: Point
    others: tuple[tuple[Study, Point], ...]
    furthest: tuple[Study, Point] | None

    @property
    def candidates(self) -> int:
        """How many points it is the best of."""
        return 1 + len(self.others)

    @property
    def alone(self) -> bool:
        """Whether it is the only unit that was run so on its network, and the others' networks are smaller."""
        size = _weights(self.study)
        return all(other.title != self.study.title and _weights(other) < size for other, _ in self.others)


def _weights(study: Study) -> float:
    return study.records[0].weights["total"]


def headline(found: list[Study], published: Published) -> Headline | None:
    """The least loss at the claimed fraction in all studies on the hardest data run there; None if none was.

    The claim counts all weights, a run's setting the prunable ones: a setting that rounds to the claim is at it, if
    its budget counts weights.
    """
    tried = [
        (study, (name, fraction), lost.mean)
        for study in found
        for name, fraction in study.points
        if round(fraction, 2) == published.remaining
        and budget(study) == "weights"
        and finer_and_skipped(name)
        and (lost := study.of((name, fraction), loss))
    ]
    tried = [entry for entry in tried if entry[0].data == tried[0][0].data]
    if not tried:
        return None
    tried.sort(key=lambda entry: entry[2])
    (study, point, _), *others = tried
    beaten = tuple((other, at) for other, at, _ in others)
    return Headline(study, point, beaten, _furthest_within(found, study.data, published.drop))


def _furthest_within(found: list[Study], data: str, drop: float) -> tuple[Study, Point] | None:
    reached = [
        (study, point)
        for study in found
        for point in study.points
        if study.data == data
        and finer_and_skipped(point[0])
        and (lost := study.of(point, loss))
        and lost.mean <= drop
    ]
    return max(reached, key=lambda entry: compression(*entry).mean) if reached else None


def compression(study: Study, point: Point) -> Estimate:
    """All weights over those left."""
    found = study.of(point, lambda record: record.weights["compression"])
    assert found is not None
    return found


@dataclass(frozen=True)
class ValidationRow:
    """One figure of a published design beside the hardware model's.

    Args:
        case, figure: which.
        published, ours: with their units.
        error_percent: ours over the published one, less 100 %.
        allowed: the bound it is held to, or `reported`.
        sets_prices: whether prices were taken from it.
    """

    case: str
    figure: str
    published: str
    ours: str
    error_percent: float
    allowed: str
    sets_prices: bool


def read_validation(readme: Path) -> tuple[ValidationRow, ...]:
    """The table that experiments/validation writes; nothing where it was not run."""
    rows = []
    if readme.is_file():
        for line in readme.read_text(encoding="utf-8").splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if line.startswith("|") and len(cells) == 7 and re.fullmatch(r"[+-][\d.]+ %", cells[4]):
                cells = [cell.replace("um^2", "µm²").replace("mm^2", "mm²") for cell in cells]
                error = float(cells[4].removesuffix(" %"))
                rows.append(ValidationRow(*cells[:4], error, cells[5], cells[6] == "yes"))
    return tuple(rows)
