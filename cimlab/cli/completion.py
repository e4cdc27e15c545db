"""`cimlab completion SHELL` prints what a shell needs; the shell then asks, by `_CIMLAB_COMPLETE`, what may follow.

An answer is a line a word: the word, a tab, and what it is, as `--help` says it.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from cimlab.choices import choices, first_line, groups, keys
from cimlab.cli.main import ABOUT, COMPOSED

SHELLS = ("bash", "zsh", "fish")
AFTER_A_FILE = ("sweep", "search")
"""Plain commands that take the settings of cimlab train, after an experiment file."""
Answers = dict[str, str]


def script(shell: str) -> str:
    """The set-up of a shell."""
    return Path(__file__).with_name("shells").joinpath(f"cimlab.{shell}").read_text(encoding="utf-8")


def answer(line: str) -> Answers:
    """Words that may stand at the end of a line -> what they are; none where a file may.

    Args:
        line: the command line up to the cursor.

    >>> answer("cimlab train granularity=operation_unit,fil")
    {'granularity=operation_unit,filter': 'one output filter, R x 1'}
    >>> list(answer("cimlab ma"))
    ['map']
    """
    _, *words = line.split(" ") if " " in line else (line, "")
    words = [word for word in words[:-1] if word] + [words[-1].lstrip("'\"")]
    *before, last = words
    if not before:
        offered = ABOUT
    elif last.startswith("-"):
        offered = _options(before[0])
    elif before[0] in COMPOSED:
        offered = _settings(before[0], last)
    elif before[0] in AFTER_A_FILE and any(not word.startswith("-") for word in before[1:]):
        offered = _settings("train", last)
    else:
        offered = {}
    return {word: what for word, what in offered.items() if word.startswith(last)}


def _options(command: str) -> Answers:
    """Options of a command with their help."""
    if command in COMPOSED:
        from cimlab.cli.help import OPTIONS

        every = {name: what for names, what in OPTIONS[command] for name in names.split(", ")}
        return {
            name.split()[0].replace("=FIELD", "="): what for name, what in every.items() if name[:2] == "--"
        }
    actions = import_module(f"cimlab.cli.{command}").parser()._actions if command in ABOUT else ()
    return {action.option_strings[-1]: action.help or "" for action in actions if action.option_strings}


def _settings(command: str, last: str) -> Answers:
    """Groups and settings, or the choices of the group that the word begins with, the last of a list of them."""
    key, equals, value = last.partition("=")
    known = groups(command)
    if not equals:
        chosen = {f"{group}=": f"one of {len(choices(group))} choices" for group in known}
        inner = {f"{name}=": what for name, what in keys(command).items() if "." in last or "." not in name}
        return chosen | inner
    if key not in known:
        return {}
    cut = max(value.rfind(","), value.rfind("["))
    head = f"{key}={value[: cut + 1]}"
    return {f"{head}{choice}": first_line(key, choice) or "" for choice in choices(key)}
