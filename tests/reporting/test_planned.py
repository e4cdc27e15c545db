"""What was planned is read from the files of experiments/ by what runs them, and a search space is told as one."""

from pathlib import Path

from cimlab.cli.plain import planned_grids
from cimlab.reporting.planned import PlannedGrid, axes_of, holes, not_run_note
from cimlab.reporting.studies import studies
from tests.reporting.made_up import run

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
    assert (grid.model, grid.data, grid.budgets) == ("resnet20", "cifar10", ("weights",))
    assert grid.axes == {
        "granularity": ("weight", "operation_unit"), "prune.remaining": (0.5, 0.09), "seed": (0, 1, 2),
    }  # fmt: skip


def test_a_setting_that_a_search_draws_has_no_planned_values(tmp_path: Path) -> None:
    (tmp_path / "search.yaml").write_text(TEXT.replace("0.5,0.09", "tag(log, interval(0.03, 0.8))"))
    (grid,) = planned_grids(tmp_path)
    assert grid.axes["prune.remaining"] == ()
    assert grid.axes["seed"] == (0, 1, 2)


def test_only_grids_of_the_network_and_its_budget_that_vary_both_axes_are_planned() -> None:
    every = {"granularity": ("weight", "operation_unit"), "prune.remaining": (0.5, 0.09)}
    grids = [
        PlannedGrid("resnet20", "cifar10", ("weights", "steps"), every),
        PlannedGrid("vgg8", "cifar10", ("weights",), {**every, "prune.remaining": (0.25,)}),
        PlannedGrid("resnet20", "cifar10", ("weights",), {"prune.remaining": (0.01,)}),
        PlannedGrid("resnet20", "cifar10", ("energy",), {**every, "prune.remaining": (0.2,)}),
    ]
    (study,) = studies([run("filter", 0.25)])
    assert axes_of(study, grids) == (["weight", "operation unit", "filter"], [0.5, 0.25, 0.09])
    assert not_run_note(study, grids, "kept") == [
        "Planned and not run: weight, operation unit, 50 % kept, 9 % kept."
    ]
    prune = run("filter", 0.25).config["prune"] | {"budget": "energy"}
    (of_energy,) = studies([run("filter", 0.25, prune=prune)])
    assert axes_of(of_energy, grids)[1] == [0.25, 0.2]


def test_a_file_that_varies_its_budget_plans_for_each(tmp_path: Path) -> None:
    (tmp_path / "units.yaml").write_text(f"{TEXT}      prune.budget: weights,steps\n")
    assert planned_grids(tmp_path)[0].budgets == ("weights", "steps")


def test_a_folder_that_is_not_there_plans_nothing(tmp_path: Path) -> None:
    assert planned_grids(tmp_path / "nowhere") == []


def test_holes_are_units_shares_and_single_points_that_most_units_were_run_at() -> None:
    plan = {"granularity": ("weight", "filter", "kernel"), "prune.remaining": (0.5, 0.25, 0.09)}
    grids = [PlannedGrid("resnet20", "cifar10", ("weights",), plan)]
    found = studies(
        [
            run("weight", 0.25),
            run("filter", 0.25),
            run("channel", 0.25),
            run("weight", 0.09),
            run("channel", 0.09),
        ]
    )
    assert holes(found, grids) == ["kernel", "50 %", "filter at 9 %"]
    longer = studies(
        [run("filter", 0.09, schedule={"epochs": 20}), run("kernel", 0.5, schedule={"epochs": 20})]
    )
    assert holes([*found, *longer], grids) == ["kernel at 25 %", "kernel at 9 %"]
