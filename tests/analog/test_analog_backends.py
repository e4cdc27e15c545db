"""Every backend against the integer matrix product, and against one conversion after another in plain loops."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cimlab.analog.adcs.full_scale import FullScaleAdc
from cimlab.analog.adcs.ideal import IdealAdc
from cimlab.analog.backends.choose import prepare
from cimlab.analog.backends.packed import fixed_point, pack, packed_histogram, supports
from cimlab.analog.devices.base import Device
from cimlab.analog.devices.programming_variation import ProgrammingVariation
from cimlab.analog.errors import AnalogError
from cimlab.analog.patches import Patches
from cimlab.analog.program import ArrayProgram, partial_sum_histogram
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


def one_conversion_at_a_time(patches: Patches, program: ArrayProgram) -> np.ndarray:
    """The definition (domain model, section 7) in Python loops, with float32 ADCs."""
    sliced, converter = program.sliced, program.converter
    g = sliced.geometry
    groups, rows, cols = sliced.weights.shape
    values = program.values().numpy()
    full = (groups, sliced.row_groups, len(sliced.coefficients), cols)
    scale, offset = (t.expand(full).numpy() for t in (converter.scale, converter.offset))
    total = np.zeros((groups, cols, len(patches.base)), dtype=np.int64)
    for group in range(groups):
        for product, row_values in enumerate(patches.matrix(group).tolist()):
            for col in range(cols):
                for row_group in range(sliced.row_groups):
                    own = [r for r in range(rows) if sliced.row_group_of[r] == row_group]
                    if not sliced.converted[group, row_group, col]:
                        continue
                    for physical, coefficient in enumerate(sliced.coefficients):
                        for cycle in range(g.input_cycles):
                            partial = 0.0
                            for row in own:
                                digit = (row_values[row] >> (cycle * g.dac_bits)) % 2**g.dac_bits
                                partial += digit * float(values[group, physical, row, col])
                            at = group, row_group, physical, col
                            level = np.float32(np.float32(partial) * scale[at]) + offset[at]
                            code = math.floor(min(max(level, 0), converter.top))
                            total[group, col, product] += coefficient * code * 2 ** (cycle * g.dac_bits)
    return total


@SLOW
@given(layers())
def test_lossless_adcs_and_ideal_cells_give_the_integer_matrix_product(layer) -> None:
    geometry, weights, kept, patches = layer
    program = program_of(geometry, weights, kept, IdealAdc())
    assert program.is_exact
    exact = weights.where(kept, 0) + program.sliced.bias * program.sliced.driven
    expected = torch.stack([m.long().T @ patches.matrix(i).long().T for i, m in enumerate(exact)])
    for name in ("exact", "packed", "conductance", "reference"):
        assert torch.equal(prepare(program, name, "layer")(patches).long(), expected), name


@SLOW
@given(layers())
def test_the_digital_correction_removes_the_bias_of_offset_cells(layer) -> None:
    geometry, weights, kept, patches = layer
    program = program_of(geometry, weights, kept, IdealAdc())
    for group, matrix in enumerate(weights.where(kept, 0)):
        x = patches.matrix(group).long()
        codes = prepare(program, "auto", "layer")(patches)[group].T
        corrected = codes - program.sliced.bias * (x @ program.sliced.driven[group].long())
        assert torch.equal(corrected, x @ matrix.long())


@settings(SLOW, max_examples=25)
@given(layers(), st.booleans())
def test_a_lossy_adc_equals_one_conversion_at_a_time(layer, with_errors: bool) -> None:
    geometry, weights, kept, patches = layer
    patches = replace(patches, base=patches.base[:5])
    adc = FullScaleAdc(0.1, 0.7) if with_errors else FullScaleAdc()
    program = program_of(geometry, weights, kept, adc)
    expected = torch.from_numpy(one_conversion_at_a_time(patches, program))
    for name in ("packed", "conductance", "reference"):
        assert torch.equal(prepare(program, name, "layer")(patches).long(), expected), name


@settings(SLOW, max_examples=25)
@given(layers())
def test_real_cells_equal_one_conversion_at_a_time(layer) -> None:
    geometry, weights, kept, patches = layer
    patches = replace(patches, base=patches.base[:5])
    device = Device(20.0, (ProgrammingVariation("gaussian", (0.1,)),))
    program = program_of(geometry, weights, kept, device=device)
    expected = torch.from_numpy(one_conversion_at_a_time(patches, program))
    for name in ("conductance", "reference"):
        assert torch.equal(prepare(program, name, "layer")(patches), expected), name


@settings(SLOW, max_examples=25)
@given(layers())
def test_read_noise_is_the_same_in_every_backend(layer) -> None:
    geometry, weights, kept, patches = layer
    program = program_of(geometry, weights, kept, noise_levels=0.5, noise_seed=7)
    noisy = prepare(program, "conductance", "layer")(patches)
    assert torch.equal(noisy, prepare(program, "reference", "layer")(patches))


@settings(SLOW, max_examples=25)
@given(layers())
def test_the_fast_histogram_counts_every_partial_sum(layer) -> None:
    geometry, weights, kept, patches = layer
    program = program_of(geometry, weights, kept, IdealAdc())
    counted = packed_histogram(patches, pack(program))
    assert torch.equal(counted, partial_sum_histogram(patches, program))


@pytest.mark.parametrize("active_rows", [9, 16, 64, 128])
@pytest.mark.parametrize("adc_bits", [3, 4, 5, 6, 7, 8, None])
def test_sixteen_bit_arithmetic_gives_every_code_or_is_not_used(
    active_rows: int, adc_bits: int | None
) -> None:
    geometry = CrossbarGeometry(active_rows=active_rows, adc_bits=adc_bits)
    weights = torch.full((1, 128, 1), 3, dtype=torch.int32)
    program = program_of(geometry, weights, torch.ones(1, 128, 1, dtype=torch.bool))
    found = fixed_point(program.converter, program.sliced)
    if active_rows == 16 and adc_bits == 4:
        assert found is not None
    if found is not None:
        factor, offset, shift = found
        for s in range(program.sliced.largest_sum + 1):
            code = min(
                math.floor(np.float32(s) * program.converter.scale.item() + 0.5), program.converter.top
            )
            assert min((s * factor + offset) >> shift, program.converter.top) == code
            assert s * factor + offset < 2**16


def test_a_backend_that_cannot_compute_a_layer_says_why() -> None:
    weights = torch.ones(1, 20, 2, dtype=torch.int32)
    kept = torch.ones(1, 20, 2, dtype=torch.bool)
    lossy = program_of(CrossbarGeometry(adc_bits=3), weights, kept)
    with pytest.raises(AnalogError, match="backend=exact can't compute layer conv1"):
        prepare(lossy, "exact", "conv1")
    real = program_of(CrossbarGeometry(), weights, kept, device=Device(10.0))
    assert not supports(real)
    with pytest.raises(AnalogError, match="backend=packed can't compute layer conv1"):
        prepare(real, "packed", "conv1")
