"""A network that was on loan is as it was: modes, buffers, gradients, hooks, and every random state."""

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn

from cimlab.lab import Lab
from cimlab.network.borrowed import borrowed


class Restless(nn.Module):
    """Moves a buffer and draws random numbers in evaluation too."""

    calls: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("last", None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.last = x.detach()
        self.kept = x
        return x + 0 * (torch.rand(()) + np.random.rand() + random.random())  # noqa: NPY002


def a_network(last: nn.Module | None = None) -> nn.Sequential:
    torch.manual_seed(0)
    body = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5), last or Restless()
    )
    network = nn.Sequential(body, nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(128, 4))
    network.train()
    body[1].eval()  # a frozen norm
    network[2].requires_grad_(False)
    return network


def state(network: nn.Module) -> dict:
    return {
        "modes": [module.training for module in network.modules()],
        "buffers": {name: buffer.clone() for name, buffer in network.named_buffers()},
        "weights": {n: (p.dtype, p.device, p.requires_grad, p.grad is None) for n, p in network.named_parameters()},
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules()],
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state(legacy=False)["state"]["key"].tolist(),  # noqa: NPY002
        "python": random.getstate(),
    }  # fmt: skip


def require_same(before: dict, after: dict) -> None:
    for key in ("modes", "weights", "hooks", "numpy", "python"):
        assert before[key] == after[key], key
    assert torch.equal(before["torch"], after["torch"])
    assert before["buffers"].keys() == after["buffers"].keys()
    assert all(torch.equal(value, after["buffers"][name]) for name, value in before["buffers"].items())


def test_evaluation_mode_is_for_the_time_of_the_loan_only() -> None:
    network = a_network()
    before = state(network)
    with borrowed(network), torch.no_grad():
        assert not any(module.training for module in network.modules())
        network(torch.rand(2, 3, 8, 8))
    require_same(before, state(network))


def test_a_loan_that_ends_in_an_error_is_given_back_too() -> None:
    network = a_network()
    before = state(network)
    with pytest.raises(RuntimeError), borrowed(network):
        network(torch.rand(2, 7, 8, 8))
    require_same(before, state(network))


@pytest.mark.parametrize("call", ["place", "cost", "on_arrays"])
def test_a_lab_leaves_a_network_in_training_as_it_was(call: str) -> None:
    last = nn.Identity() if call == "on_arrays" else None  # which traces control flow
    network, images = a_network(last), torch.rand(4, 3, 8, 8)
    lab = Lab("granularity=column_segment", "prune.exempt_first=false")
    masks = lab.prune(copy.deepcopy(network), images)
    weights = {name: value.clone() for name, value in network.named_parameters()}
    before = state(network)
    getattr(lab, call)(network, masks, images)
    require_same(before, state(network))
    assert all(torch.equal(value, network.get_parameter(name)) for name, value in weights.items())


def test_pruning_moves_weights_and_nothing_else() -> None:
    network, images = a_network(), torch.rand(2, 3, 8, 8)
    before = state(network)
    Lab("granularity=filter").prune(network, images)
    require_same(before, state(network))


def test_gradients_stay() -> None:
    network, images = a_network(), torch.rand(2, 3, 8, 8)
    network(images).sum().backward()
    grads = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    Lab().cost(network, {}, images)
    assert grads
    now = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    assert grads.keys() == now.keys()
    assert all(torch.equal(value, now[name]) for name, value in grads.items())


def test_what_a_forward_pass_keeps_for_itself_is_let_go() -> None:
    network = a_network()
    with borrowed(network), torch.no_grad():
        network(torch.rand(2, 3, 8, 8))
    assert not hasattr(network.get_submodule("0.4"), "kept")
