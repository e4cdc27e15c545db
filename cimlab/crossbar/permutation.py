"""The order of rows and columns on the arrays, as a checkpoint stores it beside the masks.

A permutation is a mapping decision: which wordline an input lands on, and which bitline an output. It changes no
product. Inputs are selected by an address a wordline and outputs put back by an address a bitline
(`CrossbarMatrix.order_bits`), which the cost model prices as index.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.errors import REFUSED, CimlabError

FIELDS = ("row_permutation", "column_permutation")


class PermutationError(CimlabError, ValueError):
    """A stored permutation that does not fit the network or its row order; the message says the mend."""

    exit_code = REFUSED


def stored(matrices: list[CrossbarMatrix]) -> dict[str, Any]:
    """The entry `permutation` of a checkpoint, in plain containers and tensors; no entry where nothing is permuted.

    >>> stored([CrossbarMatrix("fc", (2, 3), column_permutation=(1, 0))])["permutation"]["layers"]
    {'fc': {'column_permutation': tensor([1, 0])}}
    """
    layers = {}
    for matrix in matrices:
        orders = {field: getattr(matrix, field) for field in FIELDS if getattr(matrix, field) is not None}
        if orders:
            layers[matrix.name] = {field: torch.tensor(order) for field, order in orders.items()}
    return {"permutation": {"row_order": matrices[0].row_order, "layers": layers}} if layers else {}


def restored(matrices: list[CrossbarMatrix], content: Mapping[str, Any] | None) -> list[CrossbarMatrix]:
    """The matrices with the permutations that the entry `permutation` of a checkpoint holds; None is no entry.

    Layers that are not among the matrices (left digital, for example) are passed over.

    >>> entry = stored([CrossbarMatrix("fc", (2, 3), column_permutation=(1, 0))])["permutation"]
    >>> restored([CrossbarMatrix("conv", (4, 1, 3, 3)), CrossbarMatrix("fc", (2, 3))], entry)[1].column_permutation
    (1, 0)

    Raises:
        PermutationError: it was searched under another row order, or is no permutation of the layer's lines.
    """
    if content is None:
        return matrices
    try:
        row_order, layers = content["row_order"], dict(content["layers"])
        orders = {
            name: {field: _order(own[field]) for field in FIELDS if field in own}
            for name, own in layers.items()
        }
        reordered = [replace(m, **orders.get(m.name, {})) for m in matrices]
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise PermutationError(f"the stored permutation fits no such network ({problem})") from problem
    if any(m.row_order != row_order for m in matrices):
        raise PermutationError(
            f"the rows were permuted in {row_order} order, and row_order={matrices[0].row_order} was asked; "
            f"set row_order={row_order}"
        )
    return reordered


def _order(lines: Tensor) -> tuple[int, ...]:
    return tuple(int(line) for line in lines.tolist())
