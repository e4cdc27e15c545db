"""What every command that Hydra composes shares: one run or many, and errors worded for people.

A command is a schema, a job (one composed configuration in, one result out) and a closing summary.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import platform
import sys
import uuid
from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from hydra import main as hydra_main
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from cimlab.config import errors
from cimlab.config.compose import conf_dir, hydra_line, is_hydra
from cimlab.config.renamed import todays
from cimlab.config.trust import OUTCOMES, trusting
from cimlab.config.words import readable
from cimlab.grids.processors import cores, limit_threads, share
from cimlab.records.json_text import json_text
from cimlab.records.locks import lodging
from cimlab.records.record import RecordError, write_atomically

Result = TypeVar("Result")
MANY = ("-m", "--multirun")
ENGINES = ("joblib", "submitit")


class Outcomes(Callback):
    """Learns from Hydra, in the process that starts a multirun, where jobs in other processes leave theirs."""

    token: ClassVar[str] = ""
    held: ClassVar[contextlib.ExitStack] = contextlib.ExitStack()
    folder: ClassVar[Path | None] = None

    def on_multirun_start(self, config: DictConfig, **_: object) -> None:
        """Hold the folder, unless every job will run in this process; those of killed multiruns are removed."""
        if not str(config.hydra.launcher._target_).endswith("BasicLauncher"):
            with contextlib.suppress(OSError):  # each job will say that it can't write
                Outcomes.folder = Outcomes.held.enter_context(lodging(outcomes_home(config), Outcomes.token))


def outcomes_home(config: DictConfig) -> Path:
    """Where multiruns have the folders in which jobs in other processes, or on other machines, leave their outcomes."""
    return Path(config.paths.output_dir).absolute() / ".multirun"


@dataclass(frozen=True)
class Command(Generic[Result]):
    """One `cimlab NAME`.

    Args:
        name: the command, and the configuration conf/NAME.yaml that it composes.
        schema: the dataclass that its configuration has to fit.
        result: the dataclass that a job returns; its fields are plain content, for they may travel as JSON.
        job: does one run; receives the composed configuration and the choice of every group.
        show: the closing summary of one result or, for a multirun, of those that succeeded.
    """

    name: str
    schema: type
    result: type[Result]
    job: Callable[[DictConfig, dict[str, str]], Result]
    show: Callable[[list[Result], DictConfig, bool], None]


def run(command: Command, words: list[str]) -> int:
    """Run a command with its overrides; 0, or raises what `errors.report` explains.

    Raises:
        ConfigError: Hydra or the schema refuses the configuration.
        SweepError: some runs of a multirun failed.
        OutputError: Hydra can't make the folder of a multirun.
        RecordError: a job in another process can't leave its outcome.
    """
    words = readable(todays(words), command.schema)
    overrides = hydra_options(words).overrides
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises, and one place words the message
    runs = _Runs(command)
    many = [word for word in words if word in MANY]
    rest = [word for word in words if word not in many]
    ours = [f"+hydra.callbacks.cimlab._target_={OUTCOMES}"] if many else []
    # Hydra wants -m before the keys, and all keys in one stretch
    place = len(rest) - rest[::-1].index(overrides[-1]) if overrides else len(rest)
    sys.argv = ["cimlab", *many, *rest[:place], *ours, *rest[place:]]
    with contextlib.ExitStack() as held:
        Outcomes.token, Outcomes.held, Outcomes.folder = runs.token, held, None
        _launch(command, words, runs)
    runs.raise_failures()
    return 0


def _launch(command: Command, words: list[str], runs: _Runs) -> None:
    """Let Hydra compose and start every run, then take in and show what came of them."""
    try:
        with trusting(words):
            hydra_main(version_base="1.3", config_path=str(conf_dir()), config_name=command.name)(runs.job)()
    except Exception as problem:
        if isinstance(problem, BrokenPipeError):  # whoever read our output has seen enough
            raise
        if isinstance(problem, OSError) and not is_hydra(problem):
            raise errors.OutputError(errors.unwritable(problem.filename, problem)) from problem
        if isinstance(problem, RecordError):  # a job elsewhere could not leave its outcome
            raise
        if type(problem).__module__.split(".")[0] in ENGINES:
            text = f"a job died ({type(problem).__name__}); what is done stays, the same command goes on"
            raise errors.SweepError(text, errors.FAILURE) from problem
        # failures of the job never come this way: what is left is about the options, the words or a YAML file
        raise errors.ConfigError(hydra_line(problem, command.schema)) from problem
    finally:
        runs.collect()
        runs.show()


def hydra_options(words: list[str]) -> Namespace:
    """The words as Hydra's options; `overrides` are those that are none, in their order.

    Raises:
        ConfigError: in one line, what argparse would refuse in several, and what would run pickled code.
    """
    for word in words:
        if not word.isprintable():
            raise errors.ConfigError(f"{word!r} holds characters that can't be printed; take them out")
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            options = get_args_parser().parse_args([*sorted(words, key=lambda word: word not in MANY)])
    except SystemExit as end:
        if not end.code:
            raise
        text = " ".join(complaint.getvalue().rpartition("error: ")[2].split())
        raise errors.ConfigError(f"{text}; --help lists groups, choices and settings") from end
    if options.experimental_rerun:
        raise errors.ConfigError("--experimental-rerun loads pickled code, which cimlab never does")
    return options


class _Runs:
    """The runs of one command, one or many: a failure is told at once and stops none of the others.

    Failures are kept here rather than raised through Hydra, which would print lines of its own. A launcher may
    send a copy of this object to other processes; what a copy learns comes back as a file for each job.
    """

    def __init__(self, command: Command) -> None:
        self.command = command
        self.results: list = []
        self.failures: list[Exception] = []
        self.config: DictConfig | None = None
        self.many = False
        self.home = (platform.node(), os.getpid())
        self.token = uuid.uuid4().hex

    def job(self, config: DictConfig) -> None:
        """One run, as Hydra calls it."""
        hydra = HydraConfig.get()
        self.many = hydra.mode == RunMode.MULTIRUN
        if self.many:
            print(f"\nrun {hydra.job.num + 1}: {hydra.job.override_dirname.replace(',', '  ')}", flush=True)
        away = (platform.node(), os.getpid()) != self.home
        if away:
            _share_processors(hydra.launcher)
        choices = {group: str(choice) for group, choice in hydra.runtime.choices.items() if choice}
        try:
            outcome = self.command.job(config, choices)
        except Exception as problem:
            outcome = problem
            if self.many:
                errors.report(problem)
        if away:
            send(outcomes_home(config) / self.token / str(hydra.job.num), outcome, config)
        else:
            self._add(outcome, config)

    def _add(self, outcome: object, config: DictConfig) -> None:
        if isinstance(outcome, Exception):
            self.failures.append(outcome)
        else:
            self.config = config
            self.results.append(outcome)

    def collect(self) -> None:
        """Take in what jobs in other processes left."""
        if Outcomes.folder is None:
            return
        for path in sorted(Outcomes.folder.glob("[0-9]*"), key=lambda p: int(p.name)):
            self.many = True
            self._add(*received(path, self.command.result))

    def show(self) -> None:
        """The closing summary, if anything succeeded."""
        if self.config is not None:
            self.command.show(self.results, self.config, self.many)

    def raise_failures(self) -> None:
        """The failure of a single run as it was; of several runs, how many failed."""
        if self.failures and not self.many:
            raise self.failures[0]
        if self.failures:
            code = max(errors.exit_code(problem) for problem in self.failures)
            runs = len(self.failures) + len(self.results)
            raise errors.SweepError(f"{len(self.failures)} of {runs} runs failed, see above", code)


def send(path: Path, outcome: Any, config: DictConfig) -> None:
    """Leave what came of a job for the process that started it, whole or not at all."""
    content: dict[str, Any]
    if isinstance(outcome, Exception):
        content = {"failure": errors.describe(outcome), "code": errors.exit_code(outcome)}
    else:
        content = {"result": asdict(outcome), "config": OmegaConf.to_container(config, resolve=True)}
    write_atomically(path, json_text(content))


def received(path: Path, result: type[Result]) -> tuple[Result | errors.SweepError, DictConfig]:
    """What a job left: its result and configuration, or its failure; a file that is neither is a failure too."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if "failure" in content:
            return errors.SweepError(str(content["failure"]), int(content["code"])), OmegaConf.create()
        return result(**content["result"]), OmegaConf.create(dict(content["config"]))
    except (OSError, ValueError, KeyError, TypeError) as problem:
        text = f"{path} does not say what came of a run ({problem}); the same command tells from its record"
        return errors.SweepError(text, errors.FAILURE), OmegaConf.create()


def _share_processors(launcher: DictConfig) -> None:
    """Divide the cores among jobs that run side by side on one machine."""
    jobs, own = launcher.get("n_jobs"), launcher.get("cpus_per_task")
    if jobs is not None:
        limit_threads(share(jobs if jobs > 0 else cores()))
    elif own is not None:
        limit_threads(own)
