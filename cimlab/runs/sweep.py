"""Many prices in one process: every network on every accelerator, what geometries share computed once."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cimlab.config.errors import ConfigError
from cimlab.runs.price import one_thread
from cimlab.runs.subject import Subject

if TYPE_CHECKING:
    from cimlab.hardware.accelerator import Accelerator
    from cimlab.hardware.price import PrunedNetwork
    from cimlab.hardware.report import CostComparison

Axes = dict[str, str]
Asked = tuple[int, Axes, "Accelerator"]


@dataclass(frozen=True)
class PricedPoint:
    """One network on one accelerator.

    Args:
        name: of the network.
        granularity: choice that its units are of.
        axes: key -> value, of what was varied.
        accuracy: on test images, where a record says.
        technology, adc_price, adc_bits: whose prices these are.
        total, dense, ratio: of the pruned network, of the dense one on the same accelerator, and one over the other.
        parts: what figures of the pruned network come from: energy and area by component, throughput the time of the
            slowest matrix-vector product.
        notes: assumptions behind the numbers.
    """

    name: str
    granularity: str
    axes: Axes
    accuracy: float | None
    technology: str
    adc_price: str
    adc_bits: int
    total: dict[str, float]
    dense: dict[str, float]
    ratio: dict[str, float]
    parts: dict[str, dict[str, float]]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Sweep:
    """What came of a sweep.

    Args:
        points: in the order in which they were asked.
        refused: reason -> accelerators that can't be built or priced for it.
    """

    points: list[PricedPoint]
    refused: Counter[str]


def price_sweep(
    subjects: Sequence[Subject],
    accelerators: Callable[[Subject], Iterable[tuple[Axes, Accelerator | ConfigError]]],
    done: Callable[[int], None],
) -> Sweep:
    """Price every network on its accelerators, geometry by geometry, on as many threads as torch has.

    Args:
        subjects: the networks.
        accelerators: those that a network is asked for, with the values of their axes.
        done: told the number of points that were priced since the last call.
    """
    import torch

    refused: Counter[str] = Counter()
    tasks: dict[tuple, list[Asked]] = defaultdict(list)
    number = 0
    for place, subject in enumerate(subjects):
        for axes, accelerator in accelerators(subject):
            if isinstance(accelerator, ConfigError):
                refused[str(accelerator)] += 1
                continue
            shared = subject.cut(accelerator.geometry)
            tasks[place, shared or accelerator.geometry].append((number, axes, accelerator))
            number += 1
    found: dict[int, PricedPoint] = {}
    threads = torch.get_num_threads()
    with one_thread(), ThreadPoolExecutor(threads) as pool:  # each of so many threads prices a geometry
        work = ((subjects[place], asked) for (place, _), asked in tasks.items())
        for points in pool.map(lambda task: _priced(*task), work):
            for key, point in points:
                if isinstance(point, str):
                    refused[point] += 1
                else:
                    found[key] = point
            done(len(points))
    return Sweep([found[key] for key in sorted(found)], refused)


def _priced(subject: Subject, asked: list[Asked]) -> list[tuple[int, PricedPoint | str]]:
    """The points of geometries for which one set of masks is right, or why they have no price."""
    from cimlab.hardware.errors import HardwareError
    from cimlab.hardware.price import price

    points: list[tuple[int, PricedPoint | str]] = []
    network: PrunedNetwork | None = None
    for key, axes, accelerator in asked:
        geometry = accelerator.geometry
        try:
            network = network or subject.network(geometry)
            compared = price(network, subject.activity(geometry), accelerator)
        except (ConfigError, HardwareError) as problem:
            points.append((key, str(problem)))
            continue
        points.append((key, _point(subject, axes, compared)))
    return points


def _point(subject: Subject, axes: Axes, compared: CostComparison) -> PricedPoint:
    own = compared.pruned
    parts = {
        "energy_j": own.energy_by_component,
        "area_m2": own.area_by_component,
        "images_per_s": {"slowest matrix-vector product": float(own.timing.product_s.max())},
    }
    return PricedPoint(
        subject.name, subject.choices.get("granularity", ""), axes, subject.accuracy, own.technology,
        own.adc_price, own.adc_bits, own.totals(), compared.dense.totals(), compared.ratios(),
        parts, (*subject.assumed, *compared.notes),
    )  # fmt: skip
