"""What was planned is read from the files of experiments/, in the form that Hydra sweeps them."""

from pathlib import Path

from cimlab.reporting.grid import planned, read_grids

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
      seed: 0,1,2
"""


def test_axes_and_choices_are_read(tmp_path: Path) -> None:
    (tmp_path / "headline.yaml").write_text(TEXT)
    (tmp_path / "plain.yaml").write_text("a: 1\n")
    (grid,) = read_grids(tmp_path)
    assert (grid.name, grid.model, grid.data, grid.question) == ("headline", "resnet20", "cifar10", "which?")
    assert grid.axes == {
        "granularity": ("weight", "operation_unit"), "prune.remaining": (0.5, 0.09), "seed": (0, 1, 2),
    }  # fmt: skip
    assert grid.size == 12


def test_only_grids_of_the_network_that_vary_the_axes_are_planned(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(TEXT)
    (tmp_path / "b.yaml").write_text(TEXT.replace("0.5,0.09", "0.25").replace("resnet20", "vgg8"))
    (tmp_path / "c.yaml").write_text(TEXT.replace("      granularity: weight,operation_unit\n", ""))
    grids = read_grids(tmp_path)
    axes = ("granularity", "prune.remaining")
    assert planned(grids, "resnet20", "cifar10", axes) == {
        "granularity": ["weight", "operation_unit"], "prune.remaining": [0.5, 0.09],
    }  # fmt: skip
    assert planned(grids, "resnet18", "cifar10", axes) == {"granularity": [], "prune.remaining": []}


def test_a_folder_that_is_not_there_plans_nothing(tmp_path: Path) -> None:
    assert read_grids(tmp_path / "nowhere") == []
