"""The contract every data module keeps, and what each refuses."""

import gzip
import hashlib
import pickle
import random
import tarfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from PIL import Image
from torchvision.datasets import CIFAR10, utils

from cimlab.data.cifar10 import Cifar10
from cimlab.data.cifar100 import Cifar100
from cimlab.data.digits import Digits, _file, _read
from cimlab.data.errors import DataError
from cimlab.data.fake import FakeImages
from cimlab.data.image_folder import ImageFolder, SeededImages
from cimlab.training.feed import Feed

CONF = Path(__file__).parents[2] / "conf" / "data"


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def write_cifar(folder: Path, names: list[str], per_file: int = 20) -> None:
    """Files as CIFAR-10's authors laid them out, with random pixels."""
    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(0)
    for name in names:
        pixels = torch.randint(256, (per_file, 3072), generator=generator, dtype=torch.uint8).numpy()
        content = {"data": pixels, "labels": [i % 10 for i in range(per_file)]}
        (folder / name).write_bytes(pickle.dumps(content))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [str(i) for i in range(10)]}))


@pytest.fixture
def cifar_tree(tmp_path, monkeypatch):
    """A tiny CIFAR-10 folder and archive, with torchvision's checksums patched to theirs."""
    source = CIFAR10
    names = [name for name, _ in source.train_list + source.test_list]
    folder = tmp_path / "whole" / source.base_folder
    write_cifar(folder, names)
    archive = tmp_path / source.filename
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(folder, source.base_folder)
    monkeypatch.setattr(source, "train_list", [[name, md5(folder / name)] for name in names[:-1]])
    monkeypatch.setattr(source, "test_list", [[names[-1], md5(folder / names[-1])]])
    monkeypatch.setattr(source, "meta", {**source.meta, "md5": md5(folder / "batches.meta")})
    monkeypatch.setattr(source, "tgz_md5", md5(archive))
    monkeypatch.setattr(utils, "download_url", refused)
    return tmp_path


def refused(url, root, filename, md5):
    raise OSError("no network\nhere")


def write_images(root: Path, classes: dict[str, int], size: int = 12) -> None:
    for shade, (name, count) in enumerate(classes.items()):
        (root / name).mkdir(parents=True)
        for number in range(count):
            colour = (40 * shade, 5 * number, 200)
            Image.new("RGB", (size + number, size), colour).save(root / name / f"{number}.png")


COMMON: dict[str, Any] = {"batch_size": 8, "eval_batch_size": 16, "seed": 0}


def digits(tmp_path: Path, **options: Any) -> Digits:
    usual: dict[str, Any] = {"data_dir": "", "validation_size": 150}
    return Digits(**(usual | COMMON | options))


def fake(tmp_path: Path, **options: Any) -> FakeImages:
    usual: dict[str, Any] = {"data_dir": "", "validation_size": 20, "num_images": 90}
    return FakeImages(**(usual | COMMON | options))


def cifar10(tmp_path: Path, **options: Any) -> Cifar10:
    usual: dict[str, Any] = {"data_dir": str(tmp_path / "whole"), "validation_size": 20, "crop_padding": 4}
    return Cifar10(**(usual | COMMON | options))


def image_folder(tmp_path: Path, **options: Any) -> ImageFolder:
    root = tmp_path / "images"
    if not root.exists():
        write_images(root / "train", {"cat": 20, "dog": 20})
        write_images(root / "val", {"cat": 5, "dog": 5})
    usual: dict[str, Any] = {"data_dir": str(root), "validation_size": 10, "image_size": 8, "num_workers": 0}
    return ImageFolder(**(usual | COMMON | options))


MAKERS = [digits, fake, cifar10, image_folder]


def ready(module):
    module.prepare_data()
    module.setup()
    return module


def contents(batches) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = zip(*batches, strict=True)
    return torch.cat(images), torch.cat(labels)


@pytest.mark.parametrize("make", MAKERS)
class TestContract:
    def test_facts_are_known_after_prepare_and_batches_keep_them(self, make, cifar_tree):
        module = make(cifar_tree)
        module.prepare_data()
        shape = (module.in_channels, module.image_size, module.image_size)
        assert len(module.mean) == len(module.std) == module.in_channels
        module.setup()
        for batches in (module.train_loader(), module.validation_loader(), module.test_loader()):
            images, labels = contents(batches)
            assert images.shape[1:] == shape
            assert images.dtype == torch.float32
            assert labels.dtype == torch.int64
            assert 0 <= labels.min() <= labels.max() < module.num_classes
            assert len(list(batches)) == len(batches)

    def test_same_seed_and_epoch_give_the_same_batches(self, make, cifar_tree):
        first, second = (ready(make(cifar_tree)).train_loader() for _ in range(2))
        assert torch.equal(contents(first)[0], contents(second)[0])
        second.set_epoch(1)
        assert not torch.equal(contents(first)[0], contents(second)[0])

    def test_test_set_does_not_depend_on_the_seed(self, make, cifar_tree):
        if make is fake:
            pytest.skip("its images are made from the seed")
        first, second = (ready(make(cifar_tree, seed=seed)) for seed in (0, 1))
        assert torch.equal(contents(first.test_loader())[0], contents(second.test_loader())[0])
        assert not torch.equal(
            contents(first.validation_loader())[0], contents(second.validation_loader())[0]
        )

    def test_validation_has_its_size_and_zero_means_none(self, make, cifar_tree):
        module = ready(make(cifar_tree))
        assert len(contents(module.validation_loader())[1]) == module.validation_size
        assert Feed(ready(make(cifar_tree, validation_size=0))).val_dataloader() == []

    def test_dtype_follows_to(self, make, cifar_tree):
        module = make(cifar_tree)
        module.to("cpu", torch.bfloat16)
        images, _ = next(iter(ready(module).train_loader()))
        assert images.dtype == torch.bfloat16

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("batch_size", 0),
            ("batch_size", 2.5),
            ("eval_batch_size", 0),
            ("validation_size", -1),
            ("seed", -1),
        ],
    )
    def test_nonsense_is_refused_when_built(self, make, cifar_tree, option, value):
        with pytest.raises(ValueError, match=rf"^{option}={value} is not allowed; use a whole number >= \d$"):
            make(cifar_tree, **{option: value})

    def test_more_validation_than_training_images_is_refused(self, make, cifar_tree):
        with pytest.raises(ValueError, match=r"^data\.validation_size=100000 is not allowed; use 0 to \d+"):
            ready(make(cifar_tree, validation_size=100000))


@pytest.mark.parametrize("make", [digits, fake, cifar10])
def test_train_and_validation_share_no_image_and_miss_none(make, cifar_tree):
    split, whole = ready(make(cifar_tree)), ready(make(cifar_tree, validation_size=0))
    rows = [
        tensor.flatten(1).tolist()
        for tensor in (split.train_loader().images, split.validation_loader().images)
    ]
    assert sorted(rows[0] + rows[1]) == sorted(whole.train_loader().images.flatten(1).tolist())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("precision", "dtype"), [("bf16-mixed", torch.bfloat16), ("32-true", torch.float32)])
def test_trainer_decides_dtype_and_skips_absent_validation(precision, dtype, tmp_path):
    module = digits(tmp_path, validation_size=0)
    seen = set()

    class Probe(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def training_step(self, batch, batch_idx):
            seen.add(batch[0].dtype)
            return self.weight.sum()

        def validation_step(self, batch, batch_idx):
            raise AssertionError("no validation was asked for")

        def test_step(self, batch, batch_idx):
            seen.add(batch[0].dtype)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    trainer = pl.Trainer(
        max_epochs=1,
        limit_train_batches=2,
        accelerator="cpu",
        precision=precision,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    probe = Probe()
    feed = Feed(module)
    trainer.fit(probe, datamodule=feed)
    trainer.test(probe, datamodule=feed, verbose=False)
    assert seen == {dtype}


def test_stated_mean_and_std_of_digits_are_those_of_its_training_images(tmp_path):
    pixels = digits(tmp_path).load(train=True)[0].double() / 255
    assert pixels.mean().item() == pytest.approx(Digits.mean[0], abs=5e-5)
    assert pixels.std(correction=0).item() == pytest.approx(Digits.std[0], abs=5e-5)


def test_digits_keeps_360_images_for_test(tmp_path):
    module = digits(tmp_path)
    assert [len(module.load(train)[1]) for train in (True, False)] == [1437, 360]


@pytest.mark.parametrize("kind", [Cifar10, Cifar100])
def test_cifar_kinds_differ_in_source_and_classes(kind):
    module = kind(data_dir="/nowhere", validation_size=0, **COMMON)
    assert module.folder.name == module.source.base_folder
    assert str(module.num_classes) in kind.__name__


def refusal(module) -> str:
    """The one line of the DataError that prepare_data raises."""
    with pytest.raises(DataError) as caught:
        module.prepare_data()
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_cifar_names_a_damaged_file_and_leaves_it_alone(cifar_tree):
    victim = cifar_tree / "whole" / "cifar-10-batches-py" / "data_batch_3"
    victim.write_bytes(b"half")
    message = refusal(cifar10(cifar_tree))
    assert str(victim) in message
    assert "move it away" in message
    assert "delete" not in message
    assert victim.read_bytes() == b"half"


@pytest.mark.parametrize("name", ["data_batch_1", "test_batch", "batches.meta"])
@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty"])
def test_cifar_finds_every_damage_before_anything_is_unpickled(name, damage, cifar_tree):
    victim = cifar_tree / "whole" / "cifar-10-batches-py" / name
    whole = victim.read_bytes()
    place = len(whole) // 3
    flipped = whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :]
    victim.write_bytes({"flipped": flipped, "truncated": whole[:-1], "empty": b""}[damage])
    assert f"{victim} is damaged" in refusal(cifar10(cifar_tree))


@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty", "missing"])
def test_damaged_digits_say_what_to_do(damage, tmp_path, monkeypatch):
    whole = _file().read_bytes()
    path = tmp_path / "digits.csv.gz"
    if damage != "missing":
        flipped = whole[:999] + bytes([whole[999] ^ 4]) + whole[1000:]
        path.write_bytes({"flipped": flipped, "truncated": whole[:-9], "empty": b""}[damage])
    monkeypatch.setattr("cimlab.data.digits._file", lambda: path)
    with pytest.raises(DataError, match=r"can't be read \(.*\); install scikit-learn again$"):
        digits(tmp_path).load(train=True)


def test_digits_with_images_missing_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "digits.csv.gz"
    path.write_bytes(gzip.compress(b"\n".join([b",".join([b"0"] * 65)] * 9)))
    monkeypatch.setattr("cimlab.data.digits._file", lambda: path)
    with pytest.raises(DataError, match="it holds 9 images, not 1797"):
        digits(tmp_path).load(train=True)


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    for own, theirs in zip(_read(), load_digits(return_X_y=True), strict=True):
        assert own.dtype == theirs.dtype
        np.testing.assert_array_equal(own, theirs)


def test_a_tree_with_a_test_folder_is_read_and_what_becomes_of_its_images_is_told(tmp_path, capsys):
    for part, count in (("train", 30), ("test", 4)):
        write_images(tmp_path / "images" / part, {"cat": count, "dog": count})
    module = image_folder(tmp_path, validation_size=None)
    module.prepare_data()
    assert module.validation_size == 6  # a tenth
    assert sum(len(labels) for _, labels in module.test_loader()) == 8
    told = capsys.readouterr().out
    assert "60 for training, 6 of the training images held for validation, 8 for test" in told
    assert "used at 8 x 8 pixels (data.image_size), the first image has" in told
    assert "training on whole images, mirrored at random (data.least_crop, data.flip)" in told


def test_small_images_are_taken_whole_and_large_ones_cropped_unless_asked_otherwise(tmp_path):
    across = Image.linear_gradient("L").transpose(Image.Transpose.ROTATE_90)
    picture = across.resize((20, 10)).convert("RGB")  # no crop has all of its width
    whole = np.asarray(picture.resize((8, 8), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    small = image_folder(tmp_path, flip=False)
    for transform in (small.training_transform(), small.test_transform()):
        np.testing.assert_array_equal(transform(picture), whole)
    large = image_folder(tmp_path, image_size=128)
    assert large.smallest_crop == 0.08
    assert "tests on its middle" in large._changes()
    cropped = image_folder(tmp_path, least_crop=0.5, flip=False).training_transform()
    assert (np.asarray(cropped(picture)) != whole).any()
    with pytest.raises(ValueError, match=r"least_crop=0 is not allowed; use more than 0 and at most 1"):
        image_folder(tmp_path, least_crop=0)


def test_a_class_without_a_training_image_is_refused(tmp_path):
    write_images(tmp_path / "images", {"cat": 20, "dog": 20, "emu": 1})
    module = image_folder(
        tmp_path, test_fraction=0.25, validation_size=30
    )  # of 31, so that one class is left
    with pytest.raises(DataError, match=r"class '\w+' has no image to train on"):
        module.prepare_data()


@pytest.mark.parametrize("suffix", ["png", "jpg", "ppm", "tif"])
def test_a_damaged_image_is_read_or_refused_in_one_line(suffix, tmp_path):
    dice = random.Random(0)
    path = tmp_path / f"noise.{suffix}"
    Image.effect_noise((24, 24), 60).convert("RGB").save(path)
    whole = path.read_bytes()
    images = SeededImages([(str(path), 0)], image_folder(tmp_path).test_transform(), seed=0, epoch=0)
    refusals = []
    for _ in range(60):
        place = dice.randrange(min(100, len(whole)))  # of the header, where it hurts most
        path.write_bytes(whole[:place] + bytes([dice.randrange(256)]) + whole[place + 1 :])
        try:
            with warnings.catch_warnings(action="ignore"):
                assert images[0][0].shape == (3, 8, 8)
        except DataError as refusal:
            refusals.append(str(refusal))
    assert refusals
    assert not any("\n" in line for line in refusals)


def test_cifar_without_files_or_network_says_what_to_do(cifar_tree):
    message = refusal(cifar10(cifar_tree, data_dir=str(cifar_tree / "empty")))
    assert "no network here" in message
    assert f"into {cifar_tree / 'empty'}" in message
    assert not (cifar_tree / "empty").exists()
    off = refusal(cifar10(cifar_tree, data_dir=str(cifar_tree / "none"), download=False))
    assert "data_batch_1 is missing and download is off" in off


def test_cifar_refuses_a_half_downloaded_archive(cifar_tree):
    archive = cifar_tree / "cifar-10-python.tar.gz"
    archive.write_bytes(archive.read_bytes()[:100])
    assert f"{archive} is damaged" in refusal(cifar10(cifar_tree, data_dir=str(cifar_tree)))


def test_cifar_unpacks_an_archive_put_there_and_fills_gaps(cifar_tree):
    module = cifar10(cifar_tree, data_dir=str(cifar_tree), download=False)
    module.prepare_data()
    (module.folder / "data_batch_2").unlink()
    module.prepare_data()
    expected = cifar10(cifar_tree)
    assert torch.equal(module.load(train=True)[0], expected.load(train=True)[0])
    assert not list(cifar_tree.glob(".unpacking-*"))


def test_cifar_downloads_in_silence(cifar_tree, monkeypatch, capfd):
    archive = (cifar_tree / "cifar-10-python.tar.gz").read_bytes()

    def chatty(url, root, filename, md5):
        print("a wall of text")
        (Path(root) / filename).write_bytes(archive)

    monkeypatch.setattr(utils, "download_url", chatty)
    module = cifar10(cifar_tree, data_dir=str(cifar_tree / "fresh" / "place"))
    module.prepare_data()
    assert capfd.readouterr().out == ""
    assert len(module.load(train=False)[1]) == 20


def test_cifar_pixels_stay_in_place(cifar_tree):
    module = cifar10(cifar_tree)
    stored = pickle.loads((module.folder / "test_batch").read_bytes())
    images, labels = module.load(train=False)
    assert torch.equal(images.flatten(1), torch.from_numpy(stored["data"]))
    assert labels.tolist() == stored["labels"]


def test_image_folder_uses_val_for_test_and_splits_train(tmp_path):
    module = ready(image_folder(tmp_path))
    files = {part: {path for path, _ in samples} for part, samples in module._samples.items()}
    assert {part: len(paths) for part, paths in files.items()} == {"train": 30, "validation": 10, "test": 10}
    assert not files["train"] & files["validation"]
    assert all("/val/" in path for path in files["test"])


@pytest.mark.parametrize(
    ("classes", "held", "said"),
    [
        ({"cat": 3, "dog": 3}, "test", "6 for test (test/; passed over: val/)"),
        ({"images": 3}, "val", "10 for test (val/; passed over: test/, which has not the classes of train/)"),
    ],
    ids=["labelled", "unlabelled"],
)
def test_image_folder_with_val_and_test_says_which_is_the_test_set(tmp_path, capsys, classes, held, said):
    module = image_folder(tmp_path)
    write_images(tmp_path / "images" / "test", classes)
    assert all(f"/{held}/" in path for path, _ in ready(module)._samples["test"])
    assert said in capsys.readouterr().out


def test_image_folder_names_a_third_folder_and_what_to_rename(tmp_path, capsys):
    module = image_folder(tmp_path)
    val = tmp_path / "images" / "val"
    third = val.rename(val.with_name("valid"))
    with pytest.raises(DataError, match=r"rename valid/, which has the same classes, to test/"):
        module.prepare_data()
    third.rename(val.with_name("test"))
    write_images(third, {"cat": 3, "dog": 3})
    ready(module)
    assert "10 for test (test/; passed over: valid/)" in capsys.readouterr().out


def test_image_folder_without_val_keeps_a_fraction_for_test(tmp_path):
    write_images(tmp_path / "images", {"cat": 20, "dog": 20, "train": 20})
    parts = [ready(image_folder(tmp_path, seed=seed, test_fraction=0.25))._samples for seed in (0, 1)]
    assert [len(parts[0][name]) for name in ("train", "validation", "test")] == [35, 10, 15]
    assert parts[0]["test"] == parts[1]["test"]


def test_image_folder_batches_do_not_depend_on_workers_or_global_seed(tmp_path):
    alone, helped = (ready(image_folder(tmp_path, num_workers=workers)).train_loader() for workers in (0, 2))
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = contents(alone)
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(2)
    assert all(map(torch.equal, first, contents(helped)))


def test_image_folder_names_what_is_wrong_with_a_tree(tmp_path):
    missing = refusal(image_folder(tmp_path, data_dir=str(tmp_path / "missing")))
    assert f"paths.data_dir={tmp_path / 'missing'}: no such folder; put images into" in missing
    (tmp_path / "photographs").mkdir()
    near = refusal(image_folder(tmp_path, data_dir=str(tmp_path / "fotographs")))
    assert near.endswith(f"did you mean paths.data_dir={tmp_path / 'photographs'}?")
    (tmp_path / "images" / "train" / "emu").mkdir()
    assert "emu" in refusal(image_folder(tmp_path))
    Image.new("RGB", (9, 9)).save(tmp_path / "images" / "train" / "emu" / "0.png")
    assert "differ in class 'emu'" in refusal(image_folder(tmp_path))


@pytest.mark.parametrize("workers", [0, 1])
def test_image_folder_names_a_file_that_is_no_image(tmp_path, workers):
    module = image_folder(tmp_path, num_workers=workers)
    (tmp_path / "images" / "val" / "cat" / "0.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"^\S+cat/0.png cannot be read as an image .*replace it, or move it"):
        list(ready(module).test_loader())


@pytest.mark.parametrize(
    ("make", "options"),
    [(digits, {"cutout": -1}), (fake, {"num_images": 0}), (image_folder, {"test_fraction": 1.0})],
)
def test_own_options_are_checked(make, options, tmp_path):
    (name,) = options
    with pytest.raises(ValueError, match=rf"^{name}=.* is not allowed; use"):
        make(tmp_path, **options)


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_yaml_builds_its_module_without_touching_the_disk(path):
    from hydra.utils import instantiate

    surroundings = {"paths": {"data_dir": "/nowhere"}, "seed": 3, "data": OmegaConf.load(path)}
    module = instantiate(OmegaConf.create(surroundings).data)
    assert path.read_text().startswith("# ")
    assert module.seed == 3
    assert module.data_dir == "/nowhere"


@pytest.mark.parametrize("training", [True, False])
def test_an_image_folder_iterator_reads_the_epoch_at_its_first_batch(training, tmp_path):
    module = ready(image_folder(tmp_path))
    batches = module.train_loader() if training else module.validation_loader()
    early = iter(batches)
    batches.sampler.set_epoch(3)
    late, plain = contents(early)[0], contents(module.train_loader() if training else batches)[0]
    assert torch.equal(late, plain) is not training
