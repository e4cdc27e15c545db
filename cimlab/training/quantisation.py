"""Quantisation-aware retraining: the callback that lends every mapped layer a rounding forward pass for a fit.

What is learned (steps and ranges) is part of the Lightning module while the fit lasts, so
that it is optimised and checkpointed with everything else; the network itself stays plain.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from cimlab.analog.array_errors import ArrayErrors, read_back_table, reads_exactly
from cimlab.analog.errors import AnalogError
from cimlab.analog.fake_quantise import LayerQuantiser, require_trainable
from cimlab.analog.learned_steps import TrainedSteps
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix, image_batch
from cimlab.network.account import WeightProduct, account_of
from cimlab.network.called import keep_called
from cimlab.pruning.masks import Masks
from cimlab.training.methods.base import Arrays, Method, MethodError, Part, Rounding, Subject
from cimlab.training.module import Classifier


@dataclass(frozen=True, kw_only=True)
class RoundingMethod(Method):
    """Rounded retraining, at the bits of the geometry; `quantiser` says how values are rounded and what learns.

    Args:
        hardware_aware: weights as the run's devices give them back, outputs as its ADCs read them.
    """

    quantiser: ClassVar[type[LayerQuantiser]]
    hardware_aware: bool

    def check(self, subject: Subject) -> None:
        try:
            require_trainable(subject.rule.geometry)
        except AnalogError as problem:
            raise MethodError(str(problem)) from problem
        if subject.compile:
            raise MethodError(
                "trainer.compile=true: rounded retraining runs uncompiled; set trainer.compile=false"
            )
        if subject.devices != 1:
            raise MethodError(
                f"trainer.devices={subject.devices}: rounded retraining runs on one device; set trainer.devices=1"
            )
        self.part(subject)

    def part(self, subject: Subject) -> QuantisedTraining:
        return QuantisedTraining(subject, self.quantiser, self.hardware_aware)


class QuantisedTraining(Part):
    """Attaches a quantiser to every mapped layer of the network for the length of a fit.

    Args:
        subject: its network's layers are lent another forward pass.
        quantiser: how values are rounded.
        hardware_aware: whether the arrays' errors are trained for.

    Raises:
        AnalogError: bits or devices that can't be trained.
        MethodError: a weight on arrays is multiplied by something else than a Linear or Conv2d.
    """

    after_pruning = True  # it follows the masks

    def __init__(self, subject: Subject, quantiser: type[LayerQuantiser], hardware_aware: bool) -> None:
        arrays, self.geometry = subject.arrays, subject.rule.geometry
        self.layers = _rounded_layers(subject)
        self.masks = subject.masks
        self._kept: Masks = {}
        self._kept_called: list[RemovableHandle] = []
        table = _table(arrays, self.geometry, subject.seed) if hardware_aware else None
        placed = {matrix.name: matrix for matrix in subject.matrices}
        self.quantisers = nn.ModuleDict()
        for name, layer in self.layers.items():
            errors = None
            if hardware_aware:
                plain = CrossbarMatrix.of_layer(name, layer, row_order=arrays.analog.row_order)
                matrix = placed.get(name, plain)
                errors = ArrayErrors(
                    matrix, self.geometry, arrays.adc, arrays.device, subject.rule.placement,
                    arrays.analog.backend, table,
                )  # fmt: skip
            self.quantisers[_key(name)] = quantiser(name, len(layer.weight), self.geometry, errors)
        self.rounding = Rounding("quantised", self.attached, self.quantisers, self.steps)

    @contextmanager
    def attached(self) -> Generator[None]:
        """The network computes with rounded weights and inputs, on ideal cells and ADCs."""
        errors = {key: _of(quantiser).errors for key, quantiser in self.quantisers.items()}
        for quantiser in self.quantisers.values():
            _of(quantiser).errors = None
        self._attach()
        try:
            yield
        finally:
            self._detach()
            for key, error in errors.items():
                _of(self.quantisers[key]).errors = error

    def steps(self) -> TrainedSteps:
        """What the fit left, for conversion."""
        layers = {
            name: _of(self.quantisers[_key(name)]).steps(layer.weight) for name, layer in self.layers.items()
        }
        return TrainedSteps(self.geometry.weight_bits, self.geometry.input_bits, layers)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        assert isinstance(pl_module, Classifier)
        pl_module.quantisers = self.quantisers
        self._attach()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._detach()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Follow the masks, and calibrate ADCs anew with the first batch of every epoch."""
        masks = self.masks()
        for name in self.layers:
            errors = _of(self.quantisers[_key(name)]).errors
            if errors is None:
                continue
            errors.calibrating = batch_idx == 0
            if name in masks and masks is not self._kept:
                errors.keep(masks[name])
        self._kept = masks

    def _attach(self) -> None:
        for name, layer in self.layers.items():
            layer.__dict__["forward"] = partial(_of(self.quantisers[_key(name)]).compute, layer)
            self._kept_called.append(keep_called(layer))

    def _detach(self) -> None:
        for layer in self.layers.values():
            layer.__dict__.pop("forward", None)
        while self._kept_called:
            self._kept_called.pop().remove()


def _rounded_layers(subject: Subject) -> dict[str, nn.Conv2d | nn.Linear]:
    """The layers that multiply by the weights on arrays, in the order of the network.

    Only what the forward pass multiplies by counts: a module may own a table of positions, and what is inside it still
    be plain layers; an attention may call no layer, and multiply by its parts' weights itself.

    Raises:
        MethodError: a weight is multiplied by something else than a Linear or Conv2d, or no weight is on arrays.
    """
    network, digital = subject.network, subject.arrays.analog.digital
    weights = account_of(network, image_batch(network, subject.image_shape), digital).on_arrays
    plain = {name: layer for name, layer in network.named_modules() if _is_plain(layer)}
    foreign = [weight for weight in weights if not plain.keys() >= {*weight.modules}]
    called = {name for weight in weights if weight not in foreign for name in weight.modules}
    if foreign:
        patterns = list(dict.fromkeys(_digital_pattern(weight, called) for weight in foreign))
        more = f" and {len(patterns) - 3} more" if len(patterns) > 3 else ""
        raise MethodError(
            "method: rounded retraining rounds the Linear and Conv2d layers that a network calls, and the weights of "
            f"{', '.join(patterns[:3])}{more} are multiplied by in other ways; leave them digital with "
            f"analog.digital=[{','.join((*digital, *patterns))}], or take rounding out of method"
        )
    if not called:
        raise MethodError("method: no weight is left on arrays to be rounded; shorten analog.digital")
    return {name: layer for name, layer in plain.items() if name in called}


def _is_plain(layer: nn.Module) -> bool:
    """Whether a quantiser can lend the layer its forward pass."""
    padded = isinstance(layer, nn.Conv2d) and layer.padding_mode != "zeros"
    return type(layer).forward in (nn.Conv2d.forward, nn.Linear.forward) and not padded


def _digital_pattern(weight: WeightProduct, called: set[str]) -> str:
    """What leaves a weight digital: the module that multiplies by it, unless it holds layers that can be rounded."""
    module = weight.modules[0]
    alone = weight.name.startswith(f"{module}.") and not any(name.startswith(f"{module}.") for name in called)
    return module if alone or module == weight.name else weight.name


def _table(arrays: Arrays, geometry: CrossbarGeometry, seed: int) -> torch.Tensor | None:
    """Read-back values of the run's device, if it is all that errs."""
    exact = reads_exactly(geometry, arrays.adc, arrays.device)
    if not arrays.device.effects or not exact:
        return None
    return read_back_table(arrays.device, geometry, torch.Generator().manual_seed(seed))


def _key(layer: str) -> str:
    """A layer's name as a key of nn.ModuleDict, which takes no dots."""
    return layer.replace(".", "/")


def _of(module: nn.Module) -> LayerQuantiser:
    assert isinstance(module, LayerQuantiser)
    return module
