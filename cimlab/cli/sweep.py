"""`cimlab sweep experiments/NAME.yaml`: a whole grid, each point once, going on where it stopped."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from cimlab.cli.fields import field_of
from cimlab.cli.options import Parser, at_least_one, of_experiment, seconds
from cimlab.cli.runs import field_names
from cimlab.errors import FAILED
from cimlab.records.record import MEND, Record, RecordError, RunRecord
from cimlab.records.simulation import SIMULATION_FILE, SimulationRecord
from cimlab.runs.folders import made

if TYPE_CHECKING:
    from cimlab.grids.planning import Plan
    from cimlab.grids.queue import Line
    from cimlab.grids.stops import Stop
    from cimlab.grids.watching import Watch

Kind = TypeVar("Kind", bound=Record)
HELP = """\
Every KEY=VALUE is an override as in cimlab train; KEY=A,B,C is an axis and replaces the file's axis of that key.
A queue (experiments/queue.yaml) is a list of such lines, done in its order; what needs a GPU waits for one.
Exit codes: 0 every point has a record, 1 points failed, 2 refused, 3 the time budget ended first or points wait for a
GPU, 130 Ctrl-C, 143 SIGTERM.
"""


def run(words: list[str]) -> int:
    """Run the command; an exit code, or raises what `errors.report` explains."""
    asked = parser().parse_intermixed_args(words)
    if asked.sort:
        field_of(f"--sort={asked.sort}", asked.sort.removeprefix("-"), field_names())
    overrides = list(asked.overrides)
    if asked.launcher:
        overrides.append(f"hydra/launcher={asked.launcher}")
    elif asked.jobs and asked.jobs > 1 and not any(w.startswith("hydra/launcher=") for w in overrides):
        overrides.append("hydra/launcher=joblib")
    started = time.time()

    from cimlab.grids.planning import make_plan
    from cimlab.grids.queue import lines_of

    path = Path(asked.file)
    grids: list[tuple[Line, Plan]] = []
    for line in lines_of(path):
        began = time.time()
        every = [*line.words, *overrides]
        plan = make_plan(line.file, every, asked.retry_failed, asked.config_dir, asked.recorded)
        if line.file != path:
            print(f"\n{line}")
        announce(plan, time.time() - began)
        grids.append((line, plan))
    if asked.dry_run:
        for _, plan in grids:
            for point in plan.points:
                print(f"{plan.state(point):6}  {point.name}  {' '.join(plan.grid.words(point.place))}")
        return 0
    deadline = None if asked.time_budget is None else started + asked.time_budget
    terms = Terms(started, deadline, asked.jobs, asked.retry_failed, path.stem, asked.sort)
    return carry_out(grids[0][1], path, terms) if len(grids) == 1 else carry_out_queue(grids, terms)


def carry_out_queue(grids: list[tuple[Line, Plan]], terms: Terms) -> int:
    """One grid after the other; those for a GPU are passed over where there is none. The worst of their exit codes.

    Raises:
        ConfigError: a part refuses a value of an axis.
    """
    import torch

    from cimlab.grids.planning import check_every_value, find_done
    from cimlab.grids.queue import needs_gpu
    from cimlab.grids.stops import TIME_IS_UP

    accelerated, codes = torch.accelerator.is_available(), [0]
    for line, plan in grids:
        # all before the first run: a refusal would come hours late
        if accelerated or not needs_gpu(plan):
            check_every_value(plan, line.file)
    for number, (line, plan) in enumerate(grids, 1):
        find_done(plan)  # a line before it may have made the same runs
        print(f"\n{number} of {len(grids)}: {line}", flush=True)
        if plan.pending and needs_gpu(plan) and not accelerated:
            print(f"{len(plan.pending)} points wait for a GPU, which torch does not find here", flush=True)
            codes.append(TIME_IS_UP)
            continue
        code = carry_out(plan, line.file, replace(terms, plot=line.file.stem))
        if code not in (0, FAILED):
            return code
        codes.append(code)
    return FAILED if FAILED in codes else max(codes)


@dataclass(frozen=True)
class Terms:
    """On what terms a plan is carried out.

    Args:
        started: seconds since the epoch.
        deadline: when to stop, likewise; None is never.
        jobs: points at a time; None is what the launcher says.
        retry_failed: run points again that failed before.
        plot: name of the closing plot; the grid's hash follows, so that no grid overwrites another's.
        sort: a field of `cimlab runs`, -FIELD downwards, by which the closing table is sorted; None is by accuracy.
    """

    started: float
    deadline: float | None = None
    jobs: int | None = None
    retry_failed: bool = False
    plot: str = "accuracy"
    sort: str | None = None


def carry_out(plan: Plan, path: Path | None, terms: Terms) -> int:
    """Run what is left of a plan, show all of it, and give the exit code; `path` is the plan's file, for messages.

    Raises:
        ConfigError: a part refuses a value of an axis.
    """
    from rich.console import Console

    from cimlab.grids.engines import default_jobs, engine, run_elsewhere
    from cimlab.grids.planning import check_every_value
    from cimlab.grids.stops import Stop
    from cimlab.grids.watching import Watch
    from cimlab.grids.worker import DiskFull, Session, work
    from cimlab.processors import share

    kind = engine(plan.grid.launcher)
    jobs = 1 if kind == "basic" else terms.jobs or default_jobs(plan.grid.launcher)
    threads = share(jobs) if kind in ("joblib", "local") else None
    session = Session(terms.started, terms.deadline, terms.retry_failed, threads)
    lines: list[str] = []
    stopped: Stop | None = None
    watch = Watch(plan, session, Console(file=sys.stdout))
    if plan.pending:
        check_every_value(plan, path)
        try:
            with made(plan.output_dir), watch:
                if kind == "basic":
                    work(plan, session)
                else:
                    lines = run_elsewhere(plan, session, jobs, lambda: len(watch.left))
        except Stop as reason:
            stopped = reason
        except DiskFull as problem:
            lines.append(str(problem))
    return _close(plan, watch, lines, stopped, terms)


def _close(plan: Plan, watch: Watch, lines: list[str], stopped: Stop | None, terms: Terms) -> int:
    """The closing summary and the exit code."""
    done, total = len(plan.done) + len(watch.done), len(plan.points)
    _summary(plan, terms)
    earlier = "(earlier; --retry-failed tries again)"
    failed = {Path(folder).name: f"{failure.reason} {earlier}" for folder, failure in plan.failed.items()}
    failed |= watch.failed
    for name, reason in failed.items():
        print(f"cimlab: failed: {name}: {reason}", file=sys.stderr)
    for line in lines:
        print(f"cimlab: {line}", file=sys.stderr)
    if stopped:
        print(f"{stopped}: {done} of {total} points are done; the same command goes on", flush=True)
        return stopped.exit_code
    if done < total:
        print(f"cimlab: {done} of {total} points are done; the same command goes on", file=sys.stderr)
    return 0 if done == total else FAILED


def _summary(plan: Plan, terms: Terms) -> None:
    from cimlab.cli import simulate, train
    from cimlab.runs.reprice import priced_on, was_priced_on

    if plan.grid.command.name == "simulate":
        asked_order = sorted(plan.points, key=lambda point: point.place)
        if simulations := list(_whole(SimulationRecord, map(plan.record_of, asked_order)).values()):
            simulate.show_many(simulations)
        return
    whole = _whole(RunRecord, map(plan.record_of, plan.points))
    if whole:
        by_run = {point.run: plan.record_of(point) for point in plan.points}
        asked = [
            (whole[by_run[run]], by_run[run], plan.grid.document(place))
            for place, run in plan.run_of.items()
            if by_run[run] in whole
        ]
        places = [record for record, *_ in asked]
        if not all(was_priced_on(record, document["config"]) for record, _, document in asked):
            # places that differ in prices alone share a run, or it was run for another accelerator
            places = [priced_on(record, file, new["config"], new["choices"]) for record, file, new in asked]
        figure = plan.output_dir / f"{terms.plot}-{plan.hash}.png"
        on_arrays = _whole(SimulationRecord, (file.with_name(SIMULATION_FILE) for file in whole)).values()
        train.show_many(places, list(whole.values()), figure, list(on_arrays), terms.sort)


def _whole(kind: type[Kind], files: Iterable[Path]) -> dict[Path, Kind]:
    """The records that are there and not damaged."""
    found = {}
    for file in files:
        with contextlib.suppress(RecordError):
            found[file] = kind.read(file)
    return found


def announce(plan: Plan, took_s: float) -> None:
    """What is going to be done, what is done, and which axes train nothing."""
    from cimlab.grids.planning import record_path

    grid = plan.grid
    axes = "  ".join(f"{'+'.join(axis.keys)} ({len(axis.settings)})" for axis in grid.axes)
    note = grid.first["config"].get("experiment")
    if note:
        print(f"question: {note['question']}")
    same = f", {len(plan.points)} of them different" if len(plan.points) < len(grid) else ""
    dense = len({point.dense_run for point in plan.points if point.dense_run})
    trained = f", {dense} dense trainings" if dense else ""
    print(f"{grid.name}: {len(grid)} points{same}{trained}; axes {axes or 'none'} ({took_s:.1f} s)")
    if idle := ["+".join(axis.keys) for axis in plan.idle_axes if len(axis.settings) > 1]:
        print(f"{', '.join(idle)}: makes no other run, so nothing is trained for it; its values are priced")
    for line in plan.damaged:
        print(
            f"cimlab: {line.replace(MEND, 'its point runs again')}",
            file=sys.stderr,
        )
    if plan.done:
        versions: dict[str, int] = {}
        for row in plan.done.values():
            commit = (row["commit"] or "of no commit")[:12]
            versions[commit] = versions.get(commit, 0) + 1
        counts = ", ".join(f"{n} by code {commit}" for commit, n in versions.items())
        elsewhere = sum(plan.record_of(point) != record_path(point) for point in plan.points)
        told = f"; {elsewhere} of them in {plan.recorded}" if elsewhere else ""
        print(f"already done: {len(plan.done)} ({counts}){told}")
    if plan.failed:
        print(f"failed before: {len(plan.failed)}; left out without --retry-failed")
    sys.stdout.flush()


def parser() -> Parser:
    """The options of the command."""
    options = Parser("sweep", __doc__, HELP)
    of_experiment(options, "an experiment file, e.g. experiments/headline.yaml, or a queue of them")
    options.add_argument(
        "--time-budget", type=seconds, metavar="9m", help="stop cleanly after so long (s, m, h)"
    )
    options.add_argument(
        "--sort", metavar="FIELD", help="of the closing table; a field of cimlab runs, -FIELD downwards"
    )
    options.add_argument("--retry-failed", action="store_true", help="run points again that failed before")
    options.add_argument(
        "--recorded",
        type=Path,
        metavar="FOLDER",
        help="of records made elsewhere, as paper/records: none is made again",
    )
    options.add_argument(
        "--dry-run", action="store_true", help="list the points in running order; run nothing"
    )
    options.add_argument(
        "--jobs",
        type=at_least_one,
        help="points at a time (more than one: joblib, unless a launcher is named)",
    )
    options.add_argument(
        "--launcher",
        choices=("basic", "joblib", "submitit_local", "submitit_slurm"),
        help="where points run; the same as hydra/launcher=NAME, and hydra.launcher.KEY=VALUE sets it up",
    )
    return options
