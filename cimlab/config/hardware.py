"""Building hardware from conf/: technologies, ADC prices, chips and geometries, by name or from a composed node."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf
from pydantic import TypeAdapter

from cimlab.choices import choices, conf_dir
from cimlab.config.components import Component
from cimlab.config.errors import ConfigError
from cimlab.crossbar.geometry import CrossbarGeometry, GeometryError
from cimlab.crossbar.rules import PlacementMode
from cimlab.hardware.accelerator import Accelerator
from cimlab.hardware.adc import AdcPrice
from cimlab.hardware.chip import Chip
from cimlab.hardware.errors import HardwareError
from cimlab.hardware.technology import Technology

if TYPE_CHECKING:
    from cimlab.hardware.cost import CostModel


Written = tuple[tuple[str, int], ...]


def shipped(group: str, name: str) -> dict[str, Any]:
    """The content of conf/GROUP/NAME.yaml, on top of the choices that its defaults name.

    Raises:
        ConfigError: there is no such choice.
    """
    path = conf_dir() / group / f"{name}.yaml"
    if not path.is_file():
        raise ConfigError(f"{group}={name}: choices are {', '.join(choices(group))}")
    content = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    assert isinstance(content, dict)
    bases = [base for base in content.pop("defaults", []) if base != "_self_"]
    merged = OmegaConf.merge(*(shipped(group, base) for base in bases), content)
    whole = OmegaConf.to_container(merged)
    assert isinstance(whole, dict)
    return {str(key): value for key, value in whole.items()}


def make_technology(content: Mapping[str, Any], file: str | Path) -> Technology:
    """A technology from its mapping.

    Raises:
        ConfigError: file, key and allowed range, in one line.
    """
    try:
        return Technology.of(content, str(file))
    except HardwareError as problem:
        raise ConfigError(str(problem)) from problem


def make_adc_price(node: Mapping[str, Any], extensions: list[str] | None = None) -> AdcPrice:
    """An ADC price from its `_target_` node.

    Raises:
        ConfigError: key and allowed range, in one line.
    """
    model = Component("adc_price", dict(node), extensions or []).build()
    if not isinstance(model, AdcPrice):
        raise ConfigError(f"adc_price._target_={node.get('_target_')}: is not an AdcPrice")
    return model


def make_cost_model(
    technology: Mapping[str, Any],
    adc_price: Mapping[str, Any],
    chip: Chip,
    named: Mapping[str, str],
    extensions: list[str],
) -> CostModel:
    """A cost model from composed nodes; `named` tells the choice of every group, for messages.

    Raises:
        ConfigError: file, key and allowed range, in one line.
    """
    from cimlab.hardware.cost import CostModel  # here: it brings torch, which words are refused without

    file = f"conf/technology/{named['technology']}.yaml"
    return CostModel(make_technology(technology, file), make_adc_price(adc_price, extensions), chip)


def refuse_unpriceable(model: CostModel, geometry: CrossbarGeometry, placement: PlacementMode) -> None:
    """Refuse before any compute what could not be priced after it.

    Raises:
        ConfigError: the technology, the ADC price or the chip does not cover this geometry, or can't gather rows.
    """
    try:
        model.technology.check(geometry)
        model.prices.adc_figures(geometry)
        model.chip.adcs_per_array(geometry)
        if placement == "gathered":
            geometry.refuse_to_gather()
            model.chip.refuse_to_gather()
    except (HardwareError, GeometryError) as problem:
        raise ConfigError(str(problem)) from problem


def altered(technology: Technology, adc: AdcPrice) -> list[str]:
    """Groups of which the content is not what cimlab ships by its name: of one's own, or set by hand."""
    same = {
        "technology": technology.name in choices("technology")
        and technology == load_technology(technology.name),
        "adc_price": adc.name in choices("adc_price") and adc == load_adc_price(adc.name),
    }
    return [group for group, alike in same.items() if not alike]


def load_technology(name: str) -> Technology:
    """conf/technology/NAME.yaml."""
    return _technology(name, _written("technology"))


@cache  # a report prices hundreds of records, and its YAML takes longer than a price
def _technology(name: str, _: Written) -> Technology:
    return make_technology(shipped("technology", name), f"conf/technology/{name}.yaml")


def load_adc_price(name: str) -> AdcPrice:
    """conf/adc_price/NAME.yaml."""
    return _adc_price(name, _written("adc_price"))


@cache
def _adc_price(name: str, _: Written) -> AdcPrice:
    return make_adc_price(shipped("adc_price", name))


def _written(group: str) -> Written:
    """The files of a group with their times, by which a change of one is seen."""
    return tuple((str(path), path.stat().st_mtime_ns) for path in sorted((conf_dir() / group).glob("*.yaml")))


def load_geometry(name: str) -> CrossbarGeometry:
    """conf/geometry/NAME.yaml."""
    return TypeAdapter(CrossbarGeometry).validate_python(shipped("geometry", name))


def load_chip(name: str) -> Chip:
    """conf/chip/NAME.yaml."""
    return TypeAdapter(Chip).validate_python(shipped("chip", name))


def load_cost_model(
    technology: str = "isaac32", adc_price: str = "isaac_table", chip: str = "default"
) -> CostModel:
    """A cost model from shipped choices."""
    from cimlab.hardware.cost import CostModel

    return CostModel(load_technology(technology), load_adc_price(adc_price), load_chip(chip))


def load_accelerator(
    geometry: CrossbarGeometry,
    technology: str = "isaac32",
    adc_price: str = "isaac_table",
    chip: str = "default",
) -> Accelerator:
    """An accelerator from shipped choices around a geometry."""
    return Accelerator(geometry, load_technology(technology), load_adc_price(adc_price), load_chip(chip))
