"""The parts of a run, built from its checked configuration: torch is imported from here on, nothing is read yet."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from cimlab.config import errors
from cimlab.config.arrays import make_adc, make_device
from cimlab.config.schema import TrainConfig
from cimlab.processors import cores, share
from cimlab.runs.planned import PlannedRun
from cimlab.training.settings import TrackerSettings

if TYPE_CHECKING:
    from torch import nn

    from cimlab.data.base import ImageDataModule
    from cimlab.hardware.cost import CostModel
    from cimlab.pruning.masks import PruningRule
    from cimlab.training.fit import Training
    from cimlab.training.methods.base import Arrays, Method, Subject
    from cimlab.training.module import OptimizerFactory


@dataclass(frozen=True, eq=False)
class Parts:
    """What a configuration names, built.

    Args:
        build_network: makes the network, weights initialised; called after seeding.
        data: the data set, checked but not loaded.
        rule: granularity, saliency, geometry.
        methods: by name, in the order in which they were chosen.
        optimizer_factory: parameter groups to optimiser.
        cost: what the mapped network is priced with.
        arrays: what computes in the end.
        tracker: settings, with the group that the run belongs to.
    """

    build_network: Callable[[], nn.Module]
    data: ImageDataModule
    rule: PruningRule
    methods: dict[str, Method]
    optimizer_factory: OptimizerFactory
    cost: CostModel
    arrays: Arrays
    tracker: TrackerSettings


def assemble(planned: PlannedRun) -> Parts:
    """Build the parts.

    Raises:
        ConfigError: a part refuses its arguments, or the machine lacks what was asked for.
    """
    import torch
    from torch import nn

    from cimlab.config.components import Component
    from cimlab.config.hardware import make_cost_model, refuse_unpriceable
    from cimlab.hardware.attribution import step_energy
    from cimlab.pruning.masks import PruningRule
    from cimlab.training.methods.base import Arrays

    config = planned.config
    _refuse_machine(config)

    def part(key: str, given: tuple[str, ...] = ()) -> Component:
        return Component(key, getattr(config, key), config.extensions, given)

    model = part("model", ("num_classes", "in_channels"))
    optimizer = part("optimizer", ("params",))
    granularity, saliency = part("granularity").build(), part("saliency").build()
    data = part("data").build()
    # an impossible learning rate is refused here, not after loading
    optimizer.build(nn.Linear(1, 1).parameters())
    cost = make_cost_model(
        config.technology, config.adc_price, config.chip, planned.choices, config.extensions
    )
    refuse_unpriceable(cost, config.geometry, config.mapping.placement)
    joules = step_energy(cost, config.geometry)
    rule = PruningRule(granularity, saliency, config.geometry, joules, placement=config.mapping.placement)
    adc, device = make_adc(config.adc, config.extensions), make_device(config.device, config.extensions)
    methods = {name: _method(name, node, config.extensions) for name, node in config.method.items()}

    def build_network() -> Any:
        network = model.build(num_classes=data.num_classes, in_channels=data.in_channels)
        return network.to(memory_format=torch.channels_last) if config.trainer.channels_last else network

    return Parts(
        build_network=build_network,
        data=data,
        rule=rule,
        methods=methods,
        optimizer_factory=lambda groups: optimizer.build(groups),
        cost=cost,
        arrays=Arrays(config.analog, adc, device),
        tracker=replace(config.tracker, group=config.tracker.group or planned.grid),
    )


def training_of(planned: PlannedRun, parts: Parts) -> Training:
    """How both phases of the run are trained."""
    from cimlab.training.fit import Training

    config = planned.config
    return Training(parts.data, parts.optimizer_factory, config.recipe, config.trainer, config.seed)


def subject_of(planned: PlannedRun, parts: Parts) -> Subject:
    """The untrained network, its matrices, and what is to become of it; the same in every process of a run.

    Raises:
        PruningError: nothing may be pruned.
        NetworkShapeError: the network can't compute the data's images.
        ConfigError: it does not score the data's classes.
    """
    from cimlab.crossbar.matrix import account_matrices, image_batch
    from cimlab.network.account import account_of
    from cimlab.network.computed import ComputedWeights
    from cimlab.training.budget import budget_of, prunable_matrices
    from cimlab.training.fit import begin
    from cimlab.training.methods.base import Subject

    config = planned.config
    begin(config.seed, _threads(config))
    network = parts.build_network()
    shape = (parts.data.in_channels, parts.data.image_size, parts.data.image_size)
    batch = image_batch(network, shape)
    account = account_of(network, batch, config.analog.digital)
    require_scores(network, batch, parts.data.num_classes)
    matrices = account_matrices(account, config.mapping.row_order)
    return Subject(
        network=network,
        matrices=matrices,
        prunable=prunable_matrices(matrices, config.prune),
        rule=replace(parts.rule, computed=ComputedWeights(account, batch)),
        budget=budget_of(config.prune),
        arrays=parts.arrays,
        image_shape=shape,
        epochs=config.schedule.epochs,
        dense_epochs=config.recipe.epochs,
        seed=config.seed,
        compile=config.trainer.compile,
        devices=config.trainer.devices,
        off_arrays=account.off_arrays,
    )


def _method(name: str, node: dict[str, Any], extensions: list[str]) -> Method:
    """A method; what takes part in dense training has to say so where the dense network's identity reads it."""
    from cimlab.config.components import Component

    method: Method = Component(f"method.{name}", node, extensions).build()
    if not method.phases or not {*method.phases} <= {*method.possible}:
        errors.refuse(
            f"method.{name}.phases",
            f"[{','.join(method.phases)}]",
            f"it has something to do in {' and '.join(method.possible)} alone"
            if method.phases
            else f"it would do nothing; leave {name} out of method, or choose of {', '.join(method.possible)}",
        )
    if "phases" not in node and "dense" in method.phases:
        raise errors.ConfigError(
            f"method.{name}.phases is missing; it takes part in {' and '.join(method.phases)}, so write "
            f"phases: [{', '.join(method.phases)}] into its YAML"
        )
    return method


def require_scores(network: nn.Module, image: Any, classes: int) -> None:
    """Refuse a network whose outputs are not one score per class, as far as shapes alone tell.

    Args:
        network: any; left as it is.
        image: a batch of one.
        classes: of the data.

    Raises:
        ConfigError: they are something else.
    """
    import torch

    from cimlab.network.trace import shadow

    try:
        with torch.no_grad(), torch.device("meta"):
            scores = shadow(network, "meta")(image)
    except Exception:  # it reads values, or runs on no such device
        return
    shape = tuple(scores.shape) if isinstance(scores, torch.Tensor) else type(scores).__name__
    if shape != (1, classes):
        raise errors.ConfigError(
            f"model: gives {shape} for one image, not (1, {classes}), a score for each of the data's classes; choose a "
            "model and data that fit"
        )


def _threads(config: TrainConfig) -> int | None:
    """Processor threads of a process: as asked, or a fair share of the cores; None leaves torch's choice."""
    settings = config.trainer
    if settings.threads is not None or settings.devices == 1:
        return settings.threads
    return share(settings.devices)


def _refuse_machine(config: TrainConfig) -> None:
    """Refuse accelerators and devices that are not there, and tell of a precision that is emulated."""
    import torch

    accelerated = torch.accelerator.is_available()
    if config.trainer.accelerator == "gpu" and not accelerated:
        errors.refuse("trainer.accelerator", "gpu", "torch finds no GPU here; use cpu or auto")
    if config.trainer.accelerator == "cpu" or not accelerated:
        _tell_of_emulation(config.trainer.precision, config.trainer.compile)
    devices, batch = config.trainer.devices, config.data.get("batch_size")
    if devices == 1:
        return
    gpus = torch.accelerator.device_count() if config.trainer.accelerator != "cpu" else 0
    there, kind = (gpus, "GPUs") if gpus else (cores(), "processor cores")
    if devices > there:
        errors.refuse("trainer.devices", devices, f"this machine has {there} {kind}; use at most so many")
    if config.trainer.compile:
        errors.refuse("trainer.compile", "true", "was tried on one device only; set trainer.compile=false")
    if isinstance(batch, int) and batch % devices:
        errors.refuse(
            "trainer.devices", devices, f"each device takes an equal part of data.batch_size={batch}"
        )


@cache  # once a process, not once a run
def _tell_of_emulation(precision: str, compiled: bool) -> None:
    from cimlab.training.bfloat16 import BFLOAT16, lacking

    if precision != BFLOAT16 or not lacking():
        return
    said = (
        "bfloat16 is emulated, about ten times slower than float32; set trainer.compile=false"
        if compiled
        else "products of bfloat16 numbers are computed in float32, no faster than trainer=default"
    )
    print(
        f"cimlab: trainer.precision={BFLOAT16}: this processor has no AVX-512; {said}",
        file=sys.stderr,
        flush=True,
    )
