"""How a loader that is no torch DataLoader learns the epoch from Lightning.

Lightning calls `loader.sampler.set_epoch(epoch)` before it draws the first batch of an epoch, but after it
has called `iter(loader)`; hence the loader is its own sampler, and must read the epoch at its first batch. A
torch DataLoader draws its order in `iter()`, so that a resumed run would see the order of epoch 0 again.
"""

from typing import Self


class EpochLoader:
    """Base of loaders whose order depends on `epoch`; subclasses iterate lazily, as a generator does."""

    epoch = 0
    # Lightning asks for this too wherever it finds a sampler, as it would of a DataLoader
    batch_sampler = None

    @property
    def sampler(self) -> Self:
        """Where Lightning looks for `set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order and augmentation of iterators that have not given a batch yet."""
        self.epoch = epoch
