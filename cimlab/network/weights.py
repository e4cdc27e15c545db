"""What a weight is called, and where it is stored: one name for the crossbar matrix, its mask and its line in a table.

A layer's weight is called as the layer (`conv1`), also where the layer computes it (weight norm, spectral norm,
torch.nn.utils.prune); any other parameter as itself. Parts of a parameter that are multiplied apart have a suffix: the
three matrices of an attention's packed projection are `attention.in_proj_weight.q`, `.k` and `.v`.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn

STORED_AS = (
    "{}", "{}.weight", "{}.parametrizations.weight.original", "{}.parametrizations.weight.original1",
    "{}.weight_orig", "{}.weight_v",
)  # fmt: skip
"""Where the weight called so is stored: a parameter, a layer's own, or what torch's reparametrisations begin with."""
PACKED = "in_proj_weight"
PACKED_PARTS = ("q", "k", "v")
_OWNER = re.compile(
    r"^(?P<layer>.+?)\.(?:weight|parametrizations\.weight\.original[0-9]*|weight_orig|weight_[gv])$"
)
_ROWS = re.compile(r"^(?P<whole>.+)\.rows_(?P<start>\d+)_(?P<stop>\d+)$")


def name_of(parameter: str) -> str:
    """What the weight in this parameter is called.

    >>> name_of("layer1.0.conv1.weight"), name_of("0.parametrizations.weight.original1"), name_of("class_token")
    ('layer1.0.conv1', '0', 'class_token')
    """
    owner = _OWNER.match(parameter)
    return owner["layer"] if owner else parameter


def name_of_part(parameter: str, rows: int, start: int, stop: int) -> str:
    """What rows `start` to `stop` of a parameter with so many rows are called.

    >>> name_of_part("0.in_proj_weight", 96, 32, 64), name_of_part("0.weight", 96, 0, 32)
    ('0.in_proj_weight.k', '0.rows_0_32')
    """
    name = name_of(parameter)
    if (start, stop) == (0, rows):
        return name
    third = rows // 3
    if parameter.rpartition(".")[2] == PACKED and rows == 3 * third and stop - start == third:
        return f"{name}.{PACKED_PARTS[start // third]}"
    return f"{name}.rows_{start}_{stop}"


def is_part(name: str) -> bool:
    """Whether a weight's name is that of some rows of a parameter."""
    return name.rpartition(".")[2] in PACKED_PARTS or _ROWS.match(name) is not None


def stored_at(tensors: Mapping[str, Tensor], name: str) -> tuple[str, slice]:
    """Where the weight called `name` is stored: a parameter and rows of it.

    Args:
        tensors: parameters by name, or a state_dict.
        name: of a weight.

    Raises:
        KeyError: nothing is called so.
    """
    for pattern in STORED_AS:
        if isinstance(tensors.get(pattern.format(name)), Tensor):
            return pattern.format(name), slice(None)
    whole, _, part = name.rpartition(".")
    if part in PACKED_PARTS and whole in tensors:
        third = len(tensors[whole]) // 3
        start = PACKED_PARTS.index(part) * third
        return whole, slice(start, start + third)
    rows = _ROWS.match(name)
    if rows is None:
        raise KeyError(name)
    return stored_at(tensors, rows["whole"])[0], slice(int(rows["start"]), int(rows["stop"]))


def stored_weight(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    """The stored values of the weight called `name`: a parameter itself, or a view of its rows; as `stored_at`."""
    parameter, rows = stored_at(tensors, name)
    return tensors[parameter] if rows == slice(None) else tensors[parameter][rows]


def parameters(network: nn.Module) -> dict[str, nn.Parameter]:
    """The network's parameters, a tied one under each of its names."""
    return dict(network.named_parameters(remove_duplicate=False))


def matches(pattern: str, name: str) -> bool:
    """Whether a pattern names this, or a module that it is in."""
    parts = name.split(".")
    inside = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
    return any(pattern == part or fnmatchcase(part, pattern) for part in inside)


def snapshot(network: nn.Module) -> dict[str, Any]:
    """A copy of all that the network holds, by the names of its state: weights and buffers, on the processor, and what
    modules keep besides (`get_extra_state`).

    >>> list(snapshot(nn.Linear(2, 1)))
    ['weight', 'bias']
    """
    return {
        name: value.detach().cpu().clone() if isinstance(value, Tensor) else copy.deepcopy(value)
        for name, value in network.state_dict().items()
    }
