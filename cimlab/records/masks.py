"""The masks that a record carries beside it: a bit per unit or per weight, packed, and the orders of permuted lines.

One compressed file: masks.npz in a run's folder, NAME.masks.npz beside a committed NAME.json. The record holds its
SHA-256, so that masks and record that don't belong together are told apart.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from cimlab.records.record import RECORD_FILE, RecordError, write_bytes_atomically

MASKS_FILE = "masks.npz"
LABELS = ("row_of", "col_of")
ORDERS = ("row_permutation", "column_permutation")


@dataclass(frozen=True, eq=False)
class StoredMask:
    """What is kept of one layer.

    Args:
        kept: True where a unit (or, without labels, a weight) is left, in the crossbar matrix's layout; None where
            the layer is whole.
        row_of, col_of: unit of every row and column of the matrix; None where every line is its own.
        row_permutation, column_permutation: order of the lines on the arrays; None where they lie as they are.
    """

    kept: Bool[np.ndarray, "groups unit_rows unit_cols"] | None = None
    row_of: Int[np.ndarray, " rows"] | None = None
    col_of: Int[np.ndarray, " cols"] | None = None
    row_permutation: Int[np.ndarray, " rows"] | None = None
    column_permutation: Int[np.ndarray, " cols"] | None = None

    def by_weight(self) -> Bool[np.ndarray, "groups rows cols"] | None:
        """True where a weight is left; None where the layer is whole."""
        kept = self.kept
        if kept is not None and self.row_of is not None:
            kept = kept[:, self.row_of]
        return kept if kept is None or self.col_of is None else kept[:, :, self.col_of]


def masks_beside(record_file: Path) -> Path:
    """Where the masks of a record are."""
    if record_file.name == RECORD_FILE:
        return record_file.with_name(MASKS_FILE)
    return record_file.with_suffix(f".{MASKS_FILE}")


def packed(masks: Mapping[str, StoredMask]) -> bytes:
    """The content of a masks file; the same for the same masks."""
    arrays: dict[str, np.ndarray] = {}
    for layer, mask in masks.items():
        if mask.kept is not None:
            arrays[f"{layer}/shape"] = np.array(mask.kept.shape)
            arrays[f"{layer}/bits"] = np.packbits(mask.kept)
        for name in (*LABELS, *ORDERS):
            lines = getattr(mask, name)
            if lines is not None:
                arrays[f"{layer}/{name}"] = lines.astype(np.uint16 if lines.max() < 2**16 else np.uint32)
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # ty: ignore[invalid-argument-type]
    return file.getvalue()


def write_masks(record_file: Path, masks: Mapping[str, StoredMask]) -> str:
    """Write the masks of a record, before the record; gives their SHA-256.

    Raises:
        RecordError: the folder can't be written.
    """
    content = packed(masks)
    write_bytes_atomically(masks_beside(record_file), content)
    return hashlib.sha256(content).hexdigest()


def read_masks(record_file: Path, sha256: str) -> dict[str, StoredMask]:
    """The masks of a record, checked against the SHA-256 that it holds.

    Raises:
        RecordError: the file is missing, damaged, or of another run.
    """
    content = masks_content(record_file, sha256)
    found: dict[str, dict[str, np.ndarray]] = {}
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            for key in arrays.files:
                layer, _, name = key.rpartition("/")
                found.setdefault(layer, {})[name] = arrays[key]
        return {layer: _unpacked(own) for layer, own in found.items()}
    except (ValueError, KeyError, TypeError, OSError, zipfile.BadZipFile) as problem:
        raise RecordError(f"{masks_beside(record_file)} holds no masks ({problem})") from problem


def masks_content(record_file: Path, sha256: str) -> bytes:
    """The bytes of a record's masks file; raises as `read_masks`."""
    path = masks_beside(record_file)
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise RecordError(
            f"record {record_file} can't be priced: its masks {path.name} can't be read "
            f"({problem.strerror}); put them beside it"
        ) from problem
    if hashlib.sha256(content).hexdigest() != sha256:
        raise RecordError(
            f"{path} is not what record {record_file} was written with: damaged, or of another run; "
            "put the record's own masks beside it"
        )
    return content


def _unpacked(own: dict[str, np.ndarray]) -> StoredMask:
    kept = None
    if "bits" in own:
        shape = tuple(int(side) for side in own.pop("shape"))
        bits = np.unpackbits(own.pop("bits"), count=int(np.prod(shape)))
        kept = bits.astype(bool).reshape(shape)
    return StoredMask(kept, **{name: lines.astype(np.int64) for name, lines in own.items()})
