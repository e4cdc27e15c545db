"""Read noise from a counter: the same conversion draws the same number in every backend and in any order."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.special import ndtri
from torch import Tensor

TABLE_BITS = 12
"""The normal distribution is read off 4096 quantiles, which keeps its variance and cuts it at 3.7 sigma."""

_MASK = 0xFFFFFFFF
FIRST, SECOND = 0x7FEB352D, 0x846CA68B
"""Multipliers of C. Wellons' lowbias32."""
GOLDEN = 0x9E3779B1
"""2^32 over the golden ratio, which keeps neighbouring counters apart."""


@cache
def normal_quantiles() -> np.ndarray:
    """Quantiles of N(0, 1) at the middle of 2^TABLE_BITS equal steps, scaled to unit variance, float32."""
    quantiles = ndtri((np.arange(2**TABLE_BITS) + 0.5) / 2**TABLE_BITS)
    return (quantiles / quantiles.std()).astype(np.float32)


def mixed(counter: Int[Tensor, "..."]) -> Int[Tensor, "..."]:
    """A 32-bit hash of a 32-bit counter, by Wang and Jenkins' mixing; compiled for single numbers, too."""
    h = counter & _MASK
    h = (h ^ (h >> 16)) * FIRST & _MASK
    h = (h ^ (h >> 15)) * SECOND & _MASK
    return h ^ (h >> 16)


def streams(
    seed: int,
    group: Int[Tensor, "..."],
    row_group: Int[Tensor, "..."],
    physical: Int[Tensor, "..."],
    cycle: Int[Tensor, "..."],
) -> Int[Tensor, "..."]:
    """Seeds of reads: mixed over what names each, the four broadcast against each other."""
    state = torch.tensor(seed)
    for part in (group, row_group, physical, cycle):
        state = mixed(state * GOLDEN + part + 1)
    return state


def stream(seed: int, *place: int) -> int:
    """The seed of one read, of (group, row group, physical column, cycle)."""
    return int(streams(seed, *map(torch.tensor, place)))


def normal(
    seed: int, first: int, products: int, cols: Int[Tensor, " cols"]
) -> Float[Tensor, "products cols"]:
    """Standard normal numbers for the conversions of products first, first + 1, ... in one kind of read."""
    product = torch.arange(first, first + products)[:, None]
    h = mixed(mixed(product + seed) ^ (cols * GOLDEN))
    return torch.from_numpy(normal_quantiles())[h >> (32 - TABLE_BITS)]
