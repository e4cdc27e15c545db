"""A file is replaced whole; the next write removes parts that killed writers left, and none that is being written."""

import os
import platform
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cimlab.records.replace import SAFE_AGE_S, replacing

WRITE = (
    "import sys, time\nfrom pathlib import Path\nfrom cimlab.records.replace import replacing\n"
    "with replacing(Path(sys.argv[1])) as file:\n    file.write(b'half')\n    file.flush()\n"
    "    print('begun', flush=True)\n    sys.stdin.readline()\n"
)


def writing_elsewhere(path: Path) -> subprocess.Popen:
    other = subprocess.Popen(
        [sys.executable, "-c", WRITE, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "begun\n"
    return other


def write(path: Path, content: bytes) -> None:
    with replacing(path) as file:
        file.write(content)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_killed_writers_part_goes_with_the_next_write_and_a_living_ones_stays(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    killed, living = writing_elsewhere(path), writing_elsewhere(path)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert len(names(tmp_path)) == 2
    write(tmp_path / "other.json", b"")
    assert len(names(tmp_path)) == 3  # another file's parts are not its business
    write(path, b"whole")
    assert path.read_bytes() == b"whole"
    assert len(names(tmp_path)) == 3  # the living one's, and two files
    living.communicate("\n")
    assert living.returncode == 0
    assert path.read_bytes() == b"half"
    assert names(tmp_path) == ["other.json", "record.json"]


@pytest.mark.parametrize(
    ("host", "ages", "stays"), [("here", 0, False), ("elsewhere", 0.9, True), ("elsewhere", 1.1, False)]
)
def test_a_part_from_another_machine_stays_for_a_day(
    host: str, ages: float, stays: bool, tmp_path: Path
) -> None:
    path = tmp_path / "network.pt"
    part = (
        tmp_path
        / f".network.pt.{platform.node() if host == 'here' else 'node.of.a.cluster'}.0123456789ab.part"
    )
    part.write_bytes(b"half")
    time = part.stat().st_mtime - ages * SAFE_AGE_S
    os.utime(part, (time, time))
    write(path, b"whole")
    assert part.exists() == stays


def test_many_writers_of_one_file_disturb_each_other_never(tmp_path: Path) -> None:
    path = tmp_path / "index.json"
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for _ in range(100):
                write(path, bytes([number]) * 1000)
        except BaseException as problem:
            failures.append(problem)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(set(path.read_bytes())) == 1
    assert path.stat().st_size == 1000
    assert names(tmp_path) == ["index.json"]
