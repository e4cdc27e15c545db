"""Which values of a network follow from its parameters alone, and which from its inputs, followed through operations.

Identity is by storage, so that views and what is written in place are seen; a storage that is freed is remembered
weakly, for its address comes again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef


@dataclass(frozen=True)
class Origin:
    """Where the values of a storage come from.

    Args:
        parameters: names of the parameters that they are, or are computed from, and of nothing else but constants.
        inputs: they depend on the network's inputs.
        computed: they are computed; otherwise they are the one parameter.
        shape, stride, offset: of the tensor that began the storage, for reading views of it.
    """

    parameters: tuple[str, ...] = ()
    inputs: bool = False
    computed: bool = True
    shape: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    offset: int = 0


CONSTANT = Origin()
"""Of whatever was not seen to come from anywhere."""
INPUTS = Origin(inputs=True)


class Provenance:
    """Origin of every storage seen.

    Args:
        parameters: name -> parameter, without those that are another one's alias.
    """

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        self._known: dict[int, tuple[StorageWeakRef, Origin]] = {}
        for name, value in parameters.items():
            self._set(value, _origin(value, (name,), computed=False))

    def mark_inputs(self, tensors: Iterable[Tensor]) -> None:
        """These are what the network is given."""
        for tensor in tensors:
            self._set(tensor, INPUTS)

    def of(self, tensor: Tensor) -> Origin:
        """Where a tensor's values come from."""
        found = self._known.get(tensor.untyped_storage()._cdata)
        return CONSTANT if found is None else found[1]

    def follow(self, arguments: Iterable[Tensor], results: Iterable[Tensor]) -> None:
        """Results come from where the arguments come from; a view goes on belonging to its storage."""
        origins = [self.of(tensor) for tensor in arguments]
        inputs = any(origin.inputs for origin in origins)
        names = tuple(dict.fromkeys(name for origin in origins for name in origin.parameters))
        for result in results:
            known = self._known.get(result.untyped_storage()._cdata)
            if inputs:
                if known is None or not known[1].inputs:
                    self._set(result, INPUTS)
            elif names and known is None:
                self._set(result, _origin(result, names, computed=True))
            elif names and known is not None and not set(names) <= set(known[1].parameters):
                merged = tuple(dict.fromkeys((*known[1].parameters, *names)))
                self._set(result, _origin(result, merged, computed=True))

    def _set(self, tensor: Tensor, origin: Origin) -> None:
        storage = tensor.untyped_storage()
        self._known[storage._cdata] = (StorageWeakRef(storage), origin)


def _origin(tensor: Tensor, names: tuple[str, ...], computed: bool) -> Origin:
    shape, stride = tuple(tensor.shape), tuple(tensor.stride())
    return Origin(names, False, computed, shape, stride, int(tensor.storage_offset()))
