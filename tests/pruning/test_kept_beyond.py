"""Where more weights stay than were asked, it is said, with the layer and the mend."""

import warnings

import pytest
import torch
from torch import nn

from cimlab.lab import Lab
from cimlab.network.errors import NetworkError
from cimlab.pruning.allocation import Budget
from cimlab.pruning.masks import kept_beyond

EVERYWHERE = ("prune.exempt_first=false", "prune.exempt_last=false")


def test_a_narrow_layer_that_keeps_two_thirds_is_named_with_its_share() -> None:
    masks = {"wide": torch.zeros(1, 100, dtype=torch.bool), "narrow": torch.ones(1, 3, dtype=torch.bool)}
    masks["wide"][0, :2] = True
    masks["narrow"][0, 0] = False
    line = kept_beyond(masks, Budget(0.03))
    assert line is not None
    assert line.startswith("3.88 % of the prunable weights are kept, not 3 %")  # 4 of 103
    assert "66.7 % of layer narrow" in line


def test_a_budget_that_is_kept_says_nothing() -> None:
    assert kept_beyond({"0": torch.arange(100).view(10, 10) < 5}, Budget(0.05)) is None


def test_a_lab_warns_where_units_are_too_coarse_and_only_there() -> None:
    torch.manual_seed(0)
    network, images = (
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 5)),
        torch.rand(2, 3, 4, 4),
    )
    with pytest.warns(UserWarning, match="of the prunable weights are kept, not 3 %"):
        Lab("granularity=filter", "prune.remaining=0.03", *EVERYWHERE).prune(network, images)
    with warnings.catch_warnings(action="error"):
        Lab("granularity=weight", "prune.remaining=0.5", *EVERYWHERE).prune(network, images)


def test_a_pattern_of_digital_layers_that_matches_none_is_refused() -> None:
    network, images = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Linear(8, 5)), torch.rand(2, 1, 4, 4)
    with pytest.raises(NetworkError, match="no layer or weight is called so; there are 1, 2"):
        Lab("analog.digital=[head]").on_arrays(network, {}, images)
    assert Lab("analog.digital=['2']").on_arrays(network, {}, images)(images).shape == (2, 5)
