"""A simulation that was checked and has its name and place, but has not begun."""

from __future__ import annotations

import sys
from dataclasses import dataclass as plain_dataclass
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from cimlab.analog.settings import AnalogSettings
from cimlab.config import errors
from cimlab.config.arrays import device_name, make_adc, make_device
from cimlab.config.schema import DATA, MODEL, Folder, refuse_two_row_orders
from cimlab.crossbar.geometry import CrossbarGeometry, GeometryError
from cimlab.crossbar.rules import PlacementMode, RowOrder
from cimlab.records.identity import NEVER, only_where, within
from cimlab.records.record import RecordError, content_hash
from cimlab.records.simulation import SIMULATION_FILE, SimulationRecord
from cimlab.runs.folders import file_hash
from cimlab.runs.identity import counted
from cimlab.runs.planned import called

GROUPS = ("model", "data", "geometry", "adc")


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SimulationPaths:
    """Where files are.

    Args:
        data_dir: data sets.
        output_dir: simulations, one folder each.
    """

    data_dir: Folder
    output_dir: Folder


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Laid:
    """How masked weights are laid on arrays.

    Args:
        row_order: order of a convolution's rows on the wordlines, which `analog` is told.
        placement: gathered, or one of the others, whose steps add up the same rows.
    """

    row_order: RowOrder = "channel_major"
    placement: PlacementMode = "compacted"


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SimulateConfig:
    """Everything `cimlab simulate` reads; components are `_target_` nodes, and so are a device's effects."""

    model: MODEL
    data: DATA
    geometry: CrossbarGeometry
    adc: dict[str, Any]
    device: dict[str, Any]
    analog: AnalogSettings
    mapping: Annotated[Laid, within(only_where("gathered"), row_order=NEVER)]
    paths: Annotated[SimulationPaths, NEVER]
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    draws: Annotated[int, Field(ge=1, le=10_000)]
    calibration_batches: Annotated[int, Field(ge=1)]
    images: Annotated[int, Field(ge=1)] | None = None
    threads: Annotated[Annotated[int, Field(ge=1)] | None, NEVER] = None
    checkpoint: str | None = None
    rerun: Annotated[bool, NEVER] = False
    extensions: Annotated[list[str], NEVER] = field(default_factory=list)

    def __post_init__(self) -> None:
        refuse_two_row_orders(self.analog, self.mapping.row_order)
        if self.mapping.placement == "gathered":
            try:
                self.geometry.refuse_to_gather()
            except GeometryError as problem:
                raise ValueError(str(problem)) from problem


@plain_dataclass(frozen=True)
class PlannedSimulation:
    """A simulation that was checked and has its name and place, but has not begun.

    Args:
        config: typed; its checkpoint is given.
        plain: the same in plain containers, for the record.
        choices: group -> choice.
        checkpoint: hash of the checkpoint's bytes.
        run: content hash of what shapes the result.
        folder: where its record goes; None is a folder of its own below paths.output_dir.
        lines: to be told once the checkpoint fits.
    """

    config: SimulateConfig
    plain: dict[str, Any]
    choices: dict[str, str]
    checkpoint: str
    run: str
    folder: Path | None = None
    lines: tuple[str, ...] = ()
    dense_run: ClassVar[str] = ""

    @property
    def name(self) -> str:
        """Readable, unique together with the hash."""
        bits, c = self.config.geometry.resolution_bits, self.choices
        return f"simulate-{c['model']}-{c['data']}-{c['adc']}-{bits}b-s{self.config.seed}"

    @property
    def run_dir(self) -> Path:
        """Where its files go."""
        return self.folder or Path(self.config.paths.output_dir) / f"{self.name}-{self.run[:8]}"

    @property
    def record_file(self) -> Path:
        """Its record."""
        return self.run_dir / SIMULATION_FILE

    def check(self) -> None:
        """Build the parts and throw them away; reads and writes nothing.

        Raises:
            ConfigError: a part refuses its arguments.
        """
        make_adc(self.config.adc, self.config.extensions)
        make_device(self.config.device, self.config.extensions)

    def perform(self) -> SimulationRecord:
        """Do it, unless its record exists.

        Raises:
            FolderLockError: another process is doing it.
            ConfigError and the failures of `cimlab.analog` and `cimlab.data`, each one line.
        """
        from cimlab.runs.simulate import perform

        return perform(self)


def plan_simulation(
    config: SimulateConfig,
    plain: dict[str, Any],
    all_choices: dict[str, str],
    folder: Path | None = None,
    lines: tuple[str, ...] = (),
) -> PlannedSimulation:
    """Give a checked configuration its identity.

    Raises:
        ConfigError: no checkpoint is named, or it can't be read.
    """
    if config.checkpoint is None:
        errors.refuse("checkpoint", "null", "name the network.pt of a run, checkpoint=outputs/RUN/network.pt")
    choices = called({group: all_choices[group] for group in GROUPS}, plain)
    choices["device"] = device_name(config.device)
    checkpoint = file_hash(Path(config.checkpoint))
    known = frozenset({"gathered"} if config.mapping.placement == "gathered" else ())
    run = content_hash(counted(plain, SimulateConfig, known) | {"checkpoint": checkpoint})
    return PlannedSimulation(config, plain, choices, checkpoint, run, folder, lines)


def finished_simulation(path: Path, run: str) -> SimulationRecord | None:
    """The record of an earlier simulation of the same content, if it is whole."""
    if not path.exists():
        return None
    try:
        record = SimulationRecord.read(path)
    except RecordError as problem:
        print(f"cimlab: {problem}; this simulation makes it anew", file=sys.stderr)
        return None
    return record if record.simulation == run else None
