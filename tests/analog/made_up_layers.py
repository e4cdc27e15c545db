"""Random layers for the backends: geometries, signed weights, masks, and im2col patterns that no network has."""

import math

import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from cimlab.analog.adcs.full_scale import FullScaleAdc
from cimlab.analog.patches import Patches
from cimlab.analog.program import ArrayProgram
from cimlab.analog.slicing import slice_weights
from cimlab.crossbar.geometry import CrossbarGeometry, GeometryError

SLOW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

COMPILED = ((8, 1, 2), (1, 1, 1), (5, 2, 4), (7, 3, 3))
"""Bits of an input, a cycle and a cell: a kernel is compiled for each three, which takes longer than to run it."""


@st.composite
def of_any_bits(draw):
    input_bits = draw(st.integers(1, 8))
    return input_bits, draw(st.integers(1, min(3, input_bits))), draw(st.integers(1, 4))


ANY_BITS = of_any_bits()


@st.composite
def geometries(draw, bits):
    input_bits, dac_bits, cell_bits = draw(bits)
    encoding = draw(st.sampled_from(["differential", "offset", "twos_complement"]))
    whole = [b for b in range(2, 9) if encoding != "twos_complement" or (b - 1) % cell_bits == 0]
    weight_bits = draw(st.sampled_from(whole))
    rows = draw(st.sampled_from([5, 16, 40, 128]))
    fields = {
        "rows": rows,
        "active_rows": draw(st.integers(1, rows)),
        "weight_bits": weight_bits,
        "cell_bits": cell_bits,
        "input_bits": input_bits,
        "dac_bits": dac_bits,
        "signed_encoding": encoding,
        "mux_control": draw(st.sampled_from(["lockstep", "independent"])),
        "adc_bits": draw(st.sampled_from([None, 2, 3, 4, 5, 6])),
    }
    side_by_side, columns_per_adc = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    k = math.ceil((weight_bits - (encoding == "differential")) / cell_bits) * (
        2 if encoding == "differential" else 1
    )
    try:
        return CrossbarGeometry(
            cols=k * side_by_side * columns_per_adc, columns_per_adc=columns_per_adc, **fields
        )
    except GeometryError as problem:
        raise AssertionError from problem


@st.composite
def layers(draw, bits=ANY_BITS):
    """A geometry, signed weights, a mask of weights or of blocks, and inputs of a random im2col pattern."""
    geometry = draw(geometries(bits))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**20)))
    groups, rows, cols = draw(st.integers(1, 2)), draw(st.integers(1, 60)), draw(st.integers(1, 7))
    largest = 2 ** (geometry.weight_bits - 1) - 1
    weights = torch.randint(-largest, largest + 1, (groups, rows, cols), generator=generator)
    kept = torch.rand(groups, rows, cols, generator=generator) < draw(st.sampled_from([0.05, 0.5, 1.0]))
    if draw(st.booleans()):
        kept[:, : rows // 2] = kept[:, : rows // 2].any(1, keepdim=True)
        kept[:, rows // 2 :, ::2] = False
    products = draw(st.sampled_from([1, 5, 33, 70]))
    values = torch.randint(0, 2**geometry.input_bits, (products * 3 + groups * rows,), generator=generator)
    patches = Patches(
        values.int(), torch.arange(products) * 3, torch.arange(groups * rows).view(groups, rows)
    )
    return geometry, weights.int(), kept, patches


def compiled_layers():
    """Layers of few shapes, for tests that compile a kernel for each."""
    return layers(st.sampled_from(COMPILED))


def program_of(geometry, weights, kept, adc=None, device=None, **more) -> ArrayProgram:
    sliced = slice_weights(weights, kept, geometry)
    generator = torch.Generator().manual_seed(0)
    cells = None if device is None else device.cells(sliced, generator)
    return ArrayProgram(sliced, cells, (adc or FullScaleAdc()).converter(sliced, None, generator), **more)
