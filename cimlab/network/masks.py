"""Masks at the door: tensors of 0 and 1 by layer, as pruning tools make them, or one line that says what is wrong.

Whatever takes masks calls `checked_masks` before it does anything else; behind it, masks are boolean, fit their layers
and are called as the layers are. Compiled code sees nothing else.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor, nn

from cimlab.errors import REFUSED, CimlabError
from cimlab.network.weights import is_part, name_of, parameters, stored_at, stored_weight

if TYPE_CHECKING:
    from cimlab.network.account import NetworkAccount

Masks = dict[str, Bool[Tensor, "..."]]
"""Layer name -> True where a weight is left, in the shape of the layer's weight."""

WRAPPERS = ("module", "_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module")
"""What DataParallel, torch.compile, activation checkpointing and FSDP put into the names of a network's layers."""
SUFFIXES = (".weight_mask", ".weight", "_mask")
"""What may follow a layer's name: torch.nn.utils.prune calls its masks so, and some tools name the weight itself."""
NAMES_SHOWN = 8


class MaskError(CimlabError, ValueError):
    """Masks that can't be used; the message names the mask, what is wrong, and what is allowed."""

    exit_code = REFUSED


def weight_shapes(network: nn.Module, masks: object = None) -> dict[str, tuple[int, ...]]:
    """Name of a weight -> shape of what is stored, for every weight of two or more dimensions.

    Args:
        network: any.
        masks: as they were given; what they name counts as weights, too, where it may be multiplied: parts of a
            parameter, and a vector that the forward pass may view as a matrix.
    """
    stored = parameters(network)
    whole = {name_of(name, stored): tuple(value.shape) for name, value in stored.items() if value.ndim > 1}
    for name in map(str, masks) if isinstance(masks, Mapping) else ():
        try:
            parameter, rows = stored_at(stored, name)
        except KeyError:
            continue
        if stored[parameter].ndim > 1 or _may_be_matrix(network, parameter):
            whole.setdefault(name_of(name, stored), tuple(stored[parameter][rows].shape))
    return whole


def _may_be_matrix(network: nn.Module, parameter: str) -> bool:
    """Whether a forward pass may multiply by a vector: not by a bias, nor by the scale of one of torch's norms."""
    layer, _, own = parameter.rpartition(".")
    is_torchs = type(network.get_submodule(layer)).__module__.startswith("torch.nn.modules.")
    return "bias" not in own and not (own == "weight" and is_torchs)


def checked_masks(
    masks: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
    tied: Mapping[str, str] | None = None,
) -> Masks:
    """Masks of any dtype that hold 0 and 1, as booleans under the names of the layers.

    Args:
        masks: layer name -> 1 where a weight is kept; the names of its weight (`conv1.weight`, `conv1.weight_mask`)
            mean the layer too.
        shapes: layer name -> shape of its weight; a layer without a mask is whole.
        tied: name of a layer -> that of the layer whose weight it shares, which the mask is then called by.

    Raises:
        MaskError: a name that no layer has, another shape, or a value that is neither 0 nor 1; one line.

    >>> checked_masks({"0.weight_mask": torch.tensor([[1.0, 0.0]])}, {"0": (1, 2)})
    {'0': tensor([[ True, False]])}
    """
    if not isinstance(masks, Mapping):
        raise MaskError(
            f"masks are a {type(masks).__name__}; give a dictionary of layer name to tensor of 0 and 1"
        )
    tied = tied or {}
    known = {**shapes, **{other: shapes[own] for other, own in tied.items()}}
    layers = _by_plain_name(known)
    checked: Masks = {}
    for name, mask in _in_parts(masks, known).items():
        called = _layer(str(name), known, layers)
        layer = tied.get(called, called)
        found = checked_mask(layer, mask, tuple(shapes[layer]))
        if layer in checked and (called == layer or not torch.equal(found, checked[layer])):
            raise MaskError(f"layer {layer} has two masks, the second called {name}; keep one")
        checked[layer] = found
    return checked


def masks_on_arrays(masks: Mapping[str, Any], account: NetworkAccount) -> Masks:
    """Checked masks of the weights on arrays; those of weights that are left digital are checked too, and left out.

    Raises:
        MaskError: as `checked_masks`.
    """
    shapes = {weight.name: weight.shape for weight in (*account.on_arrays, *account.digital)}
    checked = checked_masks(masks, shapes, account.tied)
    return {weight.name: checked[weight.name] for weight in account.on_arrays if weight.name in checked}


def _in_parts(masks: Mapping[str, Any], layers: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Masks of parameters whose parts are multiplied apart (an attention's packed projection) as those of the parts."""
    found: dict[str, Any] = {}
    for name, mask in masks.items():
        whole = str(name).removesuffix("_mask")
        parts = [layer for layer in layers if layer.startswith(f"{whole}.") and is_part(layer)]
        if whole in layers or not parts or not isinstance(mask, Tensor):
            found[name] = mask
        else:
            found |= {part: stored_weight({whole: mask}, part) for part in parts}
    return found


def plain_name(name: str) -> str:
    """A layer's name without what wrappers put into it.

    >>> plain_name("module._orig_mod.layer1.0.conv1")
    'layer1.0.conv1'
    """
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def _by_plain_name(layers: Iterable[str]) -> dict[str, str]:
    """Plain name -> layer, where that is one layer's alone."""
    found: dict[str, str] = {}
    twice = set()
    for layer in layers:
        plain = plain_name(layer)
        if plain in found:
            twice.add(plain)
        found[plain] = layer
    return {plain: layer for plain, layer in found.items() if plain not in twice}


def _layer(name: str, shapes: Mapping[str, tuple[int, ...]], by_plain_name: dict[str, str]) -> str:
    """The layer that a mask is of."""
    for suffix in ("", *SUFFIXES):
        layer = name.removesuffix(suffix)
        if layer in shapes:
            return layer
        if layer in by_plain_name:  # of a bare network, for a layer inside a compiled one
            return by_plain_name[layer]
        if (own := by_plain_name.get(plain_name(layer))) is not None:
            wrappers = " and ".join(part for part in WRAPPERS if part in name.split("."))
            raise MaskError(
                f"mask {name}: the network has no layer of this name, but {own}; names with {wrappers} are a wrapped "
                "network's: take that off, or give the wrapped network"
            )
    near = difflib.get_close_matches(plain_name(name), shapes, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    more = "" if len(shapes) <= NAMES_SHOWN else f" and {len(shapes) - NAMES_SHOWN} more"
    known = ", ".join([*shapes][:NAMES_SHOWN])
    raise MaskError(f"mask {name}: no layer that takes a mask is called so; {hint}there are {known}{more}")


def checked_mask(layer: str, mask: object, shape: tuple[int, ...]) -> Bool[Tensor, "..."]:
    """One mask as booleans.

    Raises:
        MaskError: as `checked_masks`.
    """
    if isinstance(mask, np.ndarray):
        mask = torch.from_numpy(np.ascontiguousarray(mask))
    if not isinstance(mask, Tensor) or mask.is_meta or mask.is_quantized:
        kind = "tensor without values" if isinstance(mask, Tensor) else type(mask).__name__
        raise MaskError(f"the mask of layer {layer} is a {kind}; give a tensor of 0 and 1")
    mask = mask.detach()
    if mask.layout != torch.strided:
        mask = mask.to_dense()
    if tuple(mask.shape) != shape:
        raise MaskError(
            f"the mask of layer {layer} has shape {tuple(mask.shape)}, its weight {shape}; give a value per weight"
        )
    if mask.dtype == torch.bool:
        return mask
    fits = (mask == 0) | (mask == 1)
    if not bool(fits.all()):
        odd = mask[~fits].flatten()[0].item()
        raise MaskError(
            f"the mask of layer {layer} holds {odd:g}; a mask is 1 where a weight is kept and 0 elsewhere"
        )
    return mask != 0
