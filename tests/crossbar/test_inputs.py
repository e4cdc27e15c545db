"""What the range of a layer's inputs is calibrated on: every channel of every batch."""

import pytest
import torch

from cimlab.crossbar.inputs import SAMPLE, RangeObserver

TOKENS = (128, 64, 128)
"""Sixteen times SAMPLE: evenly spaced samples would see every sixteenth of the 128 channels alone."""


@pytest.mark.parametrize("channel", [0, 1, 7, 127])
def test_the_one_channel_with_large_values_sets_the_range_wherever_it_is(channel: int) -> None:
    inputs = torch.randn(TOKENS, generator=torch.Generator().manual_seed(0))
    inputs[..., channel] *= 40
    observer = RangeObserver("layer")
    observer.watch(inputs)
    quantiser = observer.quantiser("mse", 1.0, 8)
    error = (quantiser.values(quantiser(inputs)) - inputs).square().mean()
    assert 10 * torch.log10(inputs.square().mean() / error) > 20  # dB; 1 where the channel is not seen


@pytest.mark.parametrize("shape", [TOKENS, (250, 3, 32, 32), (97, 1009), (SAMPLE + 1,), (1,)])
def test_a_sample_is_no_larger_than_asked_and_of_every_place_alike(shape: tuple[int, ...]) -> None:
    places = torch.arange(shape[-1], dtype=torch.float32).expand(shape)
    observer = RangeObserver("layer")
    observer.watch(places)
    (seen,) = observer._samples
    assert len(seen) <= SAMPLE
    assert len(seen.unique()) == min(shape[-1], len(seen))
