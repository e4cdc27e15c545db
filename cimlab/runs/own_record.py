"""The record of a network that was trained outside cimlab: what is left of it, its cost, and its owner's accuracies."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cimlab.config.arrays import device_name
from cimlab.config.errors import ConfigError, refuse
from cimlab.config.schema import CHOICE_NAME, TrainConfig
from cimlab.config.sources import source_hashes
from cimlab.records.identity import ALWAYS, selector
from cimlab.records.provenance import code_version, machine, package_versions
from cimlab.records.record import PHASES, RECORD_FILE, RunRecord, content_hash
from cimlab.runs.folders import made
from cimlab.runs.identity import conditions, unshaping
from cimlab.runs.planned import called, run_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cimlab.hardware.kept import KeptNetwork
    from cimlab.network.masks import Masks


@dataclass(frozen=True)
class Told:
    """What only the owner of a network knows.

    Args:
        model, data: plain names, which become part of file names.
        accuracy: phase -> test accuracy, 0 to 1; of all `PHASES`.
        training: setting -> value, of what else sets runs apart; runs that differ in it are never averaged.

    Raises:
        ConfigError: a name is not plain, a phase is missing or unknown, or an accuracy is no fraction.
    """

    model: str
    data: str
    accuracy: Mapping[str, float]
    training: Mapping[str, Any]

    def __post_init__(self) -> None:
        for key in ("model", "data"):
            if not CHOICE_NAME.fullmatch(name := getattr(self, key)):
                refuse(key, name, "must be a plain name of letters, digits, '.', '+', '-' and '_'")
        if set(self.accuracy) != set(PHASES):
            raise ConfigError(
                f"accuracy has {', '.join(self.accuracy) or 'nothing'}; give the test accuracy of each of "
                f"{', '.join(PHASES)}"
            )
        for phase, value in self.accuracy.items():
            if not (math.isfinite(value) and 0 <= value <= 1):
                refuse(f"accuracy of {phase}", value, "must be a fraction between 0 and 1, not a percentage")


@dataclass(frozen=True)
class Asked:
    """What was chosen, as composed.

    Args:
        settings: the whole configuration; plain: the same in plain containers.
        choices: group -> choice.
        used: keys of it that mean something without cimlab's training; only they are recorded.
    """

    settings: TrainConfig
    plain: Mapping[str, Any]
    choices: Mapping[str, str]
    used: Sequence[str]

    @property
    def config(self) -> dict[str, Any]:
        """The settings that are recorded."""
        return {key: self.plain[key] for key in self.used if key in self.plain}


def write_own(
    folder: Path,
    asked: Asked,
    told: Told,
    network: KeptNetwork,
    fields: Callable[[Path], dict[str, Any]],
) -> Path:
    """Write the record and its masks to a folder of their own below `folder`, as `cimlab train` does below outputs.

    Args:
        folder: where runs are kept.
        asked, told: settings, and what cimlab can't know.
        network: as measured; what it keeps and its activity, with `told`, make the run's hash.
        fields: place of the record -> the fields of `cimlab.runs.record.counted`.

    Returns:
        The record's file.

    Raises:
        OutputError, RecordError: the folder can't be written.
    """
    config = asked.config | ({"training": dict(told.training)} if told.training else {})
    choices = called(
        {group: choice for group, choice in asked.choices.items() if group in config}, asked.plain
    )
    choices |= {"model": told.model, "data": told.data, "device": device_name(asked.plain["device"])}
    accuracy = {phase: {"test": float(told.accuracy[phase])} for phase in PHASES}
    sources = source_hashes(asked.plain)
    shaping = selector(ALWAYS, TrainConfig, "run", conditions(asked.plain))(config)
    run = content_hash({
        "config": shaping, "model": told.model, "data": told.data, "accuracy": accuracy, "sources": sources,
        "masks": _digest(network.masks), "activity": network.activity.to_json(),
    })  # fmt: skip
    name = run_name(choices, asked.settings.prune, asked.settings.seed)
    file = folder / f"{name}-{run[:8]}" / RECORD_FILE
    with made(file.parent):
        record = RunRecord(
            run=run,
            name=name,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            seed=asked.settings.seed,
            choices=choices,
            config=config,
            uncounted=[key for key in unshaping(asked.plain) if key.split(".")[0] in config],
            sources=sources,
            code=code_version(),
            packages=package_versions(),
            machine=machine(),
            wall_time_s={},
            accuracy=accuracy,
            **fields(file),
        )
        record.write(file)
    return file


def _digest(masks: Masks) -> str:
    """SHA-256 over the masks, by name and in the weights' shapes."""
    found = hashlib.sha256()
    for name in sorted(masks):
        mask = masks[name]
        found.update(f"{name}{tuple(mask.shape)}".encode())
        found.update(mask.cpu().numpy().tobytes())
    return found.hexdigest()
