"""What a network is given: a tensor, a tuple of them, or a dictionary (token ids), with the samples in dimension 0."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

Batch = Tensor | tuple[Any, ...] | list[Any] | Mapping[str, Any]
"""A tensor is the network's one argument, a tuple or list all of them, a dictionary those by name."""
HOLDERS = Tensor, tuple, list, Mapping
"""What tensors are looked for in, however deep."""


def call(network: nn.Module, batch: Batch) -> Any:
    """What the network computes for a batch."""
    if isinstance(batch, Tensor):
        return network(batch)
    if isinstance(batch, Mapping):
        return network(**batch)
    return network(*batch)


def tensors(batch: Batch) -> list[Tensor]:
    """All tensors of a batch, in order, also those of tuples, lists and dictionaries in it."""
    if isinstance(batch, Tensor):
        return [batch]
    parts = batch.values() if isinstance(batch, Mapping) else batch
    return [tensor for part in parts if isinstance(part, HOLDERS) for tensor in tensors(part)]


def mapped(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    """The same with every tensor changed; one that is there twice stays one, as networks ask whether it is.

    >>> ids = torch.zeros(4, 2)
    >>> one, two = mapped((ids, ids), lambda t: t[:1])
    >>> one is two
    True
    >>> mapped({"ids": torch.zeros(4, 2), "cache": None, "more": [torch.ones(4)]}, lambda t: t[:1])
    {'ids': tensor([[0., 0.]]), 'cache': None, 'more': [tensor([1.])]}
    """

    made: dict[int, Tensor] = {}  # by identity; the batch keeps what was read alive

    def once(part: Tensor) -> Tensor:
        if id(part) not in made:
            made[id(part)] = change(part)
        return made[id(part)]

    return _mapped(batch, once)


def _mapped(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    def changed(part: Any) -> Any:
        return _mapped(part, change) if isinstance(part, HOLDERS) else part

    if isinstance(batch, Tensor):
        return change(batch)
    if isinstance(batch, Mapping):
        return {name: changed(part) for name, part in batch.items()}
    parts = [changed(part) for part in batch]
    return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)


def size(batch: Batch) -> int:
    """Samples in the batch.

    Raises:
        ValueError: it holds no tensor.
    """
    found = tensors(batch)
    if not found or not found[0].ndim:
        raise ValueError(
            "a batch is a tensor, a tuple or a dictionary of tensors, with the samples in dimension 0"
        )
    return found[0].shape[0]


def samples(batch: Batch, count: int) -> Batch:
    """The first sample, `count` times; what has no dimension of samples is left as it is."""
    whole = size(batch)

    def taken(part: Tensor) -> Tensor:
        return part[:1].expand(count, *part.shape[1:]) if part.ndim and part.shape[0] == whole else part

    return mapped(batch, taken)


def sampled_too(batch: Batch) -> tuple[str, ...]:
    """Inputs besides the first that are taken to hold a value per sample, for being as long in dimension 0.

    >>> sampled_too((torch.zeros(8, 3), torch.zeros(8, 8), torch.zeros(5)))
    ('input 1 (8 x 8)',)
    """
    _, *others = tensors(batch)
    return tuple(
        f"input {number} ({' x '.join(map(str, part.shape))})"
        for number, part in enumerate(others, 1)
        if part.ndim and part.shape[0] == size(batch)
    )


def on(batch: Batch, device: torch.device | str) -> Batch:
    """The batch on a device."""
    return mapped(batch, lambda part: part.to(device))


def sample_of(batch: Batch) -> tuple[str, int | None]:
    """What one sample is called, and how many tokens it has.

    A first tensor of whole numbers, one row per sample, holds token ids; one of four dimensions holds images.

    >>> sample_of(torch.zeros(8, 3, 32, 32)), sample_of({"input_ids": torch.zeros(8, 16, dtype=torch.long)})
    (('image', None), ('sequence of 16 tokens', 16))
    """
    first = tensors(batch)[0]
    if first.is_floating_point() or first.is_complex() or first.dtype == torch.bool or first.ndim != 2:
        return ("image" if first.ndim == 4 else "sample"), None
    return f"sequence of {first.shape[1]} tokens", first.shape[1]
