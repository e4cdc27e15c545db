"""Which tensors share a storage, as parameters do that were read from one vector, and where in it each lies.

Those that lie between each other, as the columns of a matrix do, are told apart; those that have values in common are
found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

from torch import Tensor


@dataclass(frozen=True)
class Part:
    """Where the values of a tensor lie in its storage, in bytes.

    Args:
        first, last: where the first and the last value begin.
        steps: (stride, size) of every dimension, the longest stride first.
        value: bytes of one.
    """

    first: int
    last: int
    steps: tuple[tuple[int, int], ...]
    value: int

    def begins_in(self, other: Part) -> bool:
        """Whether the first value is one of another part."""
        return other._has(self.first)

    def lies_in(self, other: Part) -> bool:
        """Whether the first and the last value are values of another part."""
        return other._has(self.first) and other._has(self.last)

    def _has(self, place: int) -> bool:
        """Whether a byte is one of a value."""
        if not self.first <= place < self.last + self.value:
            return False
        left = place - self.first
        for stride, size in self.steps:
            left -= stride * min(left // stride, size - 1) if stride else 0
        return left < self.value


def part_of(tensor: Tensor) -> Part:
    """Where a tensor lies in its storage.

    >>> import torch
    >>> whole = torch.zeros(4, 6)
    >>> left, right = part_of(whole[:, :3]), part_of(whole[:, 3:])
    >>> part_of(whole[1:3, 3]).lies_in(left), part_of(whole[1:3, 3]).lies_in(right)
    (False, True)
    """
    value = tensor.element_size()
    steps = [
        (stride * value, size) for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1
    ]
    first = int(tensor.storage_offset()) * value
    last = first + sum(stride * (size - 1) for stride, size in steps)
    return Part(first, last, tuple(sorted(steps, reverse=True)), value)


def shared(tensors: Mapping[str, Tensor]) -> dict[int, dict[str, Part]]:
    """Storage -> where each of its tensors lies, for those that hold several; a tensor without values lies nowhere."""
    found: dict[int, dict[str, Part]] = {}
    for name, tensor in tensors.items():
        if tensor.numel():
            found.setdefault(tensor.untyped_storage()._cdata, {})[name] = part_of(tensor)
    return {storage: parts for storage, parts in found.items() if len(parts) > 1}


def overlapping(tensors: Mapping[str, Tensor]) -> tuple[str, str] | None:
    """Names of two tensors that share values, if any do.

    >>> import torch
    >>> weight = torch.zeros(4, 6)
    >>> overlapping({"a": weight[:, :3], "b": weight[:, 3:]}), overlapping({"a": weight, "b": weight.t()})
    (None, ('a', 'b'))
    """
    for parts in shared(tensors).values():
        for (name, part), (other, another) in combinations(parts.items(), 2):
            if part.begins_in(another) or another.begins_in(part):
                return name, other
    return None
