"""Smaller images against a plain antialiased triangle filter, when they are seen, and runs that begin on them."""

import math
from pathlib import Path

import pytest
import torch
from conftest import Cimlab, killed_in_epoch, one_line
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from cimlab.records.record import RECORD_FILE, RunRecord
from cimlab.training.methods.base import MethodError
from cimlab.training.methods.resizing import Resizing, require_resizable, resized, small_side


def shrunk_line(line: list[float], size: int) -> list[float]:
    """A line of pixels under a triangle filter as wide as the shrinking, its weights normalised at the borders."""
    ratio = len(line) / size
    out = []
    for i in range(size):
        centre = (i + 0.5) * ratio
        first, last = (
            max(0, math.floor(centre - ratio + 0.5)),
            min(len(line), math.floor(centre + ratio + 0.5)),
        )
        weights = [max(0.0, 1 - abs((j + 0.5 - centre) / ratio)) for j in range(first, last)]
        pairs = zip(weights, line[first:last], strict=True)
        out.append(sum(weight * pixel for weight, pixel in pairs) / sum(weights))
    return out


def by_hand(image: Tensor, size: int) -> Tensor:
    rows = [shrunk_line(row, size) for row in image.tolist()]
    columns = [shrunk_line(list(column), size) for column in zip(*rows, strict=True)]
    return torch.tensor(columns).T


@settings(deadline=None)  # torch loads what it needs at the first call
@given(st.integers(2, 20), st.floats(0.1, 0.95), st.integers(0, 2**31))
def test_smaller_images_are_those_of_a_triangle_filter(side: int, scale: float, seed: int) -> None:
    resizing = Resizing(share=0.5, scale=scale)
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(seed))
    found, size = resized(images, resizing, 0, 2), small_side(side, resizing)
    assert found.shape == (2, 3, size, size)
    expected = torch.stack([torch.stack([by_hand(channel, size) for channel in image]) for image in images])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_the_share_of_a_phase_is_on_smaller_images_in_their_own_dtype_and_format() -> None:
    settings = Resizing(share=0.6, scale=0.75)
    images = torch.randn(2, 3, 32, 32).bfloat16().contiguous(memory_format=torch.channels_last)
    for epochs, small_ones in (
        (1, 0),
        (2, 1),
        (3, 1),
        (5, 3),
        (60, 36),
    ):  # a training ends on whole images, always
        sides = [resized(images, settings, epoch, epochs).shape[-1] for epoch in range(epochs)]
        assert sides == [24] * small_ones + [32] * (epochs - small_ones)
    small = resized(images, settings, 0, 5)
    assert small.dtype == torch.bfloat16
    assert small.is_contiguous(memory_format=torch.channels_last)
    assert resized(images, settings, 3, 5) is images


def test_a_network_of_one_image_size_is_refused_and_left_as_it_was() -> None:
    settings = Resizing(share=0.5, scale=0.75)
    fixed = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2 * 30 * 30, 5))
    with pytest.raises(MethodError, match="can't take images of 24 x 24"):
        require_resizable(fixed, (3, 32, 32), settings)
    with pytest.raises(MethodError, match="leaves images of 8 x 8 as they are"):
        require_resizable(fixed, (3, 8, 8), Resizing(share=0.5, scale=0.95))
    pooled = nn.Sequential(
        nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 5)
    )
    before = {name: value.clone() for name, value in pooled.state_dict().items()}
    require_resizable(pooled, (3, 32, 32), settings)
    assert pooled.training
    assert all(torch.equal(value, before[name]) for name, value in pooled.state_dict().items())


# ---- whole runs ----


def record(folder: Path) -> RunRecord:
    (path,) = folder.glob(f"*/{RECORD_FILE}")
    return RunRecord.read(path)


def test_training_begins_on_smaller_images_and_is_judged_on_whole_ones(
    train: Cimlab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cimlab.training import module
    from cimlab.training.methods import resizing

    seen: list[int] = []
    judged: set[int] = set()
    evaluate = module.Classifier._evaluate

    def watched(images: Tensor, settings: Resizing, epoch: int, epochs: int) -> Tensor:
        small = resized(images, settings, epoch, epochs)
        seen.append(small.shape[-1])
        return small

    def watched_evaluate(self: module.Classifier, batch: tuple[Tensor, Tensor]) -> None:
        judged.add(batch[0].shape[-1])
        evaluate(self, batch)

    train(f"paths.output_dir={tmp_path / 'plain'}")
    monkeypatch.setattr(resizing, "resized", watched)
    monkeypatch.setattr(module.Classifier, "_evaluate", watched_evaluate)
    where = f"paths.dense_dir={tmp_path / 'dense'}"
    words = ("method=[resizing]", "recipe.epochs=5", "schedule.epochs=2", where)
    answer = train(*words, f"paths.output_dir={tmp_path / 'resized'}")
    assert answer.code == 0, answer.err
    batches = len(seen) // 5
    assert batches > 1
    assert seen == [6] * 3 * batches + [8] * 2 * batches
    assert judged == {8}
    assert record(tmp_path / "plain").methods == ()
    assert record(tmp_path / "resized").config["method"]["resizing"]["phases"] == ["dense"]

    seen.clear()
    answer = train(*words, "method.resizing.phases=[dense,retrain]", f"paths.output_dir={tmp_path / 'both'}")
    assert "dense epoch" not in answer.out  # the dense network is the same
    assert seen == [6] * batches + [8] * batches


def test_a_fixed_network_is_refused_before_training(cimlab: Cimlab, tmp_path: Path) -> None:
    answer = cimlab(
        "train", "method=[resizing]", "model=vgg8_half", "data=fake", "tracker=none", f"paths.output_dir={tmp_path}"
    )  # fmt: skip
    assert answer.code == 2
    assert "take resizing out of method" in one_line(answer.err)
    answer = cimlab("train", "method=[resizing]", "method.resizing.scale=1")
    assert answer.code == 2
    assert "method.resizing.scale=1" in one_line(answer.err)


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (("recipe.epochs=1", "schedule.epochs=2"), "recipe.epochs=1"),
        (
            ("recipe.epochs=2", "schedule.epochs=1", "method.resizing.phases=[dense,retrain]"),
            "schedule.epochs=1",
        ),
    ],
)
def test_too_few_epochs_for_one_on_smaller_images_are_refused(
    words: tuple[str, ...], key: str, train: Cimlab
) -> None:
    answer = train("method=[resizing]", *words)
    assert answer.code == 2
    assert f"method.resizing.share=0.6 of {key} is no whole epoch on smaller images" in one_line(answer.err)


def test_a_killed_resized_training_goes_on_to_the_same_result(
    train: Cimlab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("method=[resizing]", "method.resizing.share=0.5", "recipe.epochs=3")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train(*words, f"paths.output_dir={whole}")
    with killed_in_epoch(monkeypatch, 1):
        assert train(*words, f"paths.output_dir={killed}").code == 1
    assert "dense epoch 1/3" not in train(*words, f"paths.output_dir={killed}").out
    assert record(killed).accuracy == record(whole).accuracy
