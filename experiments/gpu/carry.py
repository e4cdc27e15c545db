"""Take a data set to a machine that has no network, in parts, and bring the records home.

    python experiments/gpu/carry.py split ../shared/data/cifar-10-batches-py data/parts   # here
    python experiments/gpu/carry.py join data/parts data                                  # there, all parts carried
    python experiments/gpu/carry.py collect outputs records.tar                           # there, after a slice
    python experiments/gpu/carry.py collect outputs records.tar --take-from PREVIOUS.tar  # there, to go on

`split` cuts one tar of the folder into numbered parts of at most 60 MiB and writes a manifest with their SHA-256;
`join` checks every part before it unpacks anything. `collect` packs what a later slice or this machine needs:
records, configurations, histories, and the dense networks that the grid shares.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path

MANIFEST = "manifest.json"
MIB = 2**20
CARRIED = ("*/record.json", "*/config.yaml", "*/history.jsonl", "dense/*/network.pt", "dense/*/history.jsonl")


class CarryError(RuntimeError):
    """A part that is missing or damaged; the message names it."""


def split(source: Path, parts: Path, part_mib: int) -> list[Path]:
    """Cut a folder into parts.

    Raises:
        CarryError: the folder is not there.
    """
    if not source.is_dir():
        raise CarryError(f"{source} is not a folder; name the data set's own folder")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(source, source.name)
    content = packed.getbuffer()
    parts.mkdir(parents=True, exist_ok=True)
    written, manifest = [], {}
    for number, start in enumerate(range(0, len(content), part_mib * MIB)):
        part = parts / f"{source.name}.{number:02d}"
        part.write_bytes(content[start : start + part_mib * MIB])
        manifest[part.name] = hashlib.sha256(part.read_bytes()).hexdigest()
        written.append(part)
    (parts / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    return written


def join(parts: Path, target: Path) -> None:
    """Check all parts and unpack them into `target`.

    Raises:
        CarryError: the manifest or a part is missing, or a part is damaged.
    """
    if not (parts / MANIFEST).is_file():
        raise CarryError(f"{parts / MANIFEST} is missing; carry it beside the parts")
    content = io.BytesIO()
    for name, stated in json.loads((parts / MANIFEST).read_text()).items():
        part = parts / name
        if not part.is_file():
            raise CarryError(f"{part} is missing; carry it and join again")
        data = part.read_bytes()
        if hashlib.sha256(data).hexdigest() != stated:
            raise CarryError(f"{part} is damaged; carry it again")
        content.write(data)
    content.seek(0)
    with tarfile.open(fileobj=content) as archive:
        archive.extractall(target, filter="data")


def collect(outputs: Path, packed: Path) -> int:
    """Pack the runs' small files and the dense networks; how many files."""
    files = sorted(path for pattern in CARRIED for path in outputs.glob(pattern))
    with tarfile.open(packed, "w") as archive:
        for path in files:
            archive.add(path, path.relative_to(outputs))
    return len(files)


def take(packed: Path, outputs: Path) -> None:
    """Unpack what an earlier slice collected."""
    outputs.mkdir(parents=True, exist_ok=True)
    with tarfile.open(packed) as archive:
        archive.extractall(outputs, filter="data")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("split")
    one.add_argument("source", type=Path)
    one.add_argument("parts", type=Path)
    one.add_argument("--mib", type=int, default=60)
    two = commands.add_parser("join")
    two.add_argument("parts", type=Path)
    two.add_argument("target", type=Path)
    three = commands.add_parser("collect")
    three.add_argument("outputs", type=Path)
    three.add_argument("packed", type=Path)
    three.add_argument("--take-from", type=Path)
    args = parser.parse_args()
    try:
        if args.command == "split":
            for part in split(args.source, args.parts, args.mib):
                print(part)
        elif args.command == "join":
            join(args.parts, args.target)
        else:
            if args.take_from is not None:
                take(args.take_from, args.outputs)
            print(f"{collect(args.outputs, args.packed)} files in {args.packed}")
    except (CarryError, OSError, tarfile.TarError) as problem:
        print(f"carry: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
