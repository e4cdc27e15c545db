"""A data set as Lightning's trainer asks for it: on the trainer's device, in its dtype, its part of every batch."""

from collections.abc import Iterable

import pytorch_lightning as pl
import torch

from cimlab.data.base import ImageDataModule
from cimlab.data.errors import DataError
from cimlab.data.loader import Batch

INPUT_DTYPES = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
"""Autocast rounds the first layer's input to this dtype anyway; every other precision takes float32."""


class Feed(pl.LightningDataModule):
    """A data set behind Lightning's hooks.

    Args:
        data: prepared or not, loaded or not.
    """

    def __init__(self, data: ImageDataModule) -> None:
        super().__init__()
        self.data = data

    def prepare_data(self) -> None:
        self.data.prepare_data()

    def setup(self, stage: str | None = None) -> None:
        """Loads what the stage needs where the trainer computes.

        Raises:
            DataError: the set can't feed several devices.
        """
        assert self.trainer is not None
        devices = self.trainer.world_size
        if devices > 1 and not self.data.feeds_several_devices:
            raise DataError(
                f"{type(self.data).__name__} feeds one device, not {devices}; use trainer.devices=1"
            )
        self.data.part = (self.trainer.global_rank, devices)
        dtype = INPUT_DTYPES.get(self.trainer.precision, torch.float32)
        self.data.to(self.trainer.strategy.root_device, dtype)
        self.data.setup(stage)

    def train_dataloader(self) -> Iterable[Batch]:
        return self.data.train_loader()

    def val_dataloader(self) -> Iterable[Batch] | list[Iterable[Batch]]:
        """Validation batches, or [] (Lightning then skips validation) where there are none."""
        return self.data.validation_loader() if self.data.validation_size else []

    def test_dataloader(self) -> Iterable[Batch]:
        return self.data.test_loader()
