"""Which runs may be compared: a study is every run that differs in granularity, weights left and seed alone."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from functools import cache
from math import log
from statistics import fmean
from typing import Any

from cimlab.choices import first_line
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.records.record import RunRecord, content_hash
from cimlab.records.study import settings
from cimlab.reporting.estimates import Estimate
from cimlab.reporting.looks import place

DATA_ORDER = ("imagenet", "cifar100", "cifar10", "digits", "fake")
"""Harder first."""
CLAIMED = 0.09
"""The fraction of weights in the reproduced claim (Meng et al. 2022, abstract)."""
PER_STEP = "per step"
"""What it is called that units are ranked by their saliency per array step."""
Point = tuple[str, float]


def latest(records: Iterable[RunRecord]) -> tuple[list[RunRecord], list[str]]:
    """One record per run, the newest where it was made more than once, and a line about what was passed over."""
    newest: dict[str, RunRecord] = {}
    repeated = 0
    for record in sorted(records, key=lambda record: record.created):
        repeated += record.run in newest
        newest[record.run] = record
    notes = [f"{repeated} records of runs that were made again are passed over."] if repeated else []
    return sorted(newest.values(), key=lambda record: record.name), notes


def granularity(record: RunRecord) -> str:
    """A run's granularity in words."""
    own = {k: v for k, v in record.config.get("granularity", {}).items() if k != "_target_"}
    return in_words(record.choices["granularity"], own)


def in_words(choice: str, parameters: dict[str, Any]) -> str:
    """A granularity with the parameters that set it apart: `block (rows=16, cols=16)`."""
    said = ", ".join(f"{key}={value}" for key, value in parameters.items())
    return worded(choice) + (f" ({said})" if said else "")


@cache
def worded(name: str) -> str:
    """A choice of conf/ as people read it: a model or data set as the first line of its file spells it.

    >>> worded("resnet20"), worded("cifar10"), worded("operation_unit")
    ('ResNet-20', 'CIFAR-10', 'operation unit')
    """
    letters = r"[\W_]*".join(re.findall(r"[^\W_]", name))
    for group in ("model", "data"):
        if spelled := re.search(rf"\b{letters}\b", first_line(group, name) or "", re.I):
            return spelled[0]
    return name.replace("_", " ")


def told(key: str, value: Any) -> str:
    """A setting as people write it: of a class the name, of a switch a small word.

    >>> told("chip.skip_zero_inputs", True), told("saliency._target_", "cimlab.pruning.saliency.L1")
    ('chip.skip_zero_inputs=true', 'saliency=L1')
    """
    return f"{key.removesuffix('._target_')}={told_value(key, value)}"


def told_value(key: str, value: Any) -> str:
    """The value alone, of a setting as people write it; what only another study sets is at its default.

    >>> told_value("method.admm.rho", None), told_value("saliency._target_", "cimlab.pruning.saliency.L1")
    ('default', 'L1')
    """
    if value is None:
        return "default"
    if key.endswith("._target_"):
        return str(value).rsplit(".", 1)[-1]
    return str(value).lower() if isinstance(value, bool) else str(value)


NEAR = 2.5
"""Times a share, up to which another one may stand beside it; tables and figures name them."""


FEW = 12
"""Points of a study up to which a short table has all."""


@dataclass(frozen=True)
class Study:
    """Comparable runs.

    Args:
        settings: what they share, as dotted keys.
        points: (granularity, asked fraction of prunable weights) -> its runs, one per seed.
    """

    settings: dict[str, Any]
    points: dict[Point, tuple[RunRecord, ...]]

    @property
    def model(self) -> str:
        return str(self.settings["model"])

    @property
    def data(self) -> str:
        return str(self.settings["data"])

    @property
    def title(self) -> str:
        return f"{worded(self.model)} on {worded(self.data)}"

    @property
    def records(self) -> list[RunRecord]:
        return [record for runs in self.points.values() for record in runs]

    @property
    def granularities(self) -> list[str]:
        return sorted({name for name, _ in self.points}, key=place)

    @property
    def remaining(self) -> list[float]:
        return sorted({fraction for _, fraction in self.points}, reverse=True)

    @property
    def reference(self) -> float:
        """The asked fraction that most granularities were run at; of several, the one nearest to the claim's."""
        counts = {fraction: sum(f == fraction for _, f in self.points) for fraction in self.remaining}
        return min(counts, key=lambda fraction: (-counts[fraction], abs(fraction - CLAIMED)))

    def at(self, fraction: float) -> list[Point]:
        """Each granularity's point at an asked fraction; of one that was not run there, at the nearest by ratio, if it
        is no more than `NEAR` times as much or as little.
        """
        own = {name: [f for other, f in self.points if other == name] for name in self.granularities}
        nearest = [
            (name, min(asked, key=lambda other: abs(log(other / fraction)))) for name, asked in own.items()
        ]
        return [(name, asked) for name, asked in nearest if 1 / NEAR <= asked / fraction <= NEAR]

    def leading(self, fraction: float) -> set[Point]:
        """What stands for the study where room is scarce: its points near a share, or all where they are few."""
        return {*(self.points if len(self.points) <= FEW else self.at(fraction))}

    def of(self, point: Point, value: Callable[[RunRecord], float]) -> Estimate | None:
        """A quantity over the seeds of a point; None where it was not run."""
        return Estimate.of(value(record) for record in self.points.get(point, ()))

    def mean(self, point: Point, value: Callable[[RunRecord], float]) -> float:
        """The mean of a quantity over the seeds of a point that was run."""
        return Estimate(tuple(map(value, self.points[point]))).mean

    @property
    def methods(self) -> tuple[str, ...]:
        """Training methods beyond pruning once under one threshold; all of a study's runs share them."""
        record = self.records[0]
        return (
            *record.methods,
            *((PER_STEP,) if record.config["prune"].get("allocation") == "steps" else ()),
        )

    @property
    def dense(self) -> Estimate:
        """Test accuracy of the dense networks (percent), each seed once; of trainings that came out apart, the mean."""
        return _dense(self.records)

    @property
    def dense_told(self) -> str:
        """`dense` as people write it."""
        return dense_told(self.records)

    @property
    def seeds(self) -> int:
        """Most seeds at any point."""
        return max(len(runs) for runs in self.points.values())


def asked(points: Iterable[Point]) -> str:
    """Which shares points were asked to keep (percent), from the least to the most.

    >>> asked([("weight", 0.085), ("row segment", 0.15)]), asked([("weight", 0.09), ("filter", 0.09)])
    ('8.5 to 15', '9')
    """
    shares = [fraction for _, fraction in points]
    return " to ".join(dict.fromkeys(f"{100 * share:g}" for share in (min(shares), max(shares))))


def accuracy(record: RunRecord, phase: str = "retrained") -> float:
    """Test accuracy of a phase in percent."""
    return 100 * record.accuracy[phase]["test"]


def dense_told(records: Iterable[RunRecord]) -> str:
    """Test accuracy of the dense networks of runs (percent), as people write it: of one seed whose trainings came out
    apart, from the lowest to the highest.

    Other processors and thread numbers sum in another order, so that one seed may have several dense networks.
    """
    records = list(records)
    first, *others = _dense_of_seeds(records).values()
    if others or len(first) == 1:
        return f"{_dense(records).mean:.2f}"
    return f"{min(first):.2f} to {max(first):.2f}"


def _dense(records: Iterable[RunRecord]) -> Estimate:
    return Estimate(tuple(fmean(found) for _, found in sorted(_dense_of_seeds(records).items())))


def _dense_of_seeds(records: Iterable[RunRecord]) -> dict[int, set[float]]:
    found: dict[int, set[float]] = {}
    for record in records:
        found.setdefault(record.seed, set()).add(accuracy(record, "dense"))
    return found


def loss(record: RunRecord) -> float:
    """Points of test accuracy below the run's own dense network."""
    return accuracy(record, "dense") - accuracy(record)


def left(record: RunRecord) -> float:
    """Weights left, in percent of all."""
    return 100 * record.weights["remaining_all"]


def geometry_of(record: RunRecord) -> CrossbarGeometry:
    """The array that a run's weights lie on."""
    return geometry_in(record.hardware["geometry"])


def geometry_in(known: dict[str, Any]) -> CrossbarGeometry:
    """The array that a record's settings describe, whatever else stands beside them."""
    return CrossbarGeometry(**{field.name: known[field.name] for field in fields(CrossbarGeometry)})


def studies(records: Iterable[RunRecord]) -> list[Study]:
    """Runs sorted into studies: harder data first, then those with more points, more seeds, fewer methods."""
    shared: dict[str, dict[str, Any]] = {}
    points: dict[str, dict[Point, list[RunRecord]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        key = content_hash(settings(record))
        shared[key] = settings(record)
        points[key][granularity(record), record.config["prune"]["remaining"]].append(record)
    found = [
        Study(
            shared[key], {point: tuple(runs) for point, runs in sorted(own.items(), key=lambda item: item[0])}
        )
        for key, own in points.items()
    ]
    return sorted(found, key=_rank)


def hardness(data: str) -> int:
    """The place of a data set among others: harder ones first, unknown ones last."""
    return DATA_ORDER.index(data) if data in DATA_ORDER else len(DATA_ORDER)


def _rank(study: Study) -> tuple:
    return (
        hardness(study.data),
        -len(study.points),
        -len(study.records),
        len(study.methods),
        study.title,
        content_hash(study.settings),
    )


def main_studies(found: list[Study]) -> list[Study]:
    """Of every model and data set, the study with the most points."""
    first: dict[str, Study] = {}
    for study in found:
        first.setdefault(study.title, study)
    return list(first.values())


def change(runs: Iterable[RunRecord], base: Iterable[RunRecord]) -> Estimate | None:
    """Points of accuracy that runs gain over others, of the seeds that both have; None where they share none."""
    by_seed = {record.seed: accuracy(record) for record in base}
    return Estimate.of(accuracy(record) - by_seed[record.seed] for record in runs if record.seed in by_seed)


def differences(study: Study, other: Study) -> dict[str, tuple[Any, Any]]:
    """Settings that differ, as (this study's, the other's)."""
    keys = {*study.settings, *other.settings}
    pairs = {key: (study.settings.get(key), other.settings.get(key)) for key in sorted(keys)}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def best(study: Study, of: Callable[[str], bool], fraction: float) -> tuple[str, Estimate] | None:
    """The granularity of a kind that loses least at an asked fraction, with its loss in points."""
    losses = [(name, study.of((name, fraction), loss)) for name in study.granularities if of(name)]
    known = [(name, estimate) for name, estimate in losses if estimate is not None]
    return min(known, key=lambda pair: pair[1].mean) if known else None
