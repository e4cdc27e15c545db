"""The points of a grid in the order in which to run them, each checked, named and, if it was done before, found."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cimlab.config.accelerators import PRICED
from cimlab.config.errors import ConfigError
from cimlab.config.schema import TrainConfig, check_plain, secret_values
from cimlab.grids.composition import located, read_grid
from cimlab.grids.grid import Axis, Grid, Place
from cimlab.records.failure import Failure
from cimlab.records.index import Row, rows, simulations
from cimlab.records.record import Remembered, content_hash
from cimlab.runs.planned import PlannedRun, plan
from cimlab.runs.planned_simulation import (
    PlannedSimulation,
    SimulateConfig,
    finished_simulation,
    plan_simulation,
)

SIMULATED = ("adc", "device", "analog", "simulate")


@dataclass(frozen=True, slots=True)
class Point:
    """One run of a grid.

    Args:
        place: position on each axis.
        run, dense_run: content hashes.
        name, run_dir: as its command names and places it.
        record_file: name of its record.
    """

    place: Place
    run: str
    dense_run: str
    name: str
    run_dir: str
    record_file: str


@dataclass
class Plan:
    """A grid's points in running order, and what is known of them.

    Args:
        grid: the grid; its points are composed again from it when they run.
        points: all different runs.
        run_of: every place of the grid -> the run that it is: places that differ in prices alone are one run.
        output_dir: where their folders are.
        recorded: a folder of records that were made elsewhere, whose runs need not be made again.
        done: run folder -> row of its record.
        failed: run folder -> why it failed in an earlier sweep.
        damaged: one line for each record that is there and not whole; its point runs again.
    """

    grid: Grid
    points: list[Point]
    run_of: dict[Place, str]
    output_dir: Path
    recorded: Path | None = None
    done: dict[str, Row] = field(default_factory=dict)
    failed: dict[str, Failure] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)

    @property
    def pending(self) -> list[Point]:
        """Points without a record that have not failed before."""
        return [p for p in self.points if p.run_dir not in self.done and p.run_dir not in self.failed]

    def record_of(self, point: Point) -> Path:
        """Where the record of a point is, or will be."""
        row = self.done.get(point.run_dir)
        return Path(row["file"]) if row else record_path(point)

    def state(self, point: Point) -> str:
        """done, failed or to do, as it was when the plan was made."""
        if point.run_dir in self.done:
            return "done"
        return "failed" if point.run_dir in self.failed else "to do"

    @property
    def hash(self) -> str:
        """Sets it apart from other grids of its name: eight digits of a hash over its runs."""
        return content_hash(sorted(point.run for point in self.points))[:8]

    @property
    def idle_axes(self) -> list[Axis]:
        """Axes whose values make no other run: they train nothing."""
        return [axis for number, axis in enumerate(self.grid.axes) if not self._makes_runs(number)]

    def _makes_runs(self, number: int) -> bool:
        seen: dict[Place, set[str]] = {}
        for place, run in self.run_of.items():
            seen.setdefault((*place[:number], *place[number + 1 :]), set()).add(run)
        return any(len(runs) > 1 for runs in seen.values())

    def planned(self, point: Point) -> Planned:
        """The run of a point, composed and checked."""
        return planned_run(self.grid, point.place)


def make_plan(
    path: Path,
    overrides: list[str],
    retry_failed: bool = False,
    config_dir: str | None = None,
    recorded: Path | None = None,
) -> Plan:
    """Plan the grid of an experiment file and find what is already done.

    Args:
        path: the file.
        overrides: overrides and axes.
        retry_failed: whether points that failed before are pending again.
        config_dir: holds more choices.
        recorded: a folder of records that were made elsewhere; their points are done.

    Raises:
        ConfigError: the file, an axis, a value or a combination of values is refused, or `recorded` is no folder;
            nothing was run.
    """
    if recorded is not None and not recorded.is_dir():
        raise ConfigError(f"--recorded={recorded} is no folder; name one of records, as paper/records")
    with collector_paused():
        return plan_of(read_grid(path, overrides, config_dir), path, retry_failed, recorded)


def plan_of(
    grid: Grid, path: Path | None = None, retry_failed: bool = False, recorded: Path | None = None
) -> Plan:
    """Plan a grid; `path` is the file that it is from, for messages.

    Raises:
        ConfigError: a value or a combination of values is refused; nothing was run.
    """
    points, run_of = _points(grid, path)
    output_dir = Path(grid.first["config"]["paths"]["output_dir"])
    made = Plan(grid, points, run_of, output_dir, recorded)
    for axis in made.idle_axes:
        words = [word for setting in axis.settings for word in setting.words]
        refuse_idle(grid.command.name, axis.keys, words, path)
    find_done(made)
    if not retry_failed:
        failures = ((p.run_dir, Failure.read(Path(p.run_dir))) for p in made.pending)
        made.failed = {run_dir: failure for run_dir, failure in failures if failure}
    return made


@contextmanager
def collector_paused() -> Generator[None]:
    """A plan is much that stays and little that goes in circles: looking for those took a fifth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _points(grid: Grid, path: Path | None) -> tuple[list[Point], dict[Place, str]]:
    """Every different run of the grid, in running order, checked; and the run of every place."""
    points: dict[str, Point] = {}
    run_of: dict[Place, str] = {}
    shared = Shared()
    for place in sorted(grid.places(), key=_running_order(grid)):
        try:
            planned = planned_run(grid, place, shared)
        except ConfigError as problem:
            words = grid.words(place)
            at = f" (at {' '.join(words)})" if words else ""
            text = f"{located(path, str(problem), words)}{problem}{at}"
            raise ConfigError(text) from problem
        run_of[place] = planned.run
        point = Point(
            place,
            planned.run,
            planned.dense_run,
            planned.name,
            str(planned.run_dir),
            planned.record_file.name,
        )
        points.setdefault(planned.run, point)
    return list(points.values()), run_of


def refuse_idle(command: str, keys: Sequence[str], words: Sequence[str], path: Path | None) -> None:
    """Refuse an axis whose values make no other run and no other price: only its first value would come to pass.

    Args:
        command: train or simulate.
        keys, words: of the axis, all of its values; it makes no other run.
        path: the file that it is from, for messages.

    Raises:
        ConfigError: it has several values, and they have no price: folders, trackers or threads.
    """
    groups = {key.split(".")[0].split("@")[0] for key in keys}
    values = len(words) // len(keys)
    if values < 2 or (command == "train" and groups <= {*PRICED}):
        return
    mend = "give it one value"
    if command == "train" and groups & {*SIMULATED}:
        mend = "compare them with cimlab simulate -m"
    line = f"{'+'.join(keys)}: its {values} values make the same run; {mend}"
    raise ConfigError(f"{located(path, line, words)}{line}")


class Shared:
    """What need not be found out again for each of ten thousand points."""

    def __init__(self) -> None:
        self.text_of = Remembered()
        self.secrets = secret_values()


Planned = PlannedRun | PlannedSimulation


def planned_run(grid: Grid, place: Place, shared: Shared | None = None) -> Planned:
    """A point as its command would plan it.

    Raises:
        ConfigError: the combination is refused.
    """
    shared, document = shared or Shared(), grid.document(place)
    checked = check_plain(document["config"], grid.command.schema, shared.secrets)
    if isinstance(checked, SimulateConfig):
        return plan_simulation(checked, document["config"], document["choices"])
    assert isinstance(checked, TrainConfig)
    return plan(checked, document["config"], document["choices"], shared.text_of)


def find_done(made: Plan) -> None:
    """Look the points' records up; a record counts if it is whole."""
    simulated = made.grid.command.name == "simulate"
    (_find_simulations if simulated else _find_runs)(made)
    if made.recorded is not None:
        found, problems = (simulations if simulated else rows)(made.recorded)
        made.damaged += problems
        elsewhere = {row["run"]: row for row in found if not row.get("search")}
        for point in made.points:
            if row := elsewhere.get(point.run):
                made.done.setdefault(point.run_dir, row)


def _find_simulations(made: Plan) -> None:
    for point in made.points:
        file = record_path(point)
        record = finished_simulation(file, point.run)
        if record is not None:
            made.done[point.run_dir] = {"commit": record.code["git_commit"], "file": str(file)}


def _find_runs(made: Plan) -> None:
    by_folder: dict[str, Row] = {}
    for folder in {os.path.dirname(point.run_dir) for point in made.points}:
        found, problems = rows(Path(folder))
        made.damaged += problems
        by_folder |= {os.path.normpath(row["folder"]): row for row in found}
    for point in made.points:
        row = by_folder.get(os.path.normpath(point.run_dir))
        if row is not None and row["run"] == point.run and not row["search"]:  # a trial becomes a point
            made.done[point.run_dir] = row


def check_every_value(made: Plan, path: Path | None = None) -> None:
    """Build the parts of one pending point for each value of each axis: what a signature refuses is refused here.

    Raises:
        ConfigError: names the line of the axis.
    """
    seen: set[tuple[int, int]] = set()
    for point in made.pending:
        new = {(axis, i) for axis, i in enumerate(point.place)} - seen
        if not new and point.place:  # the one point of a grid without axes has no value to be new
            continue
        seen |= new
        try:
            made.planned(point).check()
        except ConfigError as problem:
            text = f"{located(path, str(problem), made.grid.words(point.place))}{problem}"
            raise ConfigError(text) from problem


def _running_order(grid: Grid):
    """Sort key of places: one seed first; then coarse to fine along numeric axes; then as the file lists them."""
    seeds = [axis.keys == ("seed",) for axis in grid.axes]
    levels = [_coarse_to_fine(axis) for axis in grid.axes]

    def key(place: Place) -> tuple:
        seed = tuple(i for i, is_seed in zip(place, seeds, strict=True) if is_seed)
        level = max((level[i] for level, i in zip(levels, place, strict=True)), default=0)
        return seed, level, place

    return key


def _coarse_to_fine(axis: Axis) -> list[int]:
    """Level of each value: of a numeric axis the ends are 0, the middle 1, the middles of the halves 2, and so on."""
    if len(axis.keys) > 1 or axis.keys == ("seed",) or not all(map(_number, axis.settings)):
        return [0] * len(axis.settings)
    levels = [0] * len(axis.settings)
    for low, high, level in _halves(0, len(levels) - 1, 1):
        levels[(low + high) // 2] = level
    return levels


def _halves(low: int, high: int, level: int) -> Iterator[tuple[int, int, int]]:
    if high - low < 2:
        return
    middle = (low + high) // 2
    yield low, high, level
    yield from _halves(low, middle, level + 1)
    yield from _halves(middle, high, level + 1)


def _number(setting) -> bool:
    try:
        float(setting.words[0].split("=", 1)[1])
    except ValueError:
        return False
    return True


def record_path(point: Point) -> Path:
    """Where the record of a point will be that is made here."""
    return Path(point.run_dir) / point.record_file
