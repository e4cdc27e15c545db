"""What a run keeps so that it can be priced on any accelerator later: its layers, its masks and its activity.

`keep` writes the masks beside the record and gives the record's fields; `read` is the inverse and needs neither the
network nor its data. The price of a record is thus the price that the run would have had.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from cimlab.crossbar.activity import Activity
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.permutation import FIELDS
from cimlab.crossbar.units import UnitGrid
from cimlab.network.off_arrays import NOTHING, OffArrays
from cimlab.records.masks import StoredMask, read_masks, write_masks
from cimlab.records.record import RecordError, RunRecord


@dataclass(frozen=True, eq=False)
class KeptNetwork:
    """A network as a price sees it.

    Args:
        matrices: the layers on arrays, in the order of computation, lines permuted as the run found them.
        masks: layer name -> True where a weight is left, in the weight's shape; a layer that is not named is whole.
        activity: what its cells hold and its wordlines are fed.
        off_arrays: what it multiplies digitally.
    """

    matrices: tuple[CrossbarMatrix, ...]
    masks: dict[str, Bool[Tensor, "..."]]
    activity: Activity
    off_arrays: OffArrays = NOTHING


def keep(
    record_file: Path,
    matrices: Sequence[CrossbarMatrix],
    masks: Mapping[str, Bool[Tensor, "..."]],
    activity: Activity,
    units_of: Callable[[CrossbarMatrix], UnitGrid],
    off_arrays: OffArrays = NOTHING,
) -> dict[str, Any]:
    """Write a run's masks beside its record-to-be, and give the fields by which the record carries the rest.

    >>> from tempfile import TemporaryDirectory
    >>> from cimlab.crossbar.geometry import CrossbarGeometry
    >>> from cimlab.pruning.granularities.filter import Filter
    >>> matrix, mask = CrossbarMatrix("fc", (2, 3)), torch.tensor([[True] * 3, [False] * 3])
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder, "record.json")
    ...     given = keep(file, [matrix], {"fc": mask}, Activity(), lambda m: Filter().units(m, CrossbarGeometry()))
    ...     [path.name for path in Path(folder).iterdir()], list(given)
    (['masks.npz'], ['layers', 'activity', 'off_arrays', 'masks_sha256'])

    Args:
        record_file: where the record will be.
        matrices, masks, activity, off_arrays: as `KeptNetwork`.
        units_of: how a layer was cut; where its mask goes by these units, a bit per unit is kept.

    Raises:
        RecordError: the folder can't be written.
    """
    stored = {m.name: _stored(m, masks.get(m.name), units_of) for m in matrices}
    return {
        "layers": [_plain(matrix) for matrix in matrices],
        "activity": activity.to_json(),
        "off_arrays": off_arrays.to_json(),
        "masks_sha256": write_masks(record_file, stored),
    }


def read(record: RunRecord, record_file: Path) -> KeptNetwork:
    """The network that a record is about.

    >>> from tempfile import TemporaryDirectory
    >>> matrix, mask = CrossbarMatrix("fc", (1, 3)), torch.tensor([[True, False, True]])
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder, "record.json")
    ...     given = keep(file, [matrix], {"fc": mask}, Activity(), lambda m: UnitGrid(torch.arange(3), torch.arange(1)))
    ...     record = RunRecord("3f09", "example", "2026-11-28T21:00:00", 0, *[{}] * 9, **given)
    ...     read(record, file).masks
    {'fc': tensor([[ True, False,  True]])}

    Args:
        record: as read from the file.
        record_file: its place, beside which the masks are.

    Raises:
        RecordError: the record kept none (schema 1), or its masks are missing, damaged or of another run.
    """
    if record.unpriceable:
        raise RecordError(f"record {record_file} can't be priced anew: {record.unpriceable}")
    stored = read_masks(record_file, record.masks_sha256)
    try:
        matrices = tuple(_matrix(layer, stored.get(layer["name"], StoredMask())) for layer in record.layers)
        masks = {}
        for matrix in matrices:
            kept = stored.get(matrix.name, StoredMask()).by_weight()
            if kept is not None:
                masks[matrix.name] = matrix.to_weight(torch.from_numpy(kept))
        return KeptNetwork(
            matrices, masks, Activity.of_json(record.activity), OffArrays.of_json(record.off_arrays)
        )
    except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as problem:
        raise RecordError(
            f"record {record_file} and its masks don't fit together ({' '.join(str(problem).split())})"
        ) from problem


def _stored(
    matrix: CrossbarMatrix, mask: Bool[Tensor, "..."] | None, units_of: Callable[[CrossbarMatrix], UnitGrid]
) -> StoredMask:
    """A layer's mask by units where it goes by them, else by weights."""
    orders = {name: getattr(matrix, name) for name in FIELDS}
    lines = {name: torch.tensor(order).numpy() for name, order in orders.items() if order is not None}
    if mask is None or bool(mask.all()):
        return StoredMask(**lines)
    kept, grid = matrix.to_matrix(mask.cpu()), units_of(matrix)
    units = grid.reduce(kept.int()) > 0
    if units.shape == kept.shape or not torch.equal(grid.spread(units), kept):
        return StoredMask(kept.numpy(), **lines)
    return StoredMask(units.numpy(), grid.row_of.numpy(), grid.col_of.numpy(), **lines)


def _plain(matrix: CrossbarMatrix) -> dict[str, Any]:
    """A matrix but for its orders, which are kept with its mask."""
    values = {f.name: getattr(matrix, f.name) for f in fields(matrix) if f.name not in FIELDS}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _matrix(layer: Mapping[str, Any], stored: StoredMask) -> CrossbarMatrix:
    orders = {name: getattr(stored, name) for name in FIELDS}
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in layer.items()
    }
    values |= {name: None if order is None else tuple(order.tolist()) for name, order in orders.items()}
    return CrossbarMatrix(**values)
