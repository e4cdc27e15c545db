"""The words of a command line as people type them, made what Hydra's grammar reads.

Four kinds need help. A path may hold any character, of which the grammar knows few (not the `=` of Lightning's
`epoch=3-step=10.ckpt`, not umlauts, not brackets), so one that it does not read is quoted whole. A dictionary
(`prune.layer_remaining={layer1*:0.1}`) is new keys below a setting, for which the grammar wants a `++`. So does an
argument of a model that its YAML does not show (`model.image_size=32`); whether there is one is asked of the model.
And a number with zeros before it, as `seq -w` writes them, is a text to the grammar, so that 0 and 00 would be two.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString
from hydra.errors import HydraException

from cimlab.choices import choices, groups, keys
from cimlab.config.errors import ConfigError
from cimlab.config.renamed import todays

WORD = re.compile(r"(?P<key>[\w.@/]+)=(?P<value>.*)", re.DOTALL)
A_PATH = re.compile(r"(^|\.)(checkpoint|file|run|\w+_dir)$")
QUOTES = ("'", '"')
PAIRS = {"[": "]", "{": "}", "(": ")"}
LEADING_ZEROS = re.compile(r"(?<![^,\s\[(])0+(?=\d+\s*(?:$|[,\])]))")
QUOTED_NAME = re.compile(r"""(?<=[{,\s])(['"])([\w.*?\[\]-]+)\1\s*:""")


def readable(words: Sequence[str], schema: type) -> list[str]:
    """The words, paths quoted where they have to be, and dictionaries added to their setting.

    Args:
        words: options and overrides.
        schema: the dataclass that the configuration has to fit; says which settings are dictionaries.

    >>> from cimlab.config.schema import TrainConfig
    >>> readable(["checkpoint=runs/epoch=3.ckpt", "prune.layer_remaining={3:0.1}", "seed=1,2"], TrainConfig)
    ["checkpoint='runs/epoch=3.ckpt'", '++prune.layer_remaining={3:0.1}', 'seed=1,2']
    >>> readable(["seed=00,01,10", "tracker.group=007"], TrainConfig)
    ['seed=0,1,10', 'tracker.group=007']
    """
    return [_readable(word, schema) for word in words]


def parsed(word: str) -> Override:
    """A word as Hydra reads it; choices by `glob(*)` are found within Hydra's `initialize_config_dir`.

    Raises:
        ConfigError: it can't be read; one line that says why.
    """
    loader = GlobalHydra.instance().config_loader() if GlobalHydra.instance().is_initialized() else None
    try:
        return OverridesParser.create(config_loader=loader).parse_override(word)
    except HydraException as problem:
        raise ConfigError(f"{word}: {_slip(word, str(problem))}") from problem


def given(words: Sequence[str]) -> list[str]:
    """The overrides of a command line in today's terms.

    Raises:
        ConfigError: one is no KEY=VALUE, or became something else.
    """
    for place, word in enumerate(words):
        after = words[place + 1] if place + 1 < len(words) else ""
        if "=" in word.strip("=") or word.startswith("~") or (word.endswith("=") and "=" in (after or "=")):
            continue  # the last is an empty text
        if place and (words[place - 1].endswith(",") or word.startswith(",")):  # weight, filter
            meant = "".join(words[place - 1 : _end_of_list(words, place)])
        elif word.endswith(":"):
            meant = f"{word.rstrip(':')}={after}"
        elif word.endswith("=") or after.startswith("="):  # granularity = weight, three words that mean one
            meant = "".join(words[place : place + (3 if after == "=" else 2)])
        elif after and "=" not in after:
            meant = f"{word}={after}"
        elif word in keys("train"):
            meant = f"{word}=VALUE"
        else:
            meant = next(
                (f"{group}={word}" for group in groups("train") if word in choices(group)), "KEY=VALUE"
            )
        raise ConfigError(
            f"{word}: settings are KEY=VALUE, without spaces around = and commas; write {meant}"
        )
    return todays(words)


def _end_of_list(words: Sequence[str], place: int) -> int:
    """Where a list ends that was torn apart at blanks beside its commas."""
    end = place + 1
    while (
        end < len(words) and "=" not in words[end] and (words[end - 1][-1:] == "," or words[end][:1] == ",")
    ):
        end += 1
    return end


def _slip(word: str, reason: str) -> str:
    """What went wrong in a word that Hydra does not read, in fewer words than its parser's."""
    key, _, value = word.partition("=")
    if not re.fullmatch(r"[+~]*[\w.@/:-]+", key):
        return f"{key!r} is no key; keys are words with dots between, without spaces and quotes"
    if "Unknown function" in reason:
        return " ".join(reason.rpartition("': ")[2].split()).replace("Unknown", "unknown")
    if _is_open(value):
        return "a bracket or a quote is opened and not closed, or closed and not opened"
    if re.search(r"(^|[,\[])\s*,|,\s*([\])]|$)", value):
        return "a value before or after a comma is missing"
    call = re.fullmatch(r"(\w+\()(.*)\)", value, re.DOTALL)  # whose argument is what can't be read
    text = f'{call[1]}"{call[2]}")' if call else f'"{value}"'
    return f"the value can't be read as it is; put it in quotes, once for the shell too: '{key}={text}'"


def _is_open(value: str) -> bool:
    """Whether brackets or quotes of a value have no partner."""
    expected: list[str] = []
    quote = None
    for sign in value:
        if quote or sign in QUOTES:
            quote = (None if sign == quote else quote) if quote else sign
        elif sign in PAIRS:
            expected.append(PAIRS[sign])
        elif sign in PAIRS.values() and (not expected or expected.pop() != sign):
            return True
    return bool(expected or quote)


def _readable(word: str, schema: type) -> str:
    match = WORD.fullmatch(word)
    if match is None:  # an option, or a word that adds or takes away
        return word
    key, value = match["key"], match["value"]
    added = "++" if key.startswith("model.") else ""
    if A_PATH.search(key):
        return f"{added}{key}={_path(key, value)}"
    if added:
        return f"{added}{word}"
    setting = next(
        (name for name in _dictionaries(schema) if key == name or key.startswith(f"{name}.")), None
    )
    if setting is None:
        return f"{key}={LEADING_ZEROS.sub('', value)}" if key in _numbers(schema) else word
    plain = QUOTED_NAME.sub(r"\g<2>:", value)
    return f"++{key}={plain}"


def _path(key: str, value: str) -> str:
    """A path, or several with commas between, in what the grammar reads; `~`, which shells leave after `=`, is home."""
    value = os.path.expanduser(value)
    if value.startswith(QUOTES) or _is_text(key, value):
        return value
    parts = value.split(",")
    if len(parts) > 1 and all(Path(part).exists() for part in parts):  # the values of an axis
        return ",".join(part if _is_text(key, part) else quoted(part) for part in parts)
    return quoted(value)


def _is_text(key: str, value: str) -> bool:
    """Whether the grammar reads text, several texts or nothing; a folder called 2024 is text too."""
    try:
        override = OverridesParser.create().parse_override(f"{key}={value}")
    except HydraException:
        return False
    read = list(override.sweep_iterator()) if override.is_sweep_override() else [override.value()]
    return all(entry is None or isinstance(entry, str | QuotedString) for entry in read)


def quoted(text: str) -> str:
    """A text in quotes of Hydra's grammar."""
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", text)
    return f"'{escaped}'"


@functools.cache
def _numbers(schema: type, above: str = "") -> frozenset[str]:
    """Dotted names of the settings that are numbers."""
    found: set[str] = set()
    for name, kind in get_type_hints(schema).items():
        members = (kind, *get_args(kind))
        inner = next((member for member in members if is_dataclass(member)), None)
        if isinstance(inner, type):
            found |= _numbers(inner, f"{above}{name}.")
        elif int in members or float in members:
            found.add(f"{above}{name}")
    return frozenset(found)


@functools.cache
def _dictionaries(schema: type, above: str = "") -> tuple[str, ...]:
    """Dotted names of the settings that are dictionaries of values; those of components are groups."""
    found: list[str] = []
    for name, kind in get_type_hints(schema, include_extras=False).items():
        members = [kind, *get_args(kind)]
        inner = next((member for member in members if is_dataclass(member)), None)
        if isinstance(inner, type):
            found.extend(_dictionaries(inner, f"{above}{name}."))
        elif above and get_origin(kind) is dict and get_args(kind)[1] is not Any:  # a group is no setting
            found.append(f"{above}{name}")
    return tuple(found)


def values(override: Override) -> tuple[str, ...]:
    """The values of an axis in words, KEY=VALUE each.

    >>> values(parsed("seed=1,2"))
    ('seed=1', 'seed=2')

    Raises:
        ConfigError: it has none, or is an interval.
    """
    line = override.input_line or ""
    prefix = line.partition("=")[0]
    if override.is_interval_sweep():
        raise ConfigError(
            f"{line}: only cimlab search draws from an interval; here each value is named, {prefix}=A,B"
        )
    found = tuple(f"{prefix}={value}" for value in override.sweep_string_iterator())
    if not found:
        raise ConfigError(f"{line}: is an axis without a value; give it some, {prefix}=A,B")
    return found
