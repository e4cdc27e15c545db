"""One fit on several devices of a machine: its processes, their process group, and what they say to each other.

The process that runs the experiment is rank 0 of a Lightning DDP fit; the others are started for the fit and end
with it. Every rank works on its part of the same batches, gradients and BatchNorm statistics are over the whole
batch, so several devices compute what one computes, up to the order of sums.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

import torch
from jaxtyping import Float
from lightning_fabric.plugins.environments.lightning import find_free_network_port
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.plugins.layer_sync import LayerSync
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, distributed, nn

from cimlab.errors import CimlabError

READY = ""
LEAVE_S = 30.0
"""A follower has left the fit by then, or is made to."""


class ParallelError(CimlabError, RuntimeError):
    """A fit on several devices that lost one of its processes."""


@dataclass(frozen=True)
class Rank:
    """A process's place in a fit: its number, out of how many, and the port at which rank 0 is met."""

    number: int = 0
    count: int = 1
    port: int = 0

    def trainer_options(self) -> dict[str, Any]:
        """What tells a Lightning Trainer so; plugins are for the caller to add to its own."""
        if self.count == 1:
            return {"devices": 1}
        strategy = DDPStrategy(cluster_environment=_OneMachine(self), broadcast_buffers=False)
        # the loaders give each rank its part
        return {"devices": self.count, "strategy": strategy, "use_distributed_sampler": False}

    def plugins(self) -> list[Any]:
        """BatchNorm over the whole batch, where there are several parts of it."""
        return [WholeBatchNorm()] if self.count > 1 else []


Follower = Callable[[Rank, Callable[[], None]], None]
"""Takes part in a fit as the rank it is given, and calls the function when it is about to meet the others."""


class _OneMachine(LightningEnvironment):
    """Ranks that are told where they are, rather than finding it in environment variables."""

    def __init__(self, rank: Rank) -> None:
        super().__init__()
        self._rank = rank
        self._main_port = rank.port

    @property
    def creates_processes_externally(self) -> bool:
        return True

    @property
    def main_address(self) -> str:
        return "127.0.0.1"

    def local_rank(self) -> int:
        return self._rank.number

    def node_rank(self) -> int:
        return 0


@contextlib.contextmanager
def company(count: int, follow: Follower) -> Generator[Rank]:
    """The other processes of a fit, ready to meet; gives rank 0.

    Args:
        count: processes in all; 1 starts none.
        follow: what the others do; is pickled to get there.

    Raises:
        ParallelError: one of them failed; says what it said.
    """
    if count == 1:
        yield Rank()
        return
    context = multiprocessing.get_context("spawn")
    port = find_free_network_port()
    others = [_Other(context, Rank(number, count, port), follow) for number in range(1, count)]
    try:
        for other in others:
            other.wait_until_ready()
        yield Rank(0, count, port)
    except RuntimeError as problem:
        lost = next((text for other in others if (text := other.last_words())), None)
        if lost is None or type(problem).__module__.startswith("cimlab"):
            raise  # every rank met it, and this one can say it best
        raise ParallelError(lost) from problem
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()
        for other in others:
            other.leave()


class _Other:
    """A follower, seen from rank 0."""

    def __init__(self, context: Any, rank: Rank, follow: Follower) -> None:
        self.rank = rank
        self.words, theirs = context.Pipe(duplex=False)
        self.process = context.Process(target=_follow, args=(follow, rank, theirs), daemon=True)
        self.process.start()
        theirs.close()

    def wait_until_ready(self) -> None:
        if text := self._next_words():
            raise ParallelError(text)

    def last_words(self) -> str:
        """Why it ended, if it did before its time."""
        self.process.join(1)
        return self._next_words() if self.words.poll() or self.process.exitcode else ""

    def _next_words(self) -> str:
        who = f"process {self.rank.number + 1} of {self.rank.count}"
        try:
            text = self.words.recv_bytes().decode()
        except EOFError:
            return f"{who} died (exit code {self.process.exitcode}; out of memory?); the same command goes on"
        return f"{who} failed: {text}" if text else ""

    def leave(self) -> None:
        self.process.join(LEAVE_S if self.process.exitcode is None and not _is_unwinding() else 0)
        self.process.kill()
        self.process.join()
        self.words.close()


def _is_unwinding() -> bool:
    return sys.exc_info()[0] is not None


def _follow(follow: Follower, rank: Rank, words: Connection) -> None:
    """The life of a follower: silent, deaf to what stops programs (rank 0 decides), and no longer than rank 0's."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # which a whole group of processes gets
        signal.signal(number, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True).start()
    with (
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        try:
            follow(rank, lambda: words.send_bytes(READY.encode()))
        except Exception as problem:
            words.send_bytes(f"{type(problem).__name__}: {' '.join(str(problem).split())}".encode())
            os._exit(1)  # the process group may have no one left to say goodbye to


def _several() -> bool:
    return distributed.is_initialized() and distributed.get_world_size() > 1


def _device() -> str:
    return "cuda" if distributed.get_backend() == "nccl" else "cpu"


def totals(numbers: list[float]) -> list[float]:
    """Sums of numbers over all ranks, on each of them."""
    if not _several():
        return numbers
    values = torch.tensor(numbers, dtype=torch.float64, device=_device())
    distributed.all_reduce(values)
    return values.tolist()


def averaged(value: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The mean of a tensor over all ranks, on each of them; the tensor itself where there is only one."""
    if not _several():
        return value
    value = value.clone()
    distributed.all_reduce(value)
    return value / distributed.get_world_size()


def agreed(masks: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rank 0's masks, on every rank."""
    if not _several():
        return masks
    sent = {name: mask.to(_device(), torch.uint8) for name, mask in masks.items()}
    for mask in sent.values():
        distributed.broadcast(mask, 0)
    return {name: sent[name].to(mask.device, mask.dtype) for name, mask in masks.items()}


class _Summed(torch.autograd.Function):
    """The sum over all ranks, of values and of their gradients."""

    @staticmethod
    def forward(ctx: Any, value: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        value = value.clone()
        distributed.all_reduce(value)
        return value

    @staticmethod
    def backward(ctx: Any, *gradients: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        gradient = gradients[0].clone()
        distributed.all_reduce(gradient)
        return gradient


def _summed(value: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    summed = _Summed.apply(value)
    assert isinstance(summed, Tensor)
    return summed


class WholeBatchNorm(LayerSync):
    """Gives BatchNorm layers the statistics of the whole batch for the time of a fit, on any device.

    torch's own SyncBatchNorm computes on a GPU only, and leaves another class of layer behind.
    """

    def apply(self, model: nn.Module) -> nn.Module:
        for layer in model.modules():
            if type(layer) is nn.BatchNorm2d:
                layer.__class__ = _WholeBatchNorm2d
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        for layer in model.modules():
            if type(layer) is _WholeBatchNorm2d:
                layer.__class__ = nn.BatchNorm2d
        return model


class _WholeBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d whose mean and variance are over the images of all ranks; each has the same number of them."""

    def forward(self, input: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "..."]:
        if not self.training or not _several():
            return super().forward(input)
        images, ranks = input.float(), distributed.get_world_size()
        mean = _summed(images.mean((0, 2, 3))) / ranks
        centred = images - mean[:, None, None]
        variance = _summed(centred.square().mean((0, 2, 3))) / ranks
        self._keep(mean.detach(), variance.detach(), input.numel() // input.shape[1] * ranks)
        scale = (variance + self.eps).rsqrt()
        if self.affine:
            scale = scale * self.weight
        result = centred * scale[:, None, None]
        return (result + self.bias[:, None, None] if self.affine else result).to(input.dtype)

    def _keep(
        self, mean: Float[Tensor, " channels"], variance: Float[Tensor, " channels"], count: int
    ) -> None:
        """Move the running statistics, as BatchNorm does: with the unbiased variance."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        share = self.momentum if self.momentum is not None else 1 / int(self.num_batches_tracked)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * (count / max(1, count - 1)), share)
