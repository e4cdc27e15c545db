"""Showing metrics while they come: wandb behind a face that can fail without taking the run with it.

The run record never depends on this; it is written whatever becomes of the tracker.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from cimlab.training.settings import TrackerSettings

PATIENCE = {
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_INIT_TIMEOUT": "30",  # s, then the run goes on untracked
    "WANDB_FINISH_TIMEOUT": "120",  # s, then `wandb sync` may send what the server didn't take
    "WANDB_FINISH_TIMEOUT_RAISES": "true",
}
"""What wandb is told unless the environment says otherwise: by itself it tries a dead server again for hours."""


class Tracker:
    """The face of every tracker, and by itself the one that shows nothing."""

    def log(self, metrics: dict[str, float]) -> None:
        """Metrics by stable name, with `epoch` among them as the axis."""

    def log_table(self, name: str, rows: list[dict[str, Any]]) -> None:
        """A table, e.g. counts by layer."""

    def finish(self, summary: dict[str, Any], report: Path | None) -> None:
        """Close the run with its final numbers and the record as an artifact."""


class WandbTracker(Tracker):
    """wandb, offline unless asked otherwise; the first failure is said once and ends the tracking, not the run."""

    def __init__(
        self, settings: TrackerSettings, name: str, folder: Path, config: dict[str, Any], tags: list[str]
    ) -> None:
        self._run: Any = None
        self._guard(lambda: self._start(settings, name, folder, config, tags))

    def _start(
        self, settings: TrackerSettings, name: str, folder: Path, config: dict[str, Any], tags: list[str]
    ) -> None:
        for name, value in PATIENCE.items():
            os.environ.setdefault(name, value)
        import wandb

        self._run = wandb.init(
            project=settings.project,
            group=settings.group,
            job_type="train",
            tags=tags,
            name=name,
            dir=folder,
            mode=settings.mode,
            config=config,
            reinit="finish_previous",
            settings=wandb.Settings(silent=True, console="off", x_disable_stats=True),
        )
        self._run.define_metric("*", step_metric="epoch")

    def _guard(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as problem:  # whatever the tracker throws, the run goes on
            self._run = None
            reason = " ".join(str(problem).split())[:200] or type(problem).__name__
            print(f"wandb failed and is off for the rest of this run ({reason})", file=sys.stderr)
            with suppress(Exception):  # its helper process may be dead, which would be a traceback at exit
                sys.modules["wandb"].teardown()

    def log(self, metrics: dict[str, float]) -> None:
        if self._run is not None:
            self._guard(lambda: self._run.log(metrics))

    def log_table(self, name: str, rows: list[dict[str, Any]]) -> None:
        if self._run is not None and rows:
            self._guard(lambda: self._run.log({name: _table(rows)}))

    def finish(self, summary: dict[str, Any], report: Path | None) -> None:
        if self._run is None:
            return
        self._guard(lambda: self._close(summary, report))
        self._run = None

    def _close(self, summary: dict[str, Any], report: Path | None) -> None:
        import wandb

        try:
            self._run.summary.update(summary)
            if report is not None:
                artifact = wandb.Artifact(f"record-{self._run.id}", type="record")
                artifact.add_file(str(report))
                self._run.log_artifact(artifact)
        finally:
            self._run.finish()


def _table(rows: list[dict[str, Any]]) -> Any:
    import wandb

    return wandb.Table(columns=list(rows[0]), data=[list(row.values()) for row in rows])


def make_tracker(
    settings: TrackerSettings, name: str, folder: Path, config: dict[str, Any], tags: list[str]
) -> Tracker:
    """The tracker that the settings name; tags make the runs of a grid easy to tell apart and to filter."""
    return Tracker() if settings.name == "none" else WandbTracker(settings, name, folder, config, tags)
