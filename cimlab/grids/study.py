"""The study that searches share: where it is kept, which process works on which of its trials, what it draws.

A journal file in the output folder, or a database by URL. Every search holds a folder of its own below the output
folder (`lodging`) and writes its name into the trials it begins. A trial is dead if that folder is there and nobody
holds it; a search that sees no such folder leaves the trial alone, for it may run on a machine with other files.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
import warnings
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import URL, exc, make_url

from cimlab.config.errors import ConfigError, OutputError, unwritable
from cimlab.records.flat import in_yaml
from cimlab.records.locks import lodging
from cimlab.records.replace import make_folder

Direction = Literal["maximize", "minimize"]
JOURNAL = "search.journal"
SEARCHES = ".search"
CONNECT_S = 10
"""Patience with a server that does not answer, where neither the URL nor PGCONNECT_TIMEOUT says otherwise."""
TRIES, PAUSE_S = 5, 0.5
"""Of making the tables, which fails for the slower one of two searches that begin at the same moment."""
NAMELESS_S = 60.0
"""A trial gets its searcher's name at once after it was begun; without one for so long, its process died between."""


def open_study(
    name: str,
    directions: Sequence[Direction],
    objectives: list[str],
    settings: Mapping[str, Any],
    url: str | None,
    folder: Path,
) -> optuna.Study:
    """The study, made or found again.

    Args:
        name: of the study.
        directions, objectives: of each value of a trial: which way is better, and what it is.
        settings: what all its trials share, and what each axis is drawn from; plain values.
        url: a database; None is the journal file in the output folder.
        folder: the output folder.

    Raises:
        ConfigError: the study was begun with other objectives or settings, or its storage does not open.
        OutputError: the folder can't be written.
    """
    where = str(folder / JOURNAL) if url is None else _shown(url)
    for tries_left in reversed(range(TRIES)):
        try:
            study = optuna.create_study(
                study_name=name,
                storage=_journal(folder) if url is None else _storage(url),
                directions=directions,
                load_if_exists=True,
            )
            break
        except (exc.ProgrammingError, exc.IntegrityError) as problem:
            if not tries_left:
                raise _unopened(where, problem) from problem
            time.sleep(PAUSE_S)
        except (ConfigError, OutputError):
            raise
        except Exception as problem:
            raise _unopened(where, problem) from problem
    begun = study.user_attrs.get("objectives", objectives)
    if begun != objectives:
        raise ConfigError(f"the study {name} was begun with --objectives={','.join(begun)}; go on with these")
    _refuse_others(name, study.user_attrs.get("settings", settings), settings)
    study.set_user_attr("objectives", objectives)
    study.set_user_attr("settings", dict(settings))
    return study


def _refuse_others(name: str, begun: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Trials of other settings would be shown as if they were of these.

    Raises:
        ConfigError: names the settings that the study was begun with; of a group with another choice, that alone.
    """
    others = {key for key in {*begun, *settings} if begun.get(key) != settings.get(key)}
    told = sorted(key for key in others if "." not in key or key.partition(".")[0] not in others)
    if told:
        was = ", ".join(f"{key}={in_yaml(begun.get(key))}" for key in told)
        raise ConfigError(
            f"the study {name} was begun with {was}; go on with that, or begin another: paths.output_dir=FOLDER"
        )


def _storage(url: str) -> BaseStorage:
    """Raises ConfigError where the URL is none, or its driver is not installed."""
    parsed = _parsed(url)
    try:
        parsed.get_dialect().import_dbapi()
    except ImportError as problem:
        postgres = parsed.get_backend_name() == "postgresql"
        mend = "cimlab[postgres]" if postgres else problem.name
        raise ConfigError(
            f"--storage={_shown(url)}: needs the package {problem.name}: pip install {mend}"
        ) from problem
    options: dict[str, Any] = {"pool_pre_ping": True}  # a trial outlives a connection
    if parsed.get_backend_name() == "postgresql" and not (
        "connect_timeout" in parsed.query or "PGCONNECT_TIMEOUT" in os.environ
    ):
        options["connect_args"] = {"connect_timeout": CONNECT_S}
    return RDBStorage(parsed.render_as_string(hide_password=False), options)


def _journal(folder: Path) -> JournalStorage:
    """The storage in a journal file of a folder, which is made; a half-written last line, left by a full disk or a
    power cut, is cut off.

    Optuna would write its next line behind that half, and then never open the file again.

    Raises:
        OutputError: the folder can't be written.
    """
    try:
        make_folder(folder)
        return _opened_journal((folder / JOURNAL).absolute())
    except OSError as problem:
        raise OutputError(unwritable(folder, problem)) from problem


def _opened_journal(path: Path) -> JournalStorage:
    """The absolute path: the lock of a killed search is a link to it, and Optuna never sees that the lock is old
    through one that leads nowhere.
    """
    lock = JournalFileSymlinkLock(str(path))
    backend = JournalFileBackend(str(path), lock)
    lock.acquire()
    try:
        content = path.read_bytes()
        if content and not content.endswith(b"\n"):
            os.truncate(path, content.rfind(b"\n") + 1)
    finally:
        lock.release()
    return JournalStorage(backend)


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
        if (
            parsed.drivername == "postgresql"
        ):  # the driver that cimlab[postgres] brings, whatever SQLAlchemy prefers
            parsed = parsed.set(drivername="postgresql+psycopg")
        parsed.get_dialect()
    except exc.ArgumentError as problem:
        raise ConfigError(
            f"--storage={_shown(url)}: is no database URL; write postgresql://USER@HOST/DATABASE"
        ) from problem
    return parsed


def _shown(url: str) -> str:
    """The URL without its password, which no terminal or log needs to see."""
    try:
        parsed = make_url(url)
    except exc.ArgumentError:
        return url.rpartition("@")[2]
    return parsed.difference_update_query(["password"]).render_as_string(hide_password=True)


def _unopened(where: str, problem: Exception) -> ConfigError:
    cause = problem.orig if isinstance(problem, exc.DBAPIError) and problem.orig else problem
    return ConfigError(f"--storage={where}: can't be opened ({' '.join(str(cause).split())})")


@contextlib.contextmanager
def searching(study: optuna.Study, folder: Path) -> Generator[str]:
    """Take part in a study; gives the name to mark own trials with.

    Trials that searches in this folder left under way are tried again, before the first of this one, and so is what
    this one leaves under way when it is stopped.
    """
    for trial in _under_way(study):
        asked = trial.datetime_start
        if "search" not in trial.user_attrs and asked and time.time() - asked.timestamp() > NAMELESS_S:
            _requeue(study, trial)

    def clear(own: Path) -> None:
        for trial in _under_way(study):
            if trial.user_attrs.get("search") == own.name:
                _requeue(study, trial)

    with lodging(folder / SEARCHES, uuid.uuid4().hex, clear) as own:
        yield own.name


def _under_way(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


def _requeue(study: optuna.Study, trial: FrozenTrial) -> None:
    """Have a trial tried again with the same values; its run goes on from its last epoch."""
    try:
        study.tell(trial.number, state=TrialState.FAIL)
    except (ValueError, optuna.exceptions.UpdateFinishedTrialError):  # another search was quicker
        return
    study.enqueue_trial(trial.params)


class SeededByTrial(BaseSampler):
    """Optuna's TPE with random numbers of each trial's own.

    A search that goes on draws what it would have drawn, and two searches of one study do not draw the same: trials are
    numbered among those that draw, as one that is tried again does not.

    Args:
        seed: of the search.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._tpe = self._of(0)

    def _of(self, number: int) -> TPESampler:
        own = int(np.random.SeedSequence((self.seed, number)).generate_state(1)[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return TPESampler(seed=own, multivariate=True, constant_liar=True)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        earlier = (t for t in study.get_trials(deepcopy=False) if t.number < trial.number)
        self._tpe = self._of(sum("fixed_params" not in t.system_attrs for t in earlier))
        self._tpe.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._tpe.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._tpe.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._tpe.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        self._tpe.after_trial(study, trial, state, values)
