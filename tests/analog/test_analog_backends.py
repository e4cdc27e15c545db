"""Every backend against the integer matrix product, and against one conversion after another in plain loops."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_layers import SLOW, compiled_layers, layers, program_of

from cimlab.analog.adcs.full_scale import FullScaleAdc
from cimlab.analog.adcs.ideal import IdealAdc
from cimlab.analog.backends.choose import prepare
from cimlab.analog.backends.packed import fixed_point, pack, packed_histogram, supports
from cimlab.analog.devices.base import Device
from cimlab.analog.devices.programming_variation import ProgrammingVariation
from cimlab.analog.errors import AnalogError
from cimlab.analog.patches import Patches
from cimlab.analog.program import ArrayProgram, partial_sum_histogram
from cimlab.crossbar.geometry import CrossbarGeometry


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
@given(compiled_layers())
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
@given(compiled_layers(), st.booleans())
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
@given(compiled_layers())
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
