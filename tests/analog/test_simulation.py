"""Accuracy over chips, and how far a layer on arrays is from floating point."""

from itertools import pairwise
from math import inf, sqrt

import pytest
import torch
from torch import nn

from cimlab.analog.adcs.ideal import IdealAdc
from cimlab.analog.convert import convert
from cimlab.analog.fold import fold_batch_norms
from cimlab.analog.layout import laid_out
from cimlab.analog.settings import AnalogSettings
from cimlab.analog.simulation import PART, Spread, accuracy, layer_fidelity, loss_error, right, snr_db
from cimlab.crossbar.geometry import CrossbarGeometry


def test_accuracy_is_the_fraction_of_right_images_whatever_the_batches() -> None:
    scores = torch.eye(4).repeat(PART, 1)  # image i says class i modulo 4
    labels = torch.arange(len(scores)) % 4
    labels[:PART] = (labels[:PART] + 1) % 4  # a quarter of them is wrong
    told: list[int] = []
    whole = right(nn.Identity(), [(scores, labels)], told.append)
    assert accuracy(whole) == 0.75
    assert told == [PART] * 4
    assert right(nn.Identity(), zip(scores.split(7), labels.split(7), strict=True)).equal(whole)


def test_the_error_of_a_loss_is_that_of_paired_images() -> None:
    floating = torch.tensor([True] * 90 + [False] * 10)
    arrays = torch.tensor([True] * 84 + [False] * 6 + [True] * 2 + [False] * 8)  # 6 lost, 2 gained, of 100
    paired = sqrt((6 + 2 - (6 - 2) ** 2 / 100) / 99 / 100)  # discordant pairs alone; sample variance
    assert loss_error(floating, [arrays]) == pytest.approx(paired)
    assert loss_error(floating, [arrays, floating]) == pytest.approx(
        paired / 2
    )  # half of it, on the mean of chips
    assert loss_error(floating[:1], [arrays[:1]]) is None


def test_the_interval_of_several_chips_is_students() -> None:
    spread = Spread((0.90, 0.92, 0.91))
    assert spread.mean == pytest.approx(0.91)
    assert spread.deviation == pytest.approx(0.01)
    low, high = spread.interval or (0, 0)
    assert (high - low) / 2 == pytest.approx(4.302653 * 0.01 / sqrt(3), rel=1e-6)  # t of 2 degrees, 97.5 %
    assert (low + high) / 2 == pytest.approx(spread.mean)


def test_one_chip_has_no_spread() -> None:
    assert (Spread((0.9,)).deviation, Spread((0.9,)).interval) == (None, None)


def test_signal_to_noise_in_decibels() -> None:
    signal = torch.tensor([3.0, -4.0])
    assert snr_db(signal, signal + torch.tensor([0.3, -0.4])) == pytest.approx(20)
    assert snr_db(signal, signal) == inf


def test_more_bits_bring_every_layer_closer_to_floating_point() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5)
    ).eval()
    images = torch.rand(8, 2, 6, 6)
    found = []
    for bits in (3, 5, 8):
        geometry = CrossbarGeometry(weight_bits=bits, input_bits=bits, cell_bits=2)
        arrays = convert(network, {}, geometry, AnalogSettings(), IdealAdc(), [images])
        floating, _ = laid_out(network, {}, images, AnalogSettings())
        found.append(layer_fidelity(arrays, fold_batch_norms(floating), images))
    assert [set(layers) for layers in found] == [{"0", "4"}] * 3
    for fewer, more in pairwise(found):
        assert all(more[layer].own > fewer[layer].own + 6 for layer in fewer)  # 6 dB is one bit
    first, second = found[-1]["0"], found[-1]["4"]
    assert first.accumulated == first.own  # nothing before it errs
    assert second.accumulated != second.own  # errors before it count too
