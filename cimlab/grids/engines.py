"""Where the workers of a sweep run: in this process, in processes of joblib, or as jobs of submitit.

The engines are those that Hydra's launchers use, with the launchers' own settings; each is given the same worker
as many times as there are jobs, and the workers share the points among themselves.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from cimlab.config.errors import ConfigError, OutputError
from cimlab.grids.planning import Plan
from cimlab.grids.stops import Stop, stoppable
from cimlab.grids.worker import DEATHS, NO_SPACE, DiskFull, Session, work
from cimlab.processors import cores
from cimlab.records.locks import lodging

LOG_FOLDER = ".submitit"
ASK_SLURM_S, SLURM_TRIES = 5.0, 12
STOP_S = 60.0
LOOK_S = 1.0  # the view may be this far behind
STOPPED = "stopped"
"""Mark beside the workers' own for those that begin too late."""
LAUNCHERS = {
    "BasicLauncher": "basic",
    "JoblibLauncher": "joblib",
    "LocalLauncher": "local",
    "SlurmLauncher": "slurm",
}


class Job:
    """One worker, as an engine sends it to another process; gives why it ended early, if it did."""

    def __init__(self, plan: Plan, session: Session, pids: Path) -> None:
        self.plan, self.session, self.pids = plan, session, pids

    def __call__(self) -> str:
        mine = self.pids / str(os.getpid())
        if not self.pids.is_dir() or (self.pids / STOPPED).exists():  # it took so long to start
            return "stopped"
        mine.touch()
        try:
            work(self.plan, self.session)
        except Stop:
            return "stopped"
        except DiskFull as problem:
            return str(problem)
        finally:
            mine.unlink(missing_ok=True)
        return ""

    def checkpoint(self) -> Any:
        """submitit asks this before Slurm's time limit: the same worker again, which finds what is left."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class Workers(Protocol):
    """Workers elsewhere."""

    def alive(self) -> bool:
        """Whether any may still do something."""
        ...

    def stop(self) -> None:
        """Ask all to stop cleanly."""
        ...

    def ends(self) -> list[str]:
        """Why workers ended early, a line each."""
        ...


class JoblibWorkers:
    """Processes on this machine, through joblib."""

    def __init__(self, job: Job, jobs: int) -> None:
        self.job, self.jobs = job, jobs
        self.lines: list[str] = []
        self._told: set[int] = set()
        (job.pids / STOPPED).unlink(missing_ok=True)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        from joblib import Parallel, delayed

        try:
            ends = Parallel(n_jobs=self.jobs, batch_size=1)(delayed(self.job)() for _ in range(self.jobs))
        except Exception as problem:  # joblib's word for a worker that was killed
            self.lines.append(f"a worker died ({type(problem).__name__})")
            return
        self.lines += [line for line in ends or () if line]

    def alive(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        (self.job.pids / STOPPED).touch()
        end = time.monotonic() + STOP_S
        while self.alive() and time.monotonic() < end:
            self._tell()
            self._thread.join(timeout=0.3)
        if self.alive():
            from joblib.externals.loky import get_reusable_executor

            get_reusable_executor(reuse=True).shutdown(wait=False, kill_workers=True)

    def _tell(self) -> None:
        """Send SIGTERM to every worker that has begun, once."""
        for mark in self.job.pids.glob("[0-9]*"):
            pid = int(mark.name)
            with contextlib.suppress(ProcessLookupError):
                # and not to another process that was given a dead worker's number
                if pid not in self._told and os.getpgid(pid) == os.getpgrp():
                    self._told.add(pid)
                    os.kill(pid, signal.SIGTERM)

    def ends(self) -> list[str]:
        return self.lines


class SubmititWorkers:
    """Jobs of a Slurm array, or processes of submitit's local executor."""

    def __init__(self, job: Job, jobs: int, cluster: str, launcher: dict[str, Any], folder: Path) -> None:
        import submitit

        timeouts = {"slurm_max_num_timeout": launcher["max_num_timeout"]} if cluster == "slurm" else {}
        executor = submitit.AutoExecutor(folder=folder / "%j", cluster=cluster, **timeouts)
        executor.update_parameters(**_submitit_parameters(launcher, cluster))
        self.cluster = cluster
        self._asked, self._queued = -math.inf, set[str]()
        with executor.batch():
            self.submitted = [executor.submit(job) for _ in range(jobs)]

    def alive(self) -> bool:
        return bool(self._unfinished())

    def _unfinished(self) -> list[Any]:
        """Jobs that have no result and may still get one."""
        waiting = [job for job in self.submitted if not job.paths.result_pickle.exists()]
        if not waiting or self.cluster == "local":
            return [job for job in waiting if not job.done()]
        if time.monotonic() > self._asked + ASK_SLURM_S:
            self._asked = time.monotonic()
            self._queued = _queued()
        return [job for job in waiting if job.job_id in self._queued]

    def stop(self) -> None:
        for job in self._unfinished():
            job.cancel(check=False)
        end = time.monotonic() + STOP_S
        while self.alive() and time.monotonic() < end:
            time.sleep(0.5)

    def ends(self) -> list[str]:
        done = [job for job in self.submitted if job.paths.result_pickle.exists()]
        dead = [job for job in self.submitted if job not in done]
        lines = [f"job {job.job_id} died; its log is {job.paths.stderr}" for job in dead]
        lines += [
            f"job {job.job_id} failed; its log is {job.paths.stderr}" for job in done if job.exception()
        ]
        return lines + [job.result() for job in done if not job.exception() and job.result()]


def _queued() -> set[str]:
    """Jobs that Slurm still has, each task of an array by itself; asked of squeue, which needs no accounting.

    Raises:
        OutputError: Slurm does not answer.
    """
    command = ["squeue", "--noheader", "--array", "--format=%i"]
    for _ in range(SLURM_TRIES):
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if answer.returncode == 0:
            return set(answer.stdout.split())
        time.sleep(ASK_SLURM_S)
    raise OutputError(
        f"squeue does not answer ({answer.stderr.strip()}); the jobs go on, the same command watches them"
    )


def _submitit_parameters(launcher: dict[str, Any], cluster: str) -> dict[str, Any]:
    """As Hydra's launcher passes them: those that every cluster knows by their name, others with its prefix."""
    from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf

    common = set(BaseQueueConf.__dataclass_fields__)
    skipped = {"_target_", "submitit_folder", "max_num_timeout", "name"}
    given = {k: v for k, v in launcher.items() if k not in skipped and v is not None}
    named = {k if k in common else f"{cluster}_{k}": v for k, v in given.items()}
    return {**named, "name": "cimlab-sweep"}


def run_elsewhere(plan: Plan, session: Session, jobs: int, left: Callable[[], int]) -> list[str]:
    """Run a plan on the engine that its launcher names, until no point is left.

    Args:
        plan, session: what every worker is given.
        jobs: workers at a time.
        left: how many points are neither done nor failed.

    Returns:
        Why workers ended early, a line each.

    Raises:
        Stop: asked to, or the deadline came; the workers have stopped too.
        DiskFull: a worker met it.
    """
    lines: list[str] = []
    fruitless = 0
    home = plan.output_dir.absolute() / ".sweep"
    with lodging(home, f"{plan.grid.name}-{uuid.uuid4().hex}") as pids, stoppable(session.deadline):
        job = Job(plan, session, pids)
        while left() and fruitless < DEATHS:
            before, workers = left(), _start(job, jobs)
            try:
                while workers.alive() and left():
                    time.sleep(0.3)
                time.sleep(LOOK_S)
            finally:
                lines += workers.ends() if left() else []
                workers.stop()
            if full := [line for line in lines if line.startswith(NO_SPACE)]:
                raise DiskFull(full[0])
            fruitless = fruitless + 1 if left() == before else 0
    return lines


def _start(job: Job, jobs: int) -> Workers:
    launcher = job.plan.grid.launcher
    kind = engine(launcher)
    if kind == "joblib":
        return JoblibWorkers(job, jobs)
    return SubmititWorkers(job, jobs, kind, launcher, job.plan.output_dir / LOG_FOLDER)


def engine(launcher: dict[str, Any]) -> str:
    """basic, joblib, local or slurm, by the class that Hydra would launch with.

    Raises:
        ConfigError: another launcher, or a machine without Slurm.
    """
    target = str(launcher.get("_target_", ""))
    for ending, name in LAUNCHERS.items():
        if target.endswith(ending):
            if name == "slurm" and shutil.which("sbatch") is None:
                raise ConfigError(
                    "hydra/launcher=submitit_slurm: Slurm is not on this machine (no sbatch on PATH); call cimlab on a "
                    "machine of the cluster, or take --launcher joblib"
                )
            return name
    raise ConfigError(
        f"hydra/launcher: a sweep runs on basic, joblib, submitit_local or submitit_slurm, not {target}"
    )


def default_jobs(launcher: dict[str, Any]) -> int:
    """Workers at a time, where nobody has said: what the launcher is set to, or one a core."""
    asked = launcher.get("n_jobs", -1) if engine(launcher) == "joblib" else -1
    return asked if asked > 0 else cores()
