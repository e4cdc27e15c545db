"""Which batch norm alone reads what a layer computes, found out while a network runs: what folding needs to know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten

BATCH_NORMS = (
    aten.native_batch_norm, aten._native_batch_norm_legit_no_training, aten._batch_norm_no_update,
    aten.cudnn_batch_norm, aten.miopen_batch_norm,
)  # fmt: skip
TRAINING = 5
"""Where these operations are told to take the batch's own statistics, those that can be."""


@dataclass
class _Result:
    module: str
    value: Tensor  # kept, for the address of what is freed comes again
    readers: int = 0
    norm: str | None = None


class Readers:
    """What reads the results of products, by module and by storage, so that views are seen."""

    def __init__(self) -> None:
        self._results: dict[int, _Result] = {}
        self._norms: Counter[str] = Counter()

    def gave(self, module: str, value: Tensor) -> None:
        """A module computed this."""
        self._results[value.untyped_storage()._cdata] = _Result(module, value)

    def read(self, module: str, operation: Any, args: tuple[Any, ...], tensors: Iterable[Tensor]) -> None:
        """An operation in a module is given these tensors."""
        is_norm = operation in BATCH_NORMS
        if is_norm:
            self._norms[module] += 1
        for tensor in tensors:
            result = self._results.get(tensor.untyped_storage()._cdata)
            if result is None:
                continue
            result.readers += 1
            own_statistics = len(args) > TRAINING and args[TRAINING] is True
            if is_norm and not own_statistics and args[0].shape == result.value.shape:
                result.norm = module

    def norms(self) -> dict[str, str]:
        """Layer -> norm; each computes once, and nothing else reads the layer."""
        layers = Counter(result.module for result in self._results.values())
        return {
            result.module: result.norm
            for result in self._results.values()
            if result.norm is not None
            and result.readers == layers[result.module] == self._norms[result.norm] == 1
        }
