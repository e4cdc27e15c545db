"""`cimlab simulate`: a checkpoint on the analog arrays; accuracy by chip, signal-to-noise ratio by layer.

Read `_simulate` first.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass as plain_dataclass
from datetime import UTC, datetime
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from cimlab.config import errors
from cimlab.config.arrays import make_adc, make_device
from cimlab.config.described import tell
from cimlab.config.schema import check, check_plain, plain_config
from cimlab.progress import counting
from cimlab.records.failure import FAILURE_FILE
from cimlab.records.locks import locked
from cimlab.records.provenance import code_version, machine, package_versions
from cimlab.records.record import content_hash
from cimlab.records.simulation import SimulationRecord
from cimlab.runs.folders import made
from cimlab.runs.identity import counted
from cimlab.runs.planned import PlannedRun
from cimlab.runs.planned_simulation import (
    PlannedSimulation,
    SimulateConfig,
    finished_simulation,
    plan_simulation,
)

if TYPE_CHECKING:
    import torch
    from jaxtyping import Bool
    from torch import Tensor, nn

    from cimlab.analog.adcs.base import AdcRange
    from cimlab.analog.devices.base import Device
    from cimlab.analog.simulation import LayerFidelity
    from cimlab.data.base import ImageDataModule
    from cimlab.network.account import NetworkAccount
    from cimlab.network.masks import Masks
    from cimlab.network.off_arrays import OffArrays
    from cimlab.network.stored import Stored

_MEASURED: dict[str, Tensor] = {}
"""Which images were right in the passes of this process, by what shapes these."""
FIDELITY_IMAGES = 64
"""Images over which signal-to-noise ratios are taken: 10^4 to 10^6 outputs a layer."""


def simulate(
    config: DictConfig, all_choices: dict[str, str], lines: tuple[str, ...] = ()
) -> SimulationRecord:
    """One simulation from a composed configuration; `lines` are told once its checkpoint fits.

    Raises:
        ConfigError and the failures of `cimlab.analog` and `cimlab.data`, each one line.
    """
    checked = check(config, SimulateConfig)
    return plan_simulation(checked, plain_config(config), all_choices, lines=lines).perform()


def perform(planned: PlannedSimulation) -> SimulationRecord:
    """Do a simulation, unless its record exists.

    Raises:
        FolderLockError: another process is doing it.
        ConfigError and the failures of `cimlab.analog` and `cimlab.data`, each one line.
    """
    record = None if planned.config.rerun else finished_simulation(planned.record_file, planned.run)
    if record is None:
        with made(planned.run_dir), nullcontext() if planned.folder else locked(planned.run_dir):
            record = _simulate(planned)
            record.write(planned.record_file)
            (planned.run_dir / FAILURE_FILE).unlink(missing_ok=True)
    else:
        tell(planned.lines)
        print(f"already done at commit {record.code['git_commit']}; rerun=true runs it again")
    print(f"record: {planned.record_file}", flush=True)
    return record


def simulate_at_end(planned: PlannedRun, checkpoint: Path) -> None:
    """`cimlab simulate` of a run's network on the run's arrays, into the run's folder, and a line on what came of it.

    Raises:
        ConfigError and the failures of `cimlab.analog`, each one line.
    """
    config, plain = planned.config, planned.plain
    asked = {key: plain[key] for key in ("model", "data", "geometry", "adc", "device", "analog", "seed")}
    asked |= {key: value for key, value in plain["simulate"].items() if key != "at_end"}
    asked |= {
        "mapping": {key: plain["mapping"][key] for key in ("row_order", "placement")},
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
    unsure = abs(record.points_lost) < 2 * error
    small = ", less than twice that: other test images could reverse it" if unsure else ""
    return f"{lost} (standard error over the images {error:.2f}{small})"


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


def _simulate(planned: PlannedSimulation) -> SimulationRecord:
    """Load, convert, and run every chip over the test images."""
    import torch

    config = planned.config
    if config.threads:
        torch.set_num_threads(config.threads)
    subject = _loaded(config)
    started = time.perf_counter()
    on_arrays = _on_arrays(config, subject)
    tell(planned.lines)
    _tell_lossless(config, subject.adc)
    converted = time.perf_counter()
    measured = _measured(planned, subject, on_arrays)
    seconds = {"convert": converted - started, "simulate": time.perf_counter() - converted}
    return _recorded(planned, subject, on_arrays, measured, seconds)


@plain_dataclass(frozen=True)
class _Subject:
    """What a simulation is of: a network in floating point with a checkpoint's weights, and the parts of its arrays."""

    network: nn.Module
    data: ImageDataModule
    adc: AdcRange
    device: Device
    stored: Stored


def _loaded(config: SimulateConfig) -> _Subject:
    """Everything that the configuration names, built and read.

    Raises:
        ConfigError, CheckpointError, DataError: one line each.
    """
    from cimlab.config.components import Component
    from cimlab.crossbar.matrix import image_batch
    from cimlab.network.stored import read
    from cimlab.runs.parts import require_scores

    adc = make_adc(config.adc, config.extensions)
    device = make_device(config.device, config.extensions)
    data = Component("data", config.data, config.extensions).build()
    model = Component("model", config.model, config.extensions, ("num_classes", "in_channels"))
    data.prepare_data()
    network = model.build(num_classes=data.num_classes, in_channels=data.in_channels)
    assert config.checkpoint is not None
    stored = read(Path(config.checkpoint))
    stored.fill(network)
    require_scores(
        network, image_batch(network, (data.in_channels, data.image_size, data.image_size)), data.num_classes
    )
    network.eval()
    if config.analog.backend == "tensor_core":
        network.to(_cuda())
    data.setup("fit")
    data.setup("test")
    return _Subject(network, data, adc, device, stored)


@plain_dataclass(frozen=True)
class _OnArrays:
    """The subject's layers converted, what of it stays digital, and the first of the images that set its ranges."""

    network: nn.Module
    off_arrays: OffArrays
    images: Tensor


def _on_arrays(config: SimulateConfig, subject: _Subject) -> _OnArrays:
    """The network's layers on arrays.

    Raises:
        ConfigError: the checkpoint's order of lines is none of these layers'.
    """
    from cimlab.analog.convert import convert
    from cimlab.analog.learned_steps import learned_in
    from cimlab.analog.simulation import device_of
    from cimlab.crossbar.permutation import PermutationError
    from cimlab.network.account import account_of

    where = device_of(subject.network)
    batches = islice(subject.data.train_loader(), config.calibration_batches)
    calibration = [images.to(where) for images, _ in batches]
    account = account_of(subject.network, calibration[0], config.analog.digital)
    masks = _masks(subject.stored, subject.network, account)
    content = subject.stored.content
    try:
        network = convert(
            subject.network,
            masks,
            config.geometry,
            config.analog,
            subject.adc,
            calibration,
            content.get("permutation"),
            learned_in(content),
            config.mapping.placement,
        )
    except PermutationError as problem:
        raise errors.ConfigError(f"checkpoint {config.checkpoint}: analog: {problem}") from problem
    return _OnArrays(network, account.off_arrays, calibration[0])


@plain_dataclass(frozen=True)
class _Measured:
    """Which images are right in floating point, rounded, and on each chip; how far each layer of the first chip is."""

    floating: Bool[Tensor, " images"]
    quantised: Bool[Tensor, " images"]
    chips: list[Bool[Tensor, " images"]]
    fidelity: dict[str, LayerFidelity]


def _measured(planned: PlannedSimulation, subject: _Subject, on_arrays: _OnArrays) -> _Measured:
    """Run the network, its rounded twin and every chip over the test images; the arrays hold the last chip after."""
    from cimlab.analog.convert import analog_layers, program_draw
    from cimlab.analog.simulation import device_of, right

    config, network, converted = planned.config, subject.network, on_arrays.network
    images = sum(len(labels) for _, labels in _test_batches(subject.data, config.images))
    differ = subject.device.chips_differ or subject.adc.chips_differ
    draws = config.draws if differ else 1
    with counting("images", (draws + 2) * images) as advance:

        def on_test_images(some: nn.Module) -> Tensor:
            return right(some, _test_batches(subject.data, config.images), advance)

        floats, integers = _what_shapes_passes(planned, str(device_of(network)))
        floating = _once(floats, lambda: on_test_images(network), lambda: advance(images))
        quantised = _once(integers, lambda: on_test_images(converted), lambda: advance(images))
        chips, fidelity = [], {}
        for draw in range(draws):
            program_draw(converted, subject.device, config.seed, draw)
            if draw == 0:
                fidelity = _fidelity(config, subject, on_arrays)
            if all(layer.program.is_exact for layer in analog_layers(converted).values()):
                advance(images)
                chips.append(quantised)
            else:
                chips.append(on_test_images(converted))
    return _Measured(floating, quantised, chips, fidelity)


def _fidelity(config: SimulateConfig, subject: _Subject, on_arrays: _OnArrays) -> dict[str, LayerFidelity]:
    """How far each layer on the programmed arrays is from floating point."""
    from cimlab.analog.fold import fold_batch_norms
    from cimlab.analog.layout import laid_out
    from cimlab.analog.simulation import layer_fidelity

    images, _ = next(iter(_test_batches(subject.data, FIDELITY_IMAGES)))
    floating, _ = laid_out(subject.network, {}, on_arrays.images, config.analog)
    return layer_fidelity(on_arrays.network, fold_batch_norms(floating), images)


def _recorded(
    planned: PlannedSimulation,
    subject: _Subject,
    on_arrays: _OnArrays,
    measured: _Measured,
    seconds: dict[str, float],
) -> SimulationRecord:
    """What is kept of a simulation."""
    import torch

    from cimlab.analog.convert import analog_layers
    from cimlab.crossbar.placement import weight_counts

    mapped = [layer.mapping for layer in analog_layers(on_arrays.network).values()]
    return SimulationRecord(
        simulation=planned.run,
        name=planned.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seed=planned.config.seed,
        choices=planned.choices,
        config=planned.plain,
        code=code_version(),
        packages=package_versions(),
        machine={**machine(), "torch_threads": torch.get_num_threads()},
        wall_time_s=seconds,
        images=len(measured.floating),
        accuracy=_accuracies(measured),
        weights=weight_counts(
            sum(own.matrix.weights for own in mapped),
            sum(int(own.sliced.kept.sum()) for own in mapped),
            on_arrays.off_arrays.weights,
        ),
        layers=_layers(subject, on_arrays, measured.fidelity),
        origin=subject.stored.origin(),
    )


def _accuracies(measured: _Measured) -> dict[str, Any]:
    """Accuracy without arrays, chip by chip, and over the chips."""
    from cimlab.analog.simulation import Spread, accuracy, loss_error

    spread = Spread(tuple(map(accuracy, measured.chips)))
    return {
        "float": accuracy(measured.floating),
        "quantised": accuracy(measured.quantised),
        "draws": list(spread.draws),
        "mean": spread.mean,
        "loss_error": loss_error(measured.floating, measured.chips),
        "spread": spread.deviation,
        "interval": None if spread.interval is None else list(spread.interval),
    }


def _layers(
    subject: _Subject, on_arrays: _OnArrays, fidelity: dict[str, LayerFidelity]
) -> dict[str, dict[str, Any]]:
    """What each layer's converters do, and how far the layer is from floating point."""
    from cimlab.analog.convert import analog_layers

    return {
        name: {
            "adc_step": layer.program.converter.step,
            "exact": layer.program.is_exact,
            "fitted_on_ideal": subject.adc.needs_histogram and not subject.device.is_ideal,
            "snr_db": _finite(fidelity[name].accumulated),
            "own_snr_db": _finite(fidelity[name].own),
        }
        for name, layer in analog_layers(on_arrays.network).items()
    }


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
        "data_dir": str(Path(plain["data"].get("data_dir", "")).resolve()),  # sooner told than what lies in it
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
