"""The one view of a weight that every floor shares: rows are inputs (wordlines), columns outputs (bitlines).

A Conv2d becomes the matrix that `torch.nn.functional.unfold` multiplies; a grouped or depthwise one becomes
one matrix a group. Pruning cuts it, placement maps it, the analog model computes with it, and it writes back.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property
from math import ceil, log2, prod
from typing import Literal

import torch
from jaxtyping import Int, Shaped
from torch import Tensor, nn

from cimlab.network.borrowed import borrowed

RowOrder = Literal["channel_major", "kernel_major"]
MAPPED_LAYERS = (nn.Conv2d, nn.Linear)


class NetworkShapeError(ValueError):
    """A network that can't compute images of the given shape."""


@dataclass(frozen=True)
class CrossbarMatrix:
    """How the weight of one layer is read as `groups` matrices of `rows` x `cols`.

    Args:
        name: the layer's name in its network.
        weight_shape: (out, in) of a Linear, (out, in / groups, kh, kw) of a Conv2d.
        groups: matrices of this layer; 1 unless the convolution is grouped.
        products: matrix-vector products for one image (output pixels of a Conv2d, tokens of a Linear).
        row_order: `channel_major` is (c, kh, kw), unfold's order; `kernel_major` is (kh, kw, c).
        row_permutation: on top of it, the row that each wordline carries, the same in every group; None is none.
        column_permutation: the column that each bitline carries, likewise.

    Raises:
        ValueError: a permutation is none.
    """

    name: str
    weight_shape: tuple[int, ...]
    groups: int = 1
    products: int = 1
    row_order: RowOrder = "channel_major"
    row_permutation: tuple[int, ...] | None = None
    column_permutation: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        lengths = {"row_permutation": self.rows, "column_permutation": self.cols}
        for field, length in lengths.items():
            order = getattr(self, field)
            if order is not None and sorted(order) != list(range(length)):
                raise ValueError(f"{field} of layer {self.name} must hold each of 0 to {length - 1} once")

    @classmethod
    def of_layer(
        cls, name: str, layer: nn.Module, products: int = 1, row_order: RowOrder = "channel_major"
    ) -> CrossbarMatrix:
        """The view of a Linear or Conv2d.

        Raises:
            TypeError: the layer is of another type.
        """
        if not isinstance(layer, MAPPED_LAYERS):
            raise TypeError(
                f"layer {name} is a {type(layer).__name__}; only Linear and Conv2d map to crossbars"
            )
        groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
        return cls(name, tuple(layer.weight.shape), groups, products, row_order)

    @property
    def channels(self) -> int:
        """Input channels (or features) of one group."""
        return self.weight_shape[1]

    @property
    def kernel_size(self) -> int:
        """kh * kw; 1 for a Linear."""
        return prod(self.weight_shape[2:])

    @property
    def rows(self) -> int:
        """R: inputs of one group."""
        return self.channels * self.kernel_size

    @property
    def cols(self) -> int:
        """C: outputs of one group."""
        return self.weight_shape[0] // self.groups

    @property
    def weights(self) -> int:
        """Weights of the layer, all groups."""
        return prod(self.weight_shape)

    def to_matrix(self, weight: Shaped[Tensor, "..."]) -> Shaped[Tensor, "groups rows cols"]:
        """A tensor of the weight's shape, read as the crossbar matrices."""
        grouped = weight.reshape(self.groups, self.cols, self.channels, self.kernel_size)
        order = (0, 2, 3, 1) if self.row_order == "channel_major" else (0, 3, 2, 1)
        matrix = grouped.permute(order).reshape(self.groups, self.rows, self.cols)
        if self.row_permutation is not None:
            matrix = matrix[:, self._row_on_wordline.to(matrix.device)]
        if self.column_permutation is not None:
            matrix = matrix[:, :, self._column_on_bitline.to(matrix.device)]
        return matrix

    def to_weight(self, matrix: Shaped[Tensor, "groups rows cols"]) -> Shaped[Tensor, "..."]:
        """The inverse of `to_matrix`: crossbar matrices in the shape of the layer's weight."""
        if self.row_permutation is not None:
            matrix = matrix[:, self._row_on_wordline.argsort().to(matrix.device)]
        if self.column_permutation is not None:
            matrix = matrix[:, :, self._column_on_bitline.argsort().to(matrix.device)]
        if self.row_order == "channel_major":
            grouped = matrix.reshape(self.groups, self.channels, self.kernel_size, self.cols).permute(
                0, 3, 1, 2
            )
        else:
            grouped = matrix.reshape(self.groups, self.kernel_size, self.channels, self.cols).permute(
                0, 3, 2, 1
            )
        return grouped.reshape(self.weight_shape)

    def channel_of_row(self) -> Shaped[Tensor, " rows"]:
        """The input channel that each row belongs to, whatever the row order."""
        row = torch.arange(self.rows) if self.row_permutation is None else self._row_on_wordline
        return row // self.kernel_size if self.row_order == "channel_major" else row % self.channels

    def to_outputs(self, values: Shaped[Tensor, "groups cols ..."]) -> Shaped[Tensor, "out ..."]:
        """Values by bitline, put in the order of the layer's outputs."""
        if self.column_permutation is not None:
            values = values[:, self._column_on_bitline.argsort().to(values.device)]
        return values.flatten(0, 1)

    @property
    def order_bits(self) -> int:
        """Storage of the permutations: the address of every wordline's input and of every bitline's output."""
        lengths = [
            len(order) for order in (self.row_permutation, self.column_permutation) if order is not None
        ]
        return sum(length * ceil(log2(length)) for length in lengths)

    @cached_property
    def _row_on_wordline(self) -> Int[Tensor, " rows"]:
        return torch.tensor(self.row_permutation)

    @cached_property
    def _column_on_bitline(self) -> Int[Tensor, " cols"]:
        return torch.tensor(self.column_permutation)


def network_matrices(
    network: nn.Module, input_shape: tuple[int, ...], row_order: RowOrder = "channel_major"
) -> list[CrossbarMatrix]:
    """Crossbar matrices of a network's Conv2d and Linear layers, in the order in which they are computed.

    The products of each layer are read off one image traced on the meta device, which costs no arithmetic.
    A layer that is called several times (shared weights) counts all its products; one that the forward
    pass never calls as a module is left out.

    Args:
        network: any module that takes one image batch; left untouched.
        input_shape: shape of one image, (channels, height, width).

    Raises:
        NetworkShapeError: the network can't compute such an image.
    """
    shadow = copy.deepcopy(network).to("meta").eval()
    products: dict[str, int] = {}
    layers = {name: layer for name, layer in shadow.named_modules() if isinstance(layer, MAPPED_LAYERS)}

    def count(name: str, channels_last: bool):
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            pixels = output.shape[1:-1] if channels_last else output.shape[2:]
            products[name] = products.get(name, 0) + prod(pixels)

        return hook

    for name, layer in layers.items():
        layer.register_forward_hook(count(name, isinstance(layer, nn.Linear)))
    try:
        with torch.no_grad(), borrowed(shadow):
            shadow(torch.empty(1, *input_shape, device="meta"))
    except (RuntimeError, ValueError) as problem:
        shape = " x ".join(map(str, input_shape))
        raise NetworkShapeError(
            f"the model can't compute images of {shape} ({problem}); choose a model and data that fit"
        ) from problem
    return [CrossbarMatrix.of_layer(name, layers[name], products[name], row_order) for name in products]
