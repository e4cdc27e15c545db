"""What the commands that Hydra composes share: one configuration in, one result out, errors worded for people.

Hydra parses options, composes, shows help and completes words. Several runs are never its business: `cimlab.grids`
plans and runs them (`multirun.py`), and `cimlab map` prices them (`map.py`).
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from hydra import main as hydra_main
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from cimlab.choices import conf_dir
from cimlab.cli.options import complaint_of
from cimlab.config.compose import hydra_line, is_hydra, read
from cimlab.config.errors import ConfigError, OutputError, unwritable
from cimlab.config.trust import trusting
from cimlab.config.words import given

Result = TypeVar("Result")


@dataclass(frozen=True)
class Command(Generic[Result]):
    """One `cimlab NAME`.

    Args:
        name: the command, and the configuration conf/NAME.yaml that it composes.
        schema: the dataclass that its configuration has to fit.
        job: does one run; receives the composed configuration and the choice of every group.
        show: the closing summary.
    """

    name: str
    schema: type
    job: Callable[[DictConfig, dict[str, str]], Result]
    show: Callable[[Result, DictConfig], None]


def run(command: Command, words: list[str]) -> int:
    """Run a command with its overrides; 0, or raises what `errors.report` explains.

    Raises:
        ConfigError: Hydra or the schema refuses the configuration.
        OutputError: Hydra can't write where it wants to.
    """
    options, overrides = hydra_options(command.name, words)
    words = read(given(overrides), command.schema)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises, and one place words the message
    sys.argv = ["cimlab", *options, *words]
    failures: list[Exception] = []

    def job(config: DictConfig) -> None:
        """The run, as Hydra calls it; its failure is kept, for Hydra would print lines of its own."""
        choices = {
            group: str(choice) for group, choice in HydraConfig.get().runtime.choices.items() if choice
        }
        try:
            command.show(command.job(config, choices), config)
        except Exception as problem:
            failures.append(problem)

    try:
        with trusting(words):
            hydra_main(version_base="1.3", config_path=str(conf_dir()), config_name=command.name)(job)()
    except Exception as problem:
        if isinstance(problem, BrokenPipeError):  # whoever read our output has seen enough
            raise
        if isinstance(problem, OSError) and not is_hydra(problem):
            raise OutputError(unwritable(problem.filename or "the output", problem)) from problem
        # failures of the job never come this way: what is left is about the options, the words or a YAML file
        raise ConfigError(hydra_line(problem, command.schema)) from problem
    if failures:
        raise failures[0]
    return 0


def hydra_options(name: str, words: list[str]) -> tuple[list[str], list[str]]:
    """The words of `cimlab NAME` as Hydra's options, and those that are overrides.

    Raises:
        ConfigError: as `hydra_asked`.
    """
    overrides, options = hydra_asked(name, words).overrides, list(words)
    for word in overrides:
        options.remove(word)
    return options, overrides


def hydra_asked(name: str, words: list[str]) -> Namespace:
    """What Hydra's options of `cimlab NAME` say, wherever they stand between the overrides.

    Raises:
        ConfigError: in one line, what argparse would refuse in several, and what would run pickled code.
    """
    for word in words:
        if not word.isprintable():
            raise ConfigError(f"{word!r} holds characters that can't be printed; take them out")
    parser, complaint = get_args_parser(), io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            asked = parser.parse_intermixed_args(words)
    except SystemExit as end:
        if not end.code:
            raise
        text = " ".join(complaint.getvalue().rpartition("error: ")[2].split())
        raise ConfigError(complaint_of(name, text, parser)) from end
    if asked.experimental_rerun:
        raise ConfigError("--experimental-rerun loads pickled code, which cimlab never does")
    return asked
