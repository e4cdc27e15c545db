"""Random geometries and layers for property tests: small enough for nested loops, ragged everywhere."""

from typing import get_args

import torch
from hypothesis import strategies as st

from cimlab.crossbar.geometry import CrossbarGeometry, MuxControl, SignedEncoding
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.rules import RowOrder
from cimlab.crossbar.units import UnitGrid


@st.composite
def geometries(draw: st.DrawFn, row_unit: int = 1) -> CrossbarGeometry:
    """Legal geometries, built from the operation unit outwards so that none has to be thrown away.

    Rows and active rows are multiples of `row_unit`.
    """
    encoding: SignedEncoding = draw(st.sampled_from(get_args(SignedEncoding)))
    mux_control: MuxControl = draw(st.sampled_from(get_args(MuxControl)))
    weight_bits, cell_bits = draw(st.integers(2, 5)), draw(st.integers(1, 4))
    if encoding == "twos_complement":  # the sign bit has a cell of its own
        cell_bits = draw(st.sampled_from([b for b in range(1, 5) if (weight_bits - 1) % b == 0]))
    magnitude = weight_bits - 1 if encoding == "differential" else weight_bits
    k = -(-magnitude // cell_bits) * (2 if encoding == "differential" else 1)
    columns_per_adc, n = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    rows, input_bits = draw(st.integers(1, 9)), draw(st.integers(1, 8))
    return CrossbarGeometry(
        rows=rows * row_unit,
        cols=k * n * columns_per_adc,
        active_rows=draw(st.integers(1, rows)) * row_unit,
        columns_per_adc=columns_per_adc,
        mux_control=mux_control,
        weight_bits=weight_bits,
        cell_bits=cell_bits,
        signed_encoding=encoding,
        input_bits=input_bits,
        dac_bits=draw(st.integers(1, input_bits)),
    )


@st.composite
def matrices(draw: st.DrawFn, name: str = "layer") -> CrossbarMatrix:
    """Linear, plain, grouped and depthwise layers of up to a few hundred weights."""
    row_order: RowOrder = draw(st.sampled_from(get_args(RowOrder)))
    products = draw(st.integers(1, 5))
    if draw(st.booleans()):
        shape = (draw(st.integers(1, 14)), draw(st.integers(1, 24)))
        return CrossbarMatrix(name, shape, 1, products, row_order)
    groups, cols = draw(st.integers(1, 3)), draw(st.integers(1, 8))
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    shape = (groups * cols, draw(st.integers(1, 5)), *kernel)
    return CrossbarMatrix(name, shape, groups, products, row_order)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def has_bought_its_index(mask: torch.Tensor, fewer: torch.Tensor, index: UnitGrid) -> bool:
    """Whether pruning on, from `mask` to `fewer`, adds nothing new to the index: a layer's first pruned unit buys a bit
    for each, and the first that is kept in part a bit for each row."""

    def kept_whole(kept: torch.Tensor) -> bool:
        return torch.equal(index.spread(index.reduce(kept.int()) > 0), kept)

    some_pruned = not bool((index.reduce(mask.int()) > 0).all())
    return some_pruned and (kept_whole(fewer) or not kept_whole(mask))
