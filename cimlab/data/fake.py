"""Random images made from a seed, of any size and number: for benchmarks and smoke tests, where nothing is
learned."""

from dataclasses import dataclass

import torch

from cimlab.data.errors import require_at_least
from cimlab.data.resident import Labelled, ResidentDataModule
from cimlab.data.seeding import mixed_seed


@dataclass(kw_only=True, eq=False, repr=False)
class FakeImages(ResidentDataModule):
    """`num_images` training and as many test images of uniform noise, labels uniform too."""

    num_images: int = 1024
    num_classes: int = 10
    in_channels: int = 3
    image_size: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("num_images", "num_classes", "in_channels", "image_size"):
            require_at_least(name, getattr(self, name), 1)
        # of the uniform distribution on [0, 1]
        self.mean = (0.5,) * self.in_channels
        self.std = (12**-0.5,) * self.in_channels

    def load(self, train: bool) -> Labelled:
        generator = torch.Generator().manual_seed(mixed_seed(self.seed, int(train)))
        shape = (self.num_images, self.in_channels, self.image_size, self.image_size)
        images = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
        return images, torch.randint(self.num_classes, (self.num_images,), generator=generator)
