"""Two runs told apart: settings that differ, and which of them make two runs."""

from dataclasses import replace
from pathlib import Path

from conftest import Cimlab
from examples import example

from cimlab.records.record import RECORD_FILE
from cimlab.records.why import differences


def pair(schema: int = 2):
    one = replace(
        example(), schema=schema, config={"seed": 0, "trainer": {"threads": 1, "precision": "32"}, "old": 1},
        uncounted=["trainer.threads"], sources={"/a/mynet.py": "1"},
    )  # fmt: skip
    config = {"seed": 0, "trainer": {"threads": 2, "precision": "16"}, "new": None}
    return one, replace(one, config=config, sources={"/b/mynet.py": "2"})


def test_what_counts_comes_first_and_an_edited_source_is_told() -> None:
    found = [(d.setting, *d.values, d.counts) for d in differences(*pair())]
    assert found == [
        ("new", None, None, True),
        ("old", 1, None, True),
        ("source mynet.py", "1", "2", True),
        ("trainer.precision", "32", "16", True),
        ("trainer.threads", 1, 2, False),
    ]


def test_records_of_the_first_schema_do_not_say_what_counted() -> None:
    assert {d.counts for d in differences(*pair(schema=1))} == {None}


def test_the_command_prints_them(train: Cimlab, cimlab: Cimlab, tmp_path: Path) -> None:
    for word in ("granularity=weight", "granularity=filter"):
        assert train(word, "technology=neurosim22_rram" if "filter" in word else "seed=0").code == 0
    one, other = sorted(str(path.parent) for path in tmp_path.glob(f"*/{RECORD_FILE}"))
    answer = cimlab("runs", "--why", one, other)
    assert answer.code == 0, answer.err
    said = {line.split()[1]: line.split()[-2] for line in answer.out.splitlines() if line.startswith("│")}
    assert said["granularity"] == "yes"
    assert said["technology.name"] == "no"
