"""The pages that teach: their commands and programs run as they stand, and print what the pages show."""

import re
import shlex
import sys
from pathlib import Path

import pytest
from conftest import ROOT, Cimlab
from pages import blocks, is_printed, run_page

TUTORIALS = ROOT / "experiments" / "tutorial"
TRAINS = {"own_network"}
"""The others compute from committed records."""


@pytest.mark.parametrize("name", [page.stem for page in sorted(TUTORIALS.glob("*.md"))])
def test_a_tutorial_runs_as_it_stands(
    name: str, cimlab: Cimlab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "paper").symlink_to(ROOT / "paper")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mynet", raising=False)
    run_page((TUTORIALS / f"{name}.md").read_text(encoding="utf-8"), cimlab, exact=name not in TRAINS)
    assert (tmp_path / "outputs" / "map.csv").is_file()


def test_what_a_page_shows_and_nothing_printed_is_found() -> None:
    printed = "┃ unit │ energy ┃\n│ 0-abc12 │ 1.22 uJ │ 3 │ 5 │\n│ 1-def34 │ 1,302 nJ │"
    assert is_printed("│   0-...   │ 1.22 uJ │ 3 │ 5 │", printed, exact=True)
    assert is_printed("1-def34 | 1302 nJ", printed, exact=True)
    assert not is_printed("│ 0-... │ 1.21 uJ │ 3 │ 5 │", printed, exact=True)
    assert not is_printed("│ 0-... │ 1.22 nJ │ 3 │ 5 │", printed, exact=False)
    assert not is_printed("│ 2-... │ 1.22 uJ │ 3 │ 5 │", printed, exact=False)
    assert is_printed("│ 0-... │ 1.21 uJ │ 9 │ 5 │", printed, exact=False)
    assert not is_printed("│ 0-... │ 1.21 uJ │ 9 │ 9 │", printed, exact=False)


def test_a_block_that_belongs_in_a_file_says_so() -> None:
    page = "Put in a file `net.py`:\n\n```python\nx = 1\n```\n\nThen:\n\n```sh\ncimlab map \\\n  a=b  # why\n```\n"
    first, second = blocks(page)
    assert (first.file, first.text) == ("net.py", "x = 1\n")
    assert (second.language, second.file) == ("sh", None)


PAGES = ("README.md", "experiments/README.md", "experiments/cluster.md")
COMMAND = re.compile(r"^ {0,4}(cimlab (?:sweep|train) (?:[^\\\n]|\\\n)*)$", re.MULTILINE)


def shown_commands() -> dict[str, str]:
    """Words that name what would be trained -> the first command with them; how a grid is run is tried elsewhere."""
    texts = [(ROOT / page).read_text(encoding="utf-8") for page in PAGES]
    commands = [found[1].replace("\\\n", "") for text in texts for found in COMMAND.finditer(text)]
    every = [shlex.split(command, comments=True) for command in commands]
    return {
        " ".join(word for word in words if "=" in word or "/" in word): shlex.join(words) for words in every
    }


@pytest.mark.parametrize("command", shown_commands().values(), ids=shown_commands())
def test_a_command_that_a_page_shows_is_taken(
    command: str, cimlab: Cimlab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("experiments", "paper"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "mynet.py").write_text("def build(num_classes, in_channels): ...\n")
    monkeypatch.chdir(tmp_path)
    _, *words = shlex.split(command)
    if words[0] == "sweep":
        answer = cimlab(*words, *(["--dry-run"] if "--dry-run" not in words else []))
    else:  # of a multirun, its first run
        first = [re.sub(r"^([\w.]+=[^\[,]+),.*", r"\1", word) for word in words if word != "-m"]
        answer = cimlab(*first, "-c", "job")
    assert answer.code == 0, answer.err
