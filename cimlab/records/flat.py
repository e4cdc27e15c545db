"""Settings in the words of a person: nested content as one level of joined keys, and a value as it is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def flat(node: Mapping[str, Any], sign: str = ".", prefix: str = "") -> dict[str, Any]:
    """Keys joined by `sign` -> value; an empty mapping is a value.

    >>> flat({"prune": {"remaining": 0.5, "layers": {}}, "seed": 0})
    {'prune.remaining': 0.5, 'prune.layers': {}, 'seed': 0}
    """
    found: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, sign, f"{prefix}{key}{sign}")
        else:
            found[f"{prefix}{key}"] = value
    return found


def in_yaml(value: object) -> str:
    """A value as a person writes it in a setting, for whom Python's None is null."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
