"""What cells hold: real weights to integers, integers to the digits on physical columns. Price and simulation ask here.

Weights are symmetric, because a cell pair has no zero point: -(2^(b-1) - 1) .. 2^(b-1) - 1, one step for every output
or for the whole layer. `differential` keeps |w| in one of two columns, `offset` w + 2^(b-1) in one (ISAAC, Shafiee et
al., ISCA 2016, section V), `twos_complement` w modulo 2^b, its sign bit alone in a cell. `inputs.py` does the same for
what wordlines carry.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.rules import WeightScale
from cimlab.errors import CimlabError


class CellError(CimlabError, ValueError):
    """Numbers that can't be written to cells or fed to wordlines; the message names the layer or field and the mend."""


def largest_weight(bits: int) -> int:
    """The highest integer weight; the lowest is its negative.

    >>> largest_weight(8)
    127
    """
    return 2 ** (bits - 1) - 1


def quantise_weights(
    weight: Float[Tensor, "out ..."], bits: int, scale: WeightScale
) -> tuple[Int[Tensor, "out ..."], Float[Tensor, " out"]]:
    """Integers (int32) that span the largest weight, and the real size of one step by output, in float32 or wider:
    half precision is too coarse to tell many levels apart.

    >>> integers, step = quantise_weights(torch.tensor([[0.5, -1.0], [0.1, 0.2]]), 4, "per_channel")
    >>> integers.tolist(), [round(size, 3) for size in step.tolist()]
    ([[3, -7], [4, 7]], [0.143, 0.029])

    Raises:
        CellError: a weight is not finite.
    """
    require_finite(weight)
    weight = weight.to(torch.promote_types(weight.dtype, torch.float32))
    whole = weight.flatten().expand(len(weight), -1) if scale == "per_tensor" else weight
    step = whole_range_steps(whole, bits)
    return weight_integers(weight, step, bits), step


def require_finite(weight: Float[Tensor, "..."], called: str = "weights") -> None:
    """Refuse weights that are NaN or infinite.

    >>> require_finite(torch.tensor([0.5, torch.nan]), called="weights of layer fc")
    Traceback (most recent call last):
    cimlab.crossbar.cells.CellError: weights of layer fc are not finite; the checkpoint is damaged

    Args:
        weight: of any shape.
        called: how the message names it.

    Raises:
        CellError: one is.
    """
    if not torch.isfinite(weight).all():
        raise CellError(f"{called} are not finite; the checkpoint is damaged")


def weight_integers(
    weight: Float[Tensor, "out ..."], step: Float[Tensor, " out"], bits: int
) -> Int[Tensor, "out ..."]:
    """Multiples of the outputs' steps, int32, clipped to the range of integer weights.

    >>> weight_integers(torch.tensor([[0.5, -3.0]]), torch.tensor([0.25]), 4).tolist()
    [[2, -7]]
    """
    top = largest_weight(bits)
    return (weight / by_output(step, weight)).round().clamp(-top, top).to(torch.int32)


def by_output(values: Float[Tensor, " out"], weight: Float[Tensor, "out ..."]) -> Float[Tensor, "out ..."]:
    """One value per output, shaped to be broadcast over a weight.

    >>> weight = torch.tensor([[4.0, 6.0], [1.0, 3.0]])  # 2 outputs of 2 inputs
    >>> (weight / by_output(torch.tensor([2.0, 0.5]), weight)).tolist()
    [[2.0, 3.0], [2.0, 6.0]]
    """
    return values.view(-1, *[1] * (weight.ndim - 1))


def whole_range_steps(weight: Float[Tensor, "out ..."], bits: int) -> Float[Tensor, " out"]:
    """Steps by which each output's largest weight is its highest level; 1 where all are zero.

    >>> whole_range_steps(torch.tensor([[0.7, -1.4], [0.0, 0.0]]), 4).tolist()
    [0.2..., 1.0]
    """
    largest = weight.abs().flatten(1).amax(1)
    return (largest / largest_weight(bits)).where(largest > 0, 1.0)


def least_error_steps(weight: Float[Tensor, "out ..."], bits: int, tried: int = 50) -> Float[Tensor, " out"]:
    """Steps shrunk from the whole range by the factor in 1/tried .. 1 of each output's least mean squared error.

    One outlier costs less, clipped, than coarse steps for all others:

    >>> weight = torch.tensor([[0.15] * 20 + [0.6]])
    >>> [round(float(steps(weight, 3)), 2) for steps in (whole_range_steps, least_error_steps)]
    [0.2, 0.16]
    """
    whole = whole_range_steps(weight, bits)
    best = torch.full_like(whole, torch.inf)
    chosen = whole
    for number in range(tried, 0, -1):
        step = whole * (number / tried)
        read = weight_integers(weight, step, bits) * by_output(step, weight)
        error = (read - weight).square().flatten(1).sum(1)
        chosen, best = step.where(error < best, chosen), torch.minimum(error, best)
    return chosen


@dataclass(frozen=True)
class Encoding:
    """How a signed integer is spread over the physical columns of one logical column.

    Args:
        coefficients: what one level of each physical column counts in the shift-and-add.
        bias: what every driven cell group adds to its weight (offset encoding), removed digitally.
    """

    coefficients: tuple[int, ...]
    bias: int

    @classmethod
    def of(cls, geometry: CrossbarGeometry) -> Encoding:
        """The encoding of a geometry; the highest cell of two's complement holds the sign bit alone.

        >>> Encoding.of(CrossbarGeometry(weight_bits=5, cell_bits=2))  # two slices of a differential pair
        Encoding(coefficients=(1, 4, -1, -4), bias=0)
        """
        cell, encoding = geometry.cell_bits, geometry.signed_encoding
        powers = tuple(2 ** (place * cell) for place in range(geometry.slices))
        if encoding == "differential":
            return cls((*powers, *(-p for p in powers)), 0)
        if encoding == "offset":
            return cls(powers, 2 ** (geometry.weight_bits - 1))
        return cls((*powers[:-1], -powers[-1]), 0)


def cell_levels(weights: Int[Tensor, "..."], geometry: CrossbarGeometry, dim: int = 0) -> Int[Tensor, "..."]:
    """Levels 0 .. 2^cell_bits - 1 of every physical column, stacked as a new dimension `dim`.

    The levels times `Encoding.coefficients` add up to the weight and the encoding's bias.

    >>> cell_levels(torch.tensor([-100]), CrossbarGeometry())[:, 0].tolist()  # 100 = 01 10 01 00
    [0, 0, 0, 0, 0, 1, 2, 1]
    """
    cell, bits = geometry.cell_bits, geometry.weight_bits
    if geometry.signed_encoding == "differential":
        stored = [weights.clamp(min=0), (-weights).clamp(min=0)]
    elif geometry.signed_encoding == "offset":
        stored = [weights + 2 ** (bits - 1)]
    else:
        stored = [weights % 2**bits]
    places = range(0, geometry.slices * cell, cell)
    return torch.stack([value >> place & (2**cell - 1) for value in stored for place in places], dim)


def mean_levels(weights: Int[Tensor, "..."], geometry: CrossbarGeometry) -> Float[Tensor, "..."]:
    """Mean level of each weight's cells over full scale, 0 to 1, float64.

    >>> float(mean_levels(torch.tensor(0), CrossbarGeometry(signed_encoding="offset")))  # 128 = 10 00 00 00
    0.1666...
    """
    return cell_levels(weights, geometry).double().mean(0) / (2**geometry.cell_bits - 1)
