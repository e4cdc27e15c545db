"""`cimlab map`: what a network costs on a chip, beside the unpruned one, in seconds and without training."""

from __future__ import annotations

from dataclasses import dataclass as plain_dataclass
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from omegaconf import DictConfig
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from cimlab.config import errors
from cimlab.config.schema import check, plain_config
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.hardware.chip import Chip
from cimlab.training.settings import MappingSettings, PruneSettings

if TYPE_CHECKING:
    from torch import Tensor, nn

    from cimlab.crossbar.activity import Activity
    from cimlab.crossbar.matrix import CrossbarMatrix
    from cimlab.hardware.cost import CostModel
    from cimlab.hardware.report import CostComparison
    from cimlab.pruning.granularities.base import Granularity
    from cimlab.pruning.masks import Masks

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_STRICT)
class InputShape:
    """One image, and the classes it is sorted into.

    Args:
        channels, size: the image is channels x size x size.
        classes: outputs of the classifier.
    """

    channels: Annotated[int, Field(ge=1)]
    size: Annotated[int, Field(ge=1)]
    classes: Annotated[int, Field(ge=1)]


@dataclass(frozen=True, config=_STRICT)
class ActivitySettings:
    """What is assumed of the values that nobody measured.

    Args:
        input_density: fraction of input bits that are 1.
    """

    input_density: Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, config=_STRICT)
class MapPaths:
    """Where plots and files go."""

    output_dir: str


@dataclass(frozen=True, config=_STRICT)
class MapConfig:
    """Everything `cimlab map` reads."""

    model: dict[str, Any]
    granularity: dict[str, Any]
    saliency: dict[str, Any]
    geometry: CrossbarGeometry
    technology: dict[str, Any]
    adc_price: dict[str, Any]
    chip: Chip
    input: InputShape
    activity: ActivitySettings
    prune: PruneSettings
    mapping: MappingSettings
    paths: MapPaths
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    checkpoint: str | None = None
    picture: str | None = None
    extensions: list[str] = Field(default_factory=list)


@plain_dataclass(frozen=True)
class Mapped:
    """One mapped network.

    Args:
        name: what was chosen.
        weights: where weights and masks are from.
        summary: the cost comparison, as records keep it.
        sensitivity: ADC price -> the same summary, or why that model can't tell; empty unless asked for.
        picture: layer name, its executed steps, and where arrays end.
    """

    name: str
    weights: str
    summary: dict[str, Any]
    sensitivity: dict[str, dict[str, Any] | str]
    picture: list[Any]
    choices: dict[str, str] = field(default_factory=dict)


def map_network(config: DictConfig, choices: dict[str, str], sensitivity: bool) -> Mapped:
    """Place one network and price it.

    Raises:
        ConfigError and CheckpointError, each one line.
    """
    checked = check(config, MapConfig)
    from cimlab.config.components import Component
    from cimlab.config.hardware import make_cost_model, refuse_unpriceable
    from cimlab.crossbar.matrix import network_matrices
    from cimlab.crossbar.placement import place_network
    from cimlab.hardware.accelerator import Accelerator
    from cimlab.hardware.errors import HardwareError
    from cimlab.hardware.price import price_placement

    plain = plain_config(config)
    model = make_cost_model(
        plain["technology"], plain["adc_price"], checked.chip, choices, checked.extensions
    )
    refuse_unpriceable(model, checked.geometry)
    granularity = Component("granularity", checked.granularity, checked.extensions).build()
    network = _network(checked)
    shape = (checked.input.channels, checked.input.size, checked.input.size)
    try:
        matrices = network_matrices(network, shape, checked.mapping.row_order)
    except (RuntimeError, ValueError) as problem:
        raise errors.ConfigError(
            f"input: {choices['model']} can't take images of {shape} ({problem})"
        ) from problem
    matrices = _permuted(checked, matrices)
    masks, weights = _masks(checked, network, matrices, granularity)
    placement = place_network(matrices, masks, checked.geometry, granularity.index, checked.mapping.placement)
    activity = _activity(checked, network, masks)

    def priced(some: CostModel) -> CostComparison:
        accelerator = Accelerator(checked.geometry, some.technology, some.adc, some.chip)
        return price_placement(matrices, placement, activity, accelerator)

    by_model: dict[str, dict[str, Any] | str] = {}
    if sensitivity:
        for name, other in _other_models(model).items():
            try:
                by_model[name] = priced(other).summary()
            except HardwareError as problem:
                by_model[name] = str(problem)
    return Mapped(
        name="  ".join(
            f"{g}={choices[g]}" for g in ("model", "granularity", "geometry", "chip") if g in choices
        ),
        weights=weights,
        summary=priced(model).summary(),
        sensitivity=by_model,
        picture=_picture(checked, matrices, masks),
        choices=choices,
    )


def _network(config: MapConfig) -> nn.Module:
    """The network with random or stored weights."""
    import torch

    from cimlab.config.components import Component
    from cimlab.training import checkpoints

    torch.manual_seed(config.seed)
    model = Component("model", config.model, config.extensions, ("num_classes", "in_channels"))
    network = model.build(num_classes=config.input.classes, in_channels=config.input.channels)
    if config.checkpoint is not None:
        path = Path(config.checkpoint)
        checkpoints.load_into(network, checkpoints.network_weights(checkpoints.load(path)), path)
    return network


def _permuted(config: MapConfig, matrices: list[CrossbarMatrix]) -> list[CrossbarMatrix]:
    """The matrices with the order of rows and columns that the checkpoint was pruned in, if it was permuted."""
    from cimlab.crossbar.permutation import PermutationError, restored
    from cimlab.training import checkpoints

    if config.checkpoint is None:
        return matrices
    try:
        return restored(matrices, checkpoints.load(Path(config.checkpoint)).get("permutation"))
    except PermutationError as problem:
        raise errors.ConfigError(f"checkpoint {config.checkpoint}: mapping: {problem}") from problem


def _masks(
    config: MapConfig, network: nn.Module, matrices: list[CrossbarMatrix], granularity: Granularity
) -> tuple[Masks, str]:
    """What is kept, and a line on where that is from."""
    import torch

    from cimlab.config.components import Component
    from cimlab.pruning.allocation import PruningError
    from cimlab.pruning.masks import PruningRule, layer_weight, make_masks
    from cimlab.training import checkpoints
    from cimlab.training.budget import budget_of, prunable_matrices

    if config.checkpoint is not None:
        path = Path(config.checkpoint)
        masks = checkpoints.network_masks(checkpoints.load(path), network, path)
        if masks is not None:
            return masks, f"{config.checkpoint}, with its masks"
        zeros = {m.name: layer_weight(network, m.name) != 0 for m in matrices}
        pruned = {name: mask for name, mask in zeros.items() if not bool(mask.all())}
        return pruned, f"{config.checkpoint}, its zeros taken as pruned"
    prune = config.prune
    rule = PruningRule(
        granularity, Component("saliency", config.saliency, config.extensions).build(), config.geometry
    )
    generator = torch.Generator().manual_seed(config.seed)
    try:
        masks = make_masks(network, prunable_matrices(matrices, prune), rule, budget_of(prune), generator)
    except PruningError as problem:
        raise errors.ConfigError(f"prune: {problem}") from problem
    return (
        masks,
        f"random, {100 * prune.remaining:g} % of the prunable ones left by {prune.allocation} allocation",
    )


def _activity(config: MapConfig, network: nn.Module, masks: Masks) -> Activity:
    """Cell values of stored weights are known; those of random weights, and all inputs, are assumed."""
    from cimlab.crossbar.activity import Activity
    from cimlab.training.costing import stored_activity

    if config.checkpoint is None:
        return Activity(input_density=config.activity.input_density)
    return replace(
        stored_activity(network, masks, config.geometry), input_density=config.activity.input_density
    )


def _other_models(model: CostModel) -> dict[str, CostModel]:
    """The same chip under every shipped ADC price."""
    from cimlab.config.compose import choices
    from cimlab.config.hardware import load_adc_price

    return {name: replace(model, adc=load_adc_price(name)) for name in choices("adc_price")}


def _picture(config: MapConfig, matrices: list[CrossbarMatrix], masks: Masks) -> list[Any]:
    """Executed steps of the pictured layer (its first group)."""
    import numpy as np
    import torch

    from cimlab.crossbar.tally import LayerMask, row_group_bounds

    by_name = {m.name: m for m in matrices}
    name = config.picture or max(matrices, key=lambda m: m.weights).name
    if name not in by_name:
        errors.refuse("picture", name, f"the layers are {', '.join(by_name)}")
    matrix, geometry = by_name[name], config.geometry
    kept: Tensor = masks.get(name, torch.ones(matrix.weight_shape, dtype=torch.bool))
    bounds = row_group_bounds(matrix.rows, geometry)
    segments = LayerMask.of(matrix.to_matrix(kept)[:1]).segments(bounds, geometry)[0]
    steps = np.add.reduceat(segments, np.arange(0, matrix.cols, geometry.operation_unit[1]), axis=1) > 0
    return [name, steps.tolist(), geometry.row_groups, geometry.columns_per_adc]
