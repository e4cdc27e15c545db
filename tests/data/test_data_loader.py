"""The resident loader: order and augmentation follow (seed, epoch), also when Lightning sets the epoch."""

import pytest
import pytorch_lightning as pl
import torch

from cimlab.data.augment import Augmentation
from cimlab.data.loader import BatchLoader

COUNT = 50


def loader(seed=0, augmentation=Augmentation(), batch_size=8, side=4):  # noqa: B008 (frozen)
    """Every label is the image's own number, so that a batch's labels tell the order."""
    generator = torch.Generator().manual_seed(7)
    images = torch.randint(256, (COUNT, 3, side, side), generator=generator, dtype=torch.uint8)
    return BatchLoader(
        images,
        torch.arange(COUNT),
        batch_size=batch_size,
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        dtype=torch.float32,
        seed=seed,
        augmentation=augmentation,
    )


def order(batches) -> list[int]:
    return torch.cat([labels for _, labels in batches]).tolist()


def test_evaluation_sees_every_image_once_in_order():
    batches = list(loader(augmentation=None))
    assert order(batches) == list(range(COUNT))
    assert [len(labels) for _, labels in batches] == [8] * 6 + [2]
    assert len(loader(augmentation=None)) == 7


def test_training_shuffles_and_drops_the_last_part():
    training = loader()
    seen = order(training)
    assert len(training) == 6
    assert len(seen) == len(set(seen)) == 48
    assert seen != sorted(seen)


def test_pixels_follow_their_labels():
    resident = loader()
    images, labels = next(iter(resident))
    expected = (resident.images[labels].float() / 255 - 0.5) / 0.25
    torch.testing.assert_close(images, expected)
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_order_and_augmentation_depend_on_seed_and_epoch_alone():
    heavy = Augmentation(crop_padding=2, flip=True, cutout=2)

    def epoch(seed, number, noise):
        torch.manual_seed(noise)
        batches = loader(seed, heavy)
        batches.set_epoch(number)
        return torch.cat([images for images, _ in batches])

    assert torch.equal(epoch(0, 1, noise=1), epoch(0, 1, noise=2))
    assert not torch.equal(epoch(0, 1, noise=1), epoch(0, 2, noise=1))
    assert not torch.equal(epoch(0, 1, noise=1), epoch(1, 1, noise=1))


def test_loader_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    list(loader(augmentation=Augmentation(2, True, 2)))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 51}, "batch_size=51 is not allowed; use 1 to 50"),
        ({"augmentation": Augmentation(crop_padding=4)}, "crop_padding=4 is not allowed; .* 0 to 3 pixels"),
    ],
)
def test_loader_refuses_what_it_cannot_give(options, message):
    with pytest.raises(ValueError, match=message):
        loader(**options)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_sees_the_same_data_as_the_cpu_without_synchronising():
    cpu, cuda = (loader(augmentation=Augmentation(2, True, 2)) for _ in range(2))
    cuda = BatchLoader(
        cuda.images.cuda(),
        cuda.labels.cuda(),
        batch_size=8,
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        dtype=torch.float32,
        seed=0,
        augmentation=cuda.augmentation,
    )
    iterator = iter(cuda)
    batches = [next(iterator)]
    torch.cuda.set_sync_debug_mode("error")
    try:
        batches.extend(iterator)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for (images, labels), (expected, numbers) in zip(batches, cpu, strict=True):
        torch.testing.assert_close(images.cpu(), expected)
        assert torch.equal(labels.cpu(), numbers)


class Recorder(pl.LightningModule):
    """A one-weight model that writes down the labels of each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: dict[int, list[int]] = {}

    def training_step(self, batch, batch_idx):
        self.seen.setdefault(self.current_epoch, []).extend(batch[1].tolist())
        return self.weight.sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(batches, folder, epochs: int, resume: str | None = None) -> tuple[Recorder, pl.Trainer]:
    recorder = Recorder()
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    trainer.fit(recorder, batches, ckpt_path=resume, weights_only=False)
    return recorder, trainer


@pytest.mark.filterwarnings("ignore")
def test_lightning_sets_the_epoch_and_a_resumed_run_sees_the_same_order(tmp_path):
    whole, _ = fit(loader(), tmp_path, 3)
    assert whole.seen[0] != whole.seen[1] != whole.seen[2]
    for number, seen in whole.seen.items():
        bare = loader()
        bare.set_epoch(number)
        assert seen == order(bare)

    _, trainer = fit(loader(), tmp_path, 1)
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    resumed, _ = fit(loader(), tmp_path, 3, resume=str(tmp_path / "one.ckpt"))
    assert resumed.seen == {1: whole.seen[1], 2: whole.seen[2]}
