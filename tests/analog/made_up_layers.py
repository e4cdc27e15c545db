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


@st.composite
def geometries(draw):
    encoding = draw(st.sampled_from(["differential", "offset", "twos_complement"]))
    weight_bits = draw(st.integers(2, 8))
    cells = [b for b in (1, 2, 3, 4) if encoding != "twos_complement" or (weight_bits - 1) % b == 0]
    cell_bits = draw(st.sampled_from(cells))
    input_bits = draw(st.integers(1, 8))
    rows = draw(st.sampled_from([5, 16, 40, 128]))
    fields = {
        "rows": rows,
        "active_rows": draw(st.integers(1, rows)),
        "weight_bits": weight_bits,
        "cell_bits": cell_bits,
        "input_bits": input_bits,
        "dac_bits": draw(st.integers(1, min(3, input_bits))),
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
def layers(draw):
    """A geometry, signed weights, a mask of weights or of blocks, and inputs of a random im2col pattern."""
    geometry = draw(geometries())
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


def program_of(geometry, weights, kept, adc=None, device=None, **more) -> ArrayProgram:
    sliced = slice_weights(weights, kept, geometry)
    generator = torch.Generator().manual_seed(0)
    cells = None if device is None else device.cells(sliced, generator)
    return ArrayProgram(sliced, cells, (adc or FullScaleAdc()).converter(sliced, None, generator), **more)
