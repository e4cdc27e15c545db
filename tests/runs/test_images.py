"""Which images a network is priced for: what is said, and of the rest what the data set has, of which none is read."""

from pathlib import Path

import pytest

from cimlab.data.errors import DataError
from cimlab.runs.images import InputShape, images_of

DIGITS = {
    "_target_": "cimlab.data.digits.Digits",
    "data_dir": "nowhere",
    "batch_size": 1,
    "seed": 0,
    "validation_size": 0,
}
NOTE = "priced for images of {0} x {1} x {1} and {2} classes: {3}"


def folder(place: Path) -> dict[str, object]:
    return {
        "_target_": "cimlab.data.image_folder.ImageFolder", "data_dir": str(place), "batch_size": 1, "seed": 0,
        "validation_size": None, "image_size": 48,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "found", "words"),
    [
        (InputShape(), (1, 8, 10), "data=digits"),
        (InputShape(size=16), (1, 16, 10), "data=digits, input.size"),
        (InputShape(3, 4, 7), (3, 4, 7), "input.channels, input.size, input.classes"),
    ],
)
def test_what_is_said_stands_before_the_data_set(
    asked: InputShape, found: tuple[int, int, int], words: str
) -> None:
    images = images_of(asked, DIGITS, "digits", [])
    assert (images.channels, images.size, images.classes) == found
    assert images.shape == (found[0], found[1], found[1])
    assert images.note == NOTE.format(*found, words)


@pytest.mark.parametrize("tree", ["", "train"])
def test_classes_of_a_tree_are_its_folders_and_no_image_is_opened(tree: str, tmp_path: Path) -> None:
    for name in ("cats", "dogs", "owls"):
        (tmp_path / tree / name).mkdir(parents=True)
        (tmp_path / tree / name / "1.png").write_bytes(b"no image")
    assert images_of(InputShape(), folder(tmp_path), "image_folder", []).note == NOTE.format(
        3, 48, 3, "data=image_folder"
    )


def test_a_data_set_is_built_only_where_something_is_not_said(tmp_path: Path) -> None:
    gone = folder(tmp_path / "gone")
    assert images_of(InputShape(3, 48, 3), gone, "image_folder", []).classes == 3
    with pytest.raises(DataError, match="no such folder"):
        images_of(InputShape(3, 48), gone, "image_folder", [])
