"""Options of the commands that Hydra does not compose: argparse, with its refusals in this house's one line."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from cimlab.choices import conf_dir, groups, keys
from cimlab.cli.main import PLAIN
from cimlab.config.errors import ConfigError
from cimlab.errors import near_path

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
        raise ConfigError(complaint_of(self.prog.split()[-1], message, self))


def complaint_of(command: str, message: str, parser: argparse.ArgumentParser) -> str:
    """What argparse says of the words of a command, and of a word that it does not know, what was meant."""
    more = f"(cimlab {command} --help shows every option)"
    unknown = message.removeprefix("unrecognized arguments: ").split()
    if message == " ".join(unknown):
        return f"{message.replace(', KEY=VALUE', '')} {more}"
    word = next((word for word in unknown if word.startswith("-")), unknown[0])
    name, _, value = word.partition("=")
    near = difflib.get_close_matches(name, parser._option_string_actions, n=1, cutoff=0.75)
    key = name.lstrip("-")
    if (conf_dir() / f"{command}.yaml").is_file() and key in (*groups(command), *keys(command)):
        hint = f"; settings have no dashes: {key}={value or 'VALUE'}"
    else:
        hint = f"; did you mean {near[0]}?" if near and name.startswith("--") else ""
        hint = hint or "".join(f"; it is one of cimlab {other}" for other in PLAIN if _takes(other, name))
    return f"{word}: is no option of cimlab {command}{hint} {more}"


def require_folders(folders: Sequence[Path]) -> None:
    """Refuse folders of runs or records that are none.

    Raises:
        ConfigError: names the first, and the one that may have been meant.
    """
    for folder in folders:
        if not folder.is_dir():
            near = near_path(folder)
            raise ConfigError(
                f"{folder}: is no folder; {near}give one that holds runs or records, e.g. outputs"
            )


def seconds(text: str) -> float:
    """90, 90s, 9m or 1.5h.

    Raises:
        ArgumentTypeError: something else.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if not match or float(match[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text}: give a number above 0 with s, m or h, e.g. 9m")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def file_to_write(text: str) -> Path:
    """A file that a command writes when its work is done; of a link, what it leads to.

    Raises:
        ArgumentTypeError: a folder, a device or a pipe stands there, or no file can be called so.
    """
    path = Path(text)
    try:
        taken = path.exists() and not path.is_file()
    except OSError as problem:
        raise argparse.ArgumentTypeError(f"{text}: {problem.strerror}; give another file") from problem
    if taken:
        what = "a folder" if path.is_dir() else "no regular file"
        raise argparse.ArgumentTypeError(f"{text}: is {what}; give a file")
    return path.resolve() if path.is_symlink() else path


def port(text: str) -> int:
    """A port of TCP.

    Raises:
        ArgumentTypeError: it is none.
    """
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text}: give a port from 1 to 65535")
    return int(text)


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


def _takes(command: str, option: str) -> bool:
    """Whether a command has an option of this very name."""
    return (
        option.startswith("--")
        and option in import_module(f"cimlab.cli.{command}").parser()._option_string_actions
    )


def of_experiment(options: Parser, file: str) -> None:
    """Add what every command over an experiment file takes.

    Args:
        file: the help of the file.
    """
    options.add_argument("file", help=file)
    options.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="overrides and axes")
    options.add_argument(
        "--config-dir", metavar="FOLDER", help="choices of your own: FOLDER/GROUP/CHOICE.yaml"
    )
