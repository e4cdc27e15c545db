"""Showing metrics while they come: wandb behind a face that can fail without taking the run with it.

The run record never depends on this; it is written whatever becomes of the tracker.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cimlab.errors import CimlabError
from cimlab.training.charts import FORMS, Chart
from cimlab.training.settings import TrackerSettings

PATIENCE = {
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_INIT_TIMEOUT": "30",  # s, then the run goes on untracked
    "WANDB_FINISH_TIMEOUT": "120",  # s, then `wandb sync` may send what the server didn't take
    "WANDB_FINISH_TIMEOUT_RAISES": "true",
}
"""What wandb is told unless the environment says otherwise: by itself it tries a dead server again for hours."""
ASK_S = 30  # of a single request


class TrackingError(CimlabError, RuntimeError):
    """What a tracker was asked to do and could not; runs never raise it."""


@dataclass(frozen=True)
class Shown:
    """What tells a run from the others of its grid.

    Args:
        name: readable.
        group: the grid it belongs to.
        tags: to filter by.
        notes: the question that its grid answers.
        config: the resolved configuration, and the choice of each group.
    """

    name: str
    group: str | None
    tags: list[str]
    notes: str | None
    config: dict[str, Any]


class Tracker:
    """The face of every tracker, and by itself the one that shows nothing."""

    def log(self, metrics: dict[str, float]) -> None:
        """Metrics by stable name, with `epoch` among them as the axis."""

    def log_table(self, name: str, rows: list[dict[str, Any]]) -> None:
        """A table, e.g. counts by layer."""

    def finish(self, summary: dict[str, Any], report: Path | None, charts: Sequence[Chart] = ()) -> None:
        """Close the run with its final numbers, the record as an artifact, and charts of it."""


class WandbTracker(Tracker):
    """wandb, offline unless asked otherwise; the first failure is said once and ends the tracking, not the run."""

    def __init__(self, settings: TrackerSettings, folder: Path, shown: Shown) -> None:
        self._run: Any = None
        self._entity = settings.entity
        self._guard(lambda: self._start(settings, folder, shown))

    def _start(self, settings: TrackerSettings, folder: Path, shown: Shown) -> None:
        _be_patient()
        import wandb

        self._run = wandb.init(
            entity=settings.entity,
            project=settings.project,
            group=shown.group,
            job_type="train",
            tags=shown.tags,
            name=shown.name,
            notes=shown.notes,
            dir=folder,
            mode=settings.mode,
            config=shown.config,
            reinit="finish_previous",
            settings=wandb.Settings(silent=True, console="off", x_disable_stats=True),
        )
        define = self._run.define_metric
        define("epoch", hidden=True, summary="none")
        define("*", step_metric="epoch")  # shows the last value, as the schedule's end is what is reported
        define("learning_rate", step_metric="epoch", summary="none")
        define("throughput/train_images_per_s", step_metric="epoch", summary="mean")

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

    def finish(self, summary: dict[str, Any], report: Path | None, charts: Sequence[Chart] = ()) -> None:
        if self._run is None:
            return
        self._guard(lambda: self._close(summary, report, charts))
        self._run = None

    def _close(self, summary: dict[str, Any], report: Path | None, charts: Sequence[Chart]) -> None:
        import wandb

        try:
            if charts:
                self._run.log({chart.name: _drawn(chart, self._entity) for chart in charts})
            self._run.summary.update(summary)
            if report is not None:
                artifact = wandb.Artifact(f"record-{self._run.id}", type="record")
                artifact.add_file(str(report))
                self._run.log_artifact(artifact)
        finally:
            self._run.finish()


def _be_patient() -> None:
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)


def _drawn(chart: Chart, entity: str | None) -> Any:
    """A chart as wandb draws it, in the project's own form where an entity is known to have that."""
    import wandb

    form = chart.form
    if entity is not None and chart.own_form is not None:
        form = f"{entity}/{chart.own_form}"
    return wandb.plot_table(form, _table(chart.rows), chart.fields, {"title": chart.title}, split_table=True)


def _table(rows: list[dict[str, Any]]) -> Any:
    import wandb

    return wandb.Table(columns=list(rows[0]), data=[list(row.values()) for row in rows])


def make_tracker(settings: TrackerSettings, folder: Path, shown: Shown) -> Tracker:
    """The tracker that the settings name."""
    return Tracker() if settings.name == "none" else WandbTracker(settings, folder, shown)


def store_forms(entity: str) -> list[str]:
    """Store the project's own forms of charts with a user or team, for all of its runs; gives their names there.

    Raises:
        TrackingError: nobody is logged in, the server does not answer, or it refuses.
    """
    _be_patient()
    import wandb

    try:
        api = wandb.Api(timeout=ASK_S)
        return [
            api.create_custom_chart(
                entity=entity,
                name=name,
                display_name=name,
                spec_type="vega2",
                access="private",
                spec=form,
            )
            for name, form in FORMS.items()
        ]
    except Exception as problem:  # of wandb's many kinds
        reason = " ".join(str(problem).split()) or type(problem).__name__
        raise TrackingError(f"wandb did not store the charts for {entity} ({reason[:300]})") from problem
