"""Does a grid survive? Runs experiments/digits_smoke.yaml undisturbed, then on each engine with two SIGKILLs.

The first kill takes a worker, the second everything that the sweep started (on Slurm: the sweep and a job; Slurm
puts the job back into its queue). The same command then goes on, and the records must be those of the undisturbed
run. Usage, from the repository:

    python experiments/kill_and_resume.py FOLDER [basic joblib submitit_local submitit_slurm]

submitit_slurm needs root and Debian's slurm-wlm and munge: a cluster of one node is set up on loopback.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from cimlab.records.locks import LOCK_FILE, holder
from cimlab.records.record import RECORD_FILE, RunRecord

HERE = Path(__file__).parent
ENGINES = ("basic", "joblib", "submitit_local", "submitit_slurm")
SHORT = ("trainer.threads=1", "recipe.epochs=2", "schedule.epochs=2")
KILL_AT = (4, 11)  # records there are when the kill comes


def results(folder: Path) -> dict[str, tuple]:
    """Records by run, without when and where they were made."""
    records = [RunRecord.read(path) for path in folder.glob(f"*/{RECORD_FILE}")]
    return {r.run: (r.name, r.seed, r.choices, r.accuracy, r.weights, r.hardware) for r in records}


def start(engine: str, folder: Path) -> subprocess.Popen:
    """The sweep, in a process group of its own."""
    words = ["sweep", str(HERE / "digits_smoke.yaml"), f"paths.output_dir={folder}", *SHORT]
    if engine != "basic":
        words += [f"--launcher={engine}", "--jobs=2"]
    if engine == "submitit_slurm":
        words.append("hydra.launcher.cpus_per_task=1")
    with Path(f"{folder}.log").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "cimlab", *words], stdout=log, stderr=log, start_new_session=True
        )


def wait_for(folder: Path, number: int, sweep: subprocess.Popen) -> None:
    """Until so many records are there and another point is under way."""
    while sweep.poll() is None:
        if len(list(folder.glob(f"*/{RECORD_FILE}"))) >= number and workers(folder):
            return
        time.sleep(0.1)
    sys.exit(f"the sweep ended before it could be killed, see {folder}.log")


def workers(folder: Path) -> list[int]:
    """Processes that work on a point right now."""
    found = (holder(path.parent) for path in folder.glob(f"*/{LOCK_FILE}"))
    return sorted({who.pid for who, alive in found if alive and who is not None})


def kill(*pids: int) -> None:
    """SIGKILL, which no process can see coming."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def disturbed(engine: str, folder: Path) -> tuple[int, list[str]]:
    """Run the grid with two kills; the exit code of the last sweep, and what happened."""
    story = []
    sweep = start(engine, folder)
    wait_for(folder, KILL_AT[0], sweep)
    victim = workers(folder)[0]
    kill(victim)
    story.append(f"worker killed at {len(results(folder))} records")
    if engine == "basic":
        sweep.wait()
        sweep = start(engine, folder)
    wait_for(folder, KILL_AT[1], sweep)
    if engine != "submitit_slurm":
        os.killpg(sweep.pid, signal.SIGKILL)
        for pid in workers(folder):
            kill(pid)
    else:
        story.append(f"requeued by Slurm: {restarts()}")
        kill(sweep.pid, workers(folder)[0])
    sweep.wait()
    story.append(f"sweep killed at {len(results(folder))} records")
    return start(engine, folder).wait(), story


def restarts() -> str:
    """Jobs that Slurm has started more than once."""
    answer = subprocess.run(["scontrol", "show", "job"], capture_output=True, text=True, check=True).stdout
    jobs = [
        dict(field.split("=", 1) for field in block.split() if "=" in field) for block in answer.split("\n\n")
    ]
    again = [f"job {job['JobId']} {job['Restarts']} x" for job in jobs if job.get("Restarts", "0") != "0"]
    return ", ".join(again) or "none"


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1].startswith("-") or not set(sys.argv[2:]) <= set(ENGINES):
        sys.exit(__doc__)
    folder, engines = Path(sys.argv[1]).absolute(), sys.argv[2:] or list(ENGINES)
    folder.mkdir(parents=True, exist_ok=True)
    if start("basic", folder / "undisturbed").wait():
        sys.exit(f"the undisturbed sweep failed, see {folder / 'undisturbed.log'}")
    expected = results(folder / "undisturbed")
    print(f"undisturbed: {len(expected)} records", flush=True)
    failed = False
    for engine in engines:
        if engine == "submitit_slurm":
            os.environ["SLURM_CONF"] = str(folder / "slurm" / "slurm.conf")
            subprocess.run([HERE / "slurm" / "one_node.sh", "start", folder / "slurm"], check=True, stdout=2)
        began = time.monotonic()
        try:
            code, story = disturbed(engine, folder / engine)
            if engine == "submitit_slurm":
                story.append(f"requeued by Slurm in the end: {restarts()}")
        finally:
            if engine == "submitit_slurm":
                subprocess.run([HERE / "slurm" / "one_node.sh", "stop", folder / "slurm"], check=True)
        same = results(folder / engine) == expected
        failed |= code != 0 or not same
        verdict = "the same records" if same else "OTHER RECORDS"
        print(
            f"{engine}: {verdict}, exit code {code}, {time.monotonic() - began:.0f} s; {'; '.join(story)}",
            flush=True,
        )
    sys.exit(failed)


if __name__ == "__main__":
    main()
