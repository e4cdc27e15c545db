"""What is priced: a network with its masks and activity, wherever they are from, on any accelerator.

A record brings all three along. A network by name is pruned at random for each geometry, as units follow the array.
"""

from __future__ import annotations

import glob
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cimlab.config.errors import ConfigError
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.errors import near_path
from cimlab.records import store
from cimlab.records.record import RECORD_FILE, RecordError, RunRecord

if TYPE_CHECKING:
    from cimlab.crossbar.activity import Activity
    from cimlab.crossbar.rules import PlacementMode
    from cimlab.hardware.accelerator import Accelerator
    from cimlab.hardware.price import PrunedNetwork
    from cimlab.hardware.report import CostComparison
    from cimlab.network.masks import Masks

Cut = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Subject:
    """One network to be priced.

    Args:
        name: what it is called in a table.
        weights: where weights and masks are from, in words.
        network: geometry -> the pruned network on arrays of it.
        activity: geometry -> what its cells hold and its wordlines are fed.
        choices: group -> choice that made it.
        accuracy: on test images after retraining, where a record says.
        hardware: group -> content of the accelerator that it was made for, where words leave it open.
        cut: what of a geometry the masks depend on; nothing, where they are given.
        assumed: what its masks rest on, where nobody trained it.
        beyond: what to say where masks made for a geometry keep more than was asked; None where they do not.
    """

    name: str
    weights: str
    network: Callable[[CrossbarGeometry], PrunedNetwork]
    activity: Callable[[CrossbarGeometry], Activity]
    choices: dict[str, str] = field(default_factory=dict)
    accuracy: float | None = None
    hardware: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    cut: Callable[[CrossbarGeometry], Cut] = lambda _: ()
    assumed: tuple[str, ...] = ()
    beyond: Callable[[CrossbarGeometry, Masks], str | None] = lambda *_: None

    def price(self, accelerator: Accelerator) -> CostComparison:
        """Pruned and dense on an accelerator.

        Raises:
            HardwareError: it can't build the geometry.
            ConfigError: the network can't be pruned as asked for this geometry.
        """
        from cimlab.hardware.price import price

        geometry = accelerator.geometry
        return price(self.network(geometry), self.activity(geometry), accelerator)


def cut_of(geometry: CrossbarGeometry) -> Cut:
    """What the units of a granularity can depend on."""
    g = geometry
    return (g.rows, g.cols, g.active_rows, g.columns_per_adc, g.columns_per_weight)


@dataclass(frozen=True)
class Instead:
    """What is asked for instead of what runs were made with; None leaves it.

    Args:
        granularity: whose units the hardware is told of.
        placement: `in_place`, `compacted` or `gathered`.
        extensions: packages besides cimlab whose granularities may be called.
    """

    granularity: dict[str, Any] | None = None
    placement: PlacementMode | None = None
    extensions: tuple[str, ...] = ()


AS_IT_WAS = Instead()


def recorded(place: Path, instead: Instead) -> list[Subject]:
    """The runs at a place: a run's folder, a record, or a folder of records. What can't be priced is told.

    Args:
        place: as a person gave it; with *, ? or [ where no such file is, every folder and record that matches.
        instead: what is asked for instead of the runs' own.

    Raises:
        ConfigError: there is no record, or none that can be priced.
    """
    matching = [] if place.exists() else [Path(name) for name in sorted(glob.glob(str(place)))]
    if not (place.exists() or matching):
        raise ConfigError(
            f"run={place}: does not exist; {near_path(place)}give a run's folder, a record or a folder of records"
        )
    file = place / RECORD_FILE if (place / RECORD_FILE).is_file() else place
    if file.is_file():
        if file.suffix != ".json":
            run = place.parent if (place.parent / RECORD_FILE).is_file() else "FOLDER"
            raise ConfigError(f"run={place}: is no record; give the run's folder, run={run}")
        try:
            found = [(RunRecord.read(file), file)]
        except RecordError as problem:
            raise ConfigError(f"run={place}: {problem}") from problem
        problems: list[str] = []
    else:
        found, problems = store.load_with_files(*(matching or [place]))
    subjects = []
    for record, source in found:
        try:
            subjects.append(_of_record(record, source, instead))
        except RecordError as problem:
            problems.append(str(problem))
    if not subjects:
        reason = problems[0] if problems else "holds no record of a run"
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise ConfigError(f"run={place}: {reason}{more}")
    for line in problems[:3]:
        print(f"cimlab: {line}; left out", file=sys.stderr)
    if len(problems) > 3:
        print(f"cimlab: {len(problems) - 3} more records can't be priced; left out", file=sys.stderr)
    return subjects


def kept_network(
    record: RunRecord, source: Path, instead: Instead = AS_IT_WAS
) -> tuple[PrunedNetwork, Activity]:
    """What a record is about, ready to be priced.

    Args:
        record: of a run.
        source: that it was read from; its masks lie beside it.
        instead: what is asked for instead of the run's own.

    Raises:
        RecordError: it kept no masks, or they are missing, damaged or of another run.
        ConfigError: its granularity is not cimlab's own, nor of the extensions.
    """
    from cimlab.config.components import Component
    from cimlab.hardware.kept import read
    from cimlab.hardware.price import NetworkShape, PrunedNetwork

    kept = read(record, source)
    node = instead.granularity or record.config["granularity"]
    granularity = Component("granularity", node, list(instead.extensions)).build()
    mode = instead.placement or record.config["mapping"]["placement"]
    shape = NetworkShape(kept.matrices, granularity.index, mode, kept.off_arrays)
    return PrunedNetwork(shape, kept.masks), kept.activity


def _of_record(record: RunRecord, source: Path, instead: Instead) -> Subject:
    from cimlab.runs.asked import asked_hardware

    network, activity = kept_network(record, source, instead)
    name = f"{record.name}-{record.run[:8]}"
    return Subject(
        name, f"run {name}, with its masks", lambda _: network, lambda _: activity, dict(record.choices),
        record.accuracy["retrained"]["test"], asked_hardware(record),
    )  # fmt: skip
