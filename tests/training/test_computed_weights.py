"""Runs of networks whose weights are computed, or parts of a parameter: refused before training what can't be pruned,
gradients are of what is multiplied, and a record counts everything that is."""

from itertools import repeat
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from conftest import Cimlab, one_line
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import account_matrices
from cimlab.network.account import account_of
from cimlab.network.computed import ComputedWeights
from cimlab.pruning.allocation import Budget, PruningError
from cimlab.pruning.granularities.filter import Filter
from cimlab.pruning.granularities.weight import Weight
from cimlab.pruning.masks import PruningRule, make_masks, refuse_unprunable
from cimlab.pruning.saliencies.l1 import L1
from cimlab.records.record import RECORD_FILE, RunRecord
from cimlab.training.module import Classifier
from cimlab.training.prune_retrain import mean_importance

IMAGES, LABELS = torch.rand(6, 1, 8, 8), torch.tensor([0, 1, 2, 0, 1, 2])
NETWORKS = """
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations


class Standardised(nn.Conv2d):
    def forward(self, x):
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(x, weight / weight.std((1, 2, 3), keepdim=True), self.bias, self.stride, self.padding)


def ending(channels, classes):
    return nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)


def standardised(num_classes, in_channels):
    return nn.Sequential(Standardised(in_channels, 4, 3), nn.ReLU(), *ending(4, num_classes))


def normed(num_classes, in_channels):
    layer = parametrizations.weight_norm(nn.Conv2d(in_channels, 8, 3))
    return nn.Sequential(layer, nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), *ending(8, num_classes))


class Attends(nn.Module):
    def __init__(self, classes, channels):
        super().__init__()
        self.patches = nn.Conv2d(channels, 16, 4, 4)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.head = nn.Linear(16, classes)

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        return self.head(self.attention(tokens, tokens, tokens)[0].mean(1))


def attends(num_classes, in_channels):
    return Attends(num_classes, in_channels)
"""


@pytest.fixture
def own(train: Cimlab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cimlab:
    """`cimlab train` of a network of `NETWORKS`, by its name."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "computing.py").write_text(NETWORKS)

    def run(name: str, *words: str):
        whole = ("prune.exempt_first=false", "prune.exempt_last=false")
        return train(f"model._target_=computing.{name}", "extensions=[computing]", *whole, *words)

    return run


def the_record(folder: Path) -> RunRecord:
    (path,) = folder.glob(f"*/{RECORD_FILE}")
    return RunRecord.read(path)


def test_weights_that_masks_would_not_hold_in_are_refused_before_training(
    own: Cimlab, tmp_path: Path
) -> None:
    """And the mend that the message names works: the layer then counts as digital, in price and compression."""
    refused = own("standardised")
    assert refused.code == 2
    assert "a pruned one would not be 0" in one_line(refused.err)
    assert "dense epoch" not in refused.out
    assert "analog.digital=[0]" in refused.err
    answer = own("standardised", "analog.digital=[0]", "granularity=weight")
    assert answer.code == 0, answer.err
    record = the_record(tmp_path)
    assert (record.weights["digital"], record.weights["prunable"], record.weights["total"]) == (36, 40, 76)
    assert record.weights["compression"] == 76 / (36 + record.weights["remaining_prunable"] * 40)
    (product,) = record.off_arrays["digital"]
    assert (product["name"], product["macs"]) == ("0", 36 * 36)
    cost = record.hardware["cost"]
    assert cost["energy_j"]["digital_weights"] == cost["dense_energy_j"]["digital_weights"] > 0


def test_outputs_that_a_norm_can_not_do_without_are_refused_before_training(own: Cimlab) -> None:
    refused = own("normed", "granularity=filter")
    assert refused.code == 2
    assert "all weights of an output of 0 would be pruned" in one_line(refused.err)
    assert "dense epoch" not in refused.out


@pytest.mark.parametrize("name", ["normed", "attends"])
def test_gradients_rank_what_is_computed_and_parts_of_a_parameter(
    name: str, own: Cimlab, tmp_path: Path
) -> None:
    answer = own(name, "saliency=taylor", "granularity=weight", "prune.remaining=0.5")
    assert answer.code == 0, answer.err
    record = the_record(tmp_path)
    assert record.weights["remaining_prunable"] == pytest.approx(0.5, abs=0.01)
    assert not record.unpriceable
    if name == "attends":  # 4 patches, two heads of 8: scores and sums
        assert record.off_arrays["dynamic"] == [
            {"name": "attention", "macs": 2 * 2 * 4 * 4 * 8, "weights": 0, "reason": ""}
        ]
        assert f"{2 * 2 * 4 * 4 * 8:,} multiply-accumulates of attention" in answer.out


def gradients_by_hand(network: nn.Module, weight: Tensor, put: nn.Module) -> Tensor:
    """|w dL/dw| of a plain layer with this weight in the place of one."""
    loss = F.cross_entropy(put(IMAGES), LABELS)
    (gradient,) = torch.autograd.grad(loss, [weight])
    return (weight * gradient).abs().detach()


@pytest.mark.parametrize("kind", ["parametrised", "by hooks", "pruned by torch", "spectral"])
def test_importance_is_of_the_weight_that_is_multiplied(kind: str) -> None:
    torch.manual_seed(0)
    ways = {
        "parametrised": parametrizations.weight_norm, "by hooks": nn.utils.weight_norm,
        "pruned by torch": lambda layer: prune.random_unstructured(layer, "weight", 0.5),
        "spectral": parametrizations.spectral_norm,
    }  # fmt: skip
    plain = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    network = nn.Sequential(ways[kind](nn.Conv2d(1, 3, 3)), *plain[1:]).eval()
    account = account_of(network, IMAGES)
    computed = ComputedWeights(account, IMAGES).values(network)["0"]
    layer = plain[0]
    assert isinstance(layer, nn.Conv2d)
    layer.weight = nn.Parameter(computed.clone())
    layer.bias = network.get_parameter("0.bias")
    by_hand = gradients_by_hand(network, layer.weight, plain)
    found = mean_importance(trained(network), repeat((IMAGES, LABELS)), account_matrices(account), 2)
    assert torch.allclose(found["0"], by_hand, rtol=1e-4, atol=1e-7)


def trained(network: nn.Module) -> Classifier:
    """A module within a trainer that computes in single precision."""
    module = Classifier(network, torch.optim.SGD, lambda _: 1.0)
    module.trainer = pl.Trainer(
        logger=False, enable_checkpointing=False, accelerator="cpu", enable_model_summary=False
    )
    return module


def test_importance_of_queries_keys_and_values_is_of_their_rows() -> None:
    torch.manual_seed(0)

    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            tokens = x.flatten(1, 2)
            return self.attention(tokens, tokens, tokens)[0].mean(1)[:, :3]

    network = Attends().eval()
    stored = network.attention.in_proj_weight
    assert stored is not None
    by_hand = gradients_by_hand(network, stored, network)
    account = account_of(network, IMAGES)
    found = mean_importance(trained(network), repeat((IMAGES, LABELS)), account_matrices(account), 1)
    for part, rows in zip("qkv", by_hand.split(8), strict=True):
        assert torch.allclose(found[f"attention.in_proj_weight.{part}"], rows, atol=1e-7)


def test_weights_under_a_norm_are_ranked_as_computed() -> None:
    """The second output's direction is stored a hundred times as large, and computed a hundred times smaller."""
    torch.manual_seed(0)
    layer = parametrizations.weight_norm(nn.Linear(16, 2, bias=False))
    with torch.no_grad():
        layer.parametrizations.weight.original1[1] *= 100
        layer.parametrizations.weight.original0[:] = torch.tensor([[1.0], [0.01]])
    network, inputs = nn.Sequential(layer).eval(), torch.rand(2, 16)
    account = account_of(network, inputs)
    rule = PruningRule(Weight(), L1(), CrossbarGeometry(), computed=ComputedWeights(account, inputs))
    budget = Budget(0.5, "global", 0.05, {})
    masks = make_masks(network, account_matrices(account), rule, budget, torch.Generator())
    assert int(masks["0"][0].sum()) > int(masks["0"][1].sum())
    filters = PruningRule(Filter(), L1(), CrossbarGeometry(), computed=rule.computed)
    with pytest.raises(PruningError, match="all weights of an output of 0"):
        make_masks(network, account_matrices(account), filters, budget, torch.Generator())
    refuse_unprunable(network, rule, ["0"])
