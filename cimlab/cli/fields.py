"""Rows of a table as people ask for them: filtered and sorted by a field, or by what its column is called."""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from cimlab.config.errors import ConfigError

Row = Mapping[str, Any]
Names = Mapping[str, str]
"""What a person may write -> the field."""
COMPARE: dict[str, Callable] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}


def condition(word: str, names: Names, known: Mapping[str, Collection[str]]) -> Callable[[Row], bool]:
    """A filter like state=done, seed=0,1 or accuracy>=0.9; a row without the field does not pass.

    Args:
        word: as it was typed.
        names: of fields.
        known: every value of the fields that can have no other.

    Raises:
        ConfigError: unknown field, a value that it can't have, or a comparison with something that is no number.
    """
    match = re.fullmatch(r"(\w+)(<=|>=|!=|=|<|>)(.*)", word)
    if not match:
        raise ConfigError(f"{word}: filter by FIELD=VALUE[,VALUE], FIELD<VALUE ...")
    field, sign, texts = field_of(word, match[1], names), match[2], match[3].split(",")
    compare = COMPARE[sign]
    values = [_number(text) for text in texts]
    if sign not in ("=", "!=") and (len(values) > 1 or isinstance(values[0], str)):
        raise ConfigError(f"{word}: {sign} compares with one number")
    for text in texts:
        if text not in (own := sorted(known.get(field, (text,)))):
            raise ConfigError(
                f"{word}: no {field} is called {text!r}; {_near(text, own)}known: {', '.join(own)}"
            )

    def holds(row: Row) -> bool:
        value = row.get(field)
        if value is None:
            return False
        if sign == "!=":
            return all(_same(value, other) is False for other in values)
        if sign == "=":
            return any(_same(value, other) for other in values)
        return isinstance(value, int | float) and compare(value, values[0])

    return holds


def ordered(rows: Sequence[Row], asked: str, names: Names) -> list[int]:
    """Places of the rows by a field, `-FIELD` downwards, numbers before words; rows without it come last.

    Raises:
        ConfigError: unknown field.
    """
    field = field_of(f"--sort={asked}", asked.removeprefix("-"), names)
    having = [i for i, row in enumerate(rows) if row.get(field) not in (None, "")]
    rest = [i for i, row in enumerate(rows) if row.get(field) in (None, "")]

    def key(i: int) -> tuple[bool, Any]:
        value = rows[i][field]
        value = _number(value) if isinstance(value, str) else value
        return isinstance(value, str), value

    return sorted(having, key=key, reverse=asked.startswith("-")) + rest


def field_of(word: str, asked: str, names: Names) -> str:
    """The field that a word asks for.

    Raises:
        ConfigError: there is none.
    """
    if asked in names:
        return names[asked]
    fields = ", ".join(dict.fromkeys(names.values()))
    raise ConfigError(f"{word}: there is no {asked!r}; {_near(asked, names)}fields: {fields}")


def _near(asked: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(asked, known, n=1)
    return f"did you mean {near[0]}? " if near else ""


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _same(value: object, asked: float | str) -> bool:
    return value == asked or str(value) == str(asked)
