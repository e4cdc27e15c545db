"""`cimlab train -m` and `cimlab simulate -m`: a grid without a file, planned and run as `cimlab sweep` does."""

from __future__ import annotations

import time
from argparse import Namespace

from cimlab.cli.application import hydra_asked
from cimlab.cli.sweep import Terms, announce, carry_out
from cimlab.config.errors import ConfigError
from cimlab.grids.composition import grid_of_words
from cimlab.grids.grid import Command
from cimlab.grids.planning import collector_paused, plan_of


def asked_for(name: str, words: list[str]) -> bool:
    """Whether the words ask for several runs, rather than for help or for one configuration to be shown."""
    asked = hydra_asked(name, words)
    return asked.multirun and not only_shown(asked)


def only_shown(asked: Namespace) -> bool:
    """Whether help or Hydra's own state is asked for."""
    return bool(asked.help or asked.hydra_help or asked.info or asked.shell_completion)


def of_several(asked: Namespace) -> Namespace:
    """Hydra's options, where a command composes several configurations itself.

    Raises:
        ConfigError: they ask to see one.
    """
    if asked.cfg or asked.resolve or asked.package:
        raise ConfigError("--cfg, --resolve and --package show one configuration; leave -m out")
    return asked


def run(command: Command, words: list[str]) -> int:
    """Run every combination of the words' values once; an exit code.

    Failures of earlier multiruns are tried again: nobody would type the same command to be told of them.

    Raises:
        ConfigError: a word, a value or a combination is refused; nothing was run.
    """
    options = of_several(hydra_asked(command.name, words))
    started = time.time()
    with collector_paused():
        plan = plan_of(grid_of_words(command, options.overrides, options.config_dir), retry_failed=True)
    announce(plan, time.time() - started)
    return carry_out(plan, None, Terms(started, retry_failed=True))
