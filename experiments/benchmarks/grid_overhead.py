"""What a grid costs besides its training: planning, finding what is done, the table of runs, a point's overhead.

    python experiments/benchmarks/grid_overhead.py [POINTS]

Each line gives wall time, processor time and peak memory of a process of its own. Wall times depend on what else
the machine does; processor times do not.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

from cimlab.grids.planning import make_plan
from cimlab.processors import cores
from cimlab.records.index import INDEX_FILE
from cimlab.records.record import RECORD_FILE, RunRecord, content_hash

GRANULARITIES = (
    "weight,column_segment,row_segment,operation_unit,kernel,array_row,array_column,channel,filter,crossbar"
)
GRID = """\
# @package _global_
hydra:
  sweeper:
    params:
      granularity: {granularities}
      geometry: default,small,large,independent,isaac
      prune.remaining: 0.9,0.8,0.7,0.6,0.5,0.4,0.3,0.2,0.1,0.05
      seed: range({seeds})
"""
SMALL = ("recipe.epochs=1", "schedule.epochs=1", "tracker=none", "trainer.threads=1")


def measured(label: str, *words: str) -> str:
    """Run `cimlab WORDS` and print what it took; gives its output."""
    command = [sys.executable, "-m", "cimlab", *words]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    out = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{label}: exit code {process.returncode}")
    show(label, wall, used.ru_utime + used.ru_stime, used.ru_maxrss)
    return out


def show(label: str, wall_s: float, processor_s: float, memory_kib: int) -> None:
    print(
        f"{label:60} {wall_s:8.2f} s wall {processor_s:8.2f} s processor {memory_kib / 1024:7.0f} MiB",
        flush=True,
    )


def plan_and_find(folder: Path, points: int) -> None:
    """A large grid with nothing done and with everything done."""
    path = folder / "large.yaml"
    path.write_text(GRID.format(granularities=GRANULARITIES, seeds=-(-points // 500)))
    output = folder / "large"
    words = ("sweep", str(path), "--dry-run", f"paths.output_dir={output}")
    out = measured(f"plan {points} points, none done", *words)
    assert len(out.splitlines()) >= points
    plan = make_plan(path, [f"paths.output_dir={output}"])
    template = one_record(folder)
    for point in plan.points:
        config = {**template.config, "prune": {**template.config["prune"], "remaining": 0.5}}
        record = replace(template, run=point.run, name=point.name, config=config)
        place = Path(point.run_dir) / RECORD_FILE
        place.parent.mkdir(parents=True)
        place.write_text(text_of(record))
    size = place.stat().st_size
    print(f"({len(plan.points)} records of {size} bytes each)")
    measured("plan, all done, records never read before", *words)
    out = measured("plan, all done, records known", *words)
    assert sum(line.startswith("done ") for line in out.splitlines()) == len(plan.points)
    out = measured("cimlab runs --json, records known", "runs", str(output), "--json")
    assert len(json.loads(out)) == len(plan.points)
    measured(
        "cimlab runs, sorted and filtered, records known", "runs", str(output), "--sort=-accuracy", "seed=0"
    )
    (output / INDEX_FILE).unlink()
    measured("cimlab runs, records never read before", "runs", str(output))


def one_record(folder: Path) -> RunRecord:
    """A record of a real run on digits."""
    output = folder / "one"
    measured(
        "one point as a process of its own, training included", "train", *SMALL, f"paths.output_dir={output}"
    )
    (path,) = output.glob(f"*/{RECORD_FILE}")
    record = RunRecord.read(path)
    print(f"(of which {sum(record.wall_time_s.values()):.2f} s wall were training)")
    return record


def text_of(record: RunRecord) -> str:
    """The text of a record's file; written here without waiting for the disk, which 10,000 times takes long."""
    content = asdict(record)
    return json.dumps({**content, "sha256": content_hash(content)}, indent=1) + "\n"


def overhead_of_a_point(folder: Path) -> None:
    """Points that share a process: what the sweep took beyond the training that their records report."""
    path = folder / "shared.yaml"
    path.write_text(
        GRID.format(granularities="weight,filter,kernel,channel", seeds=1).replace(",small,large", "")
    )
    output = folder / "shared"
    words = ("sweep", str(path), f"paths.output_dir={output}", *SMALL)
    few = ("geometry=default", "prune.remaining=0.9")
    measured("4 points in one process", *words, *few)
    began, before = time.perf_counter(), training_s(output)
    measured("the other 20 of 24", *words, "geometry=default", "prune.remaining=0.9,0.8,0.7,0.6,0.5,0.4")
    spent = time.perf_counter() - began - (training_s(output) - before)
    print(
        f"20 points more: {spent / 20:.2f} s wall a point beyond their training, start of the process included"
    )


def training_s(output: Path) -> float:
    """Seconds of retraining that the records below a folder report."""
    return sum(RunRecord.read(path).wall_time_s["retrain"] for path in output.glob(f"*/{RECORD_FILE}"))


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument(
        "points",
        type=int,
        nargs="?",
        default=10_000,
        help="at least, of the grid that is planned; 500 a seed",
    )
    points = asked.parse_args().points
    with tempfile.TemporaryDirectory() as folder:
        plan_and_find(Path(folder), points)
        overhead_of_a_point(Path(folder))
    print(f"load of the machine at the end: {os.getloadavg()[0]:.1f} on {cores()} cores")


if __name__ == "__main__":
    main()
