"""What was planned is read from the files of experiments/ by what runs them, and a search space is told as one."""

from pathlib import Path

from cimlab.cli.plain import planned_grids
from cimlab.reporting.planned import PlannedGrid, planned

TEXT = """\
# @package _global_
defaults:
  - override /model: resnet20
  - override /data: cifar10
experiment:
  question: which?
  held_fixed: the rest
hydra:
  sweeper:
    params:
      granularity: weight,operation_unit
      prune.remaining: 0.5,0.09
      seed: range(3)
"""


def test_axes_and_choices_are_read(tmp_path: Path) -> None:
    (tmp_path / "headline.yaml").write_text(TEXT)
    (grid,) = planned_grids(tmp_path)
    assert (grid.name, grid.model, grid.data, grid.question) == ("headline", "resnet20", "cifar10", "which?")
    assert grid.axes == {
        "granularity": ("weight", "operation_unit"), "prune.remaining": (0.5, 0.09), "seed": (0, 1, 2),
    }  # fmt: skip
    assert grid.size == 12


def test_a_search_space_has_no_number_of_runs(tmp_path: Path) -> None:
    (tmp_path / "search.yaml").write_text(TEXT.replace("0.5,0.09", "tag(log, interval(0.03, 0.8))"))
    (grid,) = planned_grids(tmp_path)
    assert grid.is_search
    assert grid.size is None


def test_only_grids_of_the_network_that_vary_the_axes_are_planned() -> None:
    every = {"granularity": ("weight", "operation_unit"), "prune.remaining": (0.5, 0.09)}
    grids = [
        PlannedGrid("a", "", "resnet20", "cifar10", every),
        PlannedGrid("b", "", "vgg8", "cifar10", {**every, "prune.remaining": (0.25,)}),
        PlannedGrid("c", "", "resnet20", "cifar10", {"prune.remaining": (0.01,)}),
    ]
    axes = ("granularity", "prune.remaining")
    assert planned(grids, "resnet20", "cifar10", axes) == {
        "granularity": ["weight", "operation_unit"], "prune.remaining": [0.5, 0.09],
    }  # fmt: skip
    assert planned(grids, "resnet18", "cifar10", axes) == {"granularity": [], "prune.remaining": []}


def test_a_folder_that_is_not_there_plans_nothing(tmp_path: Path) -> None:
    assert planned_grids(tmp_path / "nowhere") == []
