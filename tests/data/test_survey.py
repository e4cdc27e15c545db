"""A tree of images is told as it is, or refused before anything is trained, with the mend that works."""

import os
from pathlib import Path

import pytest
from PIL import Image

from cimlab.data import survey
from cimlab.data.errors import DataError
from cimlab.data.survey import described, fingerprint, require_whole, scan


@pytest.fixture(autouse=True)
def own_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def images(folder: Path, count: int = 3, end: str = "png") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.effect_noise((20, 24), 60).convert("RGB").save(folder / f"{number}.{end}")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("cat", "dog"):
        images(tmp_path / "pets" / name)
    return tmp_path / "pets"


def refusal(root: Path) -> str:
    with pytest.raises(DataError) as caught:
        scan(root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_classes_and_images_come_in_the_order_of_their_names(root: Path) -> None:
    tree = scan(root)
    assert tree.classes == ["cat", "dog"]
    assert [(Path(path).parent.name, Path(path).name, label) for path, label in tree.samples] == [
        (name, f"{number}.png", label) for label, name in enumerate(("cat", "dog")) for number in range(3)
    ]
    assert described([tree]) == "2 classes, 6 images"


def test_hidden_files_and_folders_are_no_images_and_no_classes(root: Path) -> None:
    (root / "cat" / "._1.png").write_bytes(b"\0\5\x16\7" + b"x" * 60)
    (root / "cat" / ".DS_Store").touch()
    (root / "dog" / "Thumbs.db").touch()
    images(root / ".ipynb_checkpoints")
    images(root / "__MACOSX" / "cat")
    images(root / "dog" / "@eaDir")
    tree = scan(root)
    assert tree.classes == ["cat", "dog"]
    assert described([tree]) == "2 classes, 6 images, 6 hidden files passed over"


def test_it_is_said_whether_images_are_lost_with_hidden_files(root: Path) -> None:
    (root / "cat" / "._1.png").write_bytes(b"\0\5\x16\7" + b"x" * 60)
    assert described([scan(root)]).endswith("1 hidden file passed over (cannot be read as an image)")
    (root / "cat" / ".0.png").write_bytes((root / "cat" / "0.png").read_bytes())
    assert described([scan(root)]).endswith("2 hidden files passed over (1 of them an image)")


def test_files_that_are_no_images_are_counted_by_their_end(root: Path) -> None:
    for name in ("cat/notes.txt", "dog/more.txt", "labels.csv", "dog/LICENSE"):
        (root / name).touch()
    assert described([scan(root)]) == (
        "2 classes, 6 images, 4 files that are no images (.txt .csv without an end) passed over"
    )


@pytest.mark.parametrize("end", ["gif", "jpeg", "tif", "webp", "bmp"])
def test_images_of_every_usual_kind_are_found_whatever_their_case(end: str, root: Path) -> None:
    images(root / "cat", 2, end)
    Image.new("RGB", (9, 9)).save(root / "dog" / f"LAST.{end.upper()}")
    assert len(scan(root).samples) == 9


def test_a_folder_too_high_names_the_one_that_is_meant(root: Path) -> None:
    message = refusal(root.parent)
    assert "has one class only, pets; it holds cat, dog" in message
    assert f"paths.data_dir={root}" in message
    assert scan(Path(message.rpartition("paths.data_dir=")[2])).classes == ["cat", "dog"]


def test_several_folders_of_the_same_classes_are_a_folder_too_high(root: Path, tmp_path: Path) -> None:
    root.rename(tmp_path / "years")
    (tmp_path / "years" / "cat").rename(tmp_path / "a")
    for year in ("2023", "2024"):
        for name in ("cat", "dog"):
            images(tmp_path / "all" / year / name)
    message = refusal(tmp_path / "all")
    assert "each of 2023, 2024 holds the folders cat, dog" in message
    assert "call two of them train and test, or give one" in message


def test_images_in_folders_of_their_own_below_a_class_are_its_images(root: Path) -> None:
    images(root / "cat" / "tom")
    images(root / "dog" / "rex")
    assert len(scan(root).samples) == 12


def test_a_folder_too_low_names_the_one_above(root: Path) -> None:
    assert f"it holds 3 images itself; give the folder above, paths.data_dir={root}" in refusal(root / "cat")


def test_one_class_an_empty_class_and_no_folder_are_refused(root: Path, tmp_path: Path) -> None:
    (root / "emu").mkdir()
    assert f"{root / 'emu'} holds no image" in refusal(root)
    assert "has one class only, cat; add a folder for each other class" in refusal(
        images(tmp_path / "one" / "cat").parent
    )
    assert "does not exist" in refusal(tmp_path / "nowhere")
    (tmp_path / "bare").mkdir()
    assert f"it has no folders; put images into {tmp_path / 'bare'}/CLASS/" in refusal(tmp_path / "bare")


def test_a_link_back_up_is_followed_once(root: Path) -> None:
    (root / "cat" / "again").symlink_to(root / "cat")
    assert len(scan(root).samples) == 6


@pytest.mark.parametrize("end", ["png", "jpg", "gif", "bmp", "tif", "webp"])
def test_a_file_that_was_cut_is_found_before_training(end: str, root: Path) -> None:
    images(root / "dog", 3, end)
    require_whole([scan(root)])
    path = root / "dog" / f"1.{end}"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=f"dog/1.{end} cannot be read as an image .*replace it, or move it"):
        require_whole([scan(root)])


def test_all_broken_files_are_counted_and_the_first_is_named(root: Path) -> None:
    for name in ("cat/1.png", "dog/0.png"):
        (root / name).write_bytes(b"no image")
    with pytest.raises(DataError, match=r"cat/1.png cannot .* \(2 of 6 images can't be used\)$"):
        require_whole([scan(root)])


def test_what_was_looked_at_is_not_looked_at_again_until_it_changes(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    monkeypatch.setattr(survey, "_complaint", lambda path: looked.append(path))
    for seen in (6, 6):
        require_whole([scan(root)])
        assert len(looked) == seen
    path = root / "cat" / "1.png"
    os.utime(path, (1, 1))
    require_whole([scan(root)])
    assert len(looked) == 12


def test_a_home_that_can_not_be_written_stops_nothing(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    require_whole([scan(root)])


def test_a_folder_is_known_by_what_lies_in_it_wherever_it_lies(root: Path, tmp_path: Path) -> None:
    known = fingerprint(root)
    assert fingerprint(root.rename(tmp_path / "animals")) == known
    other = tmp_path / "animals"
    picture = other / "dog" / "1.png"
    content = picture.read_bytes()
    picture.write_bytes(content[:-1] + b"x")  # another image of the same size
    assert fingerprint(other) != known
    picture.write_bytes(content)
    assert fingerprint(other) == known
    (other / "cat" / ".DS_Store").write_text("of the system")
    assert fingerprint(other) == known
    images(other / "cat", 4)
    assert fingerprint(other) != known


def test_of_many_files_some_are_read_and_all_are_measured(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(survey, "SAMPLED", 2)  # of six: the first of cats, and the first of dogs
    known = fingerprint(root)
    unread = root / "dog" / "2.png"
    content = unread.read_bytes()
    unread.write_bytes(content[:-1] + b"x")
    assert fingerprint(root) == known
    unread.write_bytes(content + b"x")
    assert fingerprint(root) != known
