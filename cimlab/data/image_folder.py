"""Any tree of image files, one folder a class, ImageNet among them: read by worker processes, cropped on the
CPU as uint8, normalised on the device. Its `test/` or `val/` is the test set; validation is split off `train/`."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from cimlab.data.augment import normalise
from cimlab.data.base import ImageDataModule
from cimlab.data.epoch import EpochLoader
from cimlab.data.errors import DataError, DataSettingError, require_at_least
from cimlab.data.loader import Batch
from cimlab.data.pictures import read_picture
from cimlab.data.seeding import TEST_SPLIT_SEED, mixed_seed, stratified_split
from cimlab.data.survey import class_folders, described, require_folder, require_whole, scan
from cimlab.processors import cores

Sample = tuple[str, int]


class SeededImages(Dataset[tuple[Tensor, int]]):
    """Image files through a random transform whose random numbers depend on (seed, epoch, index) alone,
    whatever the number of workers. Raises DataError on a file that is no image."""

    def __init__(self, samples: list[Sample], transform: v2.Transform, seed: int, epoch: int) -> None:
        self.samples, self.transform = samples, transform
        self.seed, self.epoch = seed, epoch

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[UInt8[Tensor, "3 h w"], int]:
        path, label = self.samples[index]
        picture = read_picture(path)
        # torchvision draws from torch's global CPU generator only; lend it a seed and give it back as it was
        state = torch.default_generator.get_state()
        torch.default_generator.manual_seed(mixed_seed(self.seed, self.epoch, index))
        image = self.transform(picture)
        torch.default_generator.set_state(state)
        return image, label


class FolderLoader(EpochLoader):
    """Normalised batches of image files, on the module's device and in its dtype."""

    def __init__(self, module: "ImageFolder", samples: list[Sample], training: bool) -> None:
        self.module, self.samples, self.training = module, samples, training
        self.batch_size = module.batch_size if training else module.eval_batch_size
        if training and self.batch_size > len(samples):
            raise DataSettingError(
                f"data.batch_size={self.batch_size} is not allowed; use 1 to {len(samples)}, the training images"
            )
        self.transform = module.training_transform() if training else module.test_transform()

    def __len__(self) -> int:
        """Batches an epoch."""
        whole, rest = divmod(len(self.samples), self.batch_size)
        return whole if self.training else whole + bool(rest)

    def __iter__(self) -> Iterator[Batch]:
        device, dtype = self.module.device, self.module.dtype
        mean = torch.tensor(self.module.mean, device=device)
        std = torch.tensor(self.module.std, device=device)
        batches = DataLoader(
            SeededImages(self.samples, self.transform, self.module.seed, self.epoch),
            batch_size=self.batch_size,
            shuffle=self.training,
            drop_last=self.training,
            num_workers=min(self.module.num_workers, cores()),  # more would wait for each other
            pin_memory=device.type == "cuda",
            generator=torch.Generator().manual_seed(mixed_seed(self.module.seed, self.epoch)),
        )
        try:
            for images, labels in batches:
                images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
                yield normalise(images, mean, std, dtype), labels
        except DataError as error:
            # a worker's error arrives with its traceback as text; the last line says what to do
            raise DataError(str(error).rpartition("DataError: ")[2].strip()) from error


def _is_split(root: Path) -> bool:
    """Whether the images to train on lie in a folder of their own."""
    return any(path.is_dir() for path in (root / "train").glob("*"))


def _held_out(root: Path) -> tuple[str, str]:
    """Which folder beside train/ holds the test images, and what to say of others that could have.

    Raises:
        DataError: none is called test/ or val/, but one has the classes of train/.
    """
    beside = [name for name in class_folders(root) if name != "train"]
    classes = class_folders(root / "train")
    alike = [name for name in beside if class_folders(root / name) == classes]
    named = [name for name in ("test", "val") if name in beside]
    if alike and not named:
        raise DataError(
            f"{root} has train/, and neither test/ nor val/; rename {alike[0]}/, which has the same classes, to test/"
        )
    held = next((name for name in named if name in alike), "val" if "val" in named else "test")
    others = [name for name in dict.fromkeys((*named, *alike)) if name != held]
    why = ["" if name in alike else ", which has not the classes of train/" for name in others]
    told = " and ".join(f"{name}/{reason}" for name, reason in zip(others, why, strict=True))
    return held, f" ({held}/; passed over: {told})" if others else ""


IMAGENET_CROP, SMALL = 0.08, 128
"""Least share of an image in a crop (Szegedy et al., "Going deeper with convolutions", CVPR 2015), which leaves nothing
to see of images with fewer pixels a side."""


@dataclass(kw_only=True, eq=False, repr=False)
class ImageFolder(ImageDataModule):
    """Images under data_dir/train/CLASS and data_dir/val/CLASS (or test/CLASS), or under data_dir/CLASS alone.

    Where there are both val/ and test/, the test set is test/ if it has the classes of train/ (ImageNet's has none).
    Hidden files and folders are passed over. Sixteen bits become eight, real numbers go from 0 to 1, transparency shows
    white, photographs stand as their camera held them (`cimlab.data.pictures`).

    image_size: pixels a side that the model sees.
    least_crop: least share of an image's area in a training crop, up to 1. Below 1, tests are on the middle of images,
        as is ImageNet's custom; at 1, training and tests are on whole images, squeezed into a square. None is 1 for
        an image_size below 128, and 0.08 from there on.
    flip: mirror a training image left and right with probability one half.
    num_workers: processes that read images, at most one a core; 0 reads in this one.
    test_fraction: share of the images kept for test where there is no val/ or test/; the same images in every run.
    """

    image_size: int = 224
    least_crop: float | None = None
    flip: bool = True
    num_workers: int = 4
    test_fraction: float = 0.2
    in_channels = 3
    # ImageNet's, which its pretrained networks expect
    mean = (0.485, 0.456, 0.406)
    std = (0.229, 0.224, 0.225)
    _samples: dict[str, list[Sample]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least("image_size", self.image_size, 1)
        require_at_least("num_workers", self.num_workers, 0)
        if self.least_crop is not None and not 0 < self.least_crop <= 1:
            raise ValueError(f"least_crop={self.least_crop} is not allowed; use more than 0 and at most 1")
        if not 0 < self.test_fraction < 1:
            raise ValueError(
                f"test_fraction={self.test_fraction} is not allowed; use more than 0 and less than 1"
            )

    def prepare_data(self) -> None:
        """Lists the files and classes and looks at every file, once. Refuses a missing or uneven tree, one class, empty
        classes, and files that are no images."""
        if self._samples:
            return
        root, passed_over = Path(self.data_dir), ""
        require_folder(root)
        if _is_split(root):
            held, passed_over = _held_out(root)
            trees = [scan(root / "train"), scan(root / held)]
            tree, test_tree = trees
            if tree.classes != test_tree.classes:
                odd = sorted(set(tree.classes) ^ set(test_tree.classes))
                raise DataError(
                    f"{root}: train/ and {held}/ differ in class {odd[0]!r}; give both the same class folders"
                )
            development, test = tree.samples, test_tree.samples
        else:
            (tree,) = trees = [scan(root)]
            test_size = round(self.test_fraction * len(tree.samples))
            labels = torch.tensor([label for _, label in tree.samples])
            kept, held = stratified_split(labels, test_size, TEST_SPLIT_SEED)
            development, test = _pick(tree.samples, kept), _pick(tree.samples, held)
        train, validation = self.split_validation(torch.tensor([label for _, label in development]))
        trained = {development[index][1] for index in train.tolist()}
        for label, name in enumerate(tree.classes):
            if label not in trained:
                raise DataError(
                    f"{root}: class {name!r} has no image to train on beside those for validation and test; add "
                    "images, remove the class, or lower data.validation_size"
                )
        require_whole(trees)
        counts = _counted(len(train), len(validation), len(test)) + passed_over
        resized = _resized(tree.samples[0][0], self.image_size)
        _tell(f"{root}: {described(trees)}; {counts}; {resized}; {self._changes()}")
        self.num_classes = len(tree.classes)
        self._samples = {
            "train": _pick(development, train),
            "validation": _pick(development, validation),
            "test": test,
        }

    def facts(self) -> tuple[int, int, int]:
        """Classes are folders, so that no image has to be opened."""
        root = Path(self.data_dir)
        require_folder(root)
        tree = scan(root / "train" if _is_split(root) else root)
        return self.in_channels, self.image_size, len(tree.classes)

    @property
    def smallest_crop(self) -> float:
        """`least_crop`, or what stands for it where nothing was asked."""
        usual = 1.0 if self.image_size < SMALL else IMAGENET_CROP
        return usual if self.least_crop is None else self.least_crop

    def training_transform(self) -> v2.Transform:
        """From a picture to the uint8 image that is trained on, at random."""
        side = (self.image_size, self.image_size)
        whole = self.smallest_crop == 1
        crop = v2.Resize(side) if whole else v2.RandomResizedCrop(side, scale=(self.smallest_crop, 1.0))
        return v2.Compose([crop, v2.RandomHorizontalFlip(0.5 if self.flip else 0.0), v2.PILToTensor()])

    def test_transform(self) -> v2.Transform:
        """The whole image, or its centre after its shorter side became 256/224 of `image_size`."""
        size = self.image_size
        if self.smallest_crop == 1:
            return v2.Compose([v2.Resize((size, size)), v2.PILToTensor()])
        return v2.Compose([v2.Resize(round(size * 256 / 224)), v2.CenterCrop(size), v2.PILToTensor()])

    def _changes(self) -> str:
        """What images go through, and which settings say so."""
        crops = f"crops of {100 * self.smallest_crop:g} to 100 % of an image, tests on its middle"
        what = "whole images" if self.smallest_crop == 1 else crops
        mirrored = ", mirrored at random" if self.flip else ""
        return f"training on {what}{mirrored} (data.least_crop, data.flip)"

    def train_loader(self) -> FolderLoader:
        return FolderLoader(self, self._samples["train"], training=True)

    def validation_loader(self) -> FolderLoader:
        return FolderLoader(self, self._samples["validation"], training=False)

    def test_loader(self) -> FolderLoader:
        return FolderLoader(self, self._samples["test"], training=False)


def _counted(train: int, validation: int, test: int) -> str:
    """What is done with how many images."""
    held = f", {validation:,} of the training images held for validation" if validation else ""
    return f"{train + validation:,} for training{held}, {test:,} for test"


def _resized(path: str, side: int) -> str:
    """What becomes of images of the first one's size."""
    height, width = read_picture(path).size[::-1]
    return f"used at {side} x {side} pixels (data.image_size), the first image has {height} x {width}"


@cache  # once a process, not once a run
def _tell(line: str) -> None:
    print(line, flush=True)


def _pick(samples: list[Sample], indices: Tensor) -> list[Sample]:
    return [samples[index] for index in indices.tolist()]
