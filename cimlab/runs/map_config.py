"""What `cimlab map` is asked."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from cimlab.analog.settings import Name
from cimlab.config.schema import Folder
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.hardware.chip import Chip
from cimlab.runs.images import InputShape
from cimlab.training.settings import MappingSettings, PruneSettings

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

    data_dir: Folder
    output_dir: Folder


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
