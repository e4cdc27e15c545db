"""A history outlives a killed run: at most the line that was being written is lost."""

from pathlib import Path

import pytest

from cimlab.records.history import append_row, read_rows

ROWS = [{"phase": "dense", "epoch": epoch, "loss": 1 / (1 + epoch)} for epoch in range(3)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.jsonl"


def test_rows_come_back_in_order(path: Path) -> None:
    for row in ROWS:
        append_row(path, row)
    assert read_rows(path) == ROWS


def test_a_file_that_is_not_there_holds_no_rows(path: Path) -> None:
    assert read_rows(path) == []


def test_of_a_repeated_epoch_the_last_row_counts(path: Path) -> None:
    again = {"phase": "dense", "epoch": 1, "loss": 0.25}
    for row in (*ROWS, again):
        append_row(path, row)
    assert read_rows(path) == [ROWS[0], again, ROWS[2]]


def test_a_line_cut_anywhere_loses_itself_alone(path: Path) -> None:
    """Cut the last row after every byte; the run that goes on must not glue its next row to the rest."""
    for row in ROWS:
        append_row(path, row)
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    following = {"phase": "dense", "epoch": 9, "loss": 0.0}
    for length in range(last, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert read_rows(path) == ROWS[:2]
        append_row(path, following)
        assert read_rows(path) == [*ROWS[:2], following], length
    path.write_bytes(whole[:-1])  # only the line end is missing
    append_row(path, following)
    assert read_rows(path) == [*ROWS, following]


@pytest.mark.parametrize(
    "rubbish", [b"3\n", b"[]\n", b"null\n", b"{}\n", b"\xff\xfe\n", b"\n", b'{"phase": "dense"}\n']
)
def test_lines_that_are_no_rows_are_passed_over(path: Path, rubbish: bytes) -> None:
    append_row(path, ROWS[0])
    path.write_bytes(rubbish + path.read_bytes() + rubbish)
    append_row(path, ROWS[1])
    assert read_rows(path) == ROWS[:2]


@pytest.mark.parametrize(
    "line", [b"[1]", b'{"phase": [], "epoch": 0}', b'{"phase": "dense"}', b"[" * 10**5, b"\xff"]
)
def test_a_damaged_line_is_passed_over(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "history.jsonl"
    append_row(path, {"phase": "dense", "epoch": 0, "seconds": 1.0})
    path.write_bytes(path.read_bytes() + line + b"\n")
    append_row(path, {"phase": "dense", "epoch": 1, "seconds": 2.0})
    assert [row["epoch"] for row in read_rows(path)] == [0, 1]


def test_a_number_that_is_none_is_null_in_the_file_and_none_when_read(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    append_row(
        path, {"phase": "dense", "epoch": 0, "loss/validation": float("nan"), "rate": [float("inf"), 1.0]}
    )
    assert "NaN" not in path.read_text()
    assert "Infinity" not in path.read_text()
    assert read_rows(path) == [{"phase": "dense", "epoch": 0, "loss/validation": None, "rate": [None, 1.0]}]
