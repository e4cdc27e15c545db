"""What every image data module shares: checked options, the split of validation from training images, and the
device and dtype that batches are made for. The constructor reads nothing; `prepare_data` checks, `setup`
loads."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from jaxtyping import Int64
from torch import Tensor

from cimlab.data.errors import DataSettingError, require_at_least
from cimlab.data.loader import Batch
from cimlab.data.seeding import stratified_split


@dataclass(kw_only=True, eq=False, repr=False)
class ImageDataModule(ABC):
    """Train, validation and test batches of one set of square images.

    data_dir: the folder that holds the data; sets that carry or make their own images leave it alone.
    batch_size, eval_batch_size: images a batch in training, and in validation and test.
    validation_size: images split off the training set, equally from each class; 0 means no validation, None a tenth,
        at most 10,000, which is the number from `prepare_data` on.
    seed: of the validation split, the order and the augmentation; the test set never depends on it.
    num_classes, in_channels, image_size (pixels a side), mean, std: known after `prepare_data`, so that a
    model can be built before `setup`.
    Raises ValueError on an option out of range.
    """

    data_dir: str
    batch_size: int
    validation_size: int | None
    seed: int
    eval_batch_size: int = 1000
    num_classes: int = field(init=False)
    in_channels: int = field(init=False)
    image_size: int = field(init=False)
    mean: tuple[float, ...] = field(init=False)
    std: tuple[float, ...] = field(init=False)
    device: torch.device = field(init=False, default=torch.device("cpu"))
    dtype: torch.dtype = field(init=False, default=torch.float32)
    part: tuple[int, int] = field(init=False, default=(0, 1))
    """The r-th of n equal parts of every batch, for one of n devices."""
    feeds_several_devices = False

    def __post_init__(self) -> None:
        require_at_least("batch_size", self.batch_size, 1)
        require_at_least("eval_batch_size", self.eval_batch_size, 1)
        if self.validation_size is not None:
            require_at_least("validation_size", self.validation_size, 0)
        require_at_least("seed", self.seed, 0)

    def to(self, device: torch.device | str, dtype: torch.dtype) -> None:
        """Batches from now on live on `device`, their images in `dtype`."""
        self.device, self.dtype = torch.device(device), dtype

    def prepare_data(self) -> None:  # noqa: B027 - a set that is made, not read, has nothing to prepare
        """Makes sure that the data are there and whole, and learns their facts."""

    def facts(self) -> tuple[int, int, int]:
        """Channels and pixels a side of an image, and classes; a set that does not know them yet looks for them."""
        if not all(hasattr(self, name) for name in ("in_channels", "image_size", "num_classes")):
            self.prepare_data()
        return self.in_channels, self.image_size, self.num_classes

    def setup(self, stage: str | None = None) -> None:  # noqa: B027 - a set read batch by batch loads nothing
        """Loads what a stage needs: test images only for "test" or None."""

    def split_validation(
        self, labels: Int64[Tensor, " n"]
    ) -> tuple[Int64[Tensor, " train"], Int64[Tensor, " validation"]]:
        """Indices of the training and the validation images. Raises DataSettingError if no training image is
        left."""
        if self.validation_size is None:
            self.validation_size = min(10_000, len(labels) // 10)
        if self.validation_size >= len(labels):
            raise DataSettingError(
                f"data.validation_size={self.validation_size} is not allowed; use 0 to {len(labels) - 1}, "
                f"for there are {len(labels)} training images"
            )
        return stratified_split(labels, self.validation_size, self.seed)

    @abstractmethod
    def train_loader(self) -> Iterable[Batch]:
        """Shuffled, augmented training batches; `set_epoch` chooses the epoch outside Lightning."""

    @abstractmethod
    def validation_loader(self) -> Iterable[Batch]:
        """Validation batches, in order."""

    @abstractmethod
    def test_loader(self) -> Iterable[Batch]:
        """Test batches, in order; used once, at the end of a run."""
