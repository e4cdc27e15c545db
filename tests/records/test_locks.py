"""One holder a folder, known by name, and nothing left behind that a new holder would have to clean up."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cimlab.records.locks import LOCK_FILE, FolderLockError, holder, locked, lodging

HOLD = (
    "import sys, time\nfrom pathlib import Path\nfrom cimlab.records.locks import locked\n"
    "with locked(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)\n"
)


def hold_elsewhere(folder: Path) -> subprocess.Popen:
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    return other


def test_a_folder_held_by_another_process_is_refused_and_its_holder_named(tmp_path: Path) -> None:
    other = hold_elsewhere(tmp_path)
    try:
        with pytest.raises(FolderLockError, match=f"process {other.pid}"), locked(tmp_path):
            pass
        who, alive = holder(tmp_path)
        assert alive
        assert who is not None
        assert who.pid == other.pid
    finally:
        other.kill()
        other.wait()


def test_a_killed_holder_leaves_the_folder_free_and_is_counted(tmp_path: Path) -> None:
    for deaths in (0, 1, 2):
        other = hold_elsewhere(tmp_path)
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
        who, alive = holder(tmp_path)
        assert not alive
        assert who is not None
        assert who.deaths == deaths
    with locked(tmp_path) as deaths:
        assert deaths == 3
    assert holder(tmp_path) == (None, False)
    with locked(tmp_path) as deaths:
        assert deaths == 0


def test_an_exception_lets_go(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mine"), locked(tmp_path):
        raise ValueError("mine")
    with locked(tmp_path) as deaths:
        assert deaths == 0


def test_a_folder_in_which_nothing_was_left_goes_with_the_lock(tmp_path: Path) -> None:
    with locked(tmp_path / "bare"):
        pass
    with locked(tmp_path / "full"):
        (tmp_path / "full" / "result").touch()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["full", LOCK_FILE, "result"]


def test_who_waits_for_a_folder_that_goes_makes_it_again_and_is_alone_in_it(tmp_path: Path) -> None:
    folder, inside, most = tmp_path / "shared", [0], [0]

    def work() -> None:
        for _ in range(30):
            with locked(folder, wait=True):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                assert (folder / LOCK_FILE).exists()
                time.sleep(0.0005)
                inside[0] -= 1

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work) for _ in range(4)]:
            done.result()
    assert most == [1]
    assert not folder.exists()


def test_a_folder_that_goes_between_two_looks_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, looks = tmp_path / "shared", []

    def gone_by_then(path: Path) -> bool:  # as `mkdir` asks where something stood
        looks.append(path)
        return len(looks) > 1

    folder.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "is_dir", gone_by_then)
        with locked(folder):
            assert looks[:2] == [folder, folder]
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError), locked(tmp_path / "file", wait=True):
        raise AssertionError("a file was held as a folder")


def test_waiting_lasts_until_the_other_has_gone(tmp_path: Path) -> None:
    other = hold_elsewhere(tmp_path)
    other.kill()  # the kernel lets go a moment later, while we wait
    with locked(tmp_path, wait=True) as deaths:
        assert deaths == 1
    other.wait()


def test_a_lock_file_cut_short_by_a_power_cut_counts_as_a_death(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).write_text('{"host": "a", "pi')
    with locked(tmp_path) as deaths:
        assert deaths == 1


def test_of_the_folders_in_a_home_those_of_dead_processes_alone_are_removed(tmp_path: Path) -> None:
    lives, dies = hold_elsewhere(tmp_path / "lives"), hold_elsewhere(tmp_path / "dies")
    dies.kill()
    dies.wait()
    (tmp_path / "dies" / "0").write_text("an outcome nobody waits for")
    cleared: list[str] = []
    try:
        with lodging(tmp_path, "mine", lambda folder: cleared.append(folder.name)) as mine:
            assert mine == tmp_path / "mine"
            assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"lives", "mine"}
            with lodging(tmp_path, "another"):  # as a second process would, at the same time
                assert mine.is_dir()
        assert cleared == ["dies", "mine"]
        assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"lives"}
        assert holder(tmp_path / "lives")[1]
    finally:
        lives.kill()
        lives.wait()
