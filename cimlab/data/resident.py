"""Data sets small enough to stay on the device whole, as uint8: augmentation and normalisation cost a few
kernels a batch and no worker processes. A subclass says how its images are read and states its facts."""

from abc import abstractmethod
from dataclasses import dataclass, field

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from cimlab.data.augment import Augmentation
from cimlab.data.base import ImageDataModule
from cimlab.data.loader import BatchLoader

Labelled = tuple[UInt8[Tensor, "n c h w"], Int64[Tensor, " n"]]


@dataclass(kw_only=True, eq=False, repr=False)
class ResidentDataModule(ImageDataModule):
    """An ImageDataModule over resident tensors; `crop_padding`, `flip` and `cutout` as in `Augmentation`."""

    crop_padding: int = 0
    flip: bool = False
    cutout: int = 0
    _parts: dict[str, Labelled] = field(init=False, default_factory=dict)
    feeds_several_devices = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.augmentation = Augmentation(self.crop_padding, self.flip, self.cutout)

    @abstractmethod
    def load(self, train: bool) -> Labelled:
        """All training or all test images, uint8 [n, c, h, w], and their labels, int64 [n], on the CPU."""

    def setup(self, stage: str | None = None) -> None:
        """Loads what the stage needs, once, and places it: test images only for "test" or None."""
        if stage in ("fit", "validate", None) and "train" not in self._parts:
            images, labels = self.load(train=True)
            train, validation = self.split_validation(labels)
            self._parts["train"] = (images[train], labels[train])
            self._parts["validation"] = (images[validation], labels[validation])
        if stage in ("test", None) and "test" not in self._parts:
            self._parts["test"] = self.load(train=False)
        self.to(self.device, self.dtype)

    def to(self, device: torch.device | str, dtype: torch.dtype) -> None:
        super().to(device, dtype)
        self._parts = {
            name: (images.to(self.device), labels.to(self.device))
            for name, (images, labels) in self._parts.items()
        }

    def train_loader(self) -> BatchLoader:
        return self._loader("train", self.batch_size, self.augmentation)

    def validation_loader(self) -> BatchLoader:
        return self._loader("validation", self.eval_batch_size, None)

    def test_loader(self) -> BatchLoader:
        return self._loader("test", self.eval_batch_size, None)

    def _loader(self, part: str, batch_size: int, augmentation: Augmentation | None) -> BatchLoader:
        images, labels = self._parts[part]
        return BatchLoader(
            images,
            labels,
            batch_size=batch_size,
            mean=self.mean,
            std=self.std,
            dtype=self.dtype,
            seed=self.seed,
            augmentation=augmentation,
            part=self.part,
        )
