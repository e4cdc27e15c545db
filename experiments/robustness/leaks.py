"""Run many experiments in one process and watch its memory and open files.

Question: does a run leave anything behind? Conditions: the digits network on 256 random images, one dense epoch (found
again after the first run), one epoch of retraining, no tracker, by itself or with other methods in turn (rounding,
distillation, ADMM, reordering, simulation on the arrays), and another budget each run so that none is skipped;
resident memory and open files after every run. Growth is from the median of the runs right after warm-up (a tenth of
all, at least 5) to the median of the last as many.

    python experiments/robustness/leaks.py [--runs 200]
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import os
import sys
import tempfile
from pathlib import Path
from statistics import median

os.environ["OMP_NUM_THREADS"] = "1"

from cimlab.cli.main import main

WORDS = (
    "train", "recipe.epochs=1", "schedule.epochs=1", "tracker=none", "trainer.threads=1",
    "data=fake", "data.num_images=256", "data.image_size=8", "data.in_channels=1", "data.validation_size=64",
    "data.batch_size=64",
)  # fmt: skip
METHODS: tuple[tuple[str, ...], ...] = (
    (),
    ("method=[lsq,distillation]",),
    ("method=[admm,reorder]",),
    ("simulate.at_end=true", "simulate.images=16", "simulate.calibration_batches=1"),
)
ALLOWED = 0.05


def resident_bytes() -> int:
    """Memory of this process that is in RAM."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files() -> int:
    """File handles of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


def experiment(runs: int) -> bool:
    """Run and print; whether growth stays within what is allowed."""
    memory, files = [], []
    with tempfile.TemporaryDirectory() as scratch:
        for run in range(runs):
            words = [*WORDS, *METHODS[run % len(METHODS)], f"paths.output_dir={scratch}"]
            remaining = 0.2 + 0.5 * run / runs  # another budget each time, the same dense network
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    main([*words, f"prune.remaining={remaining:.6f}"])
            except SystemExit as end:
                if end.code:
                    return False
            gc.collect()
            memory.append(resident_bytes())
            files.append(open_files())
    part = max(5, runs // 10)
    before, after = median(memory[part : 2 * part]), median(memory[-part:])
    opened = files[-1] - files[part]
    growth = after / before - 1
    print(
        f"{runs} runs: {before / 2**20:.0f} MiB after warm-up, {after / 2**20:.0f} MiB at the end "
        f"({100 * growth:+.1f} %), {opened:+d} open files"
    )
    return growth < ALLOWED and opened <= 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=200)
    sys.exit(not experiment(parser.parse_args().runs))
