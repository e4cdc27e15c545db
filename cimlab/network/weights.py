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
_OWNER = re.compile(f"(?P<layer>.+?)(?:{'|'.join(re.escape(form.format('')) for form in STORED_AS[1:])})")
_ROWS = re.compile(r"^(?P<whole>.+)\.rows_(?P<start>\d+)_(?P<stop>\d+)$")


def name_of(parameter: str, tensors: Mapping[str, Tensor]) -> str:
    """What the weight in this parameter is called: as its layer, if that is where the layer's weight is stored.

    >>> layer = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(2, 3)))
    >>> [name_of(name, parameters(layer)) for name in parameters(layer)]
    ['0.bias', '0.parametrizations.weight.original0', '0']

    Args:
        parameter: its name.
        tensors: all parameters by name.
    """
    owner = _OWNER.fullmatch(parameter)
    if owner is None or stored_at(tensors, owner["layer"])[0] != parameter:
        return parameter
    own = parameter.endswith(".weight_v") and not _is_normed(tensors, owner["layer"])
    return parameter if own else owner["layer"]


def _is_normed(tensors: Mapping[str, Tensor], layer: str) -> bool:
    """Whether `weight_v` of a layer is what torch.nn.utils.weight_norm keeps, and no weight of one's own called so:
    `weight_g` holds its norms, along one dimension or as one number."""
    norms, weight = tensors.get(f"{layer}.weight_g"), tensors[f"{layer}.weight_v"]
    return (
        norms is not None and norms.ndim in (0, weight.ndim) and norms.numel() == max(norms.shape, default=1)
    )


def name_of_part(parameter: str, tensors: Mapping[str, Tensor], start: int, stop: int) -> str:
    """What rows `start` to `stop` of a parameter are called.

    >>> stored = parameters(nn.ModuleList([nn.MultiheadAttention(32, 1), nn.Linear(8, 96)]))
    >>> name_of_part("0.in_proj_weight", stored, 32, 64), name_of_part("1.weight", stored, 0, 32)
    ('0.in_proj_weight.k', '1.rows_0_32')
    """
    name, value = name_of(parameter, tensors), tensors[parameter]
    rows = len(value) if value.ndim else 1
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
