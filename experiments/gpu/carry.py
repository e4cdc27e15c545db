"""Take a data set and a grid to a machine that has no network, slice by slice, and bring the records home.

    python experiments/gpu/carry.py split ../shared/data/cifar-10-batches-py data/parts   # here
    python experiments/gpu/carry.py join data/parts data                                  # there, all parts carried
    python experiments/gpu/carry.py slice experiments/granularity.yaml home trainer=gpu   # there, again and again
    python experiments/gpu/carry.py take home outputs                                     # here, or there to go on

`split` cuts one tar of the folder into numbered parts and writes a manifest with their SHA-256; `join` checks every
part before it unpacks anything. A part and the repository travel together, so that parts are smaller than what may be
carried at once. `slice` goes on with a grid for eight minutes and packs what came of it into the folder `home`:
`records.tar.gz`, and with --networks the dense networks that the grid shares, which another slice on another machine
takes over with --from instead of training them again. They come in parts too, as small as files may be that come home.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

MANIFEST = "manifest.json"
RECORDS = "records.tar.gz"
NETWORKS = "networks"
MIB = 2**20
CARRIED_MIB, HOME_MIB = 40, 15
"""Parts on the way there, beside a repository of 20 MiB, and on the way home."""
OUTPUTS = Path("outputs")
SMALL = (
    "*/record.json", "*/config.yaml", "*/history.jsonl", "*/failure.json", "*/simulation*.json",
    "dense/*/history.jsonl",
)  # fmt: skip
SHARED = ("dense/*/network.pt",)


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
    return _cut(packed.getbuffer(), parts, source.name, part_mib)


def _cut(content: memoryview, parts: Path, name: str, part_mib: int) -> list[Path]:
    """Numbered parts of a tar, and their manifest; parts of an earlier, larger tar of the name go."""
    parts.mkdir(parents=True, exist_ok=True)
    for old in parts.glob(f"{name}.[0-9][0-9]"):
        old.unlink()
    written, manifest = [], {}
    for number, start in enumerate(range(0, len(content), part_mib * MIB)):
        part = parts / f"{name}.{number:02d}"
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


def collect(outputs: Path, home: Path, networks: bool) -> int:
    """Pack the runs' small files, and the dense networks if asked, into `home`; how many files."""
    home.mkdir(parents=True, exist_ok=True)
    small = sorted(path for pattern in SMALL for path in outputs.glob(pattern))
    with tarfile.open(home / RECORDS, "w:gz") as archive:
        for path in small:
            archive.add(path, path.relative_to(outputs))
    if not networks:
        return len(small)
    large = sorted(path for pattern in SHARED for path in outputs.glob(pattern))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path in large:
            archive.add(path, path.relative_to(outputs))
    _cut(packed.getbuffer(), home, NETWORKS, HOME_MIB)
    return len(small) + len(large)


def take(home: Path, outputs: Path) -> None:
    """Unpack what an earlier slice collected.

    Raises:
        CarryError: there is nothing, or a part of the networks is missing or damaged.
    """
    if not (home / RECORDS).is_file():
        raise CarryError(f"{home / RECORDS} is missing; name the folder that a slice packed")
    outputs.mkdir(parents=True, exist_ok=True)
    with tarfile.open(home / RECORDS) as archive:
        archive.extractall(outputs, filter="data")
    if (home / MANIFEST).is_file():
        join(home, outputs)


def go_on(
    experiment: Path, home: Path, words: list[str], budget: str, earlier: Path | None, networks: bool
) -> int:
    """Run a grid for a while and pack what came of it, whatever became of it; the sweep's exit code, 3 in time."""
    if earlier is not None:
        take(earlier, OUTPUTS)
    sweep = [sys.executable, "-m", "cimlab", "sweep", str(experiment), f"--time-budget={budget}", *words]
    code = subprocess.run([*sweep, f"paths.output_dir={OUTPUTS}", "tracker=none"], check=False).returncode
    print(f"{collect(OUTPUTS, home, networks)} files in {home}")
    return code


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("split")
    one.add_argument("source", type=Path)
    one.add_argument("parts", type=Path)
    one.add_argument("--mib", type=int, default=CARRIED_MIB)
    two = commands.add_parser("join")
    two.add_argument("parts", type=Path)
    two.add_argument("target", type=Path)
    three = commands.add_parser("slice")
    three.add_argument("experiment", type=Path)
    three.add_argument("home", type=Path)
    three.add_argument("words", nargs="*", help="overrides of the sweep")
    three.add_argument("--budget", default="8m", help="as sweep's --time-budget")
    three.add_argument("--jobs", type=int, default=1, help="processes that share the GPU")
    three.add_argument("--from", dest="earlier", type=Path, help="home of an earlier slice")
    three.add_argument("--networks", action="store_true", help="bring the dense networks home too")
    four = commands.add_parser("take")
    four.add_argument("home", type=Path)
    four.add_argument("outputs", type=Path)
    return parser.parse_args()


def main() -> int:
    args = arguments()
    try:
        match args.command:
            case "split":
                for part in split(args.source, args.parts, args.mib):
                    print(part)
            case "join":
                join(args.parts, args.target)
            case "slice":
                words = [f"--jobs={args.jobs}", *args.words]
                return go_on(args.experiment, args.home, words, args.budget, args.earlier, args.networks)
            case _:
                take(args.home, args.outputs)
    except (CarryError, OSError, tarfile.TarError) as problem:
        print(f"carry: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
