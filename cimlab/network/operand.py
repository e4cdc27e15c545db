"""How the operand of a product reads what is stored: as a block of a parameter, by outputs or by inputs first."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal

from jaxtyping import Shaped
from torch import Tensor

from cimlab.network.provenance import Origin

Reading = Literal["outputs_first", "inputs_first", "transposed"]
"""Order of a stored weight: (groups * out, in, *kernel), (groups, in, out) as of `x @ W`, or as of ConvTranspose,
(groups * in, out, *kernel), whose equivalent convolution flips the kernel."""


@dataclass(frozen=True)
class Convolution:
    """What a convolution is called with besides weight and bias; one number a dimension of the image."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    output_padding: tuple[int, ...]


@dataclass(frozen=True)
class Block:
    """The weights of one product, as they lie in what is stored.

    Args:
        parameters: what they come from.
        computed: they are computed from these; otherwise they are a part of the one parameter.
        start: elements of it before the block; None where the block is no contiguous part.
        outputs, channels, kernel, groups: all outputs, the inputs (channels) of one group, kernel sizes, groups.
        reading: which of them come first.
        convolution: for a convolution.
        offset: elements before it in memory, contiguous or not.
        computation: which one, of several that compute weights from these parameters.
        multiplied: by products among these, as stored tokens are projected; copied for each sample, an activation.
    """

    parameters: tuple[str, ...]
    computed: bool
    start: int | None
    outputs: int
    channels: int
    kernel: tuple[int, ...] = ()
    groups: int = 1
    reading: Reading = "outputs_first"
    convolution: Convolution | None = None
    offset: int = 0
    computation: int = 0
    multiplied: bool = False

    def layer_weight(self, stored: Tensor) -> Shaped[Tensor, "out channels ..."]:
        """What is stored as the weight of the Linear or (equivalent) convolution that multiplies by it."""
        whole = grouped(stored, self.reading, self.groups, self.outputs, self.channels)
        return whole.reshape(self.outputs, self.channels, *self.kernel)

    @property
    def weights(self) -> int:
        return self.outputs * self.channels * prod(self.kernel)


def grouped(
    stored: Tensor, reading: Reading, groups: int, outputs: int, channels: int
) -> Shaped[Tensor, "groups cols channels kernel"]:
    """A stored weight, the kernel flat and turned as its (equivalent) convolution reads it."""
    if reading == "outputs_first":
        return stored.reshape(groups, outputs // groups, channels, -1)
    by_output = stored.reshape(groups, channels, outputs // groups, -1).transpose(1, 2)
    return by_output.flip(-1) if reading == "transposed" else by_output


def ungrouped(weight: Shaped[Tensor, "groups cols channels kernel"], reading: Reading) -> Tensor:
    """The inverse of `grouped`, but for the stored shape."""
    turned = weight.flip(-1) if reading == "transposed" else weight
    return turned if reading == "outputs_first" else turned.transpose(1, 2)


def matrix_block(operand: Tensor, origin: Origin, outputs: int, inputs: int) -> Block:
    """The block that a matrix (or a batch of them) reads; `outputs` and `inputs` are dimensions of `operand`."""
    out, channels = operand.shape[outputs], operand.shape[inputs]
    over_out, over_in = operand.stride(outputs), operand.stride(inputs)
    repeated = operand.ndim < 3 or operand.shape[0] == 1 or operand.stride(0) == 0
    groups = 1 if repeated else operand.shape[0]
    stacked = groups == 1 or operand.stride(0) == out * channels
    offset = int(operand.storage_offset()) - origin.offset
    start: int | None = offset
    by_outputs = (over_in == 1 or channels == 1) and (over_out == channels or out == 1)
    by_inputs = (over_out == 1 or out == 1) and (over_in == out or channels == 1)
    if not _in_order(origin):
        start, by_outputs = _rows_by_stride(origin, offset, (out, channels), (over_out, over_in))
    elif not (by_outputs or by_inputs) or not stacked:
        start = None
    return Block(
        origin.parameters, origin.computed, start, groups * out, channels, (), groups,
        "outputs_first" if by_outputs else "inputs_first", offset=offset,
    )  # fmt: skip


def _rows_by_stride(
    origin: Origin, offset: int, size: tuple[int, int], stride: tuple[int, int]
) -> tuple[int | None, bool]:
    """Rows of a matrix that lies otherwise in memory, as one that was transposed: their start, outputs first or not."""
    for by_outputs in (True, False):
        (_, row), strides = (size, stride) if by_outputs else (size[::-1], stride[::-1])
        if strides == origin.stride and row == origin.shape[1]:
            return offset // strides[0] * row, by_outputs
    return None, False


def kernel_block(operand: Tensor, origin: Origin, groups: int, transposed: bool, call: Convolution) -> Block:
    """The block that a convolution reads."""
    first, second, *kernel = operand.shape
    same = tuple(operand.shape) == origin.shape and operand.stride() == origin.stride
    readable = same or (operand.is_contiguous() and _in_order(origin))
    offset = int(operand.storage_offset()) - origin.offset
    outputs, channels = (second * groups, first // groups) if transposed else (first, second)
    return Block(
        origin.parameters, origin.computed, offset if readable else None, outputs, channels, tuple(kernel), groups,
        "transposed" if transposed else "outputs_first", call, offset,
    )  # fmt: skip


def _in_order(origin: Origin) -> bool:
    """Whether what is stored lies in memory in the order of its dimensions."""
    expected = 1
    for size, stride in zip(reversed(origin.shape), reversed(origin.stride), strict=True):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True
