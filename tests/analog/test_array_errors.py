"""Errors of arrays in training: the device model's own statistics, and the very codes of simulated ADCs."""

import copy
from math import pi, sqrt
from typing import get_args

import pytest
import torch
from torch import nn

from cimlab.analog.adcs.full_scale import FullScaleAdc
from cimlab.analog.adcs.ideal import IdealAdc
from cimlab.analog.adcs.mse import MseAdc
from cimlab.analog.array_errors import ArrayErrors, read_back_table, reads_exactly
from cimlab.analog.convert import analog_layers, convert, program_draw
from cimlab.analog.devices.base import Device
from cimlab.analog.devices.programming_variation import ProgrammingVariation
from cimlab.analog.devices.stuck_at import StuckAtFaults
from cimlab.analog.devices.wire_resistance import WireResistance
from cimlab.analog.errors import AnalogError
from cimlab.analog.fake_quantise import LearnedStepSize
from cimlab.analog.learned_steps import LayerSteps, TrainedSteps
from cimlab.analog.settings import AnalogSettings
from cimlab.analog.slicing import slice_weights
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.rules import PlacementMode

SIGMA = 0.04
ONE_CELL = CrossbarGeometry(weight_bits=4, cell_bits=3)
"""A magnitude fills one cell, so that its statistics can be written down."""


def drawn(device: Device, geometry: CrossbarGeometry, draws: int = 4096) -> torch.Tensor:
    return read_back_table(device, geometry, torch.Generator().manual_seed(0), draws)


@pytest.mark.parametrize("encoding", ["differential", "offset"])
def test_ideal_cells_give_back_what_was_written(encoding) -> None:
    geometry = CrossbarGeometry(weight_bits=4, signed_encoding=encoding)
    for device in (Device(), Device(on_off_ratio=10.0)):
        table = drawn(device, geometry, 3)
        assert torch.allclose(table, torch.arange(-7.0, 8).view(-1, 1).expand_as(table), atol=0.02)


def test_read_back_weights_spread_as_their_cells_were_programmed() -> None:
    """Pair of cells at levels v and 0 of 7: N(v, 7 s) less a normal cut at 0, mean 7 s / sqrt(2 pi)."""
    table = drawn(Device(effects=(ProgrammingVariation(sigma=(SIGMA,)),)), ONE_CELL)
    spread, cut = 7 * SIGMA, 7 * SIGMA / sqrt(2 * pi)
    for weight in (-6, -3, 3, 6):
        read = table[weight + 7]
        sign = 1 if weight > 0 else -1
        expected = spread * sqrt(1 + 0.5 - 1 / (2 * pi))
        assert float(read.mean()) == pytest.approx(weight - sign * cut, abs=5 * expected / 64)
        assert float(read.std()) == pytest.approx(expected, rel=0.06)
    assert float(table[7].mean()) == pytest.approx(0, abs=5 * spread / 64)
    assert float(table[7].std()) == pytest.approx(spread * sqrt(2 * (0.5 - 1 / (2 * pi))), rel=0.06)


def test_the_most_significant_slice_errs_the_most() -> None:
    device = Device(effects=(ProgrammingVariation("lognormal", (0.1,)),))
    spreads = drawn(device, CrossbarGeometry(weight_bits=8, cell_bits=2)).std(1)[127:]
    assert float(spreads[16]) == pytest.approx(16 * float(spreads[1]), rel=0.1)
    assert float(spreads[0]) == 0


def test_stuck_cells_are_as_frequent_as_the_device_says() -> None:
    table = drawn(Device(effects=(StuckAtFaults(stuck_on=0.01, stuck_off=0.02),)), ONE_CELL)
    counts = (
        (table[7 + 7] == 0).float().mean()
    )  # 7 written, read as 0: its own cell stuck off, or its partner on
    assert float(counts) == pytest.approx(0.02 * 0.99 + 0.01 * 0.98, abs=0.01)


def test_effects_of_place_are_refused() -> None:
    with pytest.raises(AnalogError, match=r"WireResistance depends on a cell's place .*leave it out"):
        drawn(Device(effects=(WireResistance(),)), ONE_CELL)


def errors_of(
    layer: nn.Conv2d | nn.Linear, geometry: CrossbarGeometry, adc=None, device=None,
    placement: PlacementMode = "compacted",
) -> ArrayErrors:  # fmt: skip
    device = device or Device()
    table = drawn(device, geometry, 256) if device.effects else None
    matrix = CrossbarMatrix.of_layer("0", layer)
    return ArrayErrors(matrix, geometry, adc or IdealAdc(), device, placement, "reference", table)


def test_weights_are_read_back_anew_in_every_step_and_pruned_ones_only_where_they_are_driven() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(32, 4, bias=False)
    geometry = CrossbarGeometry(active_rows=16, weight_bits=4)
    errors = errors_of(layer, geometry, device=Device(effects=(ProgrammingVariation(),)))
    mask = torch.rand(4, 32) < 0.3
    mask[:, 16:] = False  # a row group that holds nothing is never read
    errors.keep(mask)
    matrix = CrossbarMatrix.of_layer("0", layer)
    kept = matrix.to_matrix(mask)
    assert torch.equal(
        errors.driven, matrix.to_weight(slice_weights(torch.zeros_like(kept).int(), kept, geometry).driven)
    )
    step = torch.full((4,), 0.5)
    weight = (torch.randint(-7, 8, (4, 32)) * 0.5 * mask).requires_grad_()
    one, other = errors.read_back(weight, step), errors.read_back(weight, step)
    driven = errors.driven
    assert bool((one[~driven] == 0).all())
    assert bool((one[driven] != other[driven]).float().mean() > 0.8)
    assert bool((one[driven & ~mask] != 0).any())
    one.sum().backward()
    assert weight.grad is not None
    assert torch.equal(weight.grad, torch.ones_like(weight))


def test_a_gathered_step_drives_what_its_columns_keep_in_any_row_group() -> None:
    """Rows 0 and 9 share a step, whose two columns are both converted: in place, each is alone."""
    layer = nn.Linear(16, 2, bias=False)
    geometry = CrossbarGeometry(rows=16, active_rows=8, weight_bits=4)
    mask = torch.zeros(2, 16, dtype=torch.bool)
    mask[0, 0] = mask[1, 9] = True
    driven = {}
    for placement in get_args(PlacementMode):
        errors = errors_of(layer, geometry, placement=placement)
        errors.keep(mask)
        driven[placement] = errors.driven.nonzero().tolist()
    assert driven["in_place"] == driven["compacted"] == [[0, 0], [1, 9]]
    assert driven["gathered"] == [[0, 0], [0, 9], [1, 0], [1, 9]]


def test_training_converts_the_sums_of_gathered_rows() -> None:
    torch.manual_seed(0)
    layer, images = nn.Linear(32, 4), torch.rand(5, 32)
    with torch.no_grad():
        layer.weight[:, 1::2] = 0
    mask = layer.weight != 0
    with torch.no_grad():
        layer.weight[:2, 4] = 0  # kept, and still zero: its wordline has its place in a step
    geometry = CrossbarGeometry(active_rows=8, adc_bits=3, weight_bits=4, input_bits=4)
    steps = LayerSteps(torch.full((4,), float(layer.weight.detach().abs().max()) / 7), 1 / 15, 0)
    read, arrays = {}, {}
    for placement in get_args(PlacementMode):
        errors = errors_of(layer, geometry, FullScaleAdc(), placement=placement)
        errors.keep(mask)
        read[placement] = errors.read(layer, images, steps)
        learned = TrainedSteps(4, 4, {"0": steps})
        converted = convert(
            nn.Sequential(layer), {"0": mask}, geometry, AnalogSettings(), FullScaleAdc(), [images],
            learned=learned, placement=placement,
        )  # fmt: skip
        program_draw(converted, Device(), 0, 0)
        arrays[placement] = converted(images) - layer.bias
    assert torch.equal(read["in_place"], read["compacted"])
    assert not torch.equal(read["in_place"], read["gathered"])
    for placement, outputs in arrays.items():
        assert torch.allclose(read[placement], outputs, atol=1e-6), placement


def test_the_draws_follow_the_seed_of_the_epoch() -> None:
    layer = nn.Linear(8, 2)
    errors = errors_of(
        layer, CrossbarGeometry(weight_bits=4), device=Device(effects=(ProgrammingVariation(),))
    )
    weight, step = torch.ones(2, 8), torch.ones(2)
    draws = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        draws.append(errors.read_back(weight, step))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize("adc", [FullScaleAdc(), FullScaleAdc(gain_sigma=0.1), MseAdc()])
def test_lossy_adcs_are_in_the_forward_pass_and_not_in_the_gradient(adc) -> None:
    torch.manual_seed(0)
    layer, images = nn.Conv2d(8, 6, 3, bias=True).train(), torch.randn(3, 8, 6, 6)
    geometry = CrossbarGeometry(active_rows=64, adc_bits=4, weight_bits=4, input_bits=4)
    aware = LearnedStepSize("0", 6, geometry, errors_of(layer, geometry, adc))
    torch.manual_seed(5)
    trained = aware.compute(layer, images)
    upstream = torch.randn_like(trained)
    trained.backward(upstream)
    gradient = layer.weight.grad
    network = nn.Sequential(copy.deepcopy(layer))
    learned = TrainedSteps(4, 4, {"0": aware.steps(layer.weight)})
    rule = AnalogSettings(backend="reference")
    arrays = convert(network, {}, geometry, rule, adc, [images], learned=learned)
    torch.manual_seed(5)
    outputs = []
    for part in images.split(
        1 if adc.gain_sigma else len(images)
    ):  # where chips differ, each image has its own
        seed = int(torch.randint(2**31, ()))
        analog_layers(arrays)["0"].program_arrays(Device(), torch.Generator().manual_seed(seed))
        outputs.append(arrays(part))
    torch.testing.assert_close(torch.cat(outputs), trained.detach(), rtol=1e-5, atol=1e-5)
    layer.weight.grad = None
    plain = LearnedStepSize("0", 6, geometry)
    plain.load_state_dict({k: v for k, v in aware.state_dict().items() if "errors" not in k})
    rounded = plain.compute(layer, images)
    rounded.backward(upstream)
    assert gradient is not None
    assert layer.weight.grad is not None
    torch.testing.assert_close(gradient, layer.weight.grad)
    assert not torch.allclose(rounded, trained)
    assert torch.equal(aware.compute(layer.eval(), images), plain.compute(layer, images))


def test_devices_err_as_much_as_on_simulated_arrays_zero_point_included() -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(24, 5).train(), torch.randn(6, 24)
    geometry = CrossbarGeometry(weight_bits=4, input_bits=4)
    device = Device(effects=(ProgrammingVariation(),))
    aware = LearnedStepSize("0", 5, geometry, errors_of(layer, geometry, device=device))
    with torch.no_grad():
        trained = torch.stack([aware.compute(layer, x) for _ in range(300)])
    learned = TrainedSteps(4, 4, {"0": aware.steps(layer.weight)})
    assert learned.layers["0"].zero > 3
    network = nn.Sequential(copy.deepcopy(layer))
    arrays = convert(network, {}, geometry, AnalogSettings(), IdealAdc(), [], learned=learned)
    draws = []
    for draw in range(100):
        program_draw(arrays, device, 0, draw)
        draws.append(arrays(x))
    simulated = torch.stack(draws)
    # besides, ADCs round the currents of such cells: a 12th of a squared level for each of their conversions
    conversions = 2 * 2 * (1 + 4**2) * sum(4**cycle for cycle in range(4))  # row groups, pair, slices, cycles
    steps = learned.layers["0"]
    rounding = conversions / 12 * (steps.weight * steps.input).square()
    expected = (trained.var(0).mean(0) + rounding).sqrt()
    assert float(expected.mean()) == pytest.approx(float(simulated.std(0).mean()), rel=0.1)
    torch.testing.assert_close(trained.mean(0), simulated.mean(0), rtol=0, atol=float(simulated.std()) / 2)


def test_arrays_are_simulated_only_where_reading_errs() -> None:
    lossy, exact = CrossbarGeometry(adc_bits=3), CrossbarGeometry()
    assert not reads_exactly(lossy, FullScaleAdc(), Device())
    assert reads_exactly(lossy, IdealAdc(), Device())
    assert reads_exactly(exact, FullScaleAdc(), Device(effects=(ProgrammingVariation(),)))
    assert not reads_exactly(exact, FullScaleAdc(gain_sigma=0.1), Device())
    assert not reads_exactly(exact, FullScaleAdc(), Device(read_noise=0.01))
    assert not reads_exactly(exact, FullScaleAdc(), Device(on_off_ratio=20.0))


def test_reading_leaves_the_layer_as_it_was() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(16, 3).train()
    geometry = CrossbarGeometry(adc_bits=4, weight_bits=4, input_bits=4)
    quantiser = LearnedStepSize("0", 3, geometry, errors_of(layer, geometry, FullScaleAdc()))
    before = layer.weight.detach().clone()
    quantiser.compute(layer, torch.rand(4, 16)).sum().backward()
    assert layer.weight.requires_grad
    assert layer.weight.grad is not None
    assert layer.bias is not None
    assert torch.equal(layer.weight, before)
