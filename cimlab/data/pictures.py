"""One image file as the eight-bit RGB picture that a viewer shows: upright, transparency on white, of any depth."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from cimlab.data.errors import DataError

SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".ppm", ".pgm", ".pbm", ".pnm", ".bmp", ".dib", ".tif", ".tiff", ".webp",
    ".gif", ".jp2", ".tga", ".avif",
)  # fmt: skip
"""Ends of the names of files that are taken for images; of one that moves, the first frame is the image."""
WHOLE_NUMBERS = ("I", "I;16", "I;16B", "I;16L", "I;16N")
REAL_NUMBERS = "F"
DEEPEST = 2**16 - 1


def read_picture(path: str | Path) -> Image.Image:
    """The picture in a file, in RGB.

    Sixteen bits become eight by leaving out the lower eight; real numbers are taken from 0, black, to 1, white. What is
    transparent shows white. A camera's note on which side is up is followed.

    Raises:
        DataError: the file is no image, or its numbers have no known white; one line.
    """
    try:
        with Image.open(path) as file:
            return _eight_bits(_upright(file), path)
    except DataError:
        raise
    except Exception as error:  # whatever a damaged file makes the decoders throw
        reason = " ".join(str(error).split())
        raise DataError(
            f"{path} cannot be read as an image ({reason}); replace it, or move it out of the tree"
        ) from error


def has_deep_numbers(picture: Image.Image) -> bool:
    """Whether only its numbers tell if it can be read: 32 bits, or real ones."""
    return picture.mode in ("I", REAL_NUMBERS)


def _upright(picture: Image.Image) -> Image.Image:
    picture.load()
    with contextlib.suppress(Exception):  # a note that can't be read turns nothing, in viewers neither
        return ImageOps.exif_transpose(picture)
    return picture


def _eight_bits(picture: Image.Image, path: str | Path) -> Image.Image:
    if picture.mode in WHOLE_NUMBERS:
        numbers = np.asarray(picture)
        _require_within(numbers, DEEPEST, "16-bit numbers", path)
        return Image.fromarray((numbers.astype(np.uint32) >> 8).astype(np.uint8)).convert("RGB")
    if picture.mode == REAL_NUMBERS:
        numbers = np.asarray(picture)
        _require_within(numbers, 1, "real numbers", path)
        return Image.fromarray(np.round(numbers * 255).astype(np.uint8)).convert("RGB")
    if "A" in picture.getbands() or "a" in picture.getbands() or "transparency" in picture.info:
        over = picture.convert("RGBA")
        white = Image.new("RGBA", over.size, "white")
        return Image.alpha_composite(white, over).convert("RGB")
    return picture.convert("RGB")


def _require_within(numbers: np.ndarray, white: int, kind: str, path: str | Path) -> None:
    low, high = float(numbers.min()), float(numbers.max())
    if not (low >= 0 and high <= white):  # NaN is within nothing
        raise DataError(
            f"{path} holds {kind} from {low:g} to {high:g}, which are read from 0 to {white} (white); scale the images"
        )
