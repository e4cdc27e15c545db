"""Where records are looked for: links, loops, and what can't be read."""

import os
import shutil
from pathlib import Path

import pytest

from cimlab.records import index, store
from cimlab.records.record import RECORD_FILE
from cimlab.records.walk import walked
from tests.reporting.made_up import run

ONE, OTHER = run("filter", 0.25, 0), run("filter", 0.25, 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two runs, one of them in a folder between."""
    out = tmp_path / "out"
    for place, record in ((out / "one", ONE), (out / "grid" / "other", OTHER)):
        place.mkdir(parents=True)
        record.write(place / RECORD_FILE)
    return out


def found(folder: Path) -> tuple[list[int], list[int], list[str]]:
    """Seeds as tables and as reports find them, and what is told; both tell the same."""
    listed, told = index.rows(folder)
    reported, problems = store.load_with_files(folder)
    assert told == problems
    return sorted(row["seed"] for row in listed), sorted(record.seed for record, _ in reported), told


def test_a_run_behind_a_link_is_found_by_tables_and_reports_alike(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder / "one", tmp_path / "elsewhere")
    (folder / "one").symlink_to(tmp_path / "elsewhere")
    assert found(folder) == ([0, 1], [0, 1], [])


def test_a_loop_ends_and_a_second_name_of_a_run_is_no_second_run(folder: Path) -> None:
    (folder / "grid" / "loop").symlink_to(folder)
    (folder / "itself").symlink_to("itself")
    (folder / "latest").symlink_to(folder / "one")
    assert found(folder)[:2] == ([0, 1], [0, 1])
    assert [Path(path).parent.name for path, _ in walked(folder).records] == ["other", "one"]


def test_what_leads_nowhere_or_may_not_be_read_is_told_and_hides_nothing_else(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "gone-12345678.json").symlink_to(folder / "nothing")
    allowed = os.scandir

    def scandir(place):
        if Path(place).name == "grid":
            raise PermissionError(13, "Permission denied")
        return allowed(place)

    monkeypatch.setattr(os, "scandir", scandir)
    seen, reported, told = found(folder)
    assert (seen, reported) == ([0], [0])
    nowhere, closed = sorted(told)
    assert nowhere.startswith(f"{folder / 'gone-12345678.json'}: can't be read (No such file or directory)")
    assert closed.startswith(f"{folder / 'grid'}: can't be read (Permission denied)")


def test_a_lock_that_is_no_text_is_a_dead_process_s(folder: Path) -> None:
    begun = folder / "begun"
    begun.mkdir()
    (begun / "lock.json").write_bytes(b"\xff\xfe\x80\x81")
    (row,) = index.unfinished(folder)
    assert row["state"] == "killed"


def test_a_record_too_deep_to_be_read_is_damaged(folder: Path) -> None:
    (folder / "one" / RECORD_FILE).write_text("[" * 200_000)
    seen, reported, told = found(folder)
    assert (seen, reported, len(told)) == ([1], [1], 1)
