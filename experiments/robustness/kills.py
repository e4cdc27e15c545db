"""Kill runs with SIGKILL at random moments, resume them by the same command, compare with undisturbed runs.

Question: does a killed run lose or change anything? Every kill is one of two kinds, in turn: after a random share
of the processor time that the undisturbed run took (training, pruning, testing, mapping), or right before a random
change to the output folder (opening a file to write, renaming, removing). A chain of up to five kills hits one run,
which then goes on to its end; the first kill of every second chain comes between the final network and the record, that
of the others early, for dense training is a small share of a run. Its record must equal that of the undisturbed run in
every accuracy, count and weight fraction, its simulation in every accuracy and signal-to-noise ratio, and all that its
dense and final checkpoints hold bit by bit: weights, masks, learned steps, orders of rows and columns (CPU, one
thread). A record or network that is there after a kill must be whole.

    python experiments/robustness/kills.py [--kills 30] [--seed 0]
"""

from __future__ import annotations

import argparse
import importlib
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # read by torch when it is imported; threads don't survive a fork

import torch

from cimlab.cli.main import main
from cimlab.records.record import RECORD_FILE, RunRecord
from cimlab.records.simulation import SIMULATION_FILE, SimulationRecord
from cimlab.training import checkpoints

for heavy in ("sklearn.datasets", "cimlab.runs.train", "cimlab.config.components", "cimlab.training.phases",
              "cimlab.reporting.tables", "cimlab.runs.simulate", "cimlab.analog.convert"):  # fmt: skip
    importlib.import_module(heavy)  # here, so that no fork has to

SMALL = ("train", "recipe.epochs=2", "schedule.epochs=4", "tracker=none", "trainer.threads=1")
VARIANTS = (
    ("method=[gradual]", "method.gradual.prune_events=4", "saliency=taylor", "mapping.every_n_epochs=1"),
    (
        "method=[iterative]",
        "method.iterative.prune_rounds=2",
        "saliency=random",
        "optimizer=adamw",
        "optimizer.lr=0.01",
    ),
    ("granularity=filter", "data.crop_padding=1", "data.flip=true"),
    (
        "method=[gradual,admm,distillation,reorder,lsq]",
        "method.gradual.prune_events=2",
        "simulate.at_end=true",
        "simulate.images=50",
    ),
)
CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate"}
MOST_CHANGES = 40  # about as many as an undisturbed run makes
CHAIN = 5
EARLY = 0.3
"""Share of a run, in processor time and in changes, by which its dense network is trained."""


def start(
    words: tuple[str, ...], folder: Path, before_change: int | None = None, at_record: bool = False
) -> int:
    """Fork a process that runs the command, and kills itself before its n-th change below `folder` if asked, or
    between writing the final network and the record."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        log = os.open(folder.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        if before_change is not None:
            die_before(before_change, str(folder))
        if at_record:
            die_before(1, str(folder), only=RECORD_FILE)
        main([*SMALL, *words, f"paths.output_dir={folder}"])
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.stdout.flush()
        os._exit(code)


def die_before(change: int, folder: str, only: str = "") -> None:
    """SIGKILL for this process, right before its n-th change below `folder`, or its n-th renaming to `only`."""
    seen = 0

    def hook(event: str, arguments: tuple) -> None:
        nonlocal seen
        writes = event == "open" and bool((arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR))
        counts = event == "os.rename" and str(arguments[1]).endswith(f"/{only}") if only else writes
        if (counts or (not only and event in CHANGES)) and str(arguments[0]).startswith(folder):
            seen += 1
            if seen == change:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def kill_after(child: int, seconds: float) -> None:
    """SIGKILL for a child that has used so much processor time, unless it ends before."""
    tick = os.sysconf("SC_CLK_TCK")
    while True:
        fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
        if fields[0] == "Z":
            return
        if (int(fields[11]) + int(fields[12])) / tick >= seconds:
            os.kill(child, signal.SIGKILL)
            return
        time.sleep(0.003)


def leaves(node: Any, path: str) -> dict[str, Any]:
    """Every value of nested containers, by where it is."""
    if not isinstance(node, dict):
        return {path: node}
    return {place: value for key in node for place, value in leaves(node[key], f"{path} {key}").items()}


def killed(
    words: tuple[str, ...], folder: Path, chain: int, number: int, dice: random.Random, seconds: float
) -> int:
    """Start the run and kill it for the n-th time (from 0) in its chain; the process, which may have ended before."""
    if number == 0 and chain % 2:
        return start(words, folder, at_record=True)
    share = EARLY if number == 0 else 1.0
    if (chain // 2 + number) % 2:
        return start(words, folder, before_change=dice.randint(1, round(share * MOST_CHANGES)))
    child = start(words, folder)
    kill_after(child, dice.uniform(0.05, share) * seconds)
    return child


def result(folder: Path) -> dict[str, Any]:
    """What has to be the same: numbers of the record and the simulation, and all that the checkpoints hold."""
    (path,) = folder.glob(f"*/{RECORD_FILE}")
    record = RunRecord.read(path)
    found: dict[str, Any] = {
        name: getattr(record, name)
        for name in ("run", "name", "seed", "choices", "accuracy", "weights", "hardware")
    }
    for file in folder.glob(f"*/{SIMULATION_FILE}"):
        simulation = SimulationRecord.read(file)
        found |= {"simulated accuracy": simulation.accuracy, "simulated layers": simulation.layers}
    for file in (path.with_name(checkpoints.NETWORK_FILE), *folder.glob("dense/*/network.pt")):
        found |= leaves(checkpoints.load(file), "dense" if file.parents[1].name == "dense" else "final")
    return found


def differences(folder: Path, expected: dict[str, Any]) -> list[str]:
    """Names of what differs from the undisturbed run."""
    found = result(folder)
    both = sorted(found.keys() & expected.keys())
    return sorted(found.keys() ^ expected.keys()) + [n for n in both if not same(found[n], expected[n])]


def same(one: Any, other: Any) -> bool:
    """Equal, tensors bit by bit."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    return type(one) is type(other) and one == other


def place(folder: Path) -> str:
    """Where in its life a killed run stands, by the files it left; whatever stands there must be whole."""
    for path in folder.glob(f"*/{RECORD_FILE}"):
        RunRecord.read(path)
        return "after its record"
    for path in folder.glob("*/network.pt"):
        checkpoints.load(path)
        return "before its record"
    for path in folder.glob("dense/*/network.pt"):
        checkpoints.load(path)
        return "retraining, testing or mapping"
    return "dense training" if any(folder.glob("dense/*/history.jsonl")) else "starting"


def experiment(kills: int, seed: int) -> int:
    """Kill and compare; the number of chains that differ, lose their record or fail."""
    dice, done, bad, chains = random.Random(seed), 0, 0, 0
    places: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as scratch:
        expected: dict[tuple[str, ...], dict[str, Any]] = {}
        seconds: dict[tuple[str, ...], float] = {}
        while done < kills:
            words = VARIANTS[chains % len(VARIANTS)]
            if words not in expected:
                whole = Path(scratch) / f"whole{chains}"
                _, status, usage = os.wait4(start(words, whole), 0)
                if status:
                    print(whole.with_suffix(".log").read_text())
                    return 1
                expected[words], seconds[words] = result(whole), usage.ru_utime + usage.ru_stime
            folder = Path(scratch) / f"chain{chains}"
            for number in range(min(CHAIN, kills - done)):
                child = killed(words, folder, chains, number, dice, seconds[words])
                status = os.waitpid(child, 0)[1]
                if not os.WIFSIGNALED(status):
                    break
                done += 1
                places[place(folder)] += 1
            code = os.waitpid(start(words, folder), 0)[1]
            found = [f"exit status {code}"] if code else differences(folder, expected[words])
            if found:
                bad += 1
                print(f"chain {chains} differs: {', '.join(found)}\n{folder.with_suffix('.log').read_text()}")
            chains += 1
    where = ", ".join(f"{count} {name}" for name, count in places.most_common())
    print(f"{done} kills in {chains} runs ({where}): {bad} runs differ or are lost")
    return bad


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sys.exit(min(experiment(options.kills, options.seed), 1))
