"""CONCEPTS.md names what the code has, and the sections that code cites are there."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from torch import nn

from cimlab.cli.runs import RESULTS, SETTINGS
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.placement import Counts
from cimlab.hardware.technology import COMPONENTS
from cimlab.lab import Lab
from cimlab.pruning.granularities import granularities
from cimlab.reporting import hardware, simulation, summaries
from cimlab.reporting.table import Table
from tests.reporting import made_up

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


def terms() -> list[str]:
    """What section 9 defines: the words in code of its first columns, and those in bold before them."""
    firsts = re.findall(r"^\| (.*?) \|", section(9), re.MULTILINE)
    listed = [term for first in firsts for term in re.findall(r"`(.+?)`", first)]
    return listed + re.findall(r"\*\*(.+?)\*\*", section(9))


def named_rows(table: Table) -> set[str]:
    """The headings of a table whose rows are named in words too, and these names."""
    return headings(table) | {str(row[0]) for row in table.rows}


def headings(table: Table) -> set[str]:
    return {column.heading for column in table.columns} - {""}


def shown() -> set[str]:
    """Heads and rows of the tables that `map`, `train`, `runs` and `simulate` print, from the tables themselves."""
    network = nn.Sequential(nn.Flatten(), *(nn.Linear(64, 64) for _ in range(3)))
    lab, images = Lab("analog.digital=['2']", "prune.exempt_first=false"), torch.rand(2, 1, 8, 8)
    cost = lab.cost(network, lab.prune(network, images), images)
    columns = (*SETTINGS, *(name for names in RESULTS.values() for name in names), "name")
    summary, record = {**cost.summary(), "area_curve": []}, made_up.run(priced=True)
    whole = (hardware.totals_table(summary, ""), hardware.work_table(summary), hardware.area_table(summary))
    heads = (
        hardware.components_table(summary), hardware.layers_table(summary), hardware.area_curve_table(summary),
        hardware.sensitivity_table({}), summaries.comparison_table([record]),
        summaries.runs_table([], columns), simulation.simulation_table([made_up.simulation(4, "ideal")]),
    )  # fmt: skip
    names = set().union(*map(named_rows, whole), *map(headings, heads))
    return {name.removeprefix("dense ") for name in names}


def test_every_word_of_the_tables_is_defined_once() -> None:
    components = {name.replace("_", " ") for name in COMPONENTS}
    assert sorted((shown() | components) - set(terms())) == []
    once = [
        term for term in terms() if term not in ("digital weights", "activation products")
    ]  # parts of both
    assert sorted(set(once)) == sorted(once)


def test_every_group_of_choices_is_explained() -> None:
    explained = re.findall(r"`(\w+)=`", section(9))
    assert sorted(explained) == sorted(folder.name for folder in (ROOT / "conf").iterdir() if folder.is_dir())
