"""Batches from images that stay resident on one device: for Lightning or a bare loop."""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from cimlab.data.augment import Augmentation, augment, draw, normalise
from cimlab.data.epoch import EpochLoader
from cimlab.data.errors import DataSettingError
from cimlab.data.seeding import mixed_seed

Batch = tuple[Float[Tensor, "b c h w"], Int64[Tensor, " b"]]


class BatchLoader(EpochLoader):
    """Normalised batches (images [b, c, h, w] channels_last, labels [b]) on the device that holds the images.

    With an `augmentation` it is a training loader: shuffled, augmented, whole batches only. Without one it is
    an evaluation loader: in order, every image once. `part` (r, n) is the r-th of n equal parts of every batch, for
    one of n devices. Order and augmentation depend on (seed, epoch) alone, on
    CPU and CUDA alike: an epoch's random numbers are drawn on the CPU and sent over once, so batches need no
    synchronisation. Raises DataSettingError if a training set is smaller than one batch, or too small for its crop.
    """

    def __init__(
        self,
        images: UInt8[Tensor, "n c h w"],
        labels: Int64[Tensor, " n"],
        *,
        batch_size: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        dtype: torch.dtype,
        seed: int,
        augmentation: Augmentation | None = None,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        if augmentation is not None:
            if batch_size % part[1]:
                raise ValueError(
                    f"batch_size={batch_size} is not allowed; use a multiple of the {part[1]} devices"
                )
            if batch_size > len(images):
                raise DataSettingError(
                    f"batch_size={batch_size} is not allowed; use 1 to {len(images)}, the training images"
                )
            if augmentation.crop_padding >= images.shape[-1]:
                raise DataSettingError(
                    f"crop_padding={augmentation.crop_padding} is not allowed; reflection in images of side "
                    f"{images.shape[-1]} needs 0 to {images.shape[-1] - 1} pixels"
                )
        self.images, self.labels = images, labels
        self.batch_size, self.dtype = batch_size, dtype
        self.seed, self.augmentation, self.part = seed, augmentation, part
        self._mean = torch.tensor(mean, device=images.device)
        self._std = torch.tensor(std, device=images.device)
        self._fill = (255 * self._mean).round().to(torch.uint8)

    def __len__(self) -> int:
        """Batches an epoch."""
        if self.augmentation is None:
            return -(-len(self.images) // self.batch_size)
        return len(self.images) // self.batch_size

    def __iter__(self) -> Iterator[Batch]:
        if self.augmentation is None:
            yield from self._evaluation_batches()
        else:
            yield from self._training_batches(self.augmentation)

    def _training_batches(self, augmentation: Augmentation) -> Iterator[Batch]:
        count, device = len(self.images), self.images.device
        generator = torch.Generator().manual_seed(mixed_seed(self.seed, self.epoch))
        order = torch.randperm(count, generator=generator).to(device)
        draws = draw(augmentation, count, self.images.shape[-1], generator).to(device)
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            mine = self._mine(start, start + self.batch_size)
            chosen = order[mine]
            images = augment(self.images[chosen], augmentation, draws.part(mine.start, mine.stop), self._fill)
            yield normalise(images, self._mean, self._std, self.dtype), self.labels[chosen]

    def _evaluation_batches(self) -> Iterator[Batch]:
        for start in range(0, len(self.images), self.batch_size):
            mine = self._mine(start, min(start + self.batch_size, len(self.images)))
            yield normalise(self.images[mine], self._mean, self._std, self.dtype), self.labels[mine]

    def _mine(self, start: int, stop: int) -> slice:
        """This device's part of a batch."""
        index, parts = self.part
        return slice(start + (stop - start) * index // parts, start + (stop - start) * (index + 1) // parts)
