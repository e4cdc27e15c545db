"""A network of your own, in a program of your own: pruned, priced and put on arrays by the command line's words.

`cimlab train` owns the whole experiment. A `Lab` owns none of it: the network, the data and the training loop are
the caller's, and the choices of granularity, geometry, technology, ADC and device mean what they mean there.
"""

from __future__ import annotations

import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from torch import Tensor, nn

from cimlab.analog.convert import convert, program_draw
from cimlab.choices import conf_dir
from cimlab.config import errors
from cimlab.config.arrays import make_adc, make_device
from cimlab.config.components import Component
from cimlab.config.compose import composed
from cimlab.config.hardware import make_cost_model, refuse_unpriceable
from cimlab.config.schema import TrainConfig, check, plain_config
from cimlab.config.trust import trusting
from cimlab.config.words import given, parsed, readable
from cimlab.crossbar.matrix import CrossbarMatrix, account_matrices
from cimlab.crossbar.placement import NetworkPlacement, place_network
from cimlab.hardware.accelerator import Accelerator
from cimlab.hardware.attribution import step_energy
from cimlab.hardware.kept import KeptNetwork
from cimlab.hardware.price import NetworkShape, PrunedNetwork, price
from cimlab.hardware.report import CostComparison
from cimlab.network.account import NetworkAccount, account_of
from cimlab.network.batch import Batch
from cimlab.network.computed import ComputedWeights
from cimlab.network.masks import MaskError, Masks, masks_on_arrays
from cimlab.network.trace import opened, unwrapped
from cimlab.network.weights import snapshot
from cimlab.pruning.beyond import emptied, kept_beyond
from cimlab.pruning.masks import (
    MaskHolder,
    PruningRule,
    layer_weight,
    make_masks,
    refuse_unprunable,
)
from cimlab.runs.own_record import Asked, Told, write_own
from cimlab.runs.record import counted
from cimlab.training.budget import budget_of, prunable_matrices
from cimlab.training.costing import measured_activity

USED = (
    "granularity", "saliency", "prune", "mapping", "geometry", "technology", "adc_price", "chip", "adc", "device",
    "analog", "seed", "extensions",
)  # fmt: skip
"""Keys of `cimlab train` that mean something without its training."""


class Lab:
    """Granularity, array, chip and device, chosen as on the command line.

    >>> network, images = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)), torch.rand(4, 64)
    >>> lab = Lab("granularity=operation_unit", "prune.remaining=0.25", "prune.exempt_first=false")
    >>> masks = lab.prune(network, images)
    >>> sum(int(mask.sum()) for mask in masks.values())  # of 64 x 32 weights
    512
    >>> lab.place(network, masks, images).total.weights_left
    832
    >>> lab.cost(network, masks, images).ratios()["energy_j"] < 1
    True

    Args:
        words: overrides as `cimlab train` takes them, for instance "granularity=column_segment",
            "prune.remaining=0.09", "geometry.active_rows=16", "device=[programming_variation]".

    Raises:
        ConfigError: a word is unknown, impossible, or about training, which is the caller's.
    """

    def __init__(self, *words: str) -> None:
        try:
            words = tuple(readable(given(words), TrainConfig))
            for word in words:
                _refuse_others(word)
            with trusting(words), _own_hydra():
                config, hydra = composed("train", words, TrainConfig)
        except errors.ConfigError as problem:  # says all; Hydra's own hundred lines say no more
            raise errors.ConfigError(str(problem)) from None
        choices = {str(group): str(choice) for group, choice in hydra.runtime.choices.items() if choice}
        self.config = check(config, TrainConfig)
        plain, extensions = plain_config(config), self.config.extensions
        self._asked = Asked(self.config, plain, choices, USED)
        self.geometry = self.config.geometry
        self.rule = PruningRule(
            Component("granularity", self.config.granularity, extensions).build(),
            Component("saliency", self.config.saliency, extensions).build(),
            self.geometry,
        )
        self.cost_model = make_cost_model(
            plain["technology"], plain["adc_price"], self.config.chip, choices, extensions
        )
        refuse_unpriceable(self.cost_model, self.geometry, self.config.mapping.placement)
        self.rule = replace(
            self.rule,
            step_energy=step_energy(self.cost_model, self.geometry),
            placement=self.config.mapping.placement,
        )
        self.adc = make_adc(self.config.adc, extensions)
        self.device = make_device(self.config.device, extensions)
        self._dense: WeakKeyDictionary[nn.Module, tuple[dict[str, Tensor], Masks]] = WeakKeyDictionary()

    def prune(self, network: nn.Module, images: Batch, importance: dict[str, Tensor] | None = None) -> Masks:
        """Choose the weights that stay and set the others to 0; `hold` keeps them there while you retrain.

        The weights as they are now are remembered for as long as the network lives, for `cost` to compare with.

        Args:
            network: its weights on arrays are pruned, in place.
            images: a batch of what it is given, a tensor, a tuple or a dictionary; only shapes are used.
            importance: |w dL/dw| by layer or weight, in the weight's shape, for saliency=taylor.

        Returns:
            Name of a weight -> True where it stays; a tied one under the name of each of its layers.

        Warns where more or less stays than was asked, because units are coarse, and where layers keep next to nothing.

        Raises:
            NetworkError: as `account`, or no weight is on arrays.
            NetworkShapeError: the network can't compute such images.
            PruningError: the budget can't be met, or weights are not finite.
        """
        importance = importance and _of_opened(importance, network)
        network = opened(network)
        account = self.account(network, images)
        generator = torch.Generator().manual_seed(self.config.seed)
        prunable = prunable_matrices(self._matrices(account), self.config.prune)
        rule = replace(self.rule, computed=ComputedWeights(account, images))
        refuse_unprunable(network, rule, [matrix.name for matrix in prunable])
        budget = budget_of(self.config.prune)
        masks = make_masks(network, prunable, rule, budget, generator, None, importance)
        if (more := kept_beyond(masks, budget, prunable, rule)) is not None:
            warnings.warn(more, stacklevel=2)
        if (bare := emptied(masks, budget)) is not None:
            warnings.warn(bare, stacklevel=2)
        self._remember_dense(network, masks)
        self.hold(network, masks).hold()
        return masks | {layer: masks[own] for layer, own in account.tied.items() if own in masks}

    def hold(self, network: nn.Module, masks: Masks) -> MaskHolder:
        """What sets pruned weights to 0 again; call its `hold()` after every optimiser step."""
        return MaskHolder(opened(network), _of_opened(masks, network))

    def place(self, network: nn.Module, masks: Masks, images: Batch) -> NetworkPlacement:
        """The kept weights on the chip's arrays, counted exactly: `total` and, for the unpruned network, `dense_total`.

        Counts are of arrays; `weights` is over digital weights too.

        Arrays are those of one copy of each layer. Compacted layers are spread over more than the fewest where that is
        how the chip's area makes the network faster; both networks get the same area.

        Args:
            network: any; its weights play no part.
            masks: layer name -> True where a weight is kept; a layer that is not named is whole.
            images: one batch, of which only the shape is used.

        Raises:
            MaskError: a mask is none, or the network computes its weight so that a pruned one would not be 0.
            NetworkError: no weight is on arrays.
        """
        account = self.account(network, images)
        matrices = self._matrices(account)
        checked = ComputedWeights(account, images).kept(network, _of_opened(masks, network))
        kept = {name: mask.cpu() for name, mask in checked.items()}
        index, mode = self.rule.granularity.index, self.config.mapping.placement
        placement = place_network(matrices, kept, self.geometry, index, mode, account.off_arrays.weights)
        compared = self.cost_model.compare(matrices, placement, self.geometry)
        return placement.on_chip(compared.pruned.counts, compared.dense.counts)

    def cost(
        self, network: nn.Module, masks: Masks, images: Batch, dense: Mapping[str, Tensor] | None = None
    ) -> CostComparison:
        """Energy, latency, area and throughput of the network, beside those of the dense one that it was.

        Args:
            network: trained; cells and wordlines are priced as `on_arrays` writes and feeds them.
            masks: layer name -> True where a weight is kept.
            images: a batch of training images, on which ranges are calibrated and inputs counted.
            dense: state_dict of the dense network; None takes the weights that `prune` found in this network, and
                where it pruned none, the network as it is, which a note then says.

        Raises:
            CellError: a weight or an input is not a finite number.
            MaskError: no weight is left.
            NetworkError: no weight is on arrays.
        """
        kept = self._kept(network, masks, images, dense)
        index, mode = self.rule.granularity.index, self.config.mapping.placement
        shape = NetworkShape(kept.matrices, index, mode, kept.off_arrays)
        accelerator = Accelerator(
            self.geometry, self.cost_model.technology, self.cost_model.adc, self.cost_model.chip
        )
        return price(PrunedNetwork(shape, kept.masks), kept.activity, accelerator)

    def record(
        self,
        folder: str | Path,
        network: nn.Module,
        masks: Masks,
        images: Batch,
        *,
        accuracy: Mapping[str, float],
        model: str,
        data: str,
        dense: Mapping[str, Tensor] | None = None,
        training: Mapping[str, Any] | None = None,
    ) -> Path:
        """Write a record as `cimlab train` does, which `cimlab runs`, `map run=`, `report` and others take.

        The same results write the same record again. Its machine and versions are those of this call.

        Args:
            folder: where runs are kept, for instance "outputs"; the record gets a folder of its own below it.
            network, masks, images, dense: as `cost`.
            accuracy: your measurements on test data, 0 to 1: "dense", "pruned" (before retraining) and "retrained".
            model, data: what to call them; plain names.
            training: setting -> plain value of your training, as {"epochs": 20}; runs that differ in it are never
                averaged.

        Returns:
            The record's file.

        Raises:
            ConfigError: an accuracy is missing or no fraction, or a name is not plain.
            MaskError, CellError: as `cost`.
            OutputError, RecordError: the folder can't be written.
        """
        told = Told(model, data, {phase: float(value) for phase, value in accuracy.items()}, training or {})
        kept = self._kept(network, masks, images, dense)
        fields = partial(
            counted,
            network=kept,
            prunable=prunable_matrices(list(kept.matrices), self.config.prune),
            rule=self.rule,
            cost=self.cost_model,
            mapping=self.config.mapping,
        )
        return write_own(Path(folder), self._asked, told, kept, fields)

    def on_arrays(self, network: nn.Module, masks: Masks, images: Batch, draw: int = 0) -> nn.Module:
        """The network with its weights on the arrays: use it as you use the network.

        What `account` calls digital and products of two activations are computed in floating point.

        Args:
            network: trained, in floating point; not changed.
            masks: layer name -> True where a weight is kept; what is pruned is skipped.
            images: a batch of training images, on which the ranges of activations and ADCs are calibrated.
            draw: which chip, where devices or ADCs differ from chip to chip.

        Raises:
            AnalogError: a layer can't be mapped, or the calibration can't be used; names the layer.
        """
        masks = _of_opened(masks, network)
        converted = convert(
            opened(network), masks, self.geometry, self.config.analog, self.adc, [images],
            placement=self.config.mapping.placement,
        )  # fmt: skip
        program_draw(converted, self.device, self.config.seed, draw)
        return converted

    def _kept(
        self, network: nn.Module, masks: Masks, images: Batch, dense: Mapping[str, Tensor] | None
    ) -> KeptNetwork:
        """The network as a price sees it."""
        masks, dense = _of_opened(masks, network), dense and _of_opened(dict(dense), network)
        network = opened(network)
        account = self.account(network, images)
        matrices, masks = self._matrices(account), masks_on_arrays(masks, account)
        if not any(bool(masks[m.name].any()) if m.name in masks else True for m in matrices):
            raise MaskError("the masks keep no weight at all; nothing is left on arrays that could be priced")
        activity = measured_activity(
            network, images, masks, dense or self._dense_weights(network), self.geometry, self.config.analog,
            matrices=matrices,
        )  # fmt: skip
        return KeptNetwork(tuple(matrices), masks, activity, account.off_arrays)

    def _remember_dense(self, network: nn.Module, masks: Masks) -> None:
        """Keep the weights that are about to be pruned, unless they are those of an earlier pruning."""
        state, earlier = self._dense.get(network, ({}, {}))
        if _shapes(state) != _shapes(network.state_dict()):  # a layer was put in another's place
            state, earlier = {}, {}
        pruned = (layer_weight(network, name)[~mask] for name, mask in earlier.items())
        if not state or any(bool(weights.any()) for weights in pruned):
            state = snapshot(network)
        self._dense[network] = (state, masks)

    def _dense_weights(self, network: nn.Module) -> Mapping[str, Tensor] | None:
        """What `prune` remembered, if the network still has weights of these names and shapes."""
        state = self._dense.get(network, ({}, {}))[0]
        return state if state and _shapes(state) == _shapes(network.state_dict()) else None

    def account(self, network: nn.Module, images: Batch) -> NetworkAccount:
        """Every weight of the network by what holds it, arrays or digital units, and what is multiplied besides.

        Args:
            network: any.
            images: a batch of what it is given.

        Raises:
            NetworkShapeError: the network can't compute such a batch.
            NetworkError: an operation can't be counted, or a name in analog.digital is nothing's.
        """
        return account_of(network, images, self.config.analog.digital)

    def _matrices(self, account: NetworkAccount) -> list[CrossbarMatrix]:
        return account_matrices(account, self.config.mapping.row_order)


def _shapes(state: Mapping[str, Any]) -> dict[str, torch.Size | None]:
    """Of what a state holds, by name; what is no tensor has none."""
    return {name: value.shape if isinstance(value, Tensor) else None for name, value in state.items()}


def _of_opened(named: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Masks or weights under the names of the layers inside, where a wrapper puts more before them (`module.conv1`)."""
    prefix = unwrapped(network)[1]
    if not prefix or not isinstance(named, Mapping):
        return named
    return {str(name).removeprefix(prefix): value for name, value in named.items()}


@contextmanager
def _own_hydra() -> Generator[None]:
    """Compose from cimlab's conf/, also within a Hydra program of the caller's, which goes on as it was."""
    callers = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            yield
    finally:
        GlobalHydra.instance().hydra = callers  # Hydra has put another instance there


def _refuse_others(word: str) -> None:
    """Refuse what would be read and mean nothing."""
    key = parsed(word).key_or_group
    if key.split(".")[0] not in USED:
        raise errors.ConfigError(
            f"{key}: a Lab leaves network, data and training to you; it takes {', '.join(USED)}"
        )
