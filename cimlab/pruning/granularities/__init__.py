"""One file per granularity: which weights of a crossbar matrix are pruned together, and what may be skipped."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from cimlab.pruning.granularities.base import Granularity


@cache
def granularities() -> dict[str, type[Granularity]]:
    """Every granularity of this folder by the name of its file, finest first.

    >>> list(granularities())[:3]
    ['weight', ...]
    """
    found: dict[str, type[Granularity]] = {}
    for file in iter_modules(__path__):
        module = import_module(f"{__name__}.{file.name}")
        for kind in vars(module).values():
            if (
                isinstance(kind, type)
                and issubclass(kind, Granularity)
                and kind.__module__ == module.__name__
            ):
                found[file.name] = kind
    found.pop("base")
    return dict(sorted(found.items(), key=lambda item: item[1].look.place))
