"""What `cimlab map` prices by a model's name: with random weights pruned at random, or with those of a checkpoint."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cimlab.analog.settings import AnalogSettings
from cimlab.config import errors
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.runs.images import Images, images_of
from cimlab.runs.map_config import MapConfig
from cimlab.runs.planned import called
from cimlab.runs.subject import Subject, cut_of

if TYPE_CHECKING:
    from torch import nn

    from cimlab.analog.learned_steps import TrainedSteps
    from cimlab.crossbar.activity import Activity
    from cimlab.crossbar.matrix import CrossbarMatrix
    from cimlab.hardware.price import NetworkShape, PrunedNetwork
    from cimlab.network.account import NetworkAccount
    from cimlab.network.masks import Masks
    from cimlab.network.stored import Stored
    from cimlab.pruning.granularities.base import Granularity
    from cimlab.pruning.masks import PruningRule

UNTRAINED = (
    "these ratios are of random weights, pruned {} (granularity={}, prune.allocation={}), and a trained network's will "
    "differ: train and Lab prune trained weights, by prune.allocation=global unless told; cimlab map run=outputs/RUN "
    "has its ratios"
)


def named(config: MapConfig, choices: dict[str, str]) -> Subject:
    """A model by name, pruned at random for each geometry, or with the weights and masks of a checkpoint.

    Raises:
        ConfigError and CheckpointError, each one line.
    """
    from cimlab.config.components import Component
    from cimlab.crossbar.matrix import account_matrices
    from cimlab.hardware.price import NetworkShape

    choices = choices | called({"model": choices["model"]}, {"model": config.model})
    granularity = Component("granularity", config.granularity, config.extensions).build()
    images = images_of(config.input, config.data, choices["data"], config.extensions)
    network, stored = _network(config, images)
    account = _account(config, choices["model"], network, images)
    matrices = _permuted(stored, account_matrices(account, config.mapping.row_order))
    layout = NetworkShape(tuple(matrices), granularity.index, config.mapping.placement, account.off_arrays)
    if stored is None:
        return _untrained_subject(config, choices, network, layout, granularity, images)
    return _stored_subject(config, choices, network, layout, stored, images)


def _account(config: MapConfig, model: str, network: nn.Module, images: Images) -> NetworkAccount:
    """What the network computes of one image."""
    from cimlab.crossbar.matrix import image_batch
    from cimlab.network.account import account_of

    try:
        return account_of(network, image_batch(network, images.shape), config.analog.digital)
    except (RuntimeError, ValueError) as problem:
        raise errors.ConfigError(
            f"input: {model} can't take images of {images.shape} ({problem})"
        ) from problem


def _stored_subject(
    config: MapConfig,
    choices: dict[str, str],
    network: nn.Module,
    layout: NetworkShape,
    stored: Stored,
    images: Images,
) -> Subject:
    """A checkpoint's weights and masks, the same on every geometry."""
    from cimlab.analog.learned_steps import learned_in
    from cimlab.hardware.price import PrunedNetwork

    masks, basis = stored.masks(network, [matrix.name for matrix in layout.matrices])
    pruned = PrunedNetwork(layout, masks)
    return Subject(
        name=choices["model"],
        weights=f"{config.checkpoint}, {basis}",
        network=lambda _: pruned,
        activity=_stored(config, network, masks, images, learned_in(stored.content)),
        choices=choices,
    )


def _untrained_subject(
    config: MapConfig,
    choices: dict[str, str],
    network: nn.Module,
    layout: NetworkShape,
    granularity: Granularity,
    images: Images,
) -> Subject:
    """Random weights, pruned for each geometry by its own units."""
    from cimlab.hardware.price import PrunedNetwork
    from cimlab.pruning.beyond import kept_beyond
    from cimlab.training.budget import budget_of, prunable_matrices

    prune, matrices = config.prune, list(layout.matrices)

    def pruned(geometry: CrossbarGeometry) -> PrunedNetwork:
        rule = _rule(config, choices, granularity, geometry)
        return PrunedNetwork(layout, _random_masks(config, network, matrices, rule))

    def beyond(geometry: CrossbarGeometry, masks: Masks) -> str | None:
        rule = _rule(config, choices, granularity, geometry)
        return kept_beyond(masks, budget_of(prune), prunable_matrices(matrices, prune), rule)

    counted = "" if prune.budget == "weights" else f" in {prune.budget}"
    ratios = () if prune.remaining == 1 else (_untrained(choices["granularity"], prune.allocation),)
    return Subject(
        name=choices["model"],
        weights=f"random, {100 * prune.remaining:g} % of the prunable ones{counted} left by {prune.allocation} "
        "allocation",
        network=pruned,
        assumed=(images.note, *ratios),
        beyond=beyond,
        activity=_assumed(config),
        choices=choices,
        cut=cut_of,
    )


def _untrained(granularity: str, allocation: str) -> str:
    how = "alike in every layer" if allocation == "uniform" else "by their size"
    return UNTRAINED.format(how, granularity, allocation)


def _network(config: MapConfig, images: Images) -> tuple[nn.Module, Stored | None]:
    """The network with random or stored weights, and where those were stored."""
    import torch

    from cimlab.config.components import Component
    from cimlab.network.stored import read

    torch.manual_seed(config.seed)
    model = Component("model", config.model, config.extensions, ("num_classes", "in_channels"))
    network = model.build(num_classes=images.classes, in_channels=images.channels)
    if config.checkpoint is None:
        return network, None
    stored = read(Path(config.checkpoint))
    stored.fill(network)
    for note in stored.notes:
        print(f"cimlab: {note}", file=sys.stderr)
    return network, stored


def _permuted(stored: Stored | None, matrices: list[CrossbarMatrix]) -> list[CrossbarMatrix]:
    """The matrices with the order of rows and columns that the checkpoint was pruned in, if it was permuted."""
    if stored is None:
        return matrices
    from cimlab.crossbar.permutation import PermutationError, restored

    try:
        return restored(matrices, stored.content.get("permutation"))
    except PermutationError as problem:
        raise errors.ConfigError(f"checkpoint {stored.path}: mapping: {problem}") from problem


def _rule(
    config: MapConfig, choices: dict[str, str], granularity: Granularity, geometry: CrossbarGeometry
) -> PruningRule:
    """What is pruned on a geometry; a budget in energy is of the configured accelerator."""
    from cimlab.config.components import Component
    from cimlab.config.hardware import make_cost_model
    from cimlab.hardware.attribution import step_energy
    from cimlab.pruning.masks import PruningRule

    saliency = Component("saliency", config.saliency, config.extensions).build()
    model = make_cost_model(config.technology, config.adc_price, config.chip, choices, config.extensions)
    joules = step_energy(model, geometry)
    return PruningRule(granularity, saliency, geometry, joules, placement=config.mapping.placement)


def _random_masks(
    config: MapConfig, network: nn.Module, matrices: list[CrossbarMatrix], rule: PruningRule
) -> Masks:
    """Random weights, pruned by units of the rule's geometry."""
    import torch

    from cimlab.pruning.allocation import PruningError
    from cimlab.pruning.masks import make_masks
    from cimlab.training.budget import budget_of, prunable_matrices

    prunable = prunable_matrices(matrices, config.prune)
    generator = torch.Generator().manual_seed(config.seed)
    try:
        return make_masks(network, prunable, rule, budget_of(config.prune), generator)
    except PruningError as problem:
        raise errors.ConfigError(f"prune: {problem}") from problem


def _assumed(config: MapConfig) -> Callable[[CrossbarGeometry], Activity]:
    """Of random weights neither cell values nor inputs are known."""
    from cimlab.crossbar.activity import Activity

    density = config.activity.input_density
    return lambda g: Activity(g.weight_bits, g.input_bits, input_density=density)


def _stored(
    config: MapConfig, network: nn.Module, kept: Masks, images: Images, learned: TrainedSteps | None
) -> Callable[[CrossbarGeometry], Activity]:
    """Cell values of stored weights are known, once for every precision; inputs are not.

    Learned steps are of one precision: at another, cells hold what steps found anew make of the weights.
    """
    from cimlab.crossbar.matrix import image_batch
    from cimlab.training.costing import stored_activity

    density, found = config.activity.input_density, {}
    settings, shape = AnalogSettings(digital=config.analog.digital), image_batch(network, images.shape)

    def at(geometry: CrossbarGeometry) -> Activity:
        bits = geometry.weight_bits, geometry.input_bits
        if bits not in found:
            same = learned is not None and bits == (learned.weight_bits, learned.input_bits)
            steps = learned if same else None
            cells = stored_activity(network, kept, geometry, settings, steps, shape)
            notes = cells.notes if same or learned is None else (*cells.notes, _other_steps(learned))
            found[bits] = replace(cells, input_density=density, notes=notes)
        return found[bits]

    return at


def _other_steps(learned: TrainedSteps) -> str:
    return (
        f"the checkpoint learned its steps for weight_bits={learned.weight_bits} and "
        f"input_bits={learned.input_bits}: at others its weights are rounded by steps that span those of each output"
    )
