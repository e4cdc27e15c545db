"""`cimlab map`: what a network costs on a chip, beside the unpruned one, in seconds and without training."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from cimlab.config import errors
from cimlab.config.schema import check, plain_config
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.runs.map_config import MapConfig
from cimlab.runs.named import named
from cimlab.runs.subject import Subject

if TYPE_CHECKING:
    from torch import Tensor

    from cimlab.hardware.accelerator import Accelerator
    from cimlab.hardware.price import PrunedNetwork


@dataclass(frozen=True)
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
    refuse_unpriceable(model, checked.geometry, checked.mapping.placement)
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


def _other_prices(accelerator: Accelerator) -> dict[str, Accelerator]:
    """The same accelerator under every shipped ADC price."""
    from cimlab.choices import choices
    from cimlab.config.hardware import load_adc_price

    return {name: replace(accelerator, adc_price=load_adc_price(name)) for name in choices("adc_price")}


def _picture(picture: str | None, geometry: CrossbarGeometry, network: PrunedNetwork) -> list[Any]:
    """Executed steps of the pictured layer (its first group); gathered ones from the top."""
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
    mask, width = LayerMask.of(matrix.to_matrix(kept)[:1]), geometry.operation_unit[1]
    if network.shape.placement == "gathered":
        mask, _ = mask.gathered(width)
    segments = mask.segments(bounds, geometry)[0]
    steps = np.add.reduceat(segments, np.arange(0, matrix.cols, width), axis=1) > 0
    return [name, steps.tolist(), geometry.row_groups, geometry.columns_per_adc]
