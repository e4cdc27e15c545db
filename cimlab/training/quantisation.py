"""Quantisation-aware retraining: the callback that lends every mapped layer a rounding forward pass for a fit.

What is learned (steps and ranges) is part of the Lightning module while the fit lasts, so
that it is optimised and checkpointed with everything else; the network itself stays plain.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn

from cimlab.analog.adcs.base import AdcRange
from cimlab.analog.array_errors import ArrayErrors, read_back_table, reads_exactly
from cimlab.analog.convert import mapped_layers, require_convertible
from cimlab.analog.devices.base import Device
from cimlab.analog.fake_quantise import LayerQuantiser, LearnedStepSize, StraightThrough
from cimlab.analog.learned_steps import TrainedSteps
from cimlab.analog.settings import AnalogSettings
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.pruning.masks import Masks
from cimlab.training.module import Classifier
from cimlab.training.settings import QuantisationSettings

METHODS: dict[str, type[LayerQuantiser]] = {"ste": StraightThrough, "lsq": LearnedStepSize}


@dataclass(frozen=True)
class Quantisation:
    """How a run's retraining rounds, and for which arrays.

    Args:
        settings: the method.
        geometry: gives the bits.
        analog: which layers stay digital; order of rows.
        adc, device: whose errors are trained for, where the settings ask for it.
        seed: of the table of read-back weights.
    """

    settings: QuantisationSettings
    geometry: CrossbarGeometry
    analog: AnalogSettings
    adc: AdcRange
    device: Device
    seed: int


class QuantisedTraining(pl.Callback):
    """Attaches a quantiser to every mapped layer of the network for the length of a fit.

    Args:
        network: its layers are lent another forward pass.
        matrices: how its layers lie on the arrays; one that is not there lies in order.
        quantisation: how to round.
        masks: the masks at the time of asking.

    Raises:
        AnalogError: bits, devices or layers that can't be trained.
    """

    def __init__(
        self,
        network: nn.Module,
        matrices: list[CrossbarMatrix],
        quantisation: Quantisation,
        masks: Callable[[], Masks],
    ) -> None:
        require_convertible(network, quantisation.geometry, quantisation.analog)
        self.layers = mapped_layers(network, quantisation.analog)
        self.masks = masks
        self.geometry = quantisation.geometry
        self._kept: Masks = {}
        table = _table(quantisation)
        placed = {matrix.name: matrix for matrix in matrices}
        self.quantisers = nn.ModuleDict()
        for name, layer in self.layers.items():
            errors = None
            if quantisation.settings.hardware_aware:
                plain = CrossbarMatrix.of_layer(name, layer, row_order=quantisation.analog.row_order)
                matrix = placed.get(name, plain)
                errors = ArrayErrors(
                    matrix,
                    self.geometry,
                    quantisation.adc,
                    quantisation.device,
                    quantisation.analog.backend,
                    table,
                )
            method = METHODS[quantisation.settings.method]
            self.quantisers[_key(name)] = method(name, len(layer.weight), self.geometry, errors)

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

    def _detach(self) -> None:
        for layer in self.layers.values():
            layer.__dict__.pop("forward", None)


def _table(quantisation: Quantisation) -> torch.Tensor | None:
    """Read-back values of the run's device, if it is all that errs and is trained for."""
    device = quantisation.device
    exact = reads_exactly(quantisation.geometry, quantisation.adc, device)
    if not quantisation.settings.hardware_aware or not device.effects or not exact:
        return None
    generator = torch.Generator().manual_seed(quantisation.seed)
    return read_back_table(device, quantisation.geometry, generator)


def _key(layer: str) -> str:
    """A layer's name as a key of nn.ModuleDict, which takes no dots."""
    return layer.replace(".", "/")


def _of(module: nn.Module) -> LayerQuantiser:
    assert isinstance(module, LayerQuantiser)
    return module
