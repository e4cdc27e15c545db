"""A geometry derives what CONCEPTS.md, section 2 says, and refuses what can't be built in one line that helps."""

import re
from dataclasses import fields, replace
from math import ceil, log2
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cimlab.crossbar.geometry import CrossbarGeometry, GeometryError, SignedEncoding
from tests.crossbar.strategies import geometries

REFUSED: list[tuple[dict[str, Any], list[str]]] = [
    ({"rows": 0}, ["rows=0", "1 to 65536"]),
    ({"cols": -128}, ["cols=-128", "1 to 65536"]),
    ({"active_rows": 0}, ["active_rows=0", "1 to 65536"]),
    ({"active_rows": 129}, ["active_rows=129", "rows=128", "active_rows <= 128"]),
    ({"columns_per_adc": 0}, ["columns_per_adc=0", "1 to 65536"]),
    ({"columns_per_adc": 12}, ["columns_per_adc=12", "cols=128", "columns_per_adc in [1, 2, 4, 8, 16]"]),
    # 128 / 32 = 4 bitlines a step, a weight needs ceil(7 / 2) slices x 2 = 8: n = 1/2
    ({"columns_per_adc": 32}, ["cols=128", "4 bitlines", "8 that one weight needs", "[1, 2, 4, 8, 16]"]),
    # k = ceil(7 / 4) x 2 = 4 of the 6 bitlines a step: n = 3/2
    ({"cols": 12, "columns_per_adc": 2, "cell_bits": 4}, ["cols=12", "6 bitlines", "columns_per_adc in [1, 3]"]),
    ({"cols": 4, "columns_per_adc": 1}, ["cols=4", "8 that one weight needs", "cols in [8]"]),
    ({"cols": 100, "columns_per_adc": 1}, ["cols=100", "8 that one weight needs", "cols in [96, 104]"]),
    ({"cols": 100}, ["cols=100", "12.5 bitlines", "cols in [64, 128]"]),
    ({"weight_bits": 1}, ["weight_bits=1", "2 to 16"]),
    ({"weight_bits": 1, "signed_encoding": "offset"}, ["weight_bits=1", "2 to 16"]),
    ({"signed_encoding": "twos_complement"}, ["sign bit", "cell_bits in [1], or signed_encoding=offset"]),
    ({"signed_encoding": "twos_complement", "weight_bits": 9, "cell_bits": 3}, ["; use signed_encoding"]),
    ({"cell_bits": 0}, ["cell_bits=0", "1 to 8"]),
    ({"input_bits": 0}, ["input_bits=0", "1 to 16"]),
    ({"dac_bits": 0}, ["dac_bits=0", "1 to 16"]),
    ({"dac_bits": 9}, ["dac_bits=9", "input_bits=8", "dac_bits <= 8"]),
    ({"adc_bits": 0}, ["adc_bits=0", "1 to 24"]),
    ({"mux_control": "lockstepp"}, ["mux_control", "lockstepp", "lockstep, independent"]),
    ({"signed_encoding": "sign"}, ["signed_encoding", "sign", "differential, offset, twos_complement"]),
    ({"rows": 12.5}, ["rows=12.5", "whole number"]),
    ({"adc_bits": True}, ["adc_bits=True", "whole number"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "words"), REFUSED, ids=lambda case: str(case) if isinstance(case, dict) else ""
)
def test_what_can_not_be_built_is_refused_in_one_line(values: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(GeometryError) as refusal:
        CrossbarGeometry(**values)
    message = str(refusal.value)
    assert "\n" not in message
    assert not [word for word in words if word not in message], message


@settings(max_examples=300, deadline=None)
@given(
    st.integers(1, 300), st.integers(1, 16), st.integers(2, 16), st.integers(1, 8),
    st.sampled_from(get_args(SignedEncoding)),
)  # fmt: skip
def test_every_value_that_a_refusal_names_is_taken_when_it_is_followed(
    cols: int, per_adc: int, weight_bits: int, cell_bits: int, encoding: SignedEncoding
) -> None:
    values: dict[str, Any] = {
        "cols": cols, "columns_per_adc": per_adc, "weight_bits": weight_bits, "cell_bits": cell_bits,
        "signed_encoding": encoding,
    }  # fmt: skip
    try:
        CrossbarGeometry(**values)
    except GeometryError as refusal:
        for field, listed in re.findall(r"use (\w+) in \[([\d, ]+)\]", str(refusal)):
            for value in listed.split(", "):
                followed: dict[str, Any] = values | {field: int(value)}
                CrossbarGeometry(**followed)


def test_a_geometry_never_changes_once_built() -> None:
    with pytest.raises(AttributeError):
        CrossbarGeometry().rows = 64  # ty: ignore[invalid-assignment]


def test_every_whole_number_field_is_checked_for_its_range() -> None:
    for field in fields(CrossbarGeometry):
        if "int" in str(field.type):
            with pytest.raises(GeometryError, match=f"^{field.name}=-1 must be"):
                replace(CrossbarGeometry(), **{field.name: -1})


# geometry, k, slices, T, (m, n), weights side by side, row groups, lossless bits
DERIVED: list[tuple[dict[str, Any], tuple]] = [
    # 7 magnitude bits in 2-bit cells = 4 slices x 2; 16 ADCs / 8 = 2; 16 x 1 x 3 = 48 -> 6 bits
    ({}, (8, 4, 8, (16, 2), 16, 8, 6)),
    # ISAAC: 16-bit weights in 2-bit cells, offset: 8 columns; one ADC for 128 columns would leave n < 1
    ({"weight_bits": 16, "signed_encoding": "offset", "input_bits": 16, "active_rows": 128},
     (8, 8, 16, (128, 2), 16, 1, 9)),  # 128 x 3 = 384
    ({"cell_bits": 1, "columns_per_adc": 1}, (14, 7, 8, None, None, None, None)),
    ({"cell_bits": 4, "columns_per_adc": 4, "dac_bits": 3}, (4, 2, 3, (16, 8), 32, 8, 11)),  # 16 x 7 x 15 = 1680
    ({"rows": 256, "cols": 64, "active_rows": 9, "weight_bits": 4}, (4, 2, 8, (9, 2), 16, 29, 5)),  # 27
    ({"weight_bits": 2, "cell_bits": 1, "active_rows": 1}, (2, 1, 8, (1, 8), 64, 128, 1)),
    ({"weight_bits": 8, "signed_encoding": "twos_complement", "cell_bits": 1}, (8, 8, 8, (16, 2), 16, 8, 5)),
]  # fmt: skip


@pytest.mark.parametrize(("values", "expected"), DERIVED, ids=str)
def test_derived_values_follow_the_contract(values: dict[str, Any], expected: tuple) -> None:
    if expected[3] is None:  # k = 14 does not divide 128
        with pytest.raises(GeometryError, match="14 that one weight needs"):
            CrossbarGeometry(**values)
        return
    g = CrossbarGeometry(**values)
    derived = (
        g.columns_per_weight, g.slices, g.input_cycles, g.operation_unit, g.logical_cols, g.row_groups,
        g.lossless_adc_bits,
    )  # fmt: skip
    assert derived == expected


@settings(max_examples=100, deadline=None)
@given(geometries())
def test_an_operation_unit_is_whole_and_fills_the_array(g: CrossbarGeometry) -> None:
    m, n = g.operation_unit
    assert n >= 1
    assert (m, n * g.columns_per_weight * g.columns_per_adc) == (g.active_rows, g.cols)
    largest_sum = m * (2**g.dac_bits - 1) * (2**g.cell_bits - 1)
    assert g.lossless_adc_bits == ceil(log2(largest_sum + 1))
    assert 2**g.lossless_adc_bits > largest_sum >= 2 ** (g.lossless_adc_bits - 1)


def test_adc_bits_in_use_are_the_lossless_ones_unless_given() -> None:
    assert CrossbarGeometry().resolution_bits == CrossbarGeometry().lossless_adc_bits
    assert CrossbarGeometry(adc_bits=4).resolution_bits == 4
