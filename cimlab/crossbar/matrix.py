"""The one view of a weight that every floor shares: rows are inputs (wordlines), columns outputs (bitlines).

A convolution becomes the matrix that `torch.nn.functional.unfold` multiplies; a grouped or depthwise one becomes
one matrix a group. Pruning cuts it, placement maps it, the analog model computes with it, and it writes back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil, log2, prod

import torch
from jaxtyping import Int, Shaped
from torch import Tensor, nn

from cimlab.crossbar.rules import RowOrder
from cimlab.network.account import NetworkAccount, WeightProduct, account_of
from cimlab.network.batch import Batch
from cimlab.network.errors import NetworkError
from cimlab.network.operand import Reading, grouped, ungrouped

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
MAPPED_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


@dataclass(frozen=True)
class CrossbarMatrix:
    """How one weight is read as `groups` matrices of `rows` x `cols`.

    >>> conv = CrossbarMatrix.of_layer("conv", nn.Conv2d(16, 32, 3), products=36)
    >>> conv.rows, conv.cols, conv.weights  # 16 channels of 3 x 3, 32 outputs
    (144, 32, 4608)
    >>> swapped = CrossbarMatrix("fc", (2, 3), column_permutation=(1, 0))
    >>> matrix = swapped.to_matrix(torch.tensor([[1, 2, 3], [4, 5, 6]]))
    >>> matrix.tolist(), swapped.to_outputs(matrix.sum(1)).tolist(), swapped.order_bits
    ([[[4, 1], [5, 2], [6, 3]]], [6, 15], 2)

    Args:
        name: the weight's name in its network: its layer's, or its parameter's.
        weight_shape: as it is stored: (out, in) of a Linear, (out, in / groups, kh, kw) of a Conv2d.
        groups: matrices of this weight; 1 unless the convolution is grouped.
        products: matrix-vector products for one image (output pixels of a Conv2d, tokens of a Linear).
        row_order: `channel_major` is (c, kh, kw), unfold's order; `kernel_major` is (kh, kw, c).
        row_permutation: on top of it, the row that each wordline carries, the same in every group; None is none.
        column_permutation: the column that each bitline carries, likewise.
        reading: whether outputs or inputs come first in what is stored; `transposed` is a transposed convolution,
            whose equivalent convolution flips the kernel.
        outputs: of all groups; None where the stored shape begins with them.
        kernel: sizes of the kernel; None where they end the stored shape.
        input_pixels: of one image, for a transposed convolution: each weight multiplies every one of them once.

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
    reading: Reading = "outputs_first"
    outputs: int | None = None
    kernel: tuple[int, ...] | None = None
    input_pixels: int | None = None

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
        """The view of a Linear, Conv1d, Conv2d or Conv3d.

        Raises:
            TypeError: the layer is of another type.
        """
        if not isinstance(layer, MAPPED_LAYERS):
            raise TypeError(f"layer {name} is a {type(layer).__name__}; it has no view of its own")
        groups = 1 if isinstance(layer, nn.Linear) else layer.groups
        return cls(name, tuple(layer.weight.shape), groups, products, row_order)

    @classmethod
    def of_weight(cls, weight: WeightProduct, row_order: RowOrder = "channel_major") -> CrossbarMatrix:
        """The view of a traced weight.

        >>> up = nn.ConvTranspose2d(8, 16, 2, stride=2)
        >>> (matrix,) = network_matrices(up, (8, 4, 4))
        >>> matrix.products, matrix.macs_per_weight  # output pixels, input pixels
        (64, 16)
        """
        plain = weight.reading == "outputs_first" and weight.shape == (
            weight.outputs, weight.channels, *weight.kernel,
        )  # fmt: skip
        return cls(
            weight.name, weight.shape, weight.groups, weight.products, row_order, reading=weight.reading,
            outputs=None if plain else weight.outputs, kernel=None if plain else weight.kernel,
            input_pixels=weight.macs // weight.weights if weight.reading == "transposed" else None,
        )  # fmt: skip

    @property
    def channels(self) -> int:
        """Input channels (or features) of one group."""
        return self.weights // (self._outputs * self.kernel_size)

    @property
    def kernel_size(self) -> int:
        """kh * kw; 1 for a Linear."""
        return prod(self._kernel)

    @property
    def _kernel(self) -> tuple[int, ...]:
        return self.weight_shape[2:] if self.kernel is None else self.kernel

    @property
    def _outputs(self) -> int:
        return self.weight_shape[0] if self.outputs is None else self.outputs

    @property
    def rows(self) -> int:
        """R: inputs of one group."""
        return self.channels * self.kernel_size

    @property
    def cols(self) -> int:
        """C: outputs of one group."""
        return self._outputs // self.groups

    @property
    def weights(self) -> int:
        """Weights of all groups."""
        return prod(self.weight_shape)

    @property
    def macs_per_weight(self) -> int:
        """Multiply-accumulates of each weight for one image: one a product, but for zeros between a layer's inputs."""
        return self.products if self.input_pixels is None else self.input_pixels

    def _grouped(self, weight: Shaped[Tensor, "..."]) -> Shaped[Tensor, "groups cols channels kernel"]:
        return grouped(weight, self.reading, self.groups, self._outputs, self.channels)

    def _stored(self, weight: Shaped[Tensor, "groups cols channels kernel"]) -> Shaped[Tensor, "..."]:
        return ungrouped(weight, self.reading).reshape(self.weight_shape)

    def of_layer_weight(self, weight: Shaped[Tensor, "out channels ..."]) -> Shaped[Tensor, "..."]:
        """What is stored, of the weight of the Linear or (equivalent) convolution that multiplies by it.

        >>> stored = CrossbarMatrix("w", (3, 2), reading="inputs_first", outputs=2, kernel=())  # of x @ w
        >>> stored.of_layer_weight(torch.tensor([[1, 2, 3], [4, 5, 6]])).tolist()
        [[1, 4], [2, 5], [3, 6]]
        """
        return self._stored(weight.reshape(self.groups, self.cols, self.channels, self.kernel_size))

    @property
    def plain(self) -> CrossbarMatrix:
        """The same matrix for the weight of the layer that multiplies by it, outputs first."""
        shape = (self._outputs, self.channels, *self._kernel)
        return replace(self, weight_shape=shape, reading="outputs_first", outputs=None, kernel=None)

    def to_matrix(self, weight: Shaped[Tensor, "..."]) -> Shaped[Tensor, "groups rows cols"]:
        """A tensor of the weight's shape, read as the crossbar matrices.

        >>> CrossbarMatrix("fc", (2, 3)).to_matrix(torch.tensor([[1, 2, 3], [4, 5, 6]])).tolist()
        [[[1, 4], [2, 5], [3, 6]]]
        """
        by_group = self._grouped(weight)
        order = (0, 2, 3, 1) if self.row_order == "channel_major" else (0, 3, 2, 1)
        matrix = by_group.permute(order).reshape(self.groups, self.rows, self.cols)
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
            by_group = matrix.reshape(self.groups, self.channels, self.kernel_size, self.cols).permute(
                0, 3, 1, 2
            )
        else:
            by_group = matrix.reshape(self.groups, self.kernel_size, self.channels, self.cols).permute(
                0, 3, 2, 1
            )
        return self._stored(by_group)

    def channel_of_row(self) -> Shaped[Tensor, " rows"]:
        """The input channel that each row belongs to, whatever the row order.

        >>> CrossbarMatrix("conv", (1, 2, 1, 2), row_order="kernel_major").channel_of_row().tolist()
        [0, 1, 0, 1]
        """
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
    network: nn.Module,
    inputs: tuple[int, ...] | Batch,
    row_order: RowOrder = "channel_major",
    digital: Sequence[str] = (),
) -> list[CrossbarMatrix]:
    """Crossbar matrices of a network's weights, in the order in which they are first multiplied.

    >>> (matrix,) = network_matrices(nn.Sequential(nn.Conv2d(3, 16, 3, padding=1)), (3, 32, 32))
    >>> matrix.rows, matrix.cols, matrix.products
    (27, 16, 1024)

    Args:
        network: any module; left untouched.
        inputs: shape of one image, (channels, height, width), or a batch of what the network is given.
        row_order: of convolutions.
        digital: names or patterns of weights and layers that are left digital.

    Raises:
        NetworkShapeError: the network can't compute such inputs.
        NetworkError: an operation can't be counted, or a name in `digital` is nothing's.
    """
    return account_matrices(account_of(network, image_batch(network, inputs), digital), row_order)


def account_matrices(account: NetworkAccount, row_order: RowOrder = "channel_major") -> list[CrossbarMatrix]:
    """The matrices of the weights on arrays, in the order of computation.

    >>> network = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    >>> account = account_of(network, torch.empty(1, 4), digital=["1"])
    >>> [(matrix.name, matrix.rows, matrix.cols) for matrix in account_matrices(account)]
    [('0', 4, 3)]

    Raises:
        NetworkError: there is none.
    """
    if not account.on_arrays:
        raise NetworkError(account.off_arrays.all_there_is)
    return [CrossbarMatrix.of_weight(weight, row_order) for weight in account.on_arrays]


def image_batch(network: nn.Module, inputs: tuple[int, ...] | Batch) -> Batch:
    """One image of a shape, without values, in the network's number format; a batch as it is.

    >>> image = image_batch(nn.Conv2d(3, 8, 3).bfloat16(), (3, 32, 32))
    >>> image.shape, image.dtype
    (torch.Size([1, 3, 32, 32]), torch.bfloat16)
    """
    if not isinstance(inputs, tuple) or not all(isinstance(size, int) for size in inputs):
        return inputs
    floats = (p.dtype for p in network.parameters() if p.is_floating_point())
    return torch.empty(1, *inputs, dtype=next(floats, torch.float32), device="meta")
