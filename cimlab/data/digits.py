"""Handwritten digits, 1797 grey images of 8 x 8 pixels (Alpaydin and Kaynak, UCI, 1998), bundled with
scikit-learn: no download, a run takes seconds; the set for a first look and for tests."""

import gzip
import zlib
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import torch

from cimlab.data.errors import DataError
from cimlab.data.resident import Labelled, ResidentDataModule
from cimlab.data.seeding import TEST_SPLIT_SEED, stratified_split

IMAGES, TEST_IMAGES = 1797, 360


class Digits(ResidentDataModule):
    """1437 training and 360 test images, grey values 0..16 scaled to 0..255; the test images are always the
    same."""

    num_classes = 10
    in_channels = 1
    image_size = 8
    # over the pixels of the 1437 training images, as `load` gives them
    mean = (0.3053,)
    std = (0.3757,)

    def load(self, train: bool) -> Labelled:
        pixels, targets = _read()
        images = torch.from_numpy(pixels).mul(255 / 16).round().to(torch.uint8).view(-1, 1, 8, 8)
        labels = torch.from_numpy(targets).to(torch.int64)
        chosen = stratified_split(labels, TEST_IMAGES, TEST_SPLIT_SEED)[0 if train else 1]
        return images[chosen], labels[chosen]


def _read() -> tuple[np.ndarray, np.ndarray]:
    """Pixels [1797, 64] and classes [1797] from scikit-learn's file, which carries a CRC32.

    What `sklearn.datasets.load_digits` reads, without importing scikit-learn and pandas, which takes longer than
    reading.

    Raises:
        DataError: the file is missing or damaged.
    """
    try:
        with gzip.open(_file(), "rt", encoding="ascii") as text:
            table = np.array([line.split(",") for line in text], float)
        if table.shape != (IMAGES, 65):
            raise ValueError(f"it holds {len(table)} images, not {IMAGES}")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"the digits that scikit-learn carries can't be read ({reason}); install scikit-learn again"
        ) from error
    return table[:, :-1], table[:, -1].astype(int)


def _file() -> Path:
    return Path(str(distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")))
