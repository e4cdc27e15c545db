"""Augmentation of whole batches of uint8 images on any device: crop after reflect padding, horizontal flip,
cutout, and the step to the model's dtype. Drawing the random numbers is apart from applying them, so each
function is pure."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from cimlab.data.errors import require_at_least


@dataclass(frozen=True)
class Augmentation:
    """What may happen to a training image; the default leaves it as it is.

    crop_padding: pixels of reflected border on each side before a crop back to the image's size.
    flip: mirror left and right with probability one half.
    cutout: side in pixels of a square filled with the mean colour (DeVries and Taylor, arXiv:1708.04552).
    Raises ValueError on a negative size.
    """

    crop_padding: int = 0
    flip: bool = False
    cutout: int = 0

    def __post_init__(self) -> None:
        require_at_least("crop_padding", self.crop_padding, 0)
        require_at_least("cutout", self.cutout, 0)


class Draws(NamedTuple):
    """Random numbers of n images: window (row, column) in the padded image, mirrored, hole centre."""

    window: Int64[Tensor, "n 2"]
    mirrored: Bool[Tensor, " n"]
    hole: Int64[Tensor, "n 2"]

    def part(self, start: int, stop: int) -> "Draws":
        """The draws of images start to stop - 1."""
        return Draws(self.window[start:stop], self.mirrored[start:stop], self.hole[start:stop])

    def to(self, device: torch.device) -> "Draws":
        """The same draws on another device."""
        return Draws(self.window.to(device), self.mirrored.to(device), self.hole.to(device))


def draw(augmentation: Augmentation, count: int, image_size: int, generator: torch.Generator) -> Draws:
    """Draws for `count` square images of side `image_size` pixels, on the generator's device."""
    device = generator.device
    positions = 2 * augmentation.crop_padding + 1
    window = torch.randint(positions, (count, 2), generator=generator, device=device)
    coin = torch.randint(2, (count,), generator=generator, device=device)
    hole = torch.randint(image_size, (count, 2), generator=generator, device=device)
    return Draws(window, coin.bool() & augmentation.flip, hole)


def crop(
    images: UInt8[Tensor, "b c h w"], window: Int64[Tensor, "b 2"], padding: int
) -> UInt8[Tensor, "b c h w"]:
    """The h x w window at (row, column) = `window` of each image, `padding` reflected pixels added.

    The padded image is never built: a pixel is read where the reflection would have copied it from.
    Needs padding < min(h, w), as reflection does.
    """
    batch, channels, height, width = images.shape
    rows = _reflected(window[:, :1], height, padding)
    columns = _reflected(window[:, 1:], width, padding)
    source = (rows[:, :, None] * width + columns[:, None, :]).reshape(batch, 1, -1)
    return images.flatten(2).gather(2, source.expand(-1, channels, -1)).view_as(images)


def _reflected(first: Int64[Tensor, "b 1"], size: int, padding: int) -> Int64[Tensor, "b size"]:
    """Source index of each of `size` pixels read from padded index `first` on; edge pixels once only."""
    index = (first + torch.arange(size, device=first.device) - padding).abs()
    return (size - 1) - ((size - 1) - index).abs()


def flip(images: UInt8[Tensor, "b c h w"], mirrored: Bool[Tensor, " b"]) -> UInt8[Tensor, "b c h w"]:
    """Images with left and right exchanged where `mirrored`."""
    return torch.where(mirrored[:, None, None, None], images.flip(3), images)


def cutout(
    images: UInt8[Tensor, "b c h w"], hole: Int64[Tensor, "b 2"], side: int, fill: UInt8[Tensor, " c"]
) -> UInt8[Tensor, "b c h w"]:
    """Images with a square of `side` pixels around `hole` (row, column) set to `fill`; it may stick out."""
    first = hole - side // 2
    rows = _within(first[:, :1], side, images.shape[2])
    columns = _within(first[:, 1:], side, images.shape[3])
    inside = rows[:, None, :, None] & columns[:, None, None, :]
    return torch.where(inside, fill[:, None, None], images)


def _within(first: Int64[Tensor, "b 1"], side: int, size: int) -> Bool[Tensor, "b size"]:
    index = torch.arange(size, device=first.device)
    return (index >= first) & (index < first + side)


def augment(
    images: UInt8[Tensor, "b c h w"], augmentation: Augmentation, draws: Draws, fill: UInt8[Tensor, " c"]
) -> UInt8[Tensor, "b c h w"]:
    """Crop, then flip, then cutout, each as `augmentation` asks and `draws` decided."""
    if augmentation.crop_padding:
        images = crop(images, draws.window, augmentation.crop_padding)
    if augmentation.flip:
        images = flip(images, draws.mirrored)
    if augmentation.cutout:
        images = cutout(images, draws.hole, augmentation.cutout, fill)
    return images


def normalise(
    images: UInt8[Tensor, "b c h w"], mean: Float[Tensor, " c"], std: Float[Tensor, " c"], dtype: torch.dtype
) -> Float[Tensor, "b c h w"]:
    """(images / 255 - mean) / std, reckoned in float32, then rounded to `dtype`; channels_last."""
    scale = 1 / (255 * std)
    pixels = images.to(torch.float32, memory_format=torch.channels_last)
    return pixels.mul_(scale[:, None, None]).sub_((mean / std)[:, None, None]).to(dtype)
