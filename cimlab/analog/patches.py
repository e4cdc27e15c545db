"""im2col without copying: where in the padded integer image each row of each product finds its input.

`values[base[product] + offset[group, row]]` is the input of a row; a fast backend gathers block by block, the
reference all at once. A Linear is a convolution whose image is its feature vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from jaxtyping import Int
from torch import Tensor

from cimlab.crossbar.matrix import Convolution, CrossbarMatrix

Places = tuple[Int[Tensor, " products"], Int[Tensor, "groups rows"]]
"""`base` and `offset` of Patches."""


@dataclass(frozen=True, eq=False)
class Patches:
    """The integer inputs of a layer for a batch.

    Args:
        values: the padded images, flat; int32, on a GPU uint8 too.
        base: where the patch of each product (image by image, pixel by pixel) starts.
        offset: how far from there each row of each group is.
        first: products that the arrays have computed before these; read noise counts on from there.
    """

    values: Int[Tensor, " pixels"]
    base: Int[Tensor, " products"]
    offset: Int[Tensor, "groups rows"]
    first: int = 0

    def matrix(self, group: int) -> Int[Tensor, "products rows"]:
        """The im2col matrix of one group."""
        return self.values[self.base[:, None] + self.offset[group]]


def linear_places(tokens: int, features: int, matrix: CrossbarMatrix) -> Places:
    """Every token is one product."""
    offset = matrix.to_matrix(torch.arange(features).expand(matrix.weight_shape))[:, :, 0]
    return torch.arange(tokens) * features, offset


def conv_places(padded: torch.Size, layer: Convolution, matrix: CrossbarMatrix) -> Places:
    """Every output pixel is one product; `padded` is batch, channels and the size of a padded image."""
    batch, channels, *size = padded
    plane = prod(size)
    strides = [prod(size[number + 1 :]) for number in range(len(size))]
    pixel, kernel = torch.zeros((), dtype=torch.long), torch.zeros((), dtype=torch.long)
    each = zip(size, strides, layer.kernel_size, layer.dilation, layer.stride, strict=True)
    for extent, stride, taps, dilation, step in each:
        pixel = pixel[..., None] + torch.arange(0, extent - dilation * (taps - 1), step) * stride
        kernel = kernel[..., None] + torch.arange(taps) * dilation * stride
    image = torch.arange(batch) * channels * plane
    base = image[:, None] + pixel.flatten()
    own = torch.arange(channels // layer.groups).view(1, -1, *[1] * len(size)) * plane
    offset = matrix.to_matrix((own + kernel).expand(matrix.weight_shape))[:, :, 0]
    group = torch.arange(layer.groups)[:, None] * (channels // layer.groups) * plane
    return base.flatten(), offset + group
