"""Seeds and splits that stay the same on every machine and every numpy: SeedSequence and the raw PCG64
stream, the two parts of numpy's random module whose output is promised never to change."""

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

# Of data sets that come without a test set: a constant, so that every run is tested on the same images.
TEST_SPLIT_SEED = 0


def mixed_seed(*words: int) -> int:
    """One seed in [0, 2**63) from several whole numbers >= 0, such as (seed, epoch)."""
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> np.uint64(1))


def stratified_split(
    labels: Int64[Tensor, " n"], held_out: int, seed: int
) -> tuple[Int64[Tensor, " rest"], Int64[Tensor, " held_out"]]:
    """Indices (rest, held out), each ascending; each class gives its share of images, to within one.

    Walks each class in random order and spreads its images evenly over [0, 1), from a random start; the first
    `held_out` images along that line are held out. Raises ValueError unless 0 <= held_out <= n.
    """
    count = len(labels)
    if not 0 <= held_out <= count:
        raise ValueError(f"held_out={held_out} is not allowed; use 0 to {count}, the number of images")
    stream = np.random.PCG64(seed)
    shuffled = np.argsort(stream.random_raw(count), kind="stable")
    classes = labels.cpu().numpy()[shuffled]
    by_class = np.argsort(classes, kind="stable")
    sizes = np.bincount(classes)
    starts = np.cumsum(sizes) - sizes
    owner = classes[by_class]
    first = stream.random_raw(len(sizes)) / 2.0**64
    place = (np.arange(count) - starts[owner] + first[owner]) / sizes[owner]
    chosen = np.zeros(count, dtype=bool)
    chosen[shuffled[by_class[np.argsort(place, kind="stable")[:held_out]]]] = True
    return torch.from_numpy(np.flatnonzero(~chosen)), torch.from_numpy(np.flatnonzero(chosen))
