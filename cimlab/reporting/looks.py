"""How granularities are told apart, in the words and colours that their own files give; others are drawn in grey."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cimlab.pruning.granularities.base import Granularity, Look


def _kind(name: str) -> type[Granularity]:
    """The granularity of a choice or of its words; the base of all where it is of another package."""
    from cimlab.pruning.granularities import (
        granularities,  # here: it brings torch, which many commands don't need
    )
    from cimlab.pruning.granularities.base import Granularity

    return granularities().get(base(name), Granularity)


def look(name: str) -> Look:
    """Colour, mark and line of a granularity: the same in every figure."""
    return _kind(name).look


def place(name: str) -> tuple[int, str]:
    """Order of granularities: finest first."""
    return look(name).place, name


def finer_and_skipped(name: str) -> bool:
    """Whether the crossbar skips what is pruned though units are finer than an array."""
    return _kind(name).finer_and_skipped


def classic(name: str) -> bool:
    """Whether it is classic structured pruning."""
    return _kind(name).classic


def base(name: str) -> str:
    """The choice in conf/granularity that a granularity in words stands for.

    >>> base("block (rows=16, cols=16)"), base("operation unit")
    ('block', 'operation_unit')
    """
    return name.split(" (")[0].replace(" ", "_")


def series_looks(number: int) -> list[Look]:
    """Looks for lines that are no granularities: those of the granularities, in turn."""
    from cimlab.pruning.granularities import granularities

    known = [kind.look for kind in granularities().values()]
    return [known[i % len(known)] for i in range(number)]
