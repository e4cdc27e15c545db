"""CONCEPTS.md names what the code has, and the sections that code cites are there."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.placement import Counts
from cimlab.pruning.granularities import granularities

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONCEPTS.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (\d+)\. (.*)$", TEXT, re.MULTILINE))


def section(number: int) -> str:
    return TEXT.split(f"\n## {number}. ")[1].split("\n## ")[0]


@pytest.mark.parametrize("name", [field.name for field in fields(CrossbarGeometry)])
def test_every_setting_of_the_array_is_explained(name: str) -> None:
    assert f"`{name}`" in section(2)


def test_the_table_of_granularities_names_none_that_is_not_there() -> None:
    """A new one says what it is in its own file; a row here is for those that everybody compares with."""
    cells = re.findall(r"^\| ([\w, ]+) \|", section(3), re.MULTILINE)
    named = {name for cell in cells[1:] for name in cell.split(", ")}
    assert named <= set(granularities())
    assert {"weight", "column_segment", "operation_unit", "filter"} <= named


@pytest.mark.parametrize("name", [f.name for f in fields(Counts) if not f.name.startswith("weights")])
def test_every_count_is_explained(name: str) -> None:
    assert f"`{name}`" in section(5)


def test_every_section_that_is_cited_is_there() -> None:
    cited = {
        number
        for folder in ("cimlab", "tests", "conf", "experiments")
        for path in (ROOT / folder).rglob("*.[py][ya]*")
        if path.suffix in (".py", ".yaml")
        for number in re.findall(r"CONCEPTS\.md,? section (\d+)", path.read_text(encoding="utf-8"))
    }
    assert cited
    assert cited <= set(SECTIONS)
