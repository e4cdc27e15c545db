"""Which tensors of a checkpoint are which of a network, whatever a trainer or a wrapper put into their names.

One state_dict may hold several networks, as a teacher's beside a student's or averages beside the weights: the one
that has a usual name is meant, and of others none is guessed, nor of two that both have one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatch
from typing import Any

import torch
from torch import Tensor

from cimlab.network.masks import plain_name

WEIGHTS = (
    "network", "state_dict", "model_state_dict", "model", "net", "module", "net_state_dict", "state", "weights",
    "params", "model_state",
)  # fmt: skip
"""Entries that trainers keep weights in, the first of them first."""
NO_WEIGHTS = (
    "optim*", "sched*", "scaler", "scalers", "mask", "masks", "loop", "loops", "callback", "callbacks", "steps",
    "origin",
)  # fmt: skip
"""Words in the names of entries whose tensors are no weights; * stands for any letters."""
AVERAGES = ("ema",)
"""Words in the names of entries with averages of the network's weights over its training."""
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
"""A word within a name: `ema` of `model_ema`, `EMAModel` and `netEMA`, not of `semantic`."""
COUNTER = "num_batches_tracked"
"""Batches that a norm has seen; nothing that it computes depends on it, and older files lack it."""
AVERAGED = "n_averaged"
"""What torch.optim.swa_utils puts beside the weights that it averages: of how many steps."""
ORIG, MASK = "_orig", "_mask"
"""What torch.nn.utils.prune adds to a parameter's name: w = w_orig * w_mask."""


class SeveralNetworksError(ValueError):
    """Weights of which nobody can tell whose are meant.

    Args:
        names: of the networks that could be.
    """

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__(
            f"holds several networks ({', '.join(names)}); save the one that is meant alone, as state_dict"
        )


def fitted(stored: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """The stored tensors under the network's names, and the names of those that lie outside the network.

    Names are compared without what wrappers put into them; a prefix that all of the network shares in the
    file (`model.`, `net.`) is taken off.

    Raises:
        SeveralNetworksError: under several prefixes lies all of the network, each time with other values.
    """
    naming = _naming(own)
    wanted = {naming(name): name for name in own}
    plain = {naming(name): value for name, value in stored.items()}
    prefix = _meant(_prefixes(plain, wanted), plain, wanted)
    left_out = [
        name for name in plain if not name.startswith(prefix) or (name == AVERAGED and name not in wanted)
    ]
    beneath = _beneath(prefix, {name: value for name, value in plain.items() if name not in left_out})
    return {_own_name(name, wanted): value for name, value in beneath.items()}, left_out


def _naming(own: Iterable[str]) -> Callable[[str], str]:
    """What makes names comparable: without what wrappers put into them, unless two of the network's would be one."""
    names = [*own]
    return plain_name if len(plain_names(names)) == len(names) else str


def told_by(name: str, words: Iterable[str]) -> bool:
    """Whether one of the words is in a name, as a whole.

    >>> [told_by(name, NO_WEIGHTS) for name in ("lr_schedulers", "AdamOptimizer", "pruning.masks", "maskformer")]
    [True, True, True, False]
    """
    parts = [part.lower() for part in WORD.findall(name)]
    return any(fnmatch(part, word) for part in parts for word in words)


def plain_names(weights: Iterable[str]) -> set[str]:
    """Names without what wrappers put into them."""
    return {plain_name(name) for name in weights}


def same_weights(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Whether two state_dicts hold the same names and values, whatever wrapper either is from."""
    return _equal(*({plain_name(name): value for name, value in each.items()} for each in (one, other)))


def under_names(masks: object, shapes: Mapping[str, tuple[int, ...]]) -> Any:
    """Masks under the layers' names, where all of them are behind one prefix."""
    if not isinstance(masks, Mapping) or not all(isinstance(name, str) for name in masks):
        return masks
    naming = _naming(shapes)
    layers = {naming(name): name for name in shapes}
    weights = {f"{plain}.weight": name for plain, name in layers.items()}
    prefix = _prefixes([naming(name) for name in masks], layers | weights)[0]
    return {naming(name).removeprefix(prefix): mask for name, mask in masks.items()}


def parameter_of(name: str) -> str:
    """The parameter that a stored tensor belongs to, under torch.nn.utils.prune too."""
    return name.removesuffix(ORIG).removesuffix(MASK)


def _own_name(name: str, wanted: Mapping[str, str]) -> str:
    """A stored tensor's name as the network has it, where it has one."""
    if name in wanted:
        return wanted[name]
    parameter = parameter_of(name)
    return wanted.get(parameter, parameter) + name.removeprefix(parameter)


def _prefixes(names: Iterable[str], wanted: Mapping[str, str]) -> list[str]:
    """What may stand before the network's names in the file: the beginnings that most of them are under, short first.

    >>> _prefixes(["criterion.weight", "model.0.weight", "model.1.bias"], {"0.weight": "", "1.bias": ""})
    ['model.']
    """
    names = [*names]
    beginnings = {"": 0}
    for name in names:
        parts = name.split(".")
        for depth in range(len(parts)):
            prefix = "".join(f"{part}." for part in parts[:depth])
            found = parameter_of(name.removeprefix(prefix)) in wanted
            beginnings[prefix] = beginnings.get(prefix, 0) + found
    most = max(beginnings.values())
    return sorted((prefix for prefix, found in beginnings.items() if found == most), key=len)


def _meant(prefixes: Sequence[str], stored: Mapping[str, Tensor], wanted: Mapping[str, str]) -> str:
    """The prefix of the network itself, out of those that equally many of its names are under.

    Raises:
        SeveralNetworksError: as `fitted`.
    """
    own = [prefix for prefix in prefixes if not told_by(prefix, (*NO_WEIGHTS, *AVERAGES))]
    own = own or [*prefixes]
    own = [prefix for prefix in ("", *(f"{key}." for key in WEIGHTS)) if prefix in own] or own
    if "" in own or len(own) == 1:
        return own[0]
    first, *others = (_beneath(prefix, stored) for prefix in own)
    needed = {name for name in wanted if not name.endswith(COUNTER)}
    whole = needed <= {parameter_of(name) for name in first}
    if whole and not all(_equal(first, other) for other in others):
        raise SeveralNetworksError(prefix.removesuffix(".") for prefix in own)
    return own[0]


def _beneath(prefix: str, stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in stored.items() if name.startswith(prefix)}


def _equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        value.dtype == other[name].dtype
        and not (value.is_meta or other[name].is_meta)  # which have no values
        and torch.equal(value, other[name])
        for name, value in one.items()
    )
