"""`cimlab train`: compose, check at the door, instantiate, run, and say what came of it."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from cimlab.cli import application, errors
from cimlab.cli.config import TrainConfig, check, chosen, plain_config
from cimlab.records.record import RECORD_FILE, RecordError, RunRecord, content_hash, write_atomically

if TYPE_CHECKING:
    from cimlab.training.experiment import Experiment

SHAPES_RESULT = (
    "model", "data", "granularity", "saliency", "schedule", "optimizer", "geometry", "prune", "mapping",
    "recipe", "seed",
)  # fmt: skip
SHAPES_DENSE = ("model", "data", "optimizer", "seed")
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
    "recipe",
    "trainer",
    "tracker",
)


def run(words: list[str]) -> int:
    """Run the command; 0, or raises what `errors.report` explains."""
    return application.run(application.Command("train", TrainConfig, train, show), words)


def show(records: list[RunRecord], config: DictConfig, many: bool) -> None:
    """The closing summary: one run as a table of its own, several side by side with a plot."""
    from rich.console import Console

    from cimlab.reporting.figures import accuracy_figure
    from cimlab.reporting.tables import comparison_table, run_table

    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print()
    if not many:
        console.print(run_table(records[0]))
        return
    console.print(comparison_table(records))
    figure = accuracy_figure(records, Path(config.paths.output_dir) / "accuracy.png")
    console.print(f"plot: {figure}", highlight=False, soft_wrap=True)


def train(config: DictConfig, all_choices: dict[str, str]) -> RunRecord:
    """One run from a composed configuration.

    Raises:
        ConfigError and the failures of `cimlab.training`, each one line.
    """
    checked = check(config, TrainConfig)
    plain = plain_config(config)
    choices = chosen(all_choices, GROUPS)
    run, dense_run = _identities(plain, checked)
    name = f"{choices['model']}-{choices['data']}-{choices['granularity']}-{checked.prune.remaining:g}-s{checked.seed}"
    run_dir = Path(checked.paths.output_dir) / f"{name}-{run[:8]}"
    record_file = run_dir / RECORD_FILE
    done = None if checked.rerun else _existing(record_file)
    if done is None:
        experiment = _assemble(checked, plain, choices, run, dense_run, name, run_dir)
        _require_writable(run_dir)
        _require_writable(experiment.dense_dir)
        experiment.data.prepare_data()
        write_atomically(run_dir / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
        done = _run(experiment)
    else:
        print(f"already done at commit {done.code['git_commit']}; rerun=true runs it again")
    print(f"record: {record_file}", flush=True)
    return done


def _identities(plain: dict[str, Any], config: TrainConfig) -> tuple[str, str]:
    """Content hashes of what shapes the run's result, and of what shapes its dense network.

    Folders, trackers, progress bars and reading processes are left out: they change no number.
    """
    numbers = {key: plain["trainer"].get(key) for key in SHAPES_NUMBERS}
    start = None if config.checkpoint is None else _file_hash(Path(config.checkpoint))

    def without_folder(group: str) -> Any:
        left_out = ("data_dir", "download", "num_workers") if group == "data" else ()
        node = plain[group]
        return {k: v for k, v in node.items() if k not in left_out} if left_out else node

    run = {group: without_folder(group) for group in SHAPES_RESULT} | {
        "trainer": numbers,
        "checkpoint": start,
    }
    dense: dict[str, Any] = {group: without_folder(group) for group in SHAPES_DENSE} | {"trainer": numbers}
    recipe = asdict(config.recipe)
    dense["recipe"] = {key: recipe[key] for key in SHAPES_DENSE_RECIPE}
    return content_hash(run), content_hash(dense)


def _file_hash(path: Path) -> str:
    import hashlib

    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as problem:
        raise errors.ConfigError(
            f"checkpoint={path}: {problem.strerror or problem}; give an existing file"
        ) from problem


def _existing(path: Path) -> RunRecord | None:
    """The record of an earlier run of the same content, if it is whole."""
    if not path.exists():
        return None
    try:
        return RunRecord.read(path)
    except RecordError as problem:
        print(f"cimlab: {problem}; this run makes it anew", file=sys.stderr)
        return None


def _require_writable(folder: Path) -> None:
    """Refuse before any compute what would fail at its end."""
    probe = folder / f".probe.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as problem:
        raise errors.OutputError(errors.unwritable(folder, problem)) from problem


def _assemble(
    config: TrainConfig,
    plain: dict[str, Any],
    choices: dict[str, str],
    run: str,
    dense_run: str,
    name: str,
    run_dir: Path,
) -> Experiment:
    """Instantiate the parts; torch is imported from here on, and nothing is read or written yet."""
    import torch
    from torch import nn

    from cimlab.cli.components import Component
    from cimlab.pruning.masks import PruningRule
    from cimlab.training.experiment import Experiment

    if config.trainer.accelerator == "gpu" and not torch.accelerator.is_available():
        errors.refuse("trainer.accelerator", "gpu", "torch finds no GPU here; use cpu or auto")

    def part(key: str, given: tuple[str, ...] = ()) -> Component:
        return Component(key, getattr(config, key), config.extensions, given)

    model = part("model", ("num_classes", "in_channels"))
    optimizer = part("optimizer", ("params",))
    rule = PruningRule(part("granularity").build(), part("saliency").build(), config.geometry)
    schedule = part("schedule").build()
    data = part("data").build()
    optimizer.build(
        nn.Linear(1, 1).parameters()
    )  # an impossible learning rate is refused here, not after loading

    def build_network() -> Any:
        return model.build(num_classes=data.num_classes, in_channels=data.in_channels)

    return Experiment(
        build_network=build_network,
        data=data,
        rule=rule,
        schedule=schedule,
        optimizer_factory=lambda groups: optimizer.build(groups),
        prune=config.prune,
        mapping=config.mapping,
        recipe=config.recipe,
        trainer=config.trainer,
        tracker=config.tracker,
        seed=config.seed,
        checkpoint=None if config.checkpoint is None else Path(config.checkpoint),
        run=run,
        dense_run=dense_run,
        name=name,
        run_dir=run_dir,
        dense_dir=Path(config.paths.dense_dir),
        config=plain,
        choices=choices,
    )


def _run(experiment: Experiment) -> RunRecord:
    from cimlab.pruning.allocation import PruningError
    from cimlab.training.experiment import run_experiment

    try:
        return run_experiment(experiment)
    except PruningError as problem:
        raise errors.ConfigError(f"prune: {problem}") from problem
