"""`cimlab train`: compose, check at the door, instantiate, run, and say what came of it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from cimlab.config import errors
from cimlab.config.arrays import device_name, make_adc, make_device
from cimlab.config.schema import TrainConfig, check, check_plain, chosen, plain_config, shaping_data
from cimlab.records.failure import FAILURE_FILE
from cimlab.records.locks import locked
from cimlab.records.record import (
    RECORD_FILE,
    RecordError,
    Remembered,
    RunRecord,
    canonical,
    hash_of_texts,
    write_atomically,
)
from cimlab.runs.folders import file_hash, require_writable

if TYPE_CHECKING:
    from cimlab.training.callbacks import Judge
    from cimlab.training.experiment import Experiment

SHAPES_RESULT = (
    "model", "data", "granularity", "saliency", "schedule", "optimizer", "geometry", "technology",
    "adc_price", "chip", "prune", "mapping", "recipe", "seed",
)  # fmt: skip
SHAPES_DENSE = ("model", "data", "optimizer", "seed")
SHAPES_DENSE_RESIZING = ("share", "scale")
SHAPES_DENSE_RECIPE = ("epochs", "curve", "warmup", "label_smoothing")
SHAPES_NUMBERS = ("accelerator", "precision", "channels_last", "compile", "deterministic")
GROUPS = (
    "model",
    "data",
    "granularity",
    "saliency",
    "schedule",
    "optimizer",
    "geometry",
    "technology",
    "adc_price",
    "chip",
    "recipe",
    "trainer",
    "tracker",
)
OPTIONAL_GROUPS = ("distillation", "permutation", "sparsity", "quantisation", "resizing")
"""Means beyond pruning and training by themselves; one that has no choice is off, and no part of a run's identity."""
SHAPES_ROUNDING = ("digital", "row_order")
"""Of `analog`, what quantised retraining knows; it is nothing to other runs."""
SHAPES_AWARENESS = ("adc", "device")
"""The arrays whose errors hardware-aware retraining is told of; they are nothing to other runs."""


@dataclass(frozen=True)
class PlannedRun:
    """A run that was checked and has its name and place, but has not begun.

    Args:
        config: typed; plain: the same in plain containers, for the record.
        choices: group -> choice.
        run, dense_run: content hashes of what shapes the result, and the dense network.
        grid: the experiment file that the run is a point of.
    """

    config: TrainConfig
    plain: dict[str, Any]
    choices: dict[str, str]
    run: str
    dense_run: str
    grid: str | None = None

    @property
    def name(self) -> str:
        """Readable, unique together with the hash."""
        c = self.choices
        budget = f"{self.config.prune.remaining:g}-s{self.config.seed}"
        return f"{c['model']}-{c['data']}-{c['granularity']}-{budget}"

    @property
    def run_dir(self) -> Path:
        """Where the run's files go."""
        return Path(self.config.paths.output_dir) / f"{self.name}-{self.run[:8]}"


def train(config: DictConfig, all_choices: dict[str, str]) -> RunRecord:
    """One run from a composed configuration.

    Raises:
        ConfigError and the failures of `cimlab.training`, each one line.
    """
    return perform(plan(check(config, TrainConfig), plain_config(config), all_choices))


def plan(
    config: TrainConfig,
    plain: dict[str, Any],
    all_choices: dict[str, str],
    text_of: Remembered | None = None,
) -> PlannedRun:
    """Give a checked configuration its identity; planning many, give each the same `text_of`."""
    return PlannedRun(
        config,
        plain,
        chosen(all_choices, GROUPS, (*OPTIONAL_GROUPS, "adc")),
        *identities(plain, config, text_of),
        all_choices.get("experiments"),
    )


def perform(planned: PlannedRun, judge: Judge | None = None) -> RunRecord:
    """Do a run, unless its record exists; a judge may end its retraining early.

    Raises:
        FolderLockError: another process is doing it.
        Hopeless: the judge ended it.
        ConfigError and the failures of `cimlab.training`, each one line.
    """
    record_file = planned.run_dir / RECORD_FILE
    done = None if planned.config.rerun else _existing(record_file)
    if done is None:
        experiment = replace(assemble(planned), judge=judge)
        require_writable(planned.run_dir)
        require_writable(experiment.dense_dir)
        experiment.data.prepare_data()
        with locked(planned.run_dir):
            done = None if planned.config.rerun else _existing(record_file, tell=False)
            if done is None:  # and not finished by another process since the first look
                text = OmegaConf.to_yaml(OmegaConf.create(planned.plain))
                write_atomically(planned.run_dir / "config.yaml", text)
                done = _run(experiment)
                (planned.run_dir / FAILURE_FILE).unlink(missing_ok=True)
    else:
        print(f"already done at commit {done.code['git_commit']}; rerun=true runs it again")
        if planned.config.simulate.at_end:
            from cimlab.training.checkpoints import NETWORK_FILE

            simulate_at_end(planned, planned.run_dir / NETWORK_FILE)
    print(f"record: {record_file}", flush=True)
    return done


def identities(
    plain: dict[str, Any], config: TrainConfig, text_of: Remembered | None = None
) -> tuple[str, str]:
    """Content hashes of what shapes the run's result, and of what shapes its dense network.

    Folders, trackers, progress bars and reading processes are left out: they change no number.
    """
    text_of = text_of or Remembered()
    start = None if config.checkpoint is None else file_hash(Path(config.checkpoint))
    select = {"data": shaping_data, "trainer": _shaping_numbers}
    run = {key: text_of(plain[key], select.get(key)) for key in (*SHAPES_RESULT, "trainer")}
    run["checkpoint"] = canonical(start)
    run |= {key: text_of(plain[key]) for key in OPTIONAL_GROUPS if plain.get(key) is not None}
    if config.quantisation is not None:
        aware = SHAPES_AWARENESS if config.quantisation.hardware_aware else ()
        run |= {key: text_of(plain[key]) for key in aware}
        run["analog"] = canonical({key: plain["analog"][key] for key in SHAPES_ROUNDING})
    dense = {key: run[key] for key in (*SHAPES_DENSE, "trainer")}
    if config.resizing is not None:
        dense["resizing"] = canonical({key: plain["resizing"][key] for key in SHAPES_DENSE_RESIZING})
    dense["recipe"] = canonical({key: getattr(config.recipe, key) for key in SHAPES_DENSE_RECIPE})
    return hash_of_texts(run), hash_of_texts(dense)


def _shaping_numbers(trainer: dict[str, Any]) -> dict[str, Any]:
    return {key: trainer.get(key) for key in SHAPES_NUMBERS}


def _existing(path: Path, tell: bool = True) -> RunRecord | None:
    """The record of an earlier run of the same content, if it is whole."""
    if not path.exists():
        return None
    try:
        return RunRecord.read(path)
    except RecordError as problem:
        if tell:
            print(f"cimlab: {problem}; this run makes it anew", file=sys.stderr)
        return None


def assemble(planned: PlannedRun) -> Experiment:
    """Instantiate the parts; torch is imported from here on, and nothing is read or written yet."""
    import torch
    from torch import nn

    from cimlab.analog.convert import require_convertible
    from cimlab.config.components import Component
    from cimlab.config.hardware import make_cost_model, refuse_unpriceable
    from cimlab.pruning.masks import PruningRule
    from cimlab.training.experiment import Experiment
    from cimlab.training.quantisation import Quantisation

    config = planned.config
    accelerated = torch.accelerator.is_available()
    if config.trainer.accelerator == "gpu" and not accelerated:
        errors.refuse("trainer.accelerator", "gpu", "torch finds no GPU here; use cpu or auto")
    if config.trainer.accelerator == "cpu" or not accelerated:
        _tell_of_emulation(config.trainer.precision)
    _refuse_devices(config)

    def part(key: str, given: tuple[str, ...] = ()) -> Component:
        return Component(key, getattr(config, key), config.extensions, given)

    model = part("model", ("num_classes", "in_channels"))
    optimizer = part("optimizer", ("params",))
    rule = PruningRule(part("granularity").build(), part("saliency").build(), config.geometry)
    schedule = part("schedule").build()
    data = part("data").build()
    # an impossible learning rate is refused here, not after loading
    optimizer.build(nn.Linear(1, 1).parameters())
    cost = make_cost_model(
        config.technology, config.adc_price, config.chip, planned.choices, config.extensions
    )
    refuse_unpriceable(cost, config.geometry)
    adc, device = make_adc(config.adc, config.extensions), make_device(config.device, config.extensions)
    quantisation = None
    if config.quantisation is not None:
        _refuse_untrainable(config)
        quantisation = Quantisation(
            config.quantisation, config.geometry, config.analog, adc, device, config.seed
        )

    def build_network() -> Any:
        network = model.build(num_classes=data.num_classes, in_channels=data.in_channels)
        if config.simulate.at_end:
            require_convertible(network, config.geometry, config.analog)
        return network

    return Experiment(
        build_network=build_network,
        data=data,
        rule=rule,
        schedule=schedule,
        optimizer_factory=lambda groups: optimizer.build(groups),
        prune=config.prune,
        mapping=config.mapping,
        cost=cost,
        recipe=config.recipe,
        trainer=config.trainer,
        tracker=replace(config.tracker, group=config.tracker.group or planned.grid),
        seed=config.seed,
        checkpoint=None if config.checkpoint is None else Path(config.checkpoint),
        run=planned.run,
        dense_run=planned.dense_run,
        name=planned.name,
        run_dir=planned.run_dir,
        dense_dir=Path(config.paths.dense_dir),
        config=planned.plain,
        choices=planned.choices,
        again=partial(assemble, planned),
        distillation=config.distillation,
        permutation=config.permutation,
        sparsity=config.sparsity,
        quantisation=quantisation,
        resizing=config.resizing,
        analog=config.analog,
        before_record=partial(simulate_at_end, planned) if config.simulate.at_end else None,
    )


@cache  # once a process, not once a run
def _tell_of_emulation(precision: str) -> None:
    import torch

    if precision == "bf16-mixed" and torch.backends.cpu.get_cpu_capability() == "AVX2":
        print(
            "cimlab: trainer.precision=bf16-mixed: this processor has no AVX-512, so bfloat16 is emulated, about "
            "ten times slower than float32; trainer=default is float32",
            file=sys.stderr,
            flush=True,
        )


def _refuse_untrainable(config: TrainConfig) -> None:
    """Refuse what quantised training can't do, before anything is loaded.

    Raises:
        ConfigError: bits out of range, or settings that don't go with it.
    """
    from cimlab.analog.errors import AnalogError
    from cimlab.analog.fake_quantise import require_trainable

    try:
        require_trainable(config.geometry)
    except AnalogError as problem:
        raise errors.ConfigError(str(problem)) from problem
    if config.trainer.compile:
        errors.refuse(
            "trainer.compile", "true", "quantised retraining runs uncompiled; set trainer.compile=false"
        )
    if config.trainer.devices != 1:
        errors.refuse("trainer.devices", config.trainer.devices, "quantised retraining runs on one device")


def simulate_at_end(planned: PlannedRun, checkpoint: Path) -> None:
    """`cimlab simulate` of the run's network on the run's arrays, into the run's folder.

    Raises:
        ConfigError and the failures of `cimlab.analog`, each one line.
    """
    from cimlab.runs import simulate

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
    choices = {group: planned.choices[group] for group in simulate.GROUPS}
    choices["device"] = device_name(config.device)
    simulate.perform(check_plain(asked, simulate.SimulateConfig), asked, choices, checkpoint.parent)


def _refuse_devices(config: TrainConfig) -> None:
    """Refuse more devices than there are, or than a batch can be shared among, and what was only tried on one.

    Raises:
        ConfigError: says how many may be used, or what to turn off.
    """
    import torch

    devices, batch = config.trainer.devices, config.data.get("batch_size")
    if devices == 1:
        return
    gpus = torch.accelerator.device_count() if config.trainer.accelerator != "cpu" else 0
    there, kind = (gpus, "GPUs") if gpus else (os.cpu_count() or 1, "processor cores")
    if devices > there:
        errors.refuse("trainer.devices", devices, f"this machine has {there} {kind}; use at most so many")
    if config.trainer.compile:
        errors.refuse("trainer.compile", "true", "was tried on one device only; set trainer.compile=false")
    if isinstance(batch, int) and batch % devices:
        errors.refuse(
            "trainer.devices", devices, f"each device takes an equal part of data.batch_size={batch}"
        )


def check_parts(planned: PlannedRun) -> None:
    """Build the parts of a run and throw them away; reads and writes nothing.

    Raises:
        ConfigError: a part refuses its arguments.
    """
    assemble(planned)


def _run(experiment: Experiment) -> RunRecord:
    from cimlab.pruning.allocation import PruningError
    from cimlab.training.experiment import run_experiment

    try:
        return run_experiment(experiment)
    except PruningError as problem:
        raise errors.ConfigError(f"prune: {problem}") from problem
