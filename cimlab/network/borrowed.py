"""A network on loan: what a forward pass in passing may disturb is afterwards as it was.

Whatever runs a user's network does so in here. Weights are not touched by a forward pass, and hooks are removed by who
added them.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Generator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn


@contextmanager
def borrowed(network: nn.Module) -> Generator[nn.Module]:
    """The network in evaluation mode; then every module, its mode, attributes and buffers, and all random states are as
    before.

    A frozen batch norm (`eval()` in a network that trains) stays frozen: modes are kept module by module. Running
    statistics and other buffers that a module moves in evaluation too are put back, and so are the generators of torch,
    NumPy and Python, from which noise layers draw.

    >>> network = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout()).train()
    >>> _ = network[0].eval()
    >>> with borrowed(network):
    ...     network[1].training
    False
    >>> network[0].training, network[1].training
    (False, True)
    """
    modes = {module: module.training for module in network.modules()}
    # what a forward pass keeps for itself (`self.features = x`) is let go too
    attributes = {m: dict(vars(m)) for m in modes if not isinstance(m, torch.jit.ScriptModule)}
    held = [(module, dict(module._buffers)) for module in modes]
    buffers = [b for _, own in held for b in own.values() if b is not None and not b.is_meta]
    values = [buffer.detach().clone() for buffer in buffers]
    try:
        with unmoved_randomness(network):
            yield network.eval()
    finally:
        for module, own in attributes.items():
            vars(module).clear()
            vars(module).update(own)
        for module, mode in modes.items():
            module.training = mode
        for module, own in held:
            module._buffers.update(own)
        for buffer, value in zip(buffers, values, strict=True):
            _put_back(buffer, value)


def _put_back(buffer: Tensor, value: Tensor) -> None:
    with torch.no_grad():
        if not torch.equal(buffer, value):
            buffer.copy_(value)


def copied(network: nn.Module) -> nn.Module:
    """A copy of its own, also of a network that has kept tensors of an earlier forward pass, which have no copy."""
    kept = [
        value for module in network.modules() for value in vars(module).values() if isinstance(value, Tensor)
    ]
    memo = {id(value): value.detach().clone() for value in kept if not value.is_leaf}
    return copy.deepcopy(network, memo)


@contextmanager
def unmoved_randomness(network: nn.Module) -> Generator[None]:
    """Whatever is drawn within, the global generators of torch (the processor's and those of the network's devices),
    NumPy and Python then go on as if it had not been."""
    devices = sorted({p.device.index for p in network.parameters() if p.is_cuda})
    of_python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 (a network may draw from it)
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)  # noqa: NPY002
