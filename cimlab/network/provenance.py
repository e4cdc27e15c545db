"""Which values of a network follow from its parameters alone, and which from its inputs, followed through operations.

Identity is by storage, so that views and what is written in place are seen, and by the parameter that a view lies in,
where several share a storage. One that is freed is remembered weakly, for its address comes again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from cimlab.network.storages import part_of, shared


@dataclass(frozen=True)
class Origin:
    """Where the values of a storage come from.

    Args:
        parameters: names of the parameters that they are, or are computed from, and of nothing else but constants.
        inputs: they depend on the network's inputs.
        computed: they are computed; otherwise they are the one parameter.
        shape, stride, offset: of the tensor that began the storage, for reading views of it.
        how: what computed it, from what: the same for the same operations on the same values.
        multiplied: by products among these, as tokens that are stored are projected.
    """

    parameters: tuple[str, ...] = ()
    inputs: bool = False
    computed: bool = True
    shape: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    offset: int = 0
    how: str = ""
    multiplied: bool = False


CONSTANT = Origin()
"""Of whatever was not seen to come from anywhere."""
INPUTS = Origin(inputs=True)
FEW = 64
"""Values of a constant up to which it is known by them, above by its shape."""


class Provenance:
    """Origin of every storage seen, and of every parameter and buffer in one that they share.

    Args:
        parameters: name -> parameter, without those that are another one's alias.
        buffers: the same of constants that are stored.
    """

    def __init__(self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor]) -> None:
        self._known: dict[tuple[int, int], tuple[StorageWeakRef, Origin]] = {}
        self._shared = shared({**parameters, **buffers})
        for name, value in buffers.items():
            self._set(value, replace(_origin(value, (), computed=True), how=name))
        for name, value in parameters.items():
            self._set(value, _origin(value, (name,), computed=False))

    def mark_inputs(self, tensors: Iterable[Tensor]) -> None:
        """These are what the network is given."""
        for tensor in tensors:
            self._set(tensor, INPUTS)

    def of(self, tensor: Tensor) -> Origin:
        """Where a tensor's values come from."""
        found = self._known.get(self._place(tensor))
        return CONSTANT if found is None else found[1]

    def _place(self, tensor: Tensor) -> tuple[int, int]:
        """The storage, and which of the parts that share it the tensor lies in; 0 of a storage that is no such."""
        storage = tensor.untyped_storage()._cdata
        if (parts := self._shared.get(storage)) is None:
            return storage, 0
        own = part_of(tensor)
        return storage, next(
            (number for number, part in enumerate(parts.values(), 1) if own.lies_in(part)), 0
        )

    def follow(
        self,
        arguments: Iterable[Tensor],
        results: Iterable[Tensor],
        operation: tuple[Any, ...],
        changes: bool,
        product: bool = False,
    ) -> None:
        """Results come from where the arguments come from; a view goes on belonging to its storage.

        Args:
            operation: what is computed, and all that it was given.
            changes: it writes into what it was given.
            product: it sums up products of what it was given.
        """
        origins = [self.of(tensor) for tensor in arguments]
        inputs = any(origin.inputs for origin in origins)
        names = tuple(dict.fromkeys(name for origin in origins for name in origin.parameters))
        multiplied = product or any(origin.multiplied for origin in origins)

        def computed(result: Tensor, names: tuple[str, ...]) -> Origin:
            began = _origin(result, names, computed=True)
            return replace(began, how=self._how(operation), multiplied=multiplied)

        for result in results:
            known = self._known.get(self._place(result))
            if inputs:
                if known is None or not known[1].inputs:
                    self._set(result, INPUTS)
            elif known is None:
                self._set(result, computed(result, names))
            elif names and not set(names) <= set(known[1].parameters):
                merged = tuple(dict.fromkeys((*known[1].parameters, *names)))
                self._set(result, computed(result, merged))
            elif changes and known[1].computed and not known[1].inputs:
                self._set(result, replace(known[1], how=self._how(operation)))

    def _how(self, operation: tuple[Any, ...]) -> str:
        """A digest of an operation and of what it was given, which is what tells two computed weights apart.

        Where it ran is left out: the same network computes the same on every device.
        """
        return blake2b(repr(self._told(operation)).encode(), digest_size=8).hexdigest()

    def _told(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            origin = self.of(value)
            place = tuple(value.shape), tuple(value.stride()), int(value.storage_offset()) - origin.offset
            if origin.how or origin.parameters:
                return origin.how or origin.parameters, place
            plain = value.layout == torch.strided and not (
                value.is_meta or value.is_complex() or value.is_quantized
            )
            seen = plain and value.numel() <= FEW
            return "constant", place, value.flatten().tolist() if seen else None
        if isinstance(value, list | tuple):
            return [self._told(part) for part in value]
        if isinstance(value, Mapping):
            return {key: self._told(part) for key, part in value.items()}
        if isinstance(value, bool | int | float | str | torch.dtype):
            return value
        return type(value).__name__

    def _set(self, tensor: Tensor, origin: Origin) -> None:
        self._known[self._place(tensor)] = (StorageWeakRef(tensor.untyped_storage()), origin)


def _origin(tensor: Tensor, names: tuple[str, ...], computed: bool) -> Origin:
    shape, stride = tuple(tensor.shape), tuple(tensor.stride())
    return Origin(names, False, computed, shape, stride, int(tensor.storage_offset()))
