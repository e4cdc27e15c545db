"""Device effects against their definitions: statistics of draws, and wires against Kirchhoff's equations."""

import math

import numpy as np
import pytest
import torch

from cimlab.analog import noise
from cimlab.analog.devices.base import Device, DeviceEffect
from cimlab.analog.devices.drift import Drift
from cimlab.analog.devices.programming_variation import ProgrammingVariation
from cimlab.analog.devices.stuck_at import StuckAtFaults
from cimlab.analog.devices.wire_resistance import WireResistance, exact_conductances, fast_conductances
from cimlab.analog.slicing import SlicedMatrix, slice_weights
from cimlab.crossbar.geometry import CrossbarGeometry


def sliced(rows: int = 128, cols: int = 200, value: int | None = None) -> SlicedMatrix:
    generator = torch.Generator().manual_seed(0)
    weights = torch.randint(-127, 128, (1, rows, cols), generator=generator, dtype=torch.int32)
    if value is not None:
        weights.fill_(value)
    return slice_weights(weights, torch.ones_like(weights, dtype=torch.bool), CrossbarGeometry())


def draw(device: Device, cells: SlicedMatrix, seed: int = 1) -> torch.Tensor:
    return device.cells(cells, torch.Generator().manual_seed(seed))


def test_an_ideal_device_is_read_as_written() -> None:
    cells = sliced()
    assert Device().is_ideal
    assert torch.equal(draw(Device(), cells), cells.levels.float())


def test_a_finite_on_off_ratio_adds_the_off_current_to_every_cell() -> None:
    cells = sliced()
    device = Device(on_off_ratio=10.0)
    expected = cells.levels + 3 * 0.1 / 0.9
    torch.testing.assert_close(draw(device, cells), expected, rtol=0, atol=1e-3)
    assert device.off_level(2) == pytest.approx(1 / 3)


def test_gaussian_programming_spreads_by_its_polynomial() -> None:
    effect = ProgrammingVariation("gaussian", (0.02, 0.06))
    target = torch.full((1, 1, 400, 500), 0.5)
    got = effect.apply(target, 0.0, sliced(1, 1), torch.Generator().manual_seed(0))
    assert float(got.mean()) == pytest.approx(0.5, abs=1e-3)
    assert float(got.std()) == pytest.approx(0.05, rel=0.01)


def test_gaussian_programming_of_cells_that_hold_nothing_errs_upwards_only() -> None:
    """The upper half of a normal law has the mean 1 / sqrt(2 pi) and the variance 1 / 2 - 1 / (2 pi)."""
    effect = ProgrammingVariation("gaussian", (0.05,))
    empty, off = (
        effect.apply(torch.full((1, 1, 400, 500), g), 0.0, sliced(1, 1), torch.Generator().manual_seed(0))
        for g in (0.0, 0.25)  # an off state of 5 sigma
    )
    assert float(empty.min()) == 0
    assert float(empty.mean()) == pytest.approx(0.05 / math.sqrt(2 * math.pi), rel=0.02)
    assert float(empty.std()) == pytest.approx(0.05 * math.sqrt(0.5 - 0.5 / math.pi), rel=0.02)
    assert float(off.mean()) == pytest.approx(0.25, abs=1e-3)
    assert float(off.std()) == pytest.approx(0.05, rel=0.01)


def test_lognormal_programming_keeps_the_median_and_spreads_the_logarithm() -> None:
    effect = ProgrammingVariation("lognormal", (0.3,))
    target = torch.full((1, 1, 400, 500), 0.25)
    got = effect.apply(target, 0.0, sliced(1, 1), torch.Generator().manual_seed(0))
    assert float(got.median()) == pytest.approx(0.25, rel=0.005)
    assert float(got.log().std()) == pytest.approx(0.3, rel=0.01)


def test_stuck_cells_are_as_many_as_asked_and_at_the_two_ends() -> None:
    effect = StuckAtFaults(stuck_on=0.02, stuck_off=0.05)
    target = torch.full((1, 1, 400, 500), 0.5)
    got = effect.apply(target, 0.1, sliced(1, 1), torch.Generator().manual_seed(0))
    cells = got.numel()
    for value, share in ((1.0, 0.02), (0.1, 0.05)):
        found = int((got == value).sum())
        assert abs(found - share * cells) < 5 * math.sqrt(share * (1 - share) * cells)
    assert int((got == 0.5).sum()) == cells - int((got == 1.0).sum()) - int((got == 0.1).sum())


def test_drift_follows_its_power_law() -> None:
    target = torch.full((1, 1, 400, 500), 0.8)
    effect = Drift(time_s=2e4, reference_s=20.0, nu=0.05, nu_sigma=0.005)
    got = effect.apply(target, 0.0, sliced(1, 1), torch.Generator().manual_seed(0))
    exponent = -(got / target).log() / math.log(1000)
    assert float(exponent.mean()) == pytest.approx(0.05, rel=0.01)
    assert float(exponent.std()) == pytest.approx(0.005, rel=0.02)


def test_effects_act_in_physical_order_whatever_the_order_given() -> None:
    effects = (Drift(nu_sigma=0.0), StuckAtFaults(stuck_on=0.5, stuck_off=0.0), ProgrammingVariation())
    cells = sliced()
    assert torch.equal(draw(Device(None, effects), cells), draw(Device(None, effects[::-1]), cells))


def test_cell_values_lie_on_a_grid_that_float32_adds_exactly() -> None:
    cells = sliced()
    values = draw(Device(17.0, (ProgrammingVariation("gaussian", (0.05,)),)), cells)
    grid = 2.0**10
    assert torch.equal((values * grid * 2**20).frac(), torch.zeros_like(values))
    row_group = values[0, :, :16]
    forward, backward = row_group[:, 0].clone(), row_group[:, -1].clone()
    for i in range(1, 16):
        forward += row_group[:, i]
        backward += row_group[:, -1 - i]
    assert torch.equal(forward, backward)


def wires(rows: int, cols: int, relative: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(rows)
    conductance = torch.rand(rows, cols, generator=generator) * 0.9 + 0.1
    distance = torch.arange(rows, 0, -1)
    exact = exact_conductances(conductance, distance, relative)
    return conductance, exact, fast_conductances(conductance.double(), distance, relative)


def test_the_nodal_solve_of_one_cell_is_three_resistors_in_series() -> None:
    exact = exact_conductances(torch.tensor([[0.5]]), torch.tensor([3]), 0.1)
    assert float(exact) == pytest.approx(1 / (0.1 + 2.0 + 0.3))


def test_the_nodal_solve_of_two_cells_on_a_wordline_matches_pencil_and_paper() -> None:
    """Cells a, b on one wordline, unit wire resistance r: nodal equations of the wordline solved by hand."""
    a, b, r = 0.4, 0.7, 0.05
    branch_a, branch_b = 1 / (1 / a + r), 1 / (1 / b + r)
    tail = 1 / (r + 1 / branch_b)
    first = (1 / r) / (1 / r + branch_a + tail)
    second = first * (1 / r) / (1 / r + branch_b)
    exact = exact_conductances(torch.tensor([[a, b]]), torch.tensor([1]), r)
    assert exact[0].tolist() == pytest.approx([first * branch_a, second * branch_b])


@pytest.mark.parametrize(
    ("rows", "cols", "relative", "error"),
    [(16, 16, 1e-5, 1e-5), (16, 64, 1e-4, 2e-2), (64, 64, 1e-5, 1e-3), (64, 64, 1e-4, 5e-2)],
)
def test_the_fast_wires_stay_within_the_stated_error_of_the_nodal_solve(
    rows: int, cols: int, relative: float, error: float
) -> None:
    """Root mean square over cells, relative to the root mean square conductance."""
    conductance, exact, fast = wires(rows, cols, relative)
    off = float((fast - exact).norm() / exact.norm())
    ignored = float((conductance - exact).norm() / exact.norm())
    assert off < error
    assert off < ignored / 4


def test_wires_only_lose_current_and_more_of_it_far_from_driver_and_sense() -> None:
    cells = sliced(rows=64, cols=16, value=127)
    values = draw(Device(None, (WireResistance(1e-3),)), cells)
    positive = values[0, :3, :16]
    assert bool((positive <= cells.levels[0, :3, :16]).all())
    assert bool((positive[0, :, 0] > positive[0, :, -1]).all())
    assert bool((positive[0, 0] < positive[0, 15]).all())


def test_read_noise_has_unit_variance_no_mean_and_no_memory() -> None:
    drawn = noise.normal(noise.stream(5, 0, 1, 2, 3), 0, 4000, torch.arange(64))
    assert float(drawn.mean()) == pytest.approx(0, abs=0.01)
    assert float(drawn.std()) == pytest.approx(1, abs=0.01)
    neighbours = float((drawn[:, 1:] * drawn[:, :-1]).mean()), float((drawn[1:] * drawn[:-1]).mean())
    assert neighbours == pytest.approx((0, 0), abs=0.01)
    other = noise.normal(noise.stream(5, 0, 1, 2, 4), 0, 4000, torch.arange(64))
    assert float((drawn * other).mean()) == pytest.approx(0, abs=0.01)


def test_seeds_of_many_reads_are_those_of_each() -> None:
    places = torch.meshgrid(*map(torch.arange, (2, 3, 4, 5)), indexing="ij")
    many = noise.streams(11, *places)
    for place in np.ndindex(2, 3, 4, 5):
        state = 11
        for part in place:
            state = state * 0x9E3779B1 + part + 1 & 0xFFFFFFFF
            state = (state ^ state >> 16) * 0x7FEB352D & 0xFFFFFFFF
            state = (state ^ state >> 15) * 0x846CA68B & 0xFFFFFFFF
            state ^= state >> 16
        assert int(many[place]) == noise.stream(11, *place) == state
    assert len(many.unique()) == many.numel()


class Own(DeviceEffect):
    """A user's effect, of which nothing is known."""

    stage = 5

    def apply(self, conductance, off, sliced, generator):
        return conductance


@pytest.mark.parametrize(
    ("device", "differ"),
    [
        (Device(), False),
        (Device(on_off_ratio=10.0), False),
        (Device(effects=(WireResistance(1e-4),)), False),
        (Device(on_off_ratio=10.0, effects=(WireResistance(1e-4), Drift(nu_sigma=0.0))), False),
        (Device(effects=(StuckAtFaults(0.0, 0.0), ProgrammingVariation(sigma=(0.0, 0.0)))), False),
        (Device(effects=(WireResistance(1e-4), Drift())), True),
        (Device(effects=(StuckAtFaults(0.1, 0.0),)), True),
        (Device(effects=(StuckAtFaults(0.0, 0.1),)), True),
        (Device(effects=(ProgrammingVariation(sigma=(0.0, 0.1)),)), True),
    ],
)
def test_chips_differ_where_something_is_drawn(device: Device, differ: bool) -> None:
    assert device.chips_differ == differ
    assert differ != torch.equal(draw(device, sliced(), 1), draw(device, sliced(), 2))


def test_chips_differ_where_reads_are_noisy_or_an_effect_does_not_say() -> None:
    assert Device(read_noise=0.1).chips_differ
    assert Device(effects=(Own(),)).chips_differ


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Device(on_off_ratio=0.5),
        lambda: Device(read_noise=-1.0),
        lambda: Device(None, (Drift(), Drift())),
        lambda: ProgrammingVariation(sigma=(-0.1,)),
        lambda: StuckAtFaults(stuck_on=0.7, stuck_off=0.7),
        lambda: Drift(time_s=1.0),
        lambda: WireResistance(relative=2.0),
    ],
)
def test_impossible_devices_are_refused(wrong) -> None:
    with pytest.raises(ValueError, match=r"must|more than once"):
        wrong()
