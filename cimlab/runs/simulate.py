"""`cimlab simulate`: a checkpoint on the analog arrays; accuracy by chip, signal-to-noise ratio by layer."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass as plain_dataclass
from dataclasses import field
from datetime import UTC, datetime
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from omegaconf import DictConfig
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from cimlab.analog.settings import AnalogSettings
from cimlab.config import errors
from cimlab.config.arrays import device_name, make_adc, make_device
from cimlab.config.described import tell
from cimlab.config.schema import DATA, MODEL, check, check_plain, plain_config
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.progress import counting
from cimlab.records.failure import FAILURE_FILE
from cimlab.records.identity import NEVER
from cimlab.records.locks import locked
from cimlab.records.provenance import code_version, machine, package_versions
from cimlab.records.record import RecordError, content_hash
from cimlab.records.simulation import SIMULATION_FILE, SimulationRecord
from cimlab.runs.folders import file_hash, made
from cimlab.runs.identity import counted
from cimlab.runs.planned import PlannedRun, called

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from cimlab.analog.adcs.base import AdcRange
    from cimlab.analog.devices.base import Device
    from cimlab.data.base import ImageDataModule
    from cimlab.network.account import NetworkAccount
    from cimlab.network.masks import Masks
    from cimlab.network.stored import Stored

GROUPS = ("model", "data", "geometry", "adc")
_MEASURED: dict[str, Tensor] = {}
"""Which images were right in the passes of this process, by what shapes these."""
FIDELITY_IMAGES = 64
"""Images over which signal-to-noise ratios are taken: 10^4 to 10^6 outputs a layer."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SimulationPaths:
    """Where files are.

    Args:
        data_dir: data sets.
        output_dir: simulations, one folder each.
    """

    data_dir: str
    output_dir: str


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SimulateConfig:
    """Everything `cimlab simulate` reads; components are `_target_` nodes, and so are a device's effects."""

    model: MODEL
    data: DATA
    geometry: CrossbarGeometry
    adc: dict[str, Any]
    device: dict[str, Any]
    analog: AnalogSettings
    paths: Annotated[SimulationPaths, NEVER]
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    draws: Annotated[int, Field(ge=1, le=10_000)]
    calibration_batches: Annotated[int, Field(ge=1)]
    images: Annotated[int, Field(ge=1)] | None = None
    threads: Annotated[Annotated[int, Field(ge=1)] | None, NEVER] = None
    checkpoint: str | None = None
    rerun: Annotated[bool, NEVER] = False
    extensions: Annotated[list[str], NEVER] = field(default_factory=list)


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
        record = None if self.config.rerun else finished_simulation(self.record_file, self.run)
        if record is None:
            with made(self.run_dir), contextlib.nullcontext() if self.folder else locked(self.run_dir):
                record = _simulate(self)
                record.write(self.record_file)
                (self.run_dir / FAILURE_FILE).unlink(missing_ok=True)
        else:
            tell(self.lines)
            print(f"already done at commit {record.code['git_commit']}; rerun=true runs it again")
        print(f"record: {self.record_file}", flush=True)
        return record


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
    run = content_hash(counted(plain, SimulateConfig) | {"checkpoint": checkpoint})
    return PlannedSimulation(config, plain, choices, checkpoint, run, folder, lines)


def simulate(
    config: DictConfig, all_choices: dict[str, str], lines: tuple[str, ...] = ()
) -> SimulationRecord:
    """One simulation from a composed configuration; `lines` are told once its checkpoint fits.

    Raises:
        ConfigError and the failures of `cimlab.analog` and `cimlab.data`, each one line.
    """
    checked = check(config, SimulateConfig)
    return plan_simulation(checked, plain_config(config), all_choices, lines=lines).perform()


def simulate_at_end(planned: PlannedRun, checkpoint: Path) -> None:
    """`cimlab simulate` of a run's network on the run's arrays, into the run's folder, and a line on what came of it.

    Raises:
        ConfigError and the failures of `cimlab.analog`, each one line.
    """
    config, plain = planned.config, planned.plain
    asked = {key: plain[key] for key in ("model", "data", "geometry", "adc", "device", "analog", "seed")}
    asked |= {key: value for key, value in plain["simulate"].items() if key != "at_end"}
    asked |= {
        "paths": {key: plain["paths"][key] for key in ("data_dir", "output_dir")},
        "threads": config.trainer.threads,
        "checkpoint": str(checkpoint),
        "rerun": config.rerun,
        "extensions": config.extensions,
    }
    at_end = plan_simulation(check_plain(asked, SimulateConfig), asked, planned.choices, checkpoint.parent)
    record = at_end.perform()
    on_arrays, rounded, floating = (
        f"{100 * record.accuracy[key]:.2f} %" for key in ("mean", "quantised", "float")
    )
    print(
        f"on the analog arrays: {on_arrays} of {record.images:,} test images, with rounded weights and inputs alone "
        f"{rounded}, in floating point {floating}: {_lost(record)}"
    )


def _lost(record: SimulationRecord) -> str:
    """The points that the arrays lose, and whether the choice of images could have made them."""
    lost = f"{abs(record.points_lost):.2f} points {'gained' if record.points_lost < 0 else 'lost'}"
    error = record.points_lost_error
    if error is None:
        return lost
    small = ", which other images may turn" if abs(record.points_lost) < 2 * error else ""
    return f"{lost}{small} (standard error over the images {error:.2f})"


def _tell_lossless(config: SimulateConfig, adc: AdcRange) -> None:
    """A line where the converters were given as many bits as no sum needs more, and so cost no accuracy."""
    geometry = config.geometry
    if geometry.adc_bits is None or adc.chips_differ:
        return
    if geometry.adc_bits >= (enough := geometry.lossless_adc_bits):
        print(
            f"note: {enough} ADC bits lose nothing with geometry.active_rows={geometry.active_rows}: "
            f"geometry.adc_bits={geometry.adc_bits} costs no accuracy; fewer may",
            flush=True,
        )


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


def _parts(config: SimulateConfig) -> tuple[nn.Module, ImageDataModule, AdcRange, Device]:
    """Everything that the configuration names, built; the data set is checked but not loaded."""
    from cimlab.config.components import Component

    adc = make_adc(config.adc, config.extensions)
    device = make_device(config.device, config.extensions)
    data = Component("data", config.data, config.extensions).build()
    model = Component("model", config.model, config.extensions, ("num_classes", "in_channels"))
    data.prepare_data()
    network = model.build(num_classes=data.num_classes, in_channels=data.in_channels)
    return network, data, adc, device


def _simulate(planned: PlannedSimulation) -> SimulationRecord:
    """Load, convert, and run every chip over the test images."""
    import torch

    from cimlab.analog.convert import analog_layers, convert, program_draw
    from cimlab.analog.fold import fold_batch_norms
    from cimlab.analog.layout import laid_out
    from cimlab.analog.learned_steps import learned_in
    from cimlab.analog.simulation import Spread, accuracy, device_of, layer_fidelity, loss_error, right
    from cimlab.crossbar.matrix import image_batch
    from cimlab.crossbar.permutation import PermutationError
    from cimlab.crossbar.placement import weight_counts
    from cimlab.network.account import account_of
    from cimlab.network.stored import read
    from cimlab.runs.parts import require_scores

    config = planned.config
    if config.threads:
        torch.set_num_threads(config.threads)
    network, data, adc, device = _parts(config)
    assert config.checkpoint is not None
    stored = read(Path(config.checkpoint))
    stored.fill(network)
    shape = (data.in_channels, data.image_size, data.image_size)
    require_scores(network, image_batch(network, shape), data.num_classes)
    origin, content = stored.origin(), stored.content
    network.eval()
    if config.analog.backend == "tensor_core":
        network.to(_cuda())
    data.setup("fit")
    data.setup("test")
    started = time.perf_counter()
    where = device_of(network)
    calibration = [images.to(where) for images, _ in islice(data.train_loader(), config.calibration_batches)]
    account = account_of(network, calibration[0], config.analog.digital)
    masks = _masks(stored, network, account)
    permutation = content.get("permutation")
    learned = learned_in(content)
    try:
        converted = convert(
            network, masks, config.geometry, config.analog, adc, calibration, permutation, learned
        )
    except PermutationError as problem:
        raise errors.ConfigError(f"checkpoint {config.checkpoint}: analog: {problem}") from problem
    tell(planned.lines)
    _tell_lossless(config, adc)
    seconds = {"convert": time.perf_counter() - started}
    started = time.perf_counter()
    images = sum(len(labels) for _, labels in _test_batches(data, config.images))
    chips = config.draws if device.chips_differ or adc.chips_differ else 1
    draws = []
    with counting("images", (chips + 2) * images) as advance:

        def on_test_images(some: nn.Module) -> Tensor:
            return right(some, _test_batches(data, config.images), advance)

        floats, integers = _what_shapes_passes(planned, str(where))
        floating = _once(floats, lambda: on_test_images(network), lambda: advance(images))
        quantised = _once(integers, lambda: on_test_images(converted), lambda: advance(images))
        for draw in range(chips):
            program_draw(converted, device, config.seed, draw)
            if draw == 0:
                some = next(iter(_test_batches(data, FIDELITY_IMAGES)))[0]
                floating_layers, _ = laid_out(network, {}, calibration[0], config.analog)
                fidelity = layer_fidelity(converted, fold_batch_norms(floating_layers), some)
            if all(layer.program.is_exact for layer in analog_layers(converted).values()):
                advance(images)
                draws.append(quantised)
            else:
                draws.append(on_test_images(converted))
    seconds["simulate"] = time.perf_counter() - started
    spread = Spread(tuple(map(accuracy, draws)))
    layers = {
        layer: {
            "adc_step": module.program.converter.step,
            "exact": module.program.is_exact,
            "fitted_on_ideal": adc.needs_histogram and not device.is_ideal,
            "snr_db": _finite(fidelity[layer].accumulated),
            "own_snr_db": _finite(fidelity[layer].own),
        }
        for layer, module in analog_layers(converted).items()
    }
    kept = [module.mapping.sliced for module in analog_layers(converted).values()]
    return SimulationRecord(
        simulation=planned.run,
        name=planned.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seed=config.seed,
        choices=planned.choices,
        config=planned.plain,
        code=code_version(),
        packages=package_versions(),
        machine={**machine(), "torch_threads": torch.get_num_threads()},
        wall_time_s=seconds,
        images=images,
        accuracy={
            "float": accuracy(floating),
            "quantised": accuracy(quantised),
            "draws": list(spread.draws),
            "mean": spread.mean,
            "loss_error": loss_error(floating, draws),
            "spread": spread.deviation,
            "interval": None if spread.interval is None else list(spread.interval),
        },
        weights=weight_counts(
            sum(s.weights.numel() for s in kept),
            sum(int(s.kept.sum()) for s in kept),
            account.off_arrays.weights,
        ),
        layers=layers,
        origin=origin,
    )


def _masks(stored: Stored, network: nn.Module, account: NetworkAccount) -> Masks:
    """What is kept of the weights, as `cimlab map` reads it, with a line on what that rests on."""
    masks, basis = stored.masks(network, [weight.name for weight in account.on_arrays])
    for note in stored.notes:
        print(f"cimlab: {note}", file=sys.stderr)
    print(f"weights: {stored.path}, {basis}", flush=True)
    return masks


def _what_shapes_passes(planned: PlannedSimulation, where: str) -> tuple[str, str]:
    """Content hashes of what shapes the accuracy in floating point, and that on ideal cells and lossless ADCs.

    The second is the integer matrix product whatever the array, its devices and its ADCs are.
    """
    import torch

    config, plain = planned.config, planned.plain
    floats = {
        "checkpoint": planned.checkpoint, "model": plain["model"], "data": counted(plain, SimulateConfig)["data"],
        "images": config.images, "threads": torch.get_num_threads(), "device": where,
    }  # fmt: skip
    integers = {
        "weight_bits": config.geometry.weight_bits, "input_bits": config.geometry.input_bits,
        "analog": plain["analog"], "seed": config.seed, "calibration_batches": config.calibration_batches,
    }  # fmt: skip
    return content_hash(floats), content_hash(floats | integers)


def _once(shapes: str, measure: Callable[[], Tensor], skipped: Callable[[], None]) -> Tensor:
    """A pass that the points of a grid in one process share; `skipped` is called where it was known."""
    if shapes in _MEASURED:
        skipped()
    else:
        _MEASURED[shapes] = measure()
    return _MEASURED[shapes]


def _cuda() -> torch.device:
    import torch

    if not torch.cuda.is_available():
        errors.refuse("analog.backend", "tensor_core", "it needs a CUDA device; use analog.backend=auto")
    return torch.device("cuda")


def _finite(ratio: float) -> float | None:
    return ratio if isfinite(ratio) else None


def _test_batches(data: ImageDataModule, images: int | None) -> Iterator[tuple[Tensor, Tensor]]:
    """Test batches, the first `images` of them."""
    left = images
    for pixels, labels in data.test_loader():
        yield pixels[:left], labels[:left]
        if left is not None:
            left -= len(labels[:left])
            if left <= 0:
                return
