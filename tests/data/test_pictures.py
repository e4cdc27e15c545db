"""A file is the picture that a viewer shows, by hand-known pixels: every depth, transparency, and which side is up."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cimlab.data.errors import DataError
from cimlab.data.pictures import read_picture

RAMP = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20  # 0 to 220


def pixels(path: Path) -> np.ndarray:
    picture = read_picture(path)
    assert picture.mode == "RGB"
    return np.asarray(picture)


def grey(path: Path) -> np.ndarray:
    shown = pixels(path)
    assert (shown == shown[..., :1]).all()
    return shown[..., 0]


@pytest.mark.parametrize("end", ["png", "tif"])
def test_sixteen_bits_become_the_upper_eight(end: str, tmp_path: Path) -> None:
    deep = RAMP.astype(np.uint16) * 256 + 255  # what rounding up would show one brighter
    Image.fromarray(deep).save(tmp_path / f"deep.{end}")
    assert (grey(tmp_path / f"deep.{end}") == RAMP).all()


def test_thirty_two_bits_that_hold_sixteen_are_read_as_those(tmp_path: Path) -> None:
    Image.fromarray(RAMP.astype(np.int32) * 257).save(tmp_path / "wide.tif")
    assert (grey(tmp_path / "wide.tif") == RAMP).all()


def test_a_sixteen_bit_portable_greymap_keeps_its_scale(tmp_path: Path) -> None:
    body = (RAMP.astype(">u2") * 257).tobytes()
    (tmp_path / "a.pgm").write_bytes(b"P5 4 3 65535\n" + body)
    assert (grey(tmp_path / "a.pgm") == RAMP).all()


def test_real_numbers_go_from_black_at_0_to_white_at_1(tmp_path: Path) -> None:
    Image.fromarray(RAMP.astype(np.float32) / 255).save(tmp_path / "real.tif")
    assert (grey(tmp_path / "real.tif") == RAMP).all()


@pytest.mark.parametrize(
    ("numbers", "complaint"),
    [
        (RAMP.astype(np.float32), "real numbers from 0 to 220, which are read from 0 to 1"),
        (RAMP.astype(np.float32) / 255 - 0.5, "from -0.5 to"),
        (np.full((3, 4), np.nan, np.float32), "from nan to nan"),
        (RAMP.astype(np.int32) * 1000, "16-bit numbers from 0 to 220000"),
        (RAMP.astype(np.int32) - 1, "from -1 to"),
    ],
)
def test_numbers_without_a_known_white_are_refused(
    numbers: np.ndarray, complaint: str, tmp_path: Path
) -> None:
    Image.fromarray(numbers).save(tmp_path / "odd.tif")
    with pytest.raises(DataError, match=complaint):
        read_picture(tmp_path / "odd.tif")


def test_what_is_transparent_shows_white(tmp_path: Path) -> None:
    black, alpha = np.zeros((3, 4, 3), np.uint8), RAMP[..., None]
    Image.fromarray(np.dstack([black, alpha])).save(tmp_path / "rgba.png")
    Image.fromarray(np.dstack([black[..., :1], alpha])).save(tmp_path / "la.png")
    for name in ("rgba.png", "la.png"):
        assert np.abs(grey(tmp_path / name).astype(int) - (255 - RAMP)).max() <= 1


def test_a_transparent_colour_of_a_palette_or_grey_image_shows_white(tmp_path: Path) -> None:
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.save(tmp_path / "p.png", transparency=1)
    palette.save(tmp_path / "p.gif", transparency=1)
    for name in ("p.png", "p.gif"):
        assert pixels(tmp_path / name).tolist() == [[[10, 20, 30], [255, 255, 255]]]
    Image.fromarray(np.array([[7, 9]], np.uint8)).save(tmp_path / "l.png", transparency=7)
    assert grey(tmp_path / "l.png").tolist() == [[255, 9]]


@pytest.mark.parametrize(("note", "turn"), [(1, 0), (6, 3), (3, 2), (8, 1)])  # quarters, anticlockwise
def test_a_photograph_stands_as_its_camera_was_held(note: int, turn: int, tmp_path: Path) -> None:
    half = np.zeros((16, 32, 3), np.uint8)
    half[:, :16] = 255
    photograph = Image.fromarray(half)
    exif = photograph.getexif()
    exif[0x0112] = note
    photograph.save(tmp_path / "a.png", exif=exif)
    assert (pixels(tmp_path / "a.png") == np.rot90(half, turn)).all()


def test_a_broken_note_of_the_camera_turns_nothing(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), "red").save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x05")
    assert pixels(tmp_path / "a.jpg").shape == (8, 8, 3)


def test_of_a_moving_picture_the_first_frame_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert pixels(tmp_path / "a.gif")[0, 0].tolist() == [255, 0, 0]
