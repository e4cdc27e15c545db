"""Reading back what wandb wrote offline: the records of a .wandb file, which `wandb sync` would send."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record  # ty: ignore[missing-module-member]: protobuf makes it when it is imported

BLOCK, HEADER = 32768, 7  # of LevelDB's log format; a file begins with as much of wandb's own


def records(path: Path) -> Iterator[Any]:
    """Every record, in order."""
    data = path.read_bytes()
    place, whole = HEADER, b""
    while place + HEADER <= len(data):
        if BLOCK - place % BLOCK < HEADER:  # no room for a header: the rest of the block is zeros
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + HEADER])
        whole += data[place + HEADER : place + HEADER + length]
        place += HEADER + length
        if kind in (1, 4):  # full, last
            record = Record()
            record.ParseFromString(whole)
            yield record
            whole = b""
