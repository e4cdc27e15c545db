"""Whole sweeps on digits: each point once, whatever fails, stops, dies or runs beside it."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Answer, Cimlab, one_line

from cimlab.cli.options import seconds
from cimlab.grids import worker
from cimlab.grids.planning import make_plan
from cimlab.grids.stops import Stop, stoppable
from cimlab.records.locks import locked
from cimlab.records.record import RECORD_FILE, RunRecord
from cimlab.runs.planned import PlannedRun

SMALL = ("recipe.epochs=1", "schedule.epochs=2", "trainer.threads=1", "tracker=none")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def experiment(folder: Path, **axes: str) -> Path:
    path = folder / "grid.yaml"
    lines = "".join(f"      {key.replace('__', '.')}: {value}\n" for key, value in axes.items())
    path.write_text(f"# @package _global_\nhydra:\n  sweeper:\n    params:\n{lines}")
    return path


def records(folder: Path) -> dict[str, RunRecord]:
    found = [RunRecord.read(path) for path in folder.glob(f"*/{RECORD_FILE}")]
    return {record.run: record for record in found}


def results(folder: Path) -> dict[str, tuple]:
    """What a record says of the run, without when and where it ran."""
    return {
        run: (r.name, r.seed, r.choices, r.accuracy, r.weights, r.hardware)
        for run, r in records(folder).items()
    }


@pytest.fixture
def sweep(cimlab: Cimlab, tmp_path: Path) -> Cimlab:
    def run(path: Path, *words: str) -> Answer:
        return cimlab("sweep", str(path), *SMALL, f"paths.output_dir={tmp_path / 'out'}", *words)

    return run


def start(path: Path, output: Path, *words: str) -> subprocess.Popen:
    """The sweep in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "cimlab",
        "sweep",
        str(path),
        *SMALL,
        f"paths.output_dir={output}",
        *words,
    ]
    return subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def wait_for_records(output: Path, number: int, process: subprocess.Popen) -> None:
    while len(list(output.glob(f"*/{RECORD_FILE}"))) < number and process.poll() is None:
        time.sleep(0.05)


def test_a_grid_runs_each_point_once_and_trains_each_dense_network_once(
    sweep: Cimlab, tmp_path: Path
) -> None:
    path = experiment(tmp_path, granularity="weight,filter", seed="0,1")
    answer = sweep(path)
    assert answer.code == 0, answer.err
    assert len(records(tmp_path / "out")) == 4
    logs = "".join(log.read_text() for log in (tmp_path / "out").glob("*/log.txt"))
    assert logs.count("dense epoch 1/1") == 2
    assert logs.count("retrain epoch 2/2") == 4
    assert "4 of 4 done, 0 failed)" in answer.out  # no time is left to be told
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").glob(f"*/{RECORD_FILE}")}
    again = sweep(path)
    assert again.code == 0
    assert "already done: 4 (4 by code" in again.out
    assert stamps == {p: p.stat().st_mtime_ns for p in (tmp_path / "out").glob(f"*/{RECORD_FILE}")}
    trial = next(iter(stamps))
    replace(RunRecord.read(trial), search="space").write(trial)
    assert "already done: 3 (3 by code" in sweep(path).out  # a trial of a search becomes a point
    assert RunRecord.read(trial).search == ""
    assert len((trial.parent / "history.jsonl").read_text().splitlines()) == 2


def test_what_is_recorded_elsewhere_is_not_made_again(cimlab: Cimlab, tmp_path: Path) -> None:
    """Records as they are collected: copies beside others, under the names that they were given."""

    def sweep(output: str, *words: str) -> Answer:
        return cimlab("sweep", str(path), *SMALL, f"paths.output_dir={tmp_path / output}", *words)

    path, collected = experiment(tmp_path, granularity="weight,filter"), tmp_path / "collected"
    collected.mkdir()
    assert sweep("there", "granularity=weight").code == 0
    (record,) = records(tmp_path / "there").values()
    record.write(collected / f"{record.name}-{record.run[:8]}.json")
    answer = sweep("here", f"--recorded={collected}")
    assert answer.code == 0, answer.err
    assert (
        f"already done: 1 (1 by code {record.code['git_commit'][:12]}); 1 of them in {collected}"
        in answer.out
    )
    assert [own.choices["granularity"] for own in records(tmp_path / "here").values()] == ["filter"]
    table = answer.out.partition("test accuracy and crossbar work")[2]
    assert "weight" in table
    assert "filter" in table
    again = sweep("here", f"--recorded={collected}")
    assert "already done: 2" in again.out
    refused = sweep("here", f"--recorded={tmp_path / 'nowhere'}")
    assert refused.code == 2
    assert f"--recorded={tmp_path / 'nowhere'} is no folder" in one_line(refused.err)


def test_a_sweep_and_a_multirun_over_the_same_file_are_the_same_runs(
    sweep: Cimlab, cimlab: Cimlab, tmp_path: Path
) -> None:
    folder = tmp_path / "experiments"
    folder.mkdir()
    path = experiment(folder, granularity="weight,filter", seed="0")
    other = tmp_path / "other"
    words = (f"--config-dir={tmp_path}", "+experiments=grid", "-m", *SMALL, f"paths.output_dir={other}")
    assert cimlab("train", *words).code == 0
    assert sweep(path).code == 0
    assert results(other) == results(tmp_path / "out")
    assert len(results(other)) == 2


def test_a_queue_runs_its_grids_in_order_and_what_needs_a_gpu_waits(
    sweep: Cimlab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    experiment(tmp_path, granularity="weight,filter", seed="0")
    queue = tmp_path / "queue.yaml"
    queue.write_text(
        "queue:\n  - grid.yaml trainer=gpu\n  - grid.yaml granularity=filter\n"
        "  - grid.yaml granularity=filter,weight\n"
    )
    answer = sweep(queue)
    assert answer.code == 3, answer.err  # not all is done
    assert "2 points wait for a GPU" in answer.out
    order = sorted((tmp_path / "out").glob(f"*/{RECORD_FILE}"), key=lambda file: file.stat().st_mtime_ns)
    assert [RunRecord.read(file).choices["granularity"] for file in order] == ["filter", "weight"]
    assert "already done: 1" not in answer.out  # nothing was done when the queue was read
    assert "2 of 2 done, 0 failed" in answer.out


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("queue: []", "holds none"),
        ("queue: [3]", "is no line of a queue"),
        ("queue: ['grid.yaml \"']", "is no line of a queue"),
        ("queue: ['none.yaml']", "none.yaml is no file"),
        ("queue: [grid.yaml, grid.yaml speed=3]", "speed"),
        ("queue: [grid.yaml, grid.yaml optimizer.lr=-1]", "learning rate"),
    ],
)
def test_a_queue_is_refused_whole_before_its_first_run(
    sweep: Cimlab, tmp_path: Path, text: str, says: str
) -> None:
    experiment(tmp_path, granularity="weight")
    (tmp_path / "queue.yaml").write_text(text)
    answer = sweep(tmp_path / "queue.yaml")
    assert answer.code == 2
    assert says in one_line(answer.err)
    assert not (tmp_path / "out").exists()


def test_a_failing_point_stops_no_other_and_is_told_at_the_end(sweep: Cimlab, tmp_path: Path) -> None:
    path = experiment(tmp_path, optimizer__lr="1e20,0.1", recipe__warmup="0")
    answer = sweep(path)
    assert answer.code == 1
    assert "failed: digits_cnn" in answer.err
    assert "loss became" in answer.err
    assert len(records(tmp_path / "out")) == 1
    again = sweep(path)
    assert "failed before: 1" in again.out
    assert "(earlier; --retry-failed tries again)" in again.err
    (failure,) = (tmp_path / "out").glob("*/failure.json")
    before = failure.stat().st_mtime_ns
    assert sweep(path, "--retry-failed").code == 1
    assert failure.stat().st_mtime_ns > before


def test_a_damaged_record_is_told_and_its_point_alone_runs_again(sweep: Cimlab, tmp_path: Path) -> None:
    path = experiment(tmp_path, granularity="weight,filter")
    sweep(path)
    expected = results(tmp_path / "out")
    one, other = sorted((tmp_path / "out").glob(f"*/{RECORD_FILE}"))
    one.write_bytes(one.read_bytes()[:500])  # a power cut
    kept = other.stat().st_mtime_ns
    answer = sweep(path)
    assert answer.code == 0
    assert "can't be read" in answer.err
    assert results(tmp_path / "out") == expected
    assert other.stat().st_mtime_ns == kept


def test_a_value_that_a_part_refuses_is_refused_before_the_first_run(sweep: Cimlab, tmp_path: Path) -> None:
    path = experiment(tmp_path, granularity="pattern", granularity__m="4,1")
    answer = sweep(path)
    assert answer.code == 2
    assert one_line(answer.err).startswith(f"cimlab: {path}:6: granularity: pattern m=1 must be 2 or more")
    assert not records(tmp_path / "out")


def test_images_that_are_not_there_are_told_once_and_before_the_first_run(
    cimlab: Cimlab, tmp_path: Path
) -> None:
    answer = cimlab(
        "train", "-m", "data=image_folder", f"paths.data_dir={tmp_path / 'nowhere'}", "prune.remaining=0.25,0.1",
        f"paths.output_dir={tmp_path / 'outputs'}",
    )  # fmt: skip
    assert answer.code == 2
    assert f"paths.data_dir={tmp_path / 'nowhere'}: no such folder" in one_line(answer.err)
    assert not (tmp_path / "outputs").exists()


def test_a_time_budget_stops_cleanly_and_the_same_command_goes_on(sweep: Cimlab, tmp_path: Path) -> None:
    path = experiment(tmp_path, granularity="weight,filter", seed="0,1,2")
    answer = sweep(path, "--time-budget", "2s")
    assert answer.code == 3
    assert "time is up" in answer.out
    assert not list((tmp_path / "out").rglob("*.part"))
    assert sweep(path).code == 0
    assert len(records(tmp_path / "out")) == 6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--time-budget=soon",), "argument --time-budget: soon: give a number"),
        (("hydra/launcher=nope",), "hydra/launcher"),
        (
            ("prune.remaining=interval(0.1,0.5)",),
            "only cimlab search draws from an interval; here each value",
        ),
        (("prune.remainin=0.5",), "did you mean prune.remaining?"),
        (("distillation=hinton",), "say method=[distillation]"),
        (("--jobs=0",), "argument --jobs: 0: give a whole number"),
        (("--no-such-option",), "--no-such-option"),
    ],
)
def test_a_bad_word_is_refused_in_one_line(
    words: tuple[str, ...], message: str, sweep: Cimlab, tmp_path: Path
) -> None:
    answer = sweep(experiment(tmp_path, seed="0,1"), *words)
    assert answer.code == 2
    assert message in one_line(answer.err)


def test_times_are_read_as_people_write_them() -> None:
    assert [seconds(text) for text in ("90", "90s", "9m", "1.5h")] == [90, 90, 540, 5400]


def test_a_killed_grid_goes_on_to_the_same_records(sweep: Cimlab, tmp_path: Path) -> None:
    path = experiment(tmp_path, granularity="weight,filter", seed="0")
    assert sweep(path).code == 0
    killed = tmp_path / "killed"
    process = start(path, killed)
    wait_for_records(killed, 1, process)
    time.sleep(0.2)  # somewhere inside the next point
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(records(killed)) < 2
    last = start(path, killed)
    out, _ = last.communicate()
    assert last.returncode == 0, out
    assert results(killed) == results(tmp_path / "out")


def test_two_sweeps_at_once_share_the_points(tmp_path: Path) -> None:
    path = experiment(tmp_path, granularity="weight,filter", seed="0,1")
    output = tmp_path / "out"
    both = [start(path, output) for _ in range(2)]
    texts: list[str] = ["", ""]
    readers = [
        threading.Thread(target=lambda i=i, p=p: texts.__setitem__(i, p.communicate()[0]))
        for i, p in enumerate(both)
    ]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert [process.returncode for process in both] == [0, 0], texts
    assert len(records(output)) == 4
    logs = [log.read_text() for log in output.glob("*/log.txt")]
    assert [log.count("retrain epoch 1/2") for log in logs] == [1] * 4  # none was run twice
    assert sum(log.count("dense epoch 1/1") for log in logs) == 2


def test_a_point_is_another_sweeps_until_it_lets_go_and_its_log_is_its_own(
    sweep: Cimlab, tmp_path: Path
) -> None:
    path = experiment(tmp_path, granularity="weight")
    words = [*SMALL, f"paths.output_dir={tmp_path / 'out'}"]
    (point,) = make_plan(path, words).pending
    session, log = (
        worker.Session(started=0.0, deadline=None, retry_failed=False),
        Path(point.run_dir) / "log.txt",
    )
    with locked(Path(point.run_dir)):
        assert not worker._finished(make_plan(path, words), point, session)
        assert not log.exists()
    assert sweep(path).code == 0
    with locked(Path(point.run_dir)):
        assert not worker._finished(make_plan(path, words), point, session)
    assert worker._finished(make_plan(path, words), point, session)


def test_ctrl_c_is_not_lost_where_a_library_fails_on_its_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(planned: object) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            raise AttributeError("half-way")

    monkeypatch.setattr(PlannedRun, "perform", interrupted)
    path = experiment(tmp_path, granularity="weight,filter")
    plan = make_plan(path, [*SMALL, f"paths.output_dir={tmp_path / 'out'}"])
    session = worker.Session(started=0.0, deadline=None, retry_failed=False)
    with pytest.raises(Stop, match="stopped"), stoppable(None):
        worker.work(plan, session)
    assert not list((tmp_path / "out").glob("*/failure.json"))


def test_ctrl_c_is_not_lost_where_python_swallows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As inside a destructor: the point is then done, and no other begins."""
    performed = []

    def swallowing(planned: PlannedRun) -> None:
        performed.append(planned.name)
        with contextlib.suppress(BaseException):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(PlannedRun, "perform", swallowing)
    path = experiment(tmp_path, granularity="weight,filter")
    plan = make_plan(path, [*SMALL, f"paths.output_dir={tmp_path / 'out'}"])
    with pytest.raises(Stop, match="stopped"):
        worker.work(plan, worker.Session(started=0.0, deadline=None, retry_failed=False))
    assert len(performed) == 1


def test_ctrl_c_stops_cleanly_and_gives_its_code(tmp_path: Path) -> None:
    """SIGTERM takes the same way, and is sent to a single training in test_stopping.py."""
    path = experiment(tmp_path, granularity="weight,filter", seed="0,1,2,3")
    process = start(path, tmp_path / "out")
    wait_for_records(tmp_path / "out", 1, process)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate()
    assert process.returncode == 130, out
    assert "Traceback" not in out
    (line,) = (line for line in out.splitlines() if "the same command goes on" in line)
    assert line.startswith("stopped: ")
    from cimlab.records.locks import holder

    assert all(holder(path.parent) == (None, False) for path in (tmp_path / "out").rglob("lock.json"))


def test_several_processes_give_the_same_records(sweep: Cimlab, tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    path = experiment(tmp_path, granularity="filter", seed="0,1")
    assert sweep(path).code == 0
    for launcher in ("joblib", "submitit_local"):
        process = start(path, tmp_path / launcher, f"--launcher={launcher}", "--jobs=2")
        out, _ = process.communicate()
        assert process.returncode == 0, out
        assert results(tmp_path / launcher) == results(tmp_path / "out")


@pytest.mark.parametrize("stopped", [True, False])
def test_a_worker_that_begins_after_the_stop_does_nothing(stopped: bool, tmp_path: Path) -> None:
    """Its process may still import when the others are told; what is gone is not made again."""
    from cimlab.grids.engines import STOPPED, Job

    pids = tmp_path / "pids"
    if stopped:
        pids.mkdir()
        (pids / STOPPED).touch()
    plan: Any = None  # it would fail, if it were looked into
    assert Job(plan, plan, pids)() == "stopped"
    assert [path.name for path in tmp_path.rglob("*") if path != pids] == ([STOPPED] if stopped else [])


def test_a_multirun_in_other_processes_sums_up_and_counts_failures(cimlab: Cimlab, tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    launcher = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    answer = cimlab(
        "train", "-m", *SMALL, *launcher, "optimizer.lr=0.1,1e20", "recipe.warmup=0",
        f"paths.output_dir={tmp_path}",
    )  # fmt: skip
    assert answer.code == 1
    assert "1 of 2 points are done" in answer.err
    assert "loss became" in answer.err
    assert "plot: " in answer.out
    assert len(records(tmp_path)) == 1


def test_axes_that_only_price_train_nothing_more(cimlab: Cimlab, tmp_path: Path) -> None:
    answer = cimlab(
        "train", "-m", *SMALL, "technology=isaac32,neurosim22_rram", "adc_price=isaac_table,murmann", "seed=0,1",
        f"paths.output_dir={tmp_path}",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert "multirun: 8 points, 2 of them different" in answer.out
    assert "technology, adc_price: makes no other run, so nothing is trained for it" in answer.out
    assert len(records(tmp_path)) == 2
    rows = [line.split("│") for line in answer.out.splitlines() if "µJ" in line]
    assert len(rows) == 8  # every place, with its technology and its ADC price
    energies: dict[str, set[str]] = {}
    for row in rows:
        energies.setdefault(row[-2], set()).add(row[-4])
    assert [len(own) for own in energies.values()] == [4, 4]  # of each seed, one a technology and ADC price


@pytest.mark.parametrize(
    ("word", "mend"),
    [
        ("paths.output_dir=a,b", "paths.output_dir: its 2 values make the same run; give it one value"),
        ("trainer.threads=1,2", "trainer.threads: its 2 values make the same run; give it one value"),
        ("device=programming_variation,read_noise", "compare them with cimlab simulate -m"),
    ],
)
def test_an_axis_of_which_only_the_first_value_would_come_to_pass_is_refused(
    word: str, mend: str, cimlab: Cimlab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = cimlab("train", "-m", *SMALL, word, "technology=isaac32,neurosim22_rram")
    assert answer.code == 2
    assert mend in one_line(answer.err)
    assert not list(tmp_path.iterdir())


def test_a_file_with_folders_as_an_axis_is_refused_at_its_line(sweep: Cimlab, tmp_path: Path) -> None:
    path = experiment(tmp_path, granularity="weight,filter", paths__dense_dir="a,b")
    line = one_line(sweep(path).err)
    assert line.startswith(f"cimlab: {path}:6: paths.dense_dir: its 2 values make the same run")


def test_a_machine_without_slurm_is_told_in_one_line(
    cimlab: Cimlab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    path = experiment(tmp_path, granularity="weight,filter")
    out = tmp_path / "out"
    answer = cimlab("sweep", str(path), *SMALL, f"paths.output_dir={out}", "--launcher=submitit_slurm")
    assert answer.code == 2
    assert "no sbatch on PATH" in one_line(answer.err)
    assert not out.exists()


def test_a_full_disk_stops_the_sweep_in_one_line_and_blames_no_point(
    sweep: Cimlab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    from cimlab.records.record import RecordError

    path = experiment(tmp_path, granularity="weight,filter")
    genuine, calls = PlannedRun.perform, []

    def full(planned: PlannedRun):
        calls.append(planned)
        if len(calls) == 1:
            return genuine(planned)
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as problem:
            raise RecordError("can't write") from problem

    with monkeypatch.context() as patch:
        patch.setattr(PlannedRun, "perform", full)
        answer = sweep(path)
    assert answer.code == 1
    assert "no space left" in answer.err
    assert "1 of 2 points are done; the same command goes on" in answer.err
    assert not list((tmp_path / "out").rglob("failure.json"))
    assert sweep(path).code == 0
    assert len(records(tmp_path / "out")) == 2


def test_a_point_that_keeps_killing_its_process_counts_as_failed(sweep: Cimlab, tmp_path: Path) -> None:
    import json

    path = experiment(tmp_path, granularity="weight,filter")
    plan = make_plan(path, [*SMALL, f"paths.output_dir={tmp_path / 'out'}"])
    lock = Path(plan.points[0].run_dir) / "lock.json"
    lock.parent.mkdir(parents=True)
    lock.write_text(json.dumps({"host": "h", "pid": 1, "since": 0, "deaths": 4}))
    answer = sweep(path)
    assert answer.code == 1
    assert "its process died 5 times in a row" in answer.err
    assert len(records(tmp_path / "out")) == 1
    assert sweep(path, "--retry-failed").code == 0


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "# @package _global_\nseed: 1\n\tbad: 1\n",
            r"\.yaml:3: is no YAML \(found character .* that cannot start",
        ),
        ("seed: 1\n", "has no line '# @package _global_'"),
        ("", "has no line '# @package _global_'"),
        (
            "# @package _global_\n- seed: 1\n",
            "grid.yaml: holds a list; an experiment file is lines of KEY: VALUE",
        ),
        (
            "# @package _global_\nhydra:\n  sweeper:\n    params: seed=0,1\n",
            "grid.yaml: hydra.sweeper.params are lines of KEY: VALUE,VALUE, one an axis",
        ),
        (
            "# @package _global_\nhydra:\n  sweeper:\n    params:\n      seed:\n",
            "grid.yaml: hydra.sweeper.params are lines of KEY: VALUE,VALUE, one an axis",
        ),
        (
            "# @package _global_\nseed: ${nope}\n",
            "grid.yaml: seed: refers to nope, which is not there",
        ),
        ("# @package _global_\nprune:\n  remainig: 1\n", "prune.remainig; did you mean .* exempt_last$"),
        ("# @package _global_\ndefaults:\n  - model: vgg8\n", "with - override /model: vgg8"),
    ],
)
def test_a_file_that_is_no_experiment_is_refused_in_one_line(
    text: str, complaint: str, sweep: Cimlab, tmp_path: Path
) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(text)
    answer = sweep(path)
    assert answer.code == 2
    assert re.search(complaint, one_line(answer.err))
