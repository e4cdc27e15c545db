"""Records are found wherever they lie, and a bad file is named without hiding the good ones."""

from pathlib import Path

from cimlab.records.record import RECORD_FILE
from cimlab.records.store import load
from tests.records.examples import example, renamed


def test_records_are_found_at_any_depth_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name, folder in (("b", "x/1"), ("a", "y"), ("c", "x/2/deep")):
        renamed(example(), name).write(tmp_path / folder / RECORD_FILE)
    records, problems = load(tmp_path / "x", tmp_path / "y", tmp_path)
    assert [record.name for record in records] == ["a", "b", "c"]
    assert problems == []


def test_bad_files_are_reported_one_line_each_and_good_ones_still_read(tmp_path: Path) -> None:
    for name in ("good", "cut", "changed", "other"):
        renamed(example(), name).write(tmp_path / name / RECORD_FILE)
    cut, changed, other = (tmp_path / name / RECORD_FILE for name in ("cut", "changed", "other"))
    cut.write_bytes(cut.read_bytes()[:-50])
    changed.write_text(changed.read_text().replace('"seed": 0', '"seed": 7'))
    other.write_text("[]")
    records, problems = load(tmp_path)
    assert [record.name for record in records] == ["good"]
    assert len(problems) == 3
    for path, line in zip(sorted([cut, changed, other]), problems, strict=True):
        assert str(path) in line
        assert "\n" not in line


def test_a_folder_that_is_not_there_holds_no_records(tmp_path: Path) -> None:
    assert load(tmp_path / "nowhere") == ([], [])
