"""Each batched augmentation equals a slow twin that treats one image at a time, given the same draws."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cimlab.data.augment import Augmentation, augment, crop, cutout, draw, flip, normalise

SIZES = st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(2, 9))


def random_images(shape: tuple[int, int, int], seed: int) -> torch.Tensor:
    batch, channels, size = shape
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (batch, channels, size, size), generator=generator, dtype=torch.uint8)


def slow_crop(image: torch.Tensor, window: list[int], padding: int) -> torch.Tensor:
    size = image.shape[-1]
    padded = torch.nn.functional.pad(image[None].float(), [padding] * 4, mode="reflect")[0].to(torch.uint8)
    row, column = window
    return padded[:, row : row + size, column : column + size]


def slow_cutout(image: torch.Tensor, hole: list[int], side: int, fill: torch.Tensor) -> torch.Tensor:
    image = image.clone()
    size = image.shape[-1]
    for row in range(hole[0] - side // 2, hole[0] - side // 2 + side):
        for column in range(hole[1] - side // 2, hole[1] - side // 2 + side):
            if 0 <= row < size and 0 <= column < size:
                image[:, row, column] = fill
    return image


@settings(max_examples=25, deadline=None)
@given(shape=SIZES, data=st.data())
def test_every_augmentation_equals_its_slow_twin(shape, data):
    size = shape[2]
    asked = Augmentation(
        crop_padding=data.draw(st.integers(0, size - 1)),
        flip=data.draw(st.booleans()),
        cutout=data.draw(st.integers(0, size + 2)),
    )
    seed = data.draw(st.integers(0, 99))
    images = random_images(shape, seed)
    draws = draw(asked, shape[0], size, torch.Generator().manual_seed(seed))
    fill = torch.arange(shape[1], dtype=torch.uint8)
    expected = []
    for image, window, mirrored, hole in zip(images, *(part.tolist() for part in draws), strict=True):
        image = slow_crop(image, window, asked.crop_padding)
        image = image.flip(2) if mirrored else image
        expected.append(slow_cutout(image, hole, asked.cutout, fill))
    before = images.clone()
    assert torch.equal(augment(images, asked, draws, fill), torch.stack(expected))
    assert torch.equal(images, before)


def test_crop_window_in_the_middle_and_flip_of_none_change_nothing():
    images = random_images((4, 3, 8), 0)
    assert torch.equal(crop(images, torch.full((4, 2), 3), 3), images)
    assert torch.equal(flip(images, torch.zeros(4, dtype=torch.bool)), images)
    assert torch.equal(cutout(images, torch.zeros(4, 2, dtype=torch.int64), 0, torch.zeros(3).byte()), images)


def test_draws_reach_every_window_and_flip_half():
    draws = draw(Augmentation(crop_padding=2, flip=True), 4000, 8, torch.Generator().manual_seed(0))
    assert draws.window.unique().tolist() == [0, 1, 2, 3, 4]
    assert draws.hole.unique().tolist() == list(range(8))
    assert 0.45 < draws.mirrored.float().mean().item() < 0.55


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_normalise_matches_the_formula(dtype):
    images = random_images((5, 3, 8), 1)
    mean, std = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.25, 0.3])
    got = normalise(images, mean, std, dtype)
    expected = (images.double() / 255 - mean[:, None, None]) / std[:, None, None]
    assert got.dtype == dtype
    assert got.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(got, expected.to(dtype))


@pytest.mark.parametrize("options", [{"crop_padding": -1}, {"cutout": -2}, {"cutout": 1.5}])
def test_augmentation_refuses_nonsense(options):
    (name,) = options
    with pytest.raises(ValueError, match=rf"^{name}=.* not allowed; use"):
        Augmentation(**options)
