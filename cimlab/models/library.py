"""What networks of a library by their names share: the name and the published weights are checked before anything is
built, and a download that fails is one line."""

import difflib
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import nn

PRETRAINED_CHANNELS = 3
PRETRAINED_CLASSES = 1000
DEFAULT = "DEFAULT"


def require_listed(name: str, names: Sequence[str], library: str, listing: str) -> None:
    """Raise ValueError with the closest names where a library has no such network; `listing` is what lists them all."""
    if name not in names:
        closest = ", ".join(difflib.get_close_matches(str(name), names, n=3, cutoff=0.0))
        raise ValueError(
            f"name={name!r} is no {library} classification model; closest are {closest}; list all with {listing}"
        )


def require_published(name: str, weights: str, published: Sequence[str]) -> None:
    """Raise ValueError with what there is where a network has no such published weights."""
    if weights not in published:
        allowed = f"null or one of {', '.join(published)}" if published else "null; it has none"
        raise ValueError(f"weights={weights!r} is not allowed for {name}; use {allowed}")


def downloaded(make: Callable[[], nn.Module], name: str, weights: str, folder: Path) -> nn.Module:
    """What `make` builds with published weights, which its library downloads once into `folder`.

    Raises:
        ValueError: they can't be downloaded or read.
    """
    try:
        return make()
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as problem:
        reason = " ".join(str(problem).split())
        raise ValueError(
            f"weights={weights!r} of {name} can't be had ({reason}); with a network, move what is damaged "
            f"out of {folder} and try again, or use weights=null"
        ) from problem
