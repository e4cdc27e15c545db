"""What every command that Hydra composes shares: where conf/ is, one run or many, and errors worded for people.

A command is a schema, a job (one composed configuration in, one result out) and a closing summary.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from hydra import main as hydra_main
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from cimlab.cli import errors
from cimlab.cli.config import unknown_key

Result = TypeVar("Result")
MANY = ("-m", "--multirun")


@dataclass(frozen=True)
class Command(Generic[Result]):
    """One `cimlab NAME`.

    Args:
        name: the command, and the configuration conf/NAME.yaml that it composes.
        schema: the dataclass that its configuration has to fit.
        job: does one run; receives the composed configuration and the choice of every group.
        show: the closing summary of one result or, for a multirun, of those that succeeded.
    """

    name: str
    schema: type
    job: Callable[[DictConfig, dict[str, str]], Result]
    show: Callable[[list[Result], DictConfig, bool], None]


def conf_dir() -> Path:
    """conf/: inside the package when installed, at the top of the repository otherwise."""
    installed = Path(__file__).parents[1] / "conf"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "conf"


def run(command: Command, words: list[str]) -> int:
    """Run a command with its overrides; 0, or raises what `errors.report` explains.

    Raises:
        ConfigError: Hydra or the schema refuses the configuration.
        SweepError: some runs of a multirun failed.
        OutputError: Hydra can't make the folder of a multirun.
    """
    _refuse_options(words)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises, and one place words the message
    runs = _Runs(command)
    many = [word for word in words if word in MANY]
    sys.argv = ["cimlab", *many, *(word for word in words if word not in many)]  # Hydra wants it before the keys
    try:
        hydra_main(version_base="1.3", config_path=str(conf_dir()), config_name=command.name)(runs.job)()
    except Exception as problem:
        if isinstance(problem, OSError) and not _is_hydra(problem):
            raise errors.OutputError(errors.unwritable(problem.filename, problem)) from problem
        # failures of the job never come this way: what is left is about the options, the words or a YAML file
        raise errors.ConfigError(_hydra_line(problem, command)) from problem
    finally:
        runs.show()
    runs.raise_failures()
    return 0


def _refuse_options(words: list[str]) -> None:
    """Refuse in one line what argparse would refuse in several, and what would run pickled code."""
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


class _Runs:
    """The runs of one command, one or many: a failure is told at once and stops none of the others.

    Failures are kept here rather than raised through Hydra, which would print lines of its own.
    """

    def __init__(self, command: Command) -> None:
        self.command = command
        self.results: list = []
        self.failures: list[Exception] = []
        self.config: DictConfig | None = None
        self.many = False

    def job(self, config: DictConfig) -> None:
        """One run, as Hydra calls it."""
        hydra = HydraConfig.get()
        self.many = hydra.mode == RunMode.MULTIRUN
        if self.many:
            print(f"\nrun {hydra.job.num + 1}: {hydra.job.override_dirname.replace(',', '  ')}", flush=True)
        choices = {group: str(choice) for group, choice in hydra.runtime.choices.items() if choice}
        try:
            result = self.command.job(config, choices)
        except Exception as problem:
            self.failures.append(problem)
            if self.many:
                errors.report(problem)
            return
        self.config = config
        self.results.append(result)

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


def _is_hydra(problem: BaseException) -> bool:
    return any(base.__module__.split(".")[0] in ("hydra", "omegaconf") for base in type(problem).__mro__)


def _hydra_line(problem: BaseException, command: Command) -> str:
    """Hydra's multi-line advice, made to fit what is allowed here (a key can't be added with +)."""
    text = " ".join(str(problem).split())
    unknown = re.search(r"Could not override '([^']+)'", text)
    if unknown and "To append" in text:
        return unknown_key(command.schema, unknown.group(1))
    text = text.replace("Available options in", "choices for")
    return text.split(" Set the environment variable HYDRA_FULL_ERROR")[0].split(" Config search path")[0]
