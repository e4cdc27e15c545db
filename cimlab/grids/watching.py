"""The live view of a sweep: what is done, running and failed, and how long it will take.

It looks at the folders of the points, so it shows the same whoever runs them: this process, others, a cluster.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column
from rich.text import Text

from cimlab.grids.planning import Plan, Point
from cimlab.grids.worker import Session, failed_since, has_record
from cimlab.progress import duration
from cimlab.records.failure import Failure
from cimlab.records.history import HISTORY_FILE, read_rows
from cimlab.records.locks import held

BAR, BESIDE = 6, 62
"""Signs that the bar has at least, and that it takes with what is told beside it."""
LOOK_SHARE = 0.05
"""At most this share of the time goes into looking."""


class Watch:
    """Follows the points of a plan from a thread of its own; use as a context.

    Args:
        plan: what is to be done.
        session: this call of the sweep.
        console: where to show it; lines instead of a live view where it is no terminal.
    """

    def __init__(self, plan: Plan, session: Session, console: Console) -> None:
        self.plan, self.session, self.console = plan, session, console
        self.left: list[Point] = plan.pending
        self.asked = len(self.left)
        self.done: list[Point] = []
        self.failed: dict[str, str] = {}
        self.running: list[str] = []
        self.begun = time.monotonic()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        name, room = plan.grid.name, max(console.width - BESIDE, BAR)
        name = name if len(name) <= room else f"{name[: room - 1]}…"
        bar = BarColumn(table_column=Column(min_width=BAR))
        self._bar = Progress(TextColumn("{task.description}"), bar, TextColumn("{task.fields[note]}"))
        self._task = self._bar.add_task(name, total=len(plan.points), note="")
        live = Live(get_renderable=self._shown, console=console, redirect_stdout=False, redirect_stderr=False)
        self._live = live if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        self._thread.start()
        return self

    def __exit__(self, stopped: object, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self.look(over=stopped is None)
        if self._live:
            self._live.stop()

    def look(self, over: bool = False) -> None:
        """See what has become of the points that were left.

        Args:
            over: nothing is left to do, so that whoever holds a folder with a record has only looked into it.
        """
        left, running = [], []
        for point in self.left:
            run_dir = Path(point.run_dir)
            if has_record(point) and (over or not held(run_dir)):
                self.done.append(point)
                self._tell(point, "done")
            elif failed_since(run_dir, self.session) and not held(run_dir):
                failure = Failure.read(run_dir)
                reason = failure.reason if failure else "unknown"
                self.failed[run_dir.name] = reason
                self._tell(point, f"failed: {reason}")
            else:
                left.append(point)
                if held(run_dir):
                    running.append(_epoch(run_dir) + self._label(point))
        self.left, self.running = left, running

    def seconds_left(self) -> float | None:
        """At the pace so far; None before anything has ended and when nothing is left."""
        ended = len(self.done) + len(self.failed)
        to_do = self.asked - ended
        return (time.monotonic() - self.begun) / ended * to_do if ended and to_do else None

    def _follow(self) -> None:
        pause = 0.2
        while not self._end.wait(pause):
            started = time.monotonic()
            self.look()
            pause = max(0.5, (time.monotonic() - started) / LOOK_SHARE)

    def _tell(self, point: Point, what: str) -> None:
        if self._live is not None:
            return
        done, total = len(self.plan.done) + len(self.done), len(self.plan.points)
        state = f"{done} of {total} done, {len(self.failed)} failed{_time_left(self.seconds_left())}"
        line = f"{self._label(point)}  {what}  ({state})"
        self.console.print(line, highlight=False, soft_wrap=True, markup=False)

    def _label(self, point: Point) -> str:
        return " ".join(self.plan.grid.words(point.place)) or point.name

    def _shown(self) -> Group:
        done = len(self.plan.done) + len(self.done)
        failed = f", {len(self.failed)} failed" if self.failed else ""
        note = f"{done} of {len(self.plan.points)} done, {len(self.running)} running{failed}"
        self._bar.update(self._task, completed=done, note=note + _time_left(self.seconds_left()))
        lines = [Text(f"  running  {name}", no_wrap=True, overflow="ellipsis") for name in self.running[:8]]
        lines += [Text(f"  failed   {name}: {reason}") for name, reason in list(self.failed.items())[-4:]]
        return Group(self._bar, *lines)


def _epoch(run_dir: Path) -> str:
    history = read_rows(run_dir / HISTORY_FILE)
    return f"retrain epoch {history[-1]['epoch'] + 1} done  " if history else ""


def _time_left(seconds: float | None) -> str:
    return "" if seconds is None else f", about {duration(seconds)} left"
