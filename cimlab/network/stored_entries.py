"""Which entry of a checkpoint holds the network's weights, and which others hold weights that are not read.

What has a usual name is meant, the least nested first. An average of weights over training (EMA) is meant where there
are no other weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cimlab.network.stored_names import (
    AVERAGES,
    NO_WEIGHTS,
    WEIGHTS,
    SeveralNetworksError,
    plain_names,
    same_weights,
    told_by,
)


@dataclass(frozen=True, eq=False)
class Entry:
    """The weights that are meant.

    Args:
        where: dotted entry; empty for the file itself.
        weights: by name.
        others: entries with other weights, which are left out.
        averaged: it is an average, as the file holds no other weights.
    """

    where: str
    weights: dict[str, Tensor]
    others: tuple[str, ...]
    averaged: bool

    def notes(self) -> Iterator[str]:
        """What is to be said of the choice, a line each."""
        if self.averaged:
            yield f"{self.where} was read, an average of weights, as there are no others"
        if self.others:
            read = f"{self.where or 'the state_dict itself'} was read"
            yield f"{read}, and the weights in {', '.join(self.others)} left out; to use others, save them alone"


def entry_of(content: Mapping[Any, Any]) -> Entry | None:
    """The weights that are meant in a file; None where it holds none by name.

    Raises:
        SeveralNetworksError: nobody can tell which are meant.
    """
    found = _dense_entries(content, (*NO_WEIGHTS, *AVERAGES))
    averages = {k: v for k, v in _dense_entries(content, NO_WEIGHTS).items() if k not in found}
    averaged = not found
    if averaged:
        found, averages = averages, {}
    if not found:
        return None
    where = _meant(found)
    others = [name for name, weights in (found | averages).items() if not same_weights(weights, found[where])]
    return Entry(where, found[where], tuple(others), averaged)


def _meant(found: Mapping[str, dict[str, Tensor]]) -> str:
    """The entry whose weights are meant.

    Raises:
        SeveralNetworksError: none has a usual name, or several have whose weights have the same names and other
            values, as of a student and its teacher.
    """
    if "" in found:
        return ""
    usual = [where for key in WEIGHTS for where in found if where.rpartition(".")[2] == key]
    outer = min((where.count(".") for where in usual), default=0)
    usual = [where for where in usual if where.count(".") == outer]
    first, *others = usual or found
    alike = [other for other in others if not usual or plain_names(found[other]) == plain_names(found[first])]
    if not all(same_weights(found[first], found[other]) for other in alike):
        raise SeveralNetworksError([first, *alike])
    return first


def _dense_entries(content: Mapping[Any, Any], passed_over: tuple[str, ...]) -> dict[str, dict[str, Tensor]]:
    """Dotted entry -> weights, those that are stored by their places, as sparse ones are, with all of their zeros."""
    return {
        where: {n: v if v.layout == torch.strided else v.to_dense() for n, v in weights.items()}
        for where, weights in _state_dicts(content, passed_over)
    }


def _state_dicts(
    content: Mapping[Any, Any], passed_over: tuple[str, ...], where: str = "", depth: int = 2
) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """(dotted entry, weights) of all state_dicts in a file, itself among them, where it is one.

    Args:
        content: of the file or of an entry.
        passed_over: what tells by the name of an entry that its tensors are not looked for.
        where: the entry.
        depth: how far to look into entries.
    """
    own = {
        name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)
    }
    named = any("." in name or name in ("weight", "bias") for name in own)
    others = [value for name, value in content.items() if name not in own]
    if named and all(isinstance(value, int | float | str | None) for value in others):
        yield where, own
        return
    inside = list(_inside(content, passed_over, where, depth))
    if named and not inside:  # weights, and what a trainer put beside them
        yield where, own
    yield from inside


def _inside(
    content: Mapping[Any, Any], passed_over: tuple[str, ...], where: str, depth: int
) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """The state_dicts in the entries of a file that are not passed over."""
    for name, value in content.items():
        skipped = isinstance(name, str) and told_by(name, passed_over)
        if not skipped and isinstance(value, Mapping) and depth:
            yield from _state_dicts(value, passed_over, f"{where}.{name}" if where else str(name), depth - 1)
