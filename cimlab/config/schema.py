"""The schema of a run, and the gate that every composed configuration passes before anything is imported.

YAML files hold values, these dataclasses hold types and bounds; a key that is in neither is refused, wherever it
was written. Groups with a `_target_` (model, data, optimizer, ...) are checked against their target's signature
in `components.py`, which needs torch.
"""

from __future__ import annotations

import functools
import json
import os
import re
from typing import Annotated, Any, TypeVar, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from cimlab.analog.settings import AnalogSettings
from cimlab.config.errors import ConfigError, refuse, refuse_flags
from cimlab.config.keys import dataclass_in, unknown_key
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.rules import RowOrder
from cimlab.hardware.chip import Chip
from cimlab.records.identity import NEVER, PRUNED, only_where, within
from cimlab.training.settings import (
    MappingSettings,
    PruneSettings,
    Recipe,
    ScheduleSettings,
    SimulateSettings,
    TrackerSettings,
    TrainerSettings,
)

Schema = TypeVar("Schema")
SECRET_NAME = re.compile(r"(^|_)(API_?KEY|KEY|TOKEN|SECRET|PASSWORD)$", re.IGNORECASE)
SHORTEST_SECRET = 8  # characters; a shorter value may be anywhere by chance
KNOWN_BY_FOLDER = ("cimlab.data.image_folder.ImageFolder",)
"""Data sets that are whatever lies in their folder."""
CHOICE_NAME = re.compile(r"\w[\w.+-]*")


DATA = Annotated[dict[str, Any], within(data_dir=NEVER, download=NEVER, num_workers=NEVER)]
"""A data set: where it lies and how it is read changes no number."""
MODEL = Annotated[dict[str, Any], within(file=NEVER)]
"""A network: where the file of one's own lies changes no number; what is in it does (`sources.py`)."""


Folder = Annotated[str, Field(min_length=1)]
"""Where files are; nothing, as an unset variable of the shell leaves it, would be the folder one stands in."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Paths:
    """Where files are.

    Args:
        data_dir: data sets.
        output_dir: runs, one folder each.
        dense_dir: dense networks, found again by the hash of what defines them.
    """

    data_dir: Folder
    output_dir: Folder
    dense_dir: Folder


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Experiment:
    """What a file in experiments/ says of itself.

    Args:
        question: what its grid answers.
        held_fixed: what is the same at every point, so that the axes alone explain a difference.
    """

    question: str
    held_fixed: str


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class TrainConfig:
    """Everything `cimlab train` reads; components are `_target_` nodes.

    A field without a mark of `records/identity.py` is part of what a run is.
    """

    model: MODEL
    data: DATA
    granularity: Annotated[dict[str, Any], PRUNED]
    saliency: Annotated[dict[str, Any], PRUNED]
    schedule: Annotated[ScheduleSettings, PRUNED]
    method: Annotated[dict[str, dict[str, Any]], PRUNED]
    optimizer: dict[str, Any]
    geometry: Annotated[
        CrossbarGeometry,
        within(
            PRUNED,
            input_bits=only_where("bits"),
            dac_bits=only_where("converters"),
            adc_bits=only_where("converters"),
            mux_control=only_where("steps"),
        ),
    ]
    technology: Annotated[dict[str, Any], only_where("prices")]
    adc_price: Annotated[dict[str, Any], only_where("prices")]
    chip: Annotated[Chip, only_where("prices")]
    prune: Annotated[PruneSettings, PRUNED]
    mapping: Annotated[
        MappingSettings, within(PRUNED, placement=only_where("placement"), every_n_epochs=NEVER)
    ]
    recipe: Recipe
    trainer: TrainerSettings
    tracker: Annotated[TrackerSettings, NEVER]
    adc: Annotated[dict[str, Any], only_where("converters")]
    device: Annotated[dict[str, Any], only_where("converters")]
    analog: Annotated[
        AnalogSettings,
        within(
            only_where("bits"),
            steps=NEVER,
            weight_scale=NEVER,
            activation_range=NEVER,
            percentile=NEVER,
            backend=NEVER,
        ),
    ]
    simulate: Annotated[SimulateSettings, NEVER]
    paths: Annotated[Paths, NEVER]
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    checkpoint: Annotated[str | None, PRUNED] = None
    rerun: Annotated[bool, NEVER] = False
    extensions: Annotated[list[str], NEVER] = Field(default_factory=list)
    experiment: Annotated[Experiment | None, NEVER] = None

    def __post_init__(self) -> None:
        refuse_two_row_orders(self.analog, self.mapping.row_order)


def refuse_two_row_orders(analog: AnalogSettings, row_order: RowOrder) -> None:
    """A layer's rows lie in one order, for masks, price and sums alike.

    Raises:
        ValueError: the arrays are told of another one than the mapping.
    """
    if analog.row_order != row_order:
        raise ValueError(
            f"analog.row_order={analog.row_order}, but mapping.row_order={row_order}: rows lie in one order; say "
            f"mapping.row_order={analog.row_order} alone, which analog.row_order follows, or leave both out"
        )


def plain_config(config: DictConfig) -> dict[str, Any]:
    """The composed configuration in plain containers, every reference resolved.

    Raises:
        ConfigError: a reference leads nowhere, or a value is missing.
    """
    try:
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as problem:
        text = " ".join(str(problem).split())
        if gone := re.search(r"Interpolation key '([^']+)' not found full_key: (\S+)", text):
            text = f"{gone[2]}: refers to {gone[1]}, which is not there; ~{gone[1]} would take away what is needed"
        raise ConfigError(text) from problem
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def check(config: DictConfig, schema: type[Schema]) -> Schema:
    """The composed configuration as typed objects.

    Args:
        config: what Hydra composed.
        schema: the dataclass of the command.

    Raises:
        ConfigError: an unknown key, a wrong type or an impossible value; one line.
    """
    return check_plain(plain_config(config), schema)


def check_plain(plain: dict[str, Any], schema: type[Schema], secrets: dict[str, str] | None = None) -> Schema:
    """The same for a configuration that is in plain containers already.

    Args:
        plain: the configuration.
        schema: the dataclass of the command.
        secrets: `secret_values()`, where many configurations are checked.

    Raises:
        ConfigError: as `check`.
    """
    _refuse_unknown(schema, schema, plain, "")
    _refuse_secrets(plain, secret_values() if secrets is None else secrets)
    try:
        taken = _adapter(schema).validate_python(plain)
    except ValidationError as problem:
        first = problem.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "missing":
            raise ConfigError(f"{key}: is needed; ~{key} can't take it away") from problem
        if first["type"] == "dataclass_type" and len(first["loc"]) == 1:
            inner = ", ".join(f"{key}.{name}" for name in _keys(_keys(schema)[key]))
            refuse(key, first["input"], f"is no setting itself; it has {inner}")
        if isinstance(first.get("ctx", {}).get("error"), ValueError):
            raise ConfigError(f"{key}: {message}" if key else message) from problem
        refuse(key, first["input"], message[:1].lower() + message[1:])
    refuse_flags("", plain, taken)
    return taken


@functools.cache
def _adapter(schema: type) -> TypeAdapter:
    return TypeAdapter(schema)


@functools.cache
def _keys(schema: type) -> dict[str, type | None]:
    """Key -> the dataclass that its value has to fit, or None for other values."""
    return {key: dataclass_in(kind) for key, kind in get_type_hints(schema).items()}


def _refuse_unknown(top: type, schema: type, plain: dict, path: str) -> None:
    known = _keys(schema)
    for key, value in plain.items():
        if key not in known:
            raise ConfigError(unknown_key(top, f"{path}{key}"))
        inner = known[key]
        if inner is not None and isinstance(value, dict):
            _refuse_unknown(top, inner, value, f"{path}{key}.")


def secret_values() -> dict[str, str]:
    """Environment variables that hold a key or a password, by their name."""
    return {
        name: value
        for name, value in os.environ.items()
        if SECRET_NAME.search(name) and len(value) >= SHORTEST_SECRET
    }


def _refuse_secrets(plain: dict[str, Any], secrets: dict[str, str]) -> None:
    """A configuration goes into records and trackers whole, so that it must hold no key or password."""
    for name, value in secrets.items():
        for key, node in plain.items():
            if value in json.dumps(node, ensure_ascii=False):
                raise ConfigError(
                    f"{key} holds the value of the environment variable {name}, which a record would publish; "
                    "take it out"
                )


def choice_names(all_choices: dict[str, str]) -> dict[str, str]:
    """Of every group that Hydra composed, its choice; names become part of folders, so they must be plain.

    Raises:
        ConfigError: a choice is a path.
    """
    found = {group: choice for group, choice in all_choices.items() if group in _keys(TrainConfig)}
    for group, choice in found.items():
        if not CHOICE_NAME.fullmatch(choice):
            refuse(group, choice, f"must be the plain name of a file in a folder {group}/")
    return found
