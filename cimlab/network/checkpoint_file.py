"""The bytes of a checkpoint: every one checked, none of them run, and a plain word about files that are none.

Tensors and plain containers are read. Objects of other classes, as trainers keep their settings in, are replaced by
empty ones without their code being imported, and named; weights need none of them.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from cimlab.errors import REFUSED, CimlabError, near_path

ZIP_START = b"PK\x03\x04"
DICTIONARIES = ("collections.defaultdict", "AttributeDict", "EasyDict")
"""Classes (by the end of their name) whose content is read as a plain dictionary's."""
SUFFIXES = (".pt", ".pth", ".ckpt")
"""What files that torch.save wrote are called."""
SAVE_AGAIN = "torch.save(network.state_dict(), FILE)"


class CheckpointError(CimlabError, RuntimeError):
    """A checkpoint that can't be used; the message names the file, what is wrong, and the mend."""

    exit_code = REFUSED


class Unread:
    """Stands where an object of a foreign class was; holds nothing of it.

    Args:
        _anything: what the class would have been made from.
    """

    kind = "an object"

    def __init__(self, *_anything: object) -> None:
        """Nothing of it is kept."""

    def __setstate__(self, _state: object) -> None:
        """Nothing of it is kept."""


class _PlainDictionary:
    """Makes a plain dictionary, whatever it is given."""

    def __new__(cls, *_anything: object) -> Any:
        return {}


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint; tensors and plain containers only, never code.

    Raises:
        CheckpointError: it is missing, damaged, or no checkpoint; says which.
    """
    if path.is_dir():
        raise CheckpointError(f"checkpoint {path} is a folder; {_inside(path)}")
    if not path.is_file():
        near = near_path(path)
        raise CheckpointError(f"checkpoint {path} does not exist; {near}give a run's network.pt")
    with path.open("rb") as file:
        start = file.read(512)
    if not start.startswith(ZIP_START):
        _refuse_other_kinds(path, start)
    try:
        _verify(path, start)
        content = _unpickled(path, start)
    except CheckpointError:
        raise
    except Exception as problem:  # whatever a foreign file makes the readers throw
        raise CheckpointError(
            f"checkpoint {path} can't be read: it is truncated, damaged, or none that torch.save wrote; copy it again, "
            "or save it again"
        ) from problem
    if isinstance(content, Unread):
        raise CheckpointError(
            f"checkpoint {path} holds a whole network ({content.kind}), which only its own code could read; "
            f"save its weights where it was made: {SAVE_AGAIN}"
        )
    if not isinstance(content, dict):
        raise CheckpointError(f"checkpoint {path} holds a {type(content).__name__}, not weights by name")
    return content


def _inside(folder: Path) -> str:
    """Which file of a folder is meant, where that can be told: a run's network, or the only checkpoint there."""
    kept = [file for file in folder.glob("*") if file.suffix in SUFFIXES]
    meant = [file for file in kept if file.name == "network.pt"] or kept
    return f"its network is {meant[0]}" if len(meant) == 1 else "name the file in it"


def unread(content: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """(entry, class) of everything in a checkpoint that was not read, in order."""
    if isinstance(content, Unread):
        yield where, content.kind
    elif isinstance(content, Mapping):
        for key, value in content.items():
            yield from unread(value, where or str(key))
    elif isinstance(content, list | tuple | set):
        for value in content:
            yield from unread(value, where)


def _refuse_other_kinds(path: Path, start: bytes) -> None:
    """Refuse what people take for a checkpoint and torch never wrote; an older torch wrote no zip, and passes."""
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    beside = path.with_name("network.pt")
    network = f"; the network of that run is {beside}" if beside.is_file() and beside != path else ""
    if not start:
        kind = "is empty; copy it again"
    elif text.startswith(b"version https://git-lfs"):
        kind = "is only a pointer of Git LFS; fetch the file itself with git lfs pull"
    elif start[8:9] == b"{" and b'"dtype"' in start:
        kind = (
            "is a safetensors file; convert it: torch.save(safetensors.torch.load_file(FILE), 'weights.pt')"
        )
    elif start.startswith(b"\x89HDF"):
        kind = "is an HDF5 file, as Keras writes; give one that torch.save wrote"
    elif text[:1] in (b"{", b"["):
        kind = f"is JSON, no checkpoint{network or '; give the .pt or .ckpt file that torch.save wrote'}"
    elif text[:1] == b"<":
        kind = "is a web page, as a download that failed leaves; download it again"
    elif start.isascii() and all(byte >= 9 for byte in start):
        kind = f"is text, no checkpoint{network or '; give the .pt or .ckpt file that torch.save wrote'}"
    else:
        return
    raise CheckpointError(f"checkpoint {path} {kind}")


def _verify(path: Path, start: bytes) -> None:
    """Compare every entry with its CRC32; files older than torch 1.6 are no zip and carry none."""
    if not start.startswith(ZIP_START):
        return
    with zipfile.ZipFile(path) as archive:
        names = {name.partition("/")[2] for name in archive.namelist()}
        if "constants.pkl" in names:
            raise CheckpointError(
                f"checkpoint {path} is a TorchScript program, which is not run here; save its weights where it was "
                f"made: {SAVE_AGAIN}"
            )
        if "data.pkl" not in names:
            raise CheckpointError(
                f"checkpoint {path} is a zip archive that torch.save did not write; give the .pt or .ckpt file"
            )
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"{damaged} does not match its CRC32")


def _unpickled(path: Path, start: bytes) -> Any:
    """The content, objects of foreign classes unread."""
    foreign = get_unsafe_globals_in_checkpoint(path) if start.startswith(ZIP_START) else []
    stands_for: list[Any] = [(_stand_in(name), name) for name in sorted(foreign)]
    with safe_globals(stands_for), warnings.catch_warnings(action="ignore"):
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except UnpicklingError as problem:
            named = re.findall(r"GLOBAL ([\w.]+)", str(problem)) or sorted(foreign)
            if not named:
                raise
            raise CheckpointError(
                f"checkpoint {path} holds {' and '.join(named[:3])}, which only running code could read; save the "
                f"weights alone: {SAVE_AGAIN}"
            ) from problem


def _stand_in(name: str) -> type:
    if name.endswith(DICTIONARIES):
        return type("PlainDictionary", (_PlainDictionary,), {})
    return type("Unread", (Unread,), {"kind": name})
