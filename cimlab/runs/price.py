"""`cimlab map`: what a network costs on a chip, beside the unpruned one, in seconds and without training."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass as plain_dataclass
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from omegaconf import DictConfig
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from cimlab.analog.settings import AnalogSettings, Name
from cimlab.config import errors
from cimlab.config.schema import check, plain_config
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.hardware.chip import Chip
from cimlab.runs.images import Images, InputShape, images_of
from cimlab.runs.planned import called
from cimlab.runs.subject import Subject, cut_of
from cimlab.training.settings import MappingSettings, PruneSettings

if TYPE_CHECKING:
    from torch import Tensor, nn

    from cimlab.analog.learned_steps import TrainedSteps
    from cimlab.crossbar.activity import Activity
    from cimlab.crossbar.matrix import CrossbarMatrix
    from cimlab.hardware.accelerator import Accelerator
    from cimlab.hardware.price import PrunedNetwork
    from cimlab.network.masks import Masks
    from cimlab.network.stored import Stored
    from cimlab.pruning.granularities.base import Granularity
    from cimlab.pruning.masks import PruningRule

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_STRICT)
class OnArrays:
    """What is computed where.

    Args:
        digital: names or glob patterns of weights, layers or modules that stay digital.
    """

    digital: tuple[Name, ...] = ()


@dataclass(frozen=True, config=_STRICT)
class ActivitySettings:
    """What is assumed of the values that nobody measured.

    Args:
        input_density: fraction of input bits that are 1.
    """

    input_density: Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, config=_STRICT)
class MapPaths:
    """Where data lie, and where plots and files go."""

    data_dir: str
    output_dir: str


UNTRAINED = (
    "these ratios are of random weights, pruned {} (granularity={}, prune.allocation={}), and a trained network's will "
    "differ: train and Lab prune trained weights, by prune.allocation=global unless told; cimlab map run=outputs/RUN "
    "has its ratios"
)


@dataclass(frozen=True, config=_STRICT)
class MapConfig:
    """Everything `cimlab map` reads."""

    model: dict[str, Any]
    data: dict[str, Any]
    granularity: dict[str, Any]
    saliency: dict[str, Any]
    geometry: CrossbarGeometry
    technology: dict[str, Any]
    adc_price: dict[str, Any]
    chip: Chip
    input: InputShape
    analog: OnArrays
    activity: ActivitySettings
    prune: PruneSettings
    mapping: MappingSettings
    paths: MapPaths
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    run: str | None = None
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


def named(config: MapConfig, choices: dict[str, str]) -> Subject:
    """A model by name, pruned at random for each geometry, or with the weights and masks of a checkpoint.

    Raises:
        ConfigError and CheckpointError, each one line.
    """
    from cimlab.analog.learned_steps import learned_in
    from cimlab.config.components import Component
    from cimlab.crossbar.matrix import account_matrices, image_batch
    from cimlab.hardware.price import NetworkShape, PrunedNetwork
    from cimlab.network.account import account_of
    from cimlab.pruning.beyond import kept_beyond
    from cimlab.training.budget import budget_of, prunable_matrices

    choices = choices | called({"model": choices["model"]}, {"model": config.model})
    granularity = Component("granularity", config.granularity, config.extensions).build()
    images = images_of(config.input, config.data, choices["data"], config.extensions)
    network, stored = _network(config, images)
    try:
        account = account_of(network, image_batch(network, images.shape), config.analog.digital)
    except (RuntimeError, ValueError) as problem:
        raise errors.ConfigError(
            f"input: {choices['model']} can't take images of {images.shape} ({problem})"
        ) from problem
    matrices = _permuted(stored, account_matrices(account, config.mapping.row_order))
    layout = NetworkShape(tuple(matrices), granularity.index, config.mapping.placement, account.off_arrays)
    kept = None if stored is None else stored.masks(network, [m.name for m in matrices])

    def pruned(geometry: CrossbarGeometry) -> PrunedNetwork:
        rule = _rule(config, choices, granularity, geometry)
        return PrunedNetwork(layout, _random_masks(config, network, matrices, rule))

    def beyond(geometry: CrossbarGeometry, masks: Masks) -> str | None:
        rule = _rule(config, choices, granularity, geometry)
        return kept_beyond(masks, budget_of(prune), prunable_matrices(matrices, prune), rule)

    given = None if kept is None else PrunedNetwork(layout, kept[0])
    prune = config.prune
    return Subject(
        name=choices["model"],
        weights=f"{config.checkpoint}, {kept[1]}"
        if kept
        else f"random, {100 * prune.remaining:g} % of the prunable ones"
        f"{'' if prune.budget == 'weights' else f' in {prune.budget}'} left by {prune.allocation} allocation",
        network=pruned if given is None else lambda _: given,
        assumed=(
            *(() if kept else (images.note,)),
            *(
                ()
                if kept or prune.remaining == 1
                else (_untrained(choices["granularity"], prune.allocation),)
            ),
        ),
        beyond=beyond if given is None else lambda *_: None,
        activity=_assumed(config)
        if stored is None or kept is None
        else _stored(config, network, kept[0], images, learned_in(stored.content)),
        choices=choices,
        cut=cut_of if given is None else lambda _: (),
    )


def _untrained(granularity: str, allocation: str) -> str:
    how = "alike in every layer" if allocation == "uniform" else "by their size"
    return UNTRAINED.format(how, granularity, allocation)


def map_one(subject: Subject, accelerator: Accelerator, picture: str | None, sensitivity: bool) -> Mapped:
    """One network on one accelerator, in all detail.

    Raises:
        ConfigError: the network can't be pruned for its geometry, or there is no layer to be pictured.
    """
    from cimlab.hardware.errors import HardwareError
    from cimlab.hardware.price import price, price_over_area

    network, activity = subject.network(accelerator.geometry), subject.activity(accelerator.geometry)
    try:
        summary = price(network, activity, accelerator).summary()
        summary["area_curve"] = price_over_area(network, activity, accelerator)
        summary["chip_over_dense"] = _chip_over_dense(accelerator, summary["area_curve"])
    except HardwareError as problem:
        raise errors.ConfigError(str(problem)) from problem
    summary["notes"] = [*subject.assumed, *summary["notes"]]
    if (more := subject.beyond(accelerator.geometry, dict(network.masks))) is not None:
        summary["notes"] = [more, *summary["notes"]]
    by_model: dict[str, dict[str, Any] | str] = {}
    if sensitivity:
        for name, other in _other_prices(accelerator).items():
            try:
                by_model[name] = price(network, activity, other).summary()
            except HardwareError as problem:
                by_model[name] = str(problem)
    shown = [
        f"{g}={subject.choices[g]}"
        for g in ("model", "granularity", "geometry", "chip")
        if g in subject.choices
    ]
    return Mapped(
        name="  ".join(shown),
        weights=subject.weights,
        summary=summary,
        sensitivity=by_model,
        picture=_picture(picture, accelerator.geometry, network),
        choices=subject.choices,
    )


def _chip_over_dense(accelerator: Accelerator, curve: Sequence[Mapping[str, float | None]]) -> float | None:
    """Area of the chip over that of the dense network with one copy of each layer, as the curve counts it."""
    chip = accelerator.chip
    if not curve or (chip.area_m2 is None and chip.max_arrays is None):
        return chip.area_over_dense if curve else None
    over, area_m2 = curve[0]["area_over_dense"], curve[0]["area_m2"]
    assert over is not None
    assert area_m2 is not None
    return accelerator.model.chip_area_m2((), accelerator.geometry) * over / area_m2


def map_network(config: DictConfig, choices: dict[str, str], sensitivity: bool) -> Mapped:
    """Price one network by its composed configuration.

    Raises:
        ConfigError and CheckpointError, each one line.
    """
    checked = check(config, MapConfig)
    from cimlab.config.hardware import make_cost_model, refuse_unpriceable
    from cimlab.hardware.accelerator import Accelerator

    plain = plain_config(config)
    model = make_cost_model(
        plain["technology"], plain["adc_price"], checked.chip, choices, checked.extensions
    )
    refuse_unpriceable(model, checked.geometry)
    accelerator = Accelerator(checked.geometry, model.technology, model.adc, model.chip)
    with one_thread():
        return map_one(named(checked, choices), accelerator, checked.picture, sensitivity)


@contextmanager
def one_thread() -> Generator[None]:
    """One network is priced sooner by one thread than by several that wait for each other."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


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
    return PruningRule(granularity, saliency, geometry, step_energy(model, geometry))


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


def _other_prices(accelerator: Accelerator) -> dict[str, Accelerator]:
    """The same accelerator under every shipped ADC price."""
    from cimlab.choices import choices
    from cimlab.config.hardware import load_adc_price

    return {name: replace(accelerator, adc_price=load_adc_price(name)) for name in choices("adc_price")}


def _picture(picture: str | None, geometry: CrossbarGeometry, network: PrunedNetwork) -> list[Any]:
    """Executed steps of the pictured layer (its first group)."""
    import numpy as np
    import torch

    from cimlab.crossbar.tally import LayerMask, row_group_bounds

    by_name = {m.name: m for m in network.shape.matrices}
    name = picture or max(by_name.values(), key=lambda m: m.weights).name
    if name not in by_name:
        errors.refuse("picture", name, f"the layers are {', '.join(by_name)}")
    matrix = by_name[name]
    kept: Tensor = network.masks.get(name, torch.ones(matrix.weight_shape, dtype=torch.bool))
    bounds = row_group_bounds(matrix.rows, geometry)
    segments = LayerMask.of(matrix.to_matrix(kept)[:1]).segments(bounds, geometry)[0]
    steps = np.add.reduceat(segments, np.arange(0, matrix.cols, geometry.operation_unit[1]), axis=1) > 0
    return [name, steps.tolist(), geometry.row_groups, geometry.columns_per_adc]
