"""What a training method may do, and when: a method is one file here and one YAML in conf/method.

`method=[NAME,...]` chooses any number of them. Nothing else lists them: the identity of a run, its tags, tables and
the help read the configuration. A method is a frozen dataclass of its settings; what it does in one fit is a `Part`,
a Lightning callback, whose state is in the checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import pytorch_lightning as pl
from jaxtyping import Float
from torch import Tensor, nn

from cimlab.analog.adcs.base import AdcRange
from cimlab.analog.devices.base import Device
from cimlab.analog.learned_steps import TrainedSteps
from cimlab.analog.settings import AnalogSettings
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.errors import REFUSED, CimlabError
from cimlab.network.off_arrays import NOTHING, OffArrays
from cimlab.pruning.allocation import Budget
from cimlab.pruning.masks import Masks, PruningRule
from cimlab.pruning.schedules import PruneEvent

PhaseName = Literal["dense", "retrain"]


class MethodError(CimlabError, ValueError):
    """A method that can't do its work on this network or with these settings; the message says why."""

    exit_code = REFUSED


@dataclass(frozen=True, eq=False)
class Arrays:
    """The arrays that a method may train for.

    Args:
        analog: which layers stay digital, and how inputs and weights are rounded.
        adc: range of the converters; device: what errs in the cells.
    """

    analog: AnalogSettings
    adc: AdcRange
    device: Device


@dataclass(frozen=True, eq=False)
class Subject:
    """What is trained and pruned.

    Args:
        network: the network.
        matrices: its layers as they lie on the arrays; prunable: those that may be pruned.
        rule: granularity, saliency, geometry.
        budget: to be reached at the end.
        arrays: what computes in the end.
        image_shape: channels, height, width.
        epochs: of the retraining; dense_epochs: of the training before it, where known.
        seed: of everything.
        compile: whether networks are compiled.
        devices: that share a fit.
        off_arrays: what the network multiplies digitally.
        masks: the masks at the time of asking.
    """

    network: nn.Module
    matrices: list[CrossbarMatrix]
    prunable: list[CrossbarMatrix]
    rule: PruningRule
    budget: Budget
    arrays: Arrays
    image_shape: tuple[int, int, int]
    epochs: int
    seed: int
    compile: bool = False
    devices: int = 1
    off_arrays: OffArrays = NOTHING
    masks: Callable[[], Masks] = dict
    dense_epochs: int | None = None


@dataclass(frozen=True, eq=False)
class Arrangement:
    """Where a method has laid the lines of the layers before pruning.

    Args:
        matrices: of the prunable layers.
        summary: for the record, plain values.
        line: for the terminal.
    """

    matrices: list[CrossbarMatrix]
    summary: dict[str, Any]
    line: str


@dataclass(frozen=True, eq=False)
class Rounding:
    """How a retrained network computes besides in floating point.

    Args:
        name: of the accuracy in the record.
        attached: within it, the network computes so.
        modules: with parameters of its own, to follow the network to its device.
        steps: what was learned, for conversion, once the fit is over.
    """

    name: str
    attached: Callable[[], AbstractContextManager[None]]
    modules: nn.ModuleDict
    steps: Callable[[], TrainedSteps]


class Part(pl.Callback):
    """A method at work in one fit; besides the hooks of Lightning it may change images and loss of a training step."""

    rounding: Rounding | None = None
    after_pruning: bool = False
    """Whether its turn in a batch comes after a prune event of that batch, not before it."""

    def images(
        self, images: Float[Tensor, "batch channels height width"], epoch: int, epochs: int
    ) -> Float[Tensor, "batch channels height_seen width_seen"]:
        """The images as the network is to see them in an epoch, from 0, of so many."""
        return images

    def loss(
        self,
        loss: Float[Tensor, ""],
        logits: Float[Tensor, "batch classes"],
        images: Float[Tensor, "batch channels height width"],
    ) -> Float[Tensor, ""]:
        """The loss to be minimised, from the loss on the labels."""
        return loss


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way of training; a subclass has the idea and its source in its docstring, and overrides what it does.

    A method that rounds weights and inputs has a setting `hardware_aware`, and no run has two of them: the bits of the
    arrays are then part of the run's identity, and where it is true their converters and devices too
    (`runs/identity.py`).

    Args:
        phases: in which it takes part; what takes part in `dense` makes another dense network.
    """

    possible: ClassVar[tuple[PhaseName, ...]] = ("dense", "retrain")
    """Phases in which it has something to do."""
    phases: list[PhaseName] = field(default_factory=lambda: ["retrain"])

    @property
    def start(self) -> float:
        """Fraction of the retraining that the method takes before anything is pruned."""
        return 0.0

    @property
    def rounds(self) -> int:
        """Equal parts of the retraining, each with a learning-rate curve of its own."""
        return 1

    def events(self, remaining: float) -> list[PruneEvent] | None:
        """When to prune, in order, the last event to `remaining`; None: this method does not say."""
        return None

    def check(self, subject: Subject) -> None:
        """Refuse, before any compute, what would fail later.

        Raises:
            MethodError: one line with the setting and the mend.
        """

    def arrange(self, subject: Subject) -> Arrangement | None:
        """Lay lines elsewhere on the arrays before pruning; the network has its dense weights."""
        return None

    def part(self, subject: Subject) -> Part | None:
        """What takes part in the fit of a phase that is in `phases`; the network has its dense weights by then."""
        return None


def refuse_two(methods: Mapping[str, Method]) -> None:
    """Refuse two methods of which one would hide the other.

    Raises:
        MethodError: two round, or two say when to prune.
    """
    rounding = [name for name, method in methods.items() if hasattr(method, "hardware_aware")]
    if len(rounding) > 1:
        raise MethodError(
            f"method: {' and '.join(rounding)} both round weights and inputs; choose one of them"
        )
    scheduling(methods, 1.0)


def scheduling(methods: Mapping[str, Method], remaining: float) -> tuple[list[PruneEvent], int]:
    """Prune events, and rounds of the learning rate: those of the one method that says so, or once at the start.

    Raises:
        MethodError: two methods say when to prune.
    """
    saying = {name: events for name, m in methods.items() if (events := m.events(remaining)) is not None}
    if len(saying) > 1:
        raise MethodError(f"method: {' and '.join(saying)} both say when to prune; choose one of them")
    for name, events in saying.items():
        return events, methods[name].rounds
    return [PruneEvent(0.0, remaining, done=1.0)], 1
