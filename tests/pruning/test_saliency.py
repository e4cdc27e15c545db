"""Scores equal their plain definitions, and units of different size compare."""

import pytest
import torch
import yaml
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st

from cimlab.crossbar.units import UnitGrid
from cimlab.pruning.saliencies.base import Saliency
from cimlab.pruning.saliencies.l1 import L1
from cimlab.pruning.saliencies.l2 import L2
from cimlab.pruning.saliencies.random import Random
from cimlab.pruning.saliencies.taylor import Taylor
from tests.crossbar.strategies import generator, geometries, matrices
from tests.pruning.cases import ALL, ROOT


@st.composite
def cuts(draw: st.DrawFn) -> tuple[UnitGrid, torch.Tensor, torch.Tensor]:
    """A grid that is mostly ragged, weights, and an importance of every weight."""
    matrix, geometry = draw(matrices()), draw(geometries())
    grid = ALL[draw(st.sampled_from(["operation_unit", "block", "kernel", "crossbar", "filter"]))].units(
        matrix, geometry
    )
    shape = (matrix.groups, matrix.rows, matrix.cols)
    random = generator(draw(st.integers(0, 2**31)))
    return grid, torch.randn(shape, generator=random), torch.rand(shape, generator=random)


def slow_scores(values: torch.Tensor, grid: UnitGrid, power: int) -> torch.Tensor:
    """(mean of |v|^power over the unit)^(1/power), unit by unit."""
    scores = torch.empty(len(values), grid.unit_rows, grid.unit_cols)
    for u in range(grid.unit_rows):
        for v in range(grid.unit_cols):
            unit = values[:, grid.row_of == u][:, :, grid.col_of == v].double().flatten(1)
            scores[:, u, v] = (unit.abs() ** power).mean(1) ** (1 / power)
    return scores


@settings(max_examples=60, deadline=None)
@given(cuts())
def test_scores_equal_their_definitions(cut: tuple[UnitGrid, torch.Tensor, torch.Tensor]) -> None:
    grid, weights, importance = cut
    found = {s: s.unit_scores(weights, importance, grid, generator(0)) for s in (L1(), L2(), Taylor())}
    torch.testing.assert_close(found[L1()], slow_scores(weights, grid, 1))
    torch.testing.assert_close(found[L2()], slow_scores(weights, grid, 2))
    torch.testing.assert_close(found[Taylor()], slow_scores(importance, grid, 1))


@pytest.mark.parametrize("saliency", [L1(), L2(), Taylor()], ids=lambda s: type(s).__name__)
@settings(max_examples=40, deadline=None)
@given(cut=cuts())
def test_ragged_units_compare(saliency: Saliency, cut: tuple[UnitGrid, torch.Tensor, torch.Tensor]) -> None:
    """Where all weights are equally large, so are all scores, however many weights a unit has."""
    grid, weights, _ = cut
    equal = torch.full_like(weights, 0.5)
    scores = saliency.unit_scores(-equal, equal, grid, generator(0))
    torch.testing.assert_close(scores, torch.full_like(scores, 0.5))


@pytest.mark.parametrize("choice", sorted(file.stem for file in (ROOT / "conf" / "saliency").glob("*.yaml")))
@settings(max_examples=20, deadline=None)
@given(cut=cuts())
def test_every_saliency_in_conf_scores_every_unit_and_touches_nothing(
    choice: str, cut: tuple[UnitGrid, torch.Tensor, torch.Tensor]
) -> None:
    grid, weights, importance = cut
    saliency = instantiate(yaml.safe_load((ROOT / "conf" / "saliency" / f"{choice}.yaml").read_text()))
    before = weights.clone()
    scores, again = (saliency.unit_scores(weights, importance, grid, generator(7)) for _ in range(2))
    assert scores.shape == (len(weights), grid.unit_rows, grid.unit_cols)
    assert scores.isfinite().all()
    assert torch.equal(scores, again)
    assert torch.equal(weights, before)
    if (
        saliency.additive_power is not None and choice != "random"
    ):  # the whole matrix as one unit is worth its parts
        whole = UnitGrid(torch.zeros_like(grid.row_of), torch.zeros_like(grid.col_of))
        value = saliency.unit_scores(weights, importance, whole, generator(7)) ** saliency.additive_power
        parts = (scores**saliency.additive_power * grid.sizes()).sum(dim=(1, 2))
        torch.testing.assert_close((value * whole.sizes()).flatten(), parts)
    if not saliency.needs_gradients:
        assert torch.equal(scores, saliency.unit_scores(weights, None, grid, generator(7)))


def test_taylor_refuses_to_guess_gradients() -> None:
    with pytest.raises(ValueError, match="none were given; give importance"):
        Taylor().unit_scores(
            torch.ones(1, 2, 2), None, UnitGrid(torch.arange(2), torch.arange(2)), generator(0)
        )


def test_random_scores_follow_the_seed_and_nothing_else() -> None:
    grid = UnitGrid(torch.arange(50), torch.arange(40))

    def draw(seed: int, scale: float) -> torch.Tensor:
        return Random().unit_scores(scale * torch.ones(2, 50, 40), None, grid, generator(seed))

    assert torch.equal(draw(1, 1.0), draw(1, 9.0))
    assert not torch.equal(draw(1, 1.0), draw(2, 1.0))
    # 4000 uniform draws: mean 1/2 and variance 1/12, each within five standard errors
    assert abs(draw(1, 1.0).mean() - 0.5) < 5 * (1 / 12 / 4000) ** 0.5
    assert abs(draw(1, 1.0).var() - 1 / 12) < 5 * (1 / 180 / 4000) ** 0.5
