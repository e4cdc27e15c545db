"""A record comes back as it was written, and a damaged one is refused rather than believed."""

import json
import random
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from cimlab.records import replace as replace_module
from cimlab.records.record import RECORD_FILE, RecordError, RunRecord, content_hash, write_atomically
from tests.records.examples import example


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / RECORD_FILE


def test_a_record_comes_back_as_it_was_written(path: Path) -> None:
    record = example()
    record.write(path)
    assert RunRecord.read(path) == record
    assert [entry.name for entry in path.parent.iterdir()] == [RECORD_FILE]


def test_every_flipped_byte_is_found_or_changes_nothing(path: Path) -> None:
    """Every byte in turn, by one bit or several: refused, or the same record (say, another blank)."""
    record = example()
    record.write(path)
    whole, dice, harmless = path.read_bytes(), random.Random(0), 0
    for place in range(len(whole)):
        flip = dice.choice([1 << place % 8, dice.randrange(1, 256)])
        path.write_bytes(whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :])
        try:
            found = RunRecord.read(path)
        except RecordError:
            continue
        assert found == record, place
        harmless += 1
    assert harmless < len(whole) / 20


def test_every_truncation_is_found_but_that_of_the_last_line_end(path: Path) -> None:
    example().write(path)
    whole = path.read_bytes()
    for length in range(len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(RecordError, match="the command that made it makes it anew"):
            RunRecord.read(path)
    path.write_bytes(whole[:-1])
    assert RunRecord.read(path) == example()


@pytest.mark.parametrize(
    "text", ["", "[]", "3", "null", '"text"', "{}", "\x00" * 100, '{"sha256": 1}', "[" * 10**5]
)
def test_what_is_no_record_is_refused(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(RecordError) as refusal:
        RunRecord.read(path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_missing_record_is_refused(path: Path) -> None:
    with pytest.raises(RecordError, match="can't be read"):
        RunRecord.read(path)


def test_another_schema_is_refused_with_both_numbers(path: Path) -> None:
    replace(example(), schema=99).write(path)
    with pytest.raises(RecordError, match="has schema 99, this cimlab reads 1 and 2"):
        RunRecord.read(path)


@pytest.mark.parametrize("change", ["lacks", "foreign"])
def test_a_record_with_other_fields_is_refused_even_if_its_checksum_fits(path: Path, change: str) -> None:
    content = asdict(example())
    if change == "lacks":
        del content["seed"]
    else:
        content["extra"] = 1
    path.parent.mkdir()
    path.write_text(json.dumps({**content, "sha256": content_hash(content)}))
    with pytest.raises(RecordError, match="lacks fields or has foreign ones"):
        RunRecord.read(path)


def test_the_hash_is_of_the_content_and_not_of_its_order() -> None:
    assert content_hash({"a": 1, "b": [1, 2]}) == content_hash({"b": [1, 2], "a": 1})
    assert content_hash({"a": 1}) != content_hash({"a": 2})
    # the canonical text is {"a":1}
    assert content_hash({"a": 1}) == "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"


@pytest.mark.parametrize("step", ["open", "fsync", "replace"])
def test_a_failed_write_leaves_the_old_record_and_no_rest(
    path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    example(seed=1).write(path)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    if step == "fsync":
        monkeypatch.setattr(replace_module.os, "fsync", full)
    else:
        monkeypatch.setattr(replace_module.Path, step, full)
    with pytest.raises(
        RecordError, match=r"can't write .*No space left on device.*check free space and rights"
    ):
        example(seed=2).write(path)
    monkeypatch.undo()
    assert RunRecord.read(path) == example(seed=1)
    assert [entry.name for entry in path.parent.iterdir()] == [RECORD_FILE]


def test_an_interrupted_write_leaves_the_old_record_and_no_rest(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example(seed=1).write(path)

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(replace_module.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        example(seed=2).write(path)
    monkeypatch.undo()
    assert RunRecord.read(path) == example(seed=1)
    assert [entry.name for entry in path.parent.iterdir()] == [RECORD_FILE]


def test_a_file_in_place_of_the_folder_is_a_clear_refusal(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("in the way")
    with pytest.raises(RecordError, match=r"can't write .*check free space and rights"):
        write_atomically(tmp_path / "run" / RECORD_FILE, "{}")
    assert (tmp_path / "run").read_text() == "in the way"


def test_numbers_as_keys_survive_the_round_trip(tmp_path: Path) -> None:
    """A table by ADC bits in the configuration: 10 sorts behind 4 as a number, before it as text."""
    record = replace(example(), config=example().config | {"table": {4: 0.7, 10: 2.2}})
    record.write(tmp_path / "record.json")
    assert RunRecord.read(tmp_path / "record.json").config["table"] == {"4": 0.7, "10": 2.2}
