"""Options of the commands that Hydra does not compose: argparse, with its refusals in this house's one line."""

from __future__ import annotations

import argparse
import re
from typing import NoReturn

from cimlab.config.errors import ConfigError

Options = argparse.Namespace


class Parser(argparse.ArgumentParser):
    """The options of `cimlab NAME`.

    Args:
        name: the command.
        about: its module's docstring.
        examples: shown below the options.
    """

    def __init__(self, name: str, about: str | None, examples: str | None = None) -> None:
        form = argparse.RawDescriptionHelpFormatter
        super().__init__(prog=f"cimlab {name}", description=about, epilog=examples, formatter_class=form)

    def error(self, message: str) -> NoReturn:
        """Refuse the words.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"{message} ({self.prog} --help shows every option)")


def seconds(text: str) -> float:
    """90, 90s, 9m or 1.5h.

    Raises:
        ArgumentTypeError: something else.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if not match or float(match[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text}: give a number above 0 with s, m or h, e.g. 9m")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def at_least_one(text: str) -> int:
    """A count.

    Raises:
        ArgumentTypeError: it is none.
    """
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: give a whole number of 1 or more")
    return int(text)


def fraction(text: str) -> float:
    """A number from 0 to 1.

    Raises:
        ArgumentTypeError: it is none.
    """
    match = re.fullmatch(r"\d*\.?\d+", text)
    if not match or float(text) > 1:
        raise argparse.ArgumentTypeError(f"{text}: give a number from 0 to 1, e.g. 0.85")
    return float(text)
