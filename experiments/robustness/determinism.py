"""Run the same small grid through every launcher, and the same run with 0 and 2 data workers; compare the results.

Question: does where a run happens change a number? Conditions: digits, one dense and two retraining epochs, one thread
a process; four points on the basic, joblib and submitit (local) launchers of `cimlab train -m`, and through
`cimlab sweep` with two workers; a tree of image files made here, read by 0 and by 2 data workers. Of each run is hashed
what its record says apart from times and places, and every tensor of its network and masks.

    python experiments/robustness/determinism.py [--launcher basic --launcher joblib ...]
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from PIL import Image

from cimlab.records.record import RECORD_FILE, RunRecord, content_hash
from cimlab.training import checkpoints

SMALL = ("recipe.epochs=1", "schedule.epochs=2", "trainer.threads=1", "tracker=none")
POINTS = ("granularity=operation_unit,filter", "saliency=l2,random")
LAUNCHERS = {
    "basic": (),
    "joblib": ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
    "submitit": ("hydra/launcher=submitit_local", "hydra.launcher.cpus_per_task=1"),
}
SWEEP = "sweep"
WORKERS = (0, 2)
FIELDS = ("run", "name", "seed", "choices", "accuracy", "weights", "hardware")


def cimlab(*words: str) -> None:
    """One command in a process of its own.

    Raises:
        CalledProcessError: it failed.
    """
    command = [sys.executable, "-m", "cimlab", *words]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        print(answer.stdout + answer.stderr, file=sys.stderr)
        answer.check_returncode()


def hashes(folder: Path) -> dict[str, str]:
    """Run folder -> hash of all that must not depend on where it ran."""
    found = {}
    for path in sorted(folder.glob(f"*/{RECORD_FILE}")):
        record = RunRecord.read(path)
        digest = hashlib.sha256(content_hash({name: getattr(record, name) for name in FIELDS}).encode())
        content = checkpoints.load(path.with_name(checkpoints.NETWORK_FILE))
        for part in ("network", "masks"):
            for name, tensor in sorted(content[part].items()):
                digest.update(f"{part} {name} {tensor.dtype} {tuple(tensor.shape)}".encode())
                digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        found[path.parent.name] = digest.hexdigest()
    return found


def image_tree(root: Path) -> None:
    """Two classes of noise, 24 images each."""
    for label in range(2):
        folder = root / f"class{label}"
        folder.mkdir(parents=True)
        for number in range(24):
            generator = torch.Generator().manual_seed(99 * label + number)
            pixels = torch.randint(256, (12, 12, 3), generator=generator, dtype=torch.uint8)
            Image.fromarray(pixels.numpy()).save(folder / f"{number}.png")


def differing(results: dict[str, dict[str, str]]) -> list[str]:
    """Names of the ways whose results are not those of the first; tells each."""
    first = next(iter(results.values()))
    bad = []
    for way, found in results.items():
        same = found == first and bool(found)
        print(f"  {way:10} {len(found)} runs, hash {content_hash(found)[:16]}{'' if same else '  DIFFERS'}")
        bad += [] if same else [way]
    return bad


def experiment(launchers: list[str]) -> int:
    """Run all ways and compare; the number of ways that differ."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        ways: dict[str, dict[str, str]] = {}
        for name in launchers:
            output = f"paths.output_dir={root / name}"
            if name == SWEEP:
                path = root / "grid.yaml"
                axes = "".join(f"      {word.replace('=', ': ')}\n" for word in POINTS)
                path.write_text(f"# @package _global_\nhydra:\n  sweeper:\n    params:\n{axes}")
                cimlab("sweep", str(path), "--jobs=2", *SMALL, output)
            else:
                cimlab("train", "-m", *SMALL, *POINTS, *LAUNCHERS[name], output)
            ways[name] = hashes(root / name)
        print("launchers:")
        bad = differing(ways)
        image_tree(root / "images")
        words = ("data=image_folder", f"data.data_dir={root / 'images'}", "data.image_size=8", "data.batch_size=8",
                 "data.validation_size=8", "data.eval_batch_size=8")  # fmt: skip
        ways = {}
        for workers in WORKERS:
            folder = root / f"workers{workers}"
            cimlab("train", *SMALL, *words, f"data.num_workers={workers}", f"paths.output_dir={folder}")
            ways[f"{workers} workers"] = hashes(folder)
        print("data workers:")
        return len(bad + differing(ways))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--launcher", action="append", choices=[*LAUNCHERS, SWEEP])
    options = parser.parse_args()
    sys.exit(min(experiment(options.launcher or [*LAUNCHERS, SWEEP]), 1))
