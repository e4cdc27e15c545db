"""The Triton backend against `reference`: on a CUDA device where there is one, else in Triton's interpreter.

Triton decides when it is imported whether it interprets, so that one test runs this file again in a process of
its own, where the others aren't skipped.
"""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_layers import SLOW, layers, program_of
from torch import nn

from cimlab.analog.adcs.base import Converter
from cimlab.analog.adcs.full_scale import FullScaleAdc
from cimlab.analog.adcs.ideal import IdealAdc
from cimlab.analog.backends.choose import prepare
from cimlab.analog.convert import analog_layers, convert, program_draw
from cimlab.analog.devices.base import Device
from cimlab.analog.devices.programming_variation import ProgrammingVariation
from cimlab.analog.digital import quantise_padded, scale_and_add, scale_and_add_more
from cimlab.analog.errors import AnalogError
from cimlab.analog.patches import Patches
from cimlab.analog.settings import AnalogSettings
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.inputs import InputQuantiser

pytest.importorskip("triton", reason="Triton comes with torch on Linux alone")

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
WHERE = torch.device("cuda" if torch.cuda.is_available() and not INTERPRETED else "cpu")
on_device_or_interpreted = pytest.mark.skipif(
    WHERE.type == "cpu" and not INTERPRETED, reason="no CUDA device; interpreted in a process of its own"
)


@pytest.mark.skipif(INTERPRETED, reason="this is that process")
def test_the_kernel_equals_reference_in_the_interpreter() -> None:
    words = ["-m", "pytest", "-o", "addopts=-q -p no:cacheprovider", str(Path(__file__))]
    done = subprocess.run(
        [sys.executable, *words],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "13 passed" in done.stdout


def moved(patches: Patches) -> Patches:
    return Patches(*(t.to(WHERE) for t in (patches.values, patches.base, patches.offset)), patches.first)


@on_device_or_interpreted
@settings(SLOW, max_examples=6)
@given(layers(), st.sampled_from([FullScaleAdc(), FullScaleAdc(0.1, 0.7), IdealAdc()]))
def test_integer_cells_equal_reference_bit_for_bit(layer, adc) -> None:
    geometry, weights, kept, patches = layer
    program = program_of(geometry, weights, kept, adc)
    codes = prepare(program, "tensor_core", "layer", WHERE)(moved(patches))
    assert torch.equal(codes.cpu().long(), prepare(program, "reference", "layer")(patches))


@on_device_or_interpreted
@pytest.mark.parametrize("top", [127, 31, 20])
@pytest.mark.parametrize("active_rows", [128, 16])
def test_the_shortcut_equals_reference_bit_for_bit(active_rows: int, top: int) -> None:
    from cimlab.analog.backends.tensor_core import lay_out

    torch.manual_seed(0)
    geometry = CrossbarGeometry(active_rows=active_rows)
    weights, kept = torch.randint(-127, 128, (1, 150, 9)).int(), torch.rand(1, 150, 9) < 0.7
    step = 1.0 if top == 20 else 3 * active_rows / top  # 20 clips
    alike = Converter(step, top, torch.tensor(1 / step), torch.tensor(0.5))
    program = replace(program_of(geometry, weights, kept), converter=alike)
    short = lay_out(program, WHERE).shortcut
    assert short is not None
    assert short.clips == (top == 20)
    patches = Patches(torch.randint(256, (190,)).int(), torch.arange(40), torch.arange(150)[None])
    codes = prepare(program, "tensor_core", "layer", WHERE)(moved(patches))
    assert torch.equal(codes.cpu().long(), prepare(program, "reference", "layer")(patches))


@on_device_or_interpreted
@settings(SLOW, max_examples=6)
@given(layers(), st.sampled_from([0.0, 0.5]))
def test_real_cells_and_read_noise_equal_reference_bit_for_bit(layer, noise_levels: float) -> None:
    geometry, weights, kept, patches = layer
    device = Device(20.0, (ProgrammingVariation("gaussian", (0.1,)),))
    program = program_of(geometry, weights, kept, device=device, noise_levels=noise_levels, noise_seed=7)
    codes = prepare(program, "tensor_core", "layer", WHERE)(moved(patches))
    assert torch.equal(codes.cpu().long(), prepare(program, "reference", "layer")(patches))


@on_device_or_interpreted
def test_a_pruned_row_group_makes_no_work() -> None:
    from cimlab.analog.backends.tensor_core import lay_out

    kept = torch.zeros(1, 64, 20, dtype=torch.bool)
    kept[0, :16, :3] = kept[0, 32:48] = True
    program = program_of(CrossbarGeometry(), torch.ones(1, 64, 20, dtype=torch.int32), kept)
    assert lay_out(program, WHERE).place[:, 1].tolist() == [0, 32, 32]


@on_device_or_interpreted
def test_a_network_on_the_device_gives_what_it_gives_on_the_processor() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 16, 4)
    )
    images = torch.randn(2, 3, 8, 8)
    geometry = CrossbarGeometry(adc_bits=4, signed_encoding="offset")
    outputs = []
    for backend, where in (("tensor_core", WHERE), ("reference", torch.device("cpu"))):
        rule = AnalogSettings(backend=backend, activation_range="max")
        arrays = convert(network.to(where), {}, geometry, rule, FullScaleAdc(), [images.to(where)])
        assert len(analog_layers(arrays)) == 2
        program_draw(arrays, Device(30.0), 0, 0)
        outputs.append(arrays(images.to(where)).cpu())
    # sums of inputs for the offset correction may differ in the last bit between devices
    torch.testing.assert_close(*outputs)


@pytest.mark.skipif(WHERE.type != "cuda", reason="no CUDA device; the kernel was never tried on one")
def test_the_choice_for_a_layer_on_a_cuda_device_is_the_kernel() -> None:
    ones = torch.ones(1, 20, 2, dtype=torch.int32)
    lossy = program_of(CrossbarGeometry(adc_bits=3), ones, ones > 0, FullScaleAdc())
    assert "tensor_core" in repr(prepare(lossy, "auto", "layer", WHERE))
    lossless = program_of(CrossbarGeometry(), ones, ones > 0)
    assert "exact" in repr(prepare(lossless, "auto", "layer", WHERE))


@pytest.mark.skipif(INTERPRETED, reason="needs the compiler")
@pytest.mark.parametrize("short", [True, False])
def test_the_kernel_compiles_to_tensor_core_products_without_fused_rounding(short: bool) -> None:
    import triton
    from triton.backends.compiler import GPUTarget

    from cimlab.analog.backends.tensor_core import TILE, WARPS, _convert

    pointers = dict.fromkeys(
        ("values", "base", "offset", "place", "column", "seeds", "coefficients", "total"), "*i32"
    )
    pointers |= dict.fromkeys(("cells", "driven"), "*fp16")
    pointers |= dict.fromkeys(("scale", "shift", "quantiles"), "*fp32")
    pointers |= dict.fromkeys(("products", "rows_of_group", "first"), "i32")
    pointers |= dict.fromkeys(("noise_levels", "top", "common_gain", "common_half"), "fp32")
    constants = {
        "CYCLES": 8, "SHORT": short, "CLIPS": False, "BIAS": 0, "NEXT_AT": 10, "DAC": 1, "PHYSICAL": 8, "ENTRIES": 16,
        "PLANES": 8, "HALVES": 1, "COLUMNS": 64, "NOISE": False, "TABLE_SHIFT": 20, "DEPTH": 128, "TILE": TILE,
    }  # fmt: skip
    source = triton.compiler.ASTSource(
        _convert,
        {name: pointers.get(name, "constexpr") for name in _convert.arg_names},
        {(_convert.arg_names.index(name),): value for name, value in constants.items()},
    )
    target = GPUTarget("cuda", 90, 32)
    options = {"enable_fp_fusion": False, "num_warps": WARPS}
    ptx = triton.compile(source, target=target, options=options).asm["ptx"]
    assert "wgmma.mma_async" in ptx
    assert short or "fma.rn.f32" not in ptx


@pytest.mark.skipif(INTERPRETED, reason="the interpreter needs no device")
def test_the_kernel_without_a_device_is_refused_in_one_line() -> None:
    program = program_of(
        CrossbarGeometry(), torch.ones(1, 20, 2, dtype=torch.int32), torch.ones(1, 20, 2) > 0
    )
    with pytest.raises(AnalogError, match=r"tensor_core needs a CUDA device, and layer conv1 is on cpu"):
        prepare(program, "tensor_core", "conv1")


@on_device_or_interpreted
@pytest.mark.parametrize(("scale", "bits"), [(0.037, 8), (0.1, 4), (1 / 3, 9)])
def test_the_periphery_on_a_device_equals_the_compiled_one(scale: float, bits: int) -> None:
    from cimlab.analog import periphery

    torch.manual_seed(0)
    x = torch.randn(6, 5, 7) * 8
    x[0, 0, :2] = torch.tensor([2e9, -torch.inf])
    quantiser = InputQuantiser(scale, 11, bits)
    padding = (1, 2, 0, 3)
    fast, broken = quantise_padded(x, quantiser, padding)
    there, nan = periphery.quantise(x.to(WHERE), scale, 11, bits, padding)
    assert torch.equal(fast, there.cpu().int())
    assert not broken
    assert not nan
    x[5, 4, 6] = torch.nan
    assert periphery.quantise(x.to(WHERE), scale, 11, bits, padding)[1]

    codes = torch.randint(-(10**6), 10**6, (4, 6), dtype=torch.int32)
    constants = torch.stack([torch.full((4,), 1.37), torch.rand(4), torch.rand(4), torch.randn(4)]).double()
    y, there = torch.empty(2, 4, 3), torch.empty(2, 4, 3, device=WHERE)
    scale_and_add(codes, constants, y)
    periphery.scale_and_add(codes.to(WHERE), constants.to(WHERE), there)
    assert torch.equal(y, there.cpu())


@pytest.mark.skipif(INTERPRETED, reason="needs no device")
def test_something_more_to_subtract_changes_nothing_else() -> None:
    codes, less = torch.randint(-(10**6), 10**6, (2, 4, 6)).int()
    constants = torch.stack([torch.full((4,), 1.37), torch.rand(4), torch.rand(4), torch.randn(4)]).double()
    more, y = torch.empty(2, 2, 4, 3)
    scale_and_add_more(codes, constants, less.double(), more)
    for image, pixel in ((0, 1), (1, 2)):
        product = image * 3 + pixel
        constants[1] += less[:, product]
        scale_and_add(codes, constants, y)
        constants[1] -= less[:, product]
        torch.testing.assert_close(more[image, :, pixel], y[image, :, pixel])


@pytest.mark.skipif(INTERPRETED, reason="needs the compiler")
def test_the_periphery_is_compiled_without_fused_rounding() -> None:
    import triton
    from triton.backends.compiler import GPUTarget

    from cimlab.analog.periphery import _scale_and_add

    source = triton.compiler.ASTSource(
        _scale_and_add,
        {"codes": "*i32", "constants": "*fp64", "y": "*fp32", "out": "i32", "pixels": "i32", "products": "i32",
         "BLOCK": "constexpr"},
        {(_scale_and_add.arg_names.index("BLOCK"),): 64},
    )  # fmt: skip
    ptx = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"enable_fp_fusion": False}).asm[
        "ptx"
    ]
    assert "fma.rn.f64" not in ptx
