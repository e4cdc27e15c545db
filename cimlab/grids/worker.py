"""Doing the points of a plan, in one process. Any number of workers may share a plan, on any number of machines:
a point is locked before it runs, and what another worker has is left to it."""

from __future__ import annotations

import contextlib
import errno
import io
import time
import traceback
from collections.abc import Generator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cimlab.config import errors
from cimlab.grids.planning import Plan, Point, record_path
from cimlab.grids.stops import asked, raise_if_asked, stoppable
from cimlab.processors import limit_threads
from cimlab.records.failure import FAILURE_FILE, Failure
from cimlab.records.locks import FolderLockError, held, holder
from cimlab.records.provenance import code_version
from cimlab.records.record import RecordError, RunRecord
from cimlab.records.simulation import SIMULATION_FILE, SimulationRecord

LOG_FILE = "log.txt"
DEATHS = 5
"""Processes in a row that may die with a point before it counts as failed rather than unlucky."""


NO_SPACE = "no space left"


class DiskFull(RuntimeError):
    """Nothing more can be written; not the fault of the point that met it."""


@dataclass
class Session:
    """One call of a sweep, as all its workers know it.

    Args:
        started: seconds since the epoch; failures from before are not this session's.
        deadline: when to stop, seconds since the epoch; None is never.
        retry_failed: run points again that failed before.
        threads: processor threads a worker; None leaves torch's choice.
    """

    started: float
    deadline: float | None
    retry_failed: bool
    threads: int | None = None


def work(plan: Plan, session: Session) -> None:
    """Run points until none is left that is neither done nor failed nor another worker's.

    Raises:
        Stop: asked to, or the deadline came; the point under way goes on later from its last whole epoch.
        DiskFull: there is no space left.
    """
    if session.threads:
        limit_threads(session.threads)
    pending = plan.pending
    with stoppable(session.deadline):
        while pending:
            held_elsewhere = [point for point in pending if not _finished(plan, point, session)]
            if len(held_elsewhere) == len(pending):
                time.sleep(1)
            pending = held_elsewhere


def _finished(plan: Plan, point: Point, session: Session) -> bool:
    """Whether the point is done or has failed in this session, after trying to do it; False: another's."""
    run_dir = Path(point.run_dir)
    if held(run_dir):  # also after its record, for a run still draws then; and its log is its own
        return False
    if failed_since(run_dir, session) or has_record(point):
        return True
    died = holder(run_dir)[0]
    try:
        if died is not None and died.deaths + 1 >= DEATHS and not session.retry_failed:
            raise RuntimeError(f"its process died {died.deaths + 1} times in a row (out of memory?)")
        with output_to(run_dir / LOG_FILE):
            plan.planned(point).perform()
    except FolderLockError:
        return False
    except Exception as problem:
        raise_what_ends_all(problem, run_dir)
        _leave_failure(point, problem)
    raise_if_asked()
    return True


def raise_what_ends_all(problem: Exception, run_dir: Path) -> None:
    """Of a run's failures, those that are none of its own and that no other run would be spared.

    Raises:
        Stop: a library that was interrupted half-way failed on its way out.
        DiskFull: there is no space left.
    """
    if (hidden := asked()) is not None:
        raise hidden from problem
    if _disk_is_full(problem, run_dir):
        raise DiskFull(f"{NO_SPACE} for {run_dir}; free some, then the same command goes on") from problem


def failed_since(run_dir: Path, session: Session) -> bool:
    """Whether the run failed, in this session if failures of earlier ones are to be tried again."""
    try:
        when = (run_dir / FAILURE_FILE).stat().st_mtime
    except OSError:
        return False
    return when >= session.started or not session.retry_failed


def has_record(point: Point) -> bool:
    """Whether the point's record is there, whole, and of the point: one that is damaged is made anew."""
    path = record_path(point)
    try:
        kind = SimulationRecord if point.record_file == SIMULATION_FILE else RunRecord
        record = kind.read(path) if path.exists() else None
        return record is not None and _run_of(record) == point.run and not getattr(record, "search", "")
    except RecordError:
        return False


def _run_of(record: RunRecord | SimulationRecord) -> str:
    return record.simulation if isinstance(record, SimulationRecord) else record.run


def _leave_failure(point: Point, problem: Exception) -> None:
    reason = str(problem) if type(problem) is RuntimeError else errors.describe(problem)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    Failure(point.name, reason, now, code_version()).write(Path(point.run_dir))


@contextlib.contextmanager
def output_to(path: Path) -> Generator[None]:
    """What the run prints goes into its folder; what it printed before it had one (a refusal) is dropped."""
    early = _Late(path)
    with contextlib.redirect_stdout(early), contextlib.redirect_stderr(early):
        try:
            yield
        except Exception:
            traceback.print_exc()
            raise
        finally:
            early.close()


class _Late(io.TextIOBase):
    """A text file that is opened at the first line after its folder exists."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file: io.TextIOWrapper | None = None

    def write(self, text: str) -> int:
        if self.file is None and self.path.parent.is_dir():
            self.file = self.path.open("a", encoding="utf-8", buffering=1)
        if self.file is not None:
            with contextlib.suppress(OSError):  # a full disk is told by what matters, not by the log
                self.file.write(text)
        return len(text)

    def flush(self) -> None:
        if self.file is not None:
            with contextlib.suppress(OSError):
                self.file.flush()

    def close(self) -> None:
        if self.file is not None:
            with contextlib.suppress(OSError):
                self.file.close()


def _disk_is_full(problem: BaseException | None, folder: Path) -> bool:
    while problem is not None:
        if isinstance(problem, OSError) and problem.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        text = str(problem)
        if "No space left" in text or "PytorchStreamWriter failed" in text or "inline_container" in text:
            return True
        problem = problem.__cause__ or problem.__context__
    return False
