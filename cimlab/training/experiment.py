"""One experiment, from nothing to a record: dense training, pruning with retraining, test, mapping.

The story reads top to bottom in `run_experiment`. A dense network is trained once and found again by the hash
of what defines it; either phase, killed, goes on from its last epoch by the same command.
"""

from __future__ import annotations

import functools
import os
import sys
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from cimlab.analog.settings import AnalogSettings
from cimlab.crossbar.matrix import CrossbarMatrix, network_matrices
from cimlab.crossbar.permutation import stored
from cimlab.crossbar.placement import Counts, NetworkPlacement
from cimlab.data.base import ImageDataModule
from cimlab.hardware.accelerator import Accelerator
from cimlab.hardware.cost import CostModel
from cimlab.hardware.kept import keep
from cimlab.hardware.price import price_placement
from cimlab.hardware.report import CostComparison
from cimlab.pruning.allocation import Budget
from cimlab.pruning.masks import Masks, PruningRule, make_masks
from cimlab.pruning.permutation import Gathered, Lines, gather
from cimlab.pruning.schedules import Schedule
from cimlab.records.history import read_rows
from cimlab.records.locks import locked
from cimlab.records.provenance import code_version, machine, package_versions
from cimlab.records.record import RECORD_FILE, RunRecord
from cimlab.training import checkpoints
from cimlab.training.budget import budget_of, prunable_matrices
from cimlab.training.callbacks import CimMapping, EpochReport, Judge, SeedEpochs, hardware_metrics, tracked
from cimlab.training.charts import charts
from cimlab.training.checkpoints import CheckpointError
from cimlab.training.costing import CALIBRATED, measured_activity
from cimlab.training.distillation import Teacher
from cimlab.training.learning_rate import RateCurve, dense_curve, retrain_curve
from cimlab.training.module import Classifier, OptimizerFactory, TrainingError
from cimlab.training.parallel import Rank, company
from cimlab.training.prune_retrain import PruneRetrain
from cimlab.training.quantisation import Quantisation, QuantisedTraining
from cimlab.training.resizing import require_resizable
from cimlab.training.settings import (
    AdmmSettings,
    DistillationSettings,
    MappingSettings,
    PermutationSettings,
    PruneSettings,
    Recipe,
    ResizingSettings,
    TrackerSettings,
    TrainerSettings,
)
from cimlab.training.sparsity import AdmmTraining
from cimlab.training.tracking import Shown, Tracker, make_tracker

Weights = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True, eq=False)
class Experiment:
    """Everything one run needs, as plain objects.

    Args:
        build_network: makes the network, weights initialised; called after seeding.
        data: the data set, prepared but not loaded.
        rule: granularity, saliency, geometry.
        schedule: when to prune.
        optimizer_factory: parameter groups to optimiser.
        cost: what the mapped network is priced with.
        seed: of everything.
        checkpoint: dense weights to start from instead of training; None trains or finds them.
        run: content hash of the run; dense_run: of its dense phase.
        name: readable name.
        run_dir: where the run's files go; dense_dir: where dense networks are kept.
        config: the resolved configuration, for the record.
        choices: group -> choice, for the record.
        again: makes the same experiment in another process, for fits on several devices.
        distillation: how retraining listens to the dense network; None: not at all.
        permutation: which lines are reordered on the arrays before pruning; None: none.
        sparsity: how retraining begins with ADMM; None: it does not.
        quantisation: how retraining rounds; None: not at all.
        resizing: how training begins on smaller images; None: it does not.
        before_record: called with the saved network, before the record says that all is done.
        judge: may end the retraining early; None: never.
        analog: how the network is turned into integers.
    """

    build_network: Callable[[], nn.Module]
    data: ImageDataModule
    rule: PruningRule
    schedule: Schedule
    optimizer_factory: OptimizerFactory
    prune: PruneSettings
    mapping: MappingSettings
    cost: CostModel
    recipe: Recipe
    trainer: TrainerSettings
    tracker: TrackerSettings
    seed: int
    checkpoint: Path | None
    run: str
    dense_run: str
    name: str
    run_dir: Path
    dense_dir: Path
    config: dict[str, Any]
    choices: dict[str, str]
    again: Callable[[], Experiment]
    distillation: DistillationSettings | None = None
    permutation: PermutationSettings | None = None
    sparsity: AdmmSettings | None = None
    quantisation: Quantisation | None = None
    resizing: ResizingSettings | None = None
    before_record: Callable[[Path], None] | None = None
    judge: Judge | None = None
    analog: AnalogSettings = CALIBRATED

    @property
    def budget(self) -> Budget:
        """The pruning budget that the settings describe."""
        return budget_of(self.prune)


def run_experiment(experiment: Experiment) -> RunRecord:
    """Train (or find) the dense network, prune and retrain it, test all phases, map, and write the record.

    Raises:
        PruningError, CheckpointError, DataError, TrainingError, RecordError: one line each; earlier results
            stay as they are.
        Hopeless: the judge ended it; the same experiment goes on where it was ended.
    """
    network, matrices, prunable = _prepared(experiment)
    _refuse_impossible_budget(network, prunable, experiment)
    if experiment.quantisation is not None:
        QuantisedTraining(
            network, matrices, experiment.quantisation, dict
        )  # refuses here what it would refuse later
    if experiment.resizing is not None:
        require_resizable(network, image_shape(experiment), experiment.resizing)
    if experiment.trainer.compile:
        network.compile()
    tracker = make_tracker(experiment.tracker, experiment.run_dir, _shown(experiment))
    record = None
    try:
        phases = {"dense": _dense_weights(network, matrices, experiment, tracker)}
        matrices, gathered = _gathered(network, matrices, experiment)
        prunable = prunable_matrices(matrices, experiment.prune)
        pruned, rounding = _prune_retrain(network, matrices, prunable, experiment, tracker)
        phases |= {"pruned": pruned.weights_after_pruning, "retrained": _snapshot(network)}
        accuracy = _test(network, phases, experiment)
        content = {
            "network": phases["retrained"],
            "masks": pruned.masks,
            "dense_run": None if experiment.checkpoint else experiment.dense_run,
            "origin": origin_of(experiment),
            **stored(matrices),
        }
        if rounding is not None:
            with rounding.attached():
                quantised = {"quantised": phases["retrained"]}
                accuracy |= _test(network, quantised, experiment, rounding.quantisers)
            content["steps"] = rounding.steps().to_checkpoint()
        placement = mapping_of(matrices, experiment, lambda: pruned.masks, tracker).place()
        checkpoints.save(experiment.run_dir / checkpoints.NETWORK_FILE, content)
        images, _ = next(iter(experiment.data.train_loader()))
        steps = None if rounding is None else rounding.steps()
        activity = measured_activity(
            network, images, pruned.masks, phases["dense"], experiment.rule.geometry, experiment.analog, steps
        )
        cost, geometry = experiment.cost, experiment.rule.geometry
        accelerator = Accelerator(geometry, cost.technology, cost.adc, cost.chip)
        compared = price_placement(matrices, placement, activity, accelerator)
        kept = keep(
            experiment.run_dir / RECORD_FILE, matrices, pruned.masks, activity,
            lambda matrix: experiment.rule.granularity.units(matrix, geometry),
        )  # fmt: skip
        if experiment.before_record is not None:
            experiment.before_record(experiment.run_dir / checkpoints.NETWORK_FILE)
        record = _record(experiment, matrices, prunable, placement, compared, accuracy, gathered, kept)
        record.write(experiment.run_dir / RECORD_FILE)
        checkpoints.discard(experiment.run_dir / "checkpoints")
    finally:
        report = experiment.run_dir / RECORD_FILE if record else None
        tracker.finish(_flat(record) if record else {}, report, charts(record) if record else ())
    return record


def _shown(experiment: Experiment) -> Shown:
    """The run as it appears among others: tagged with what grids compare, and with every means that is on."""
    config, choices = experiment.config, experiment.choices
    means = ("distillation", "permutation", "sparsity", "quantisation", "resizing")
    tags = [choices[group] for group in ("model", "data", "granularity", *means) if group in choices]
    asked = config.get("experiment")
    return Shown(
        name=experiment.name,
        group=experiment.tracker.group,
        tags=list(dict.fromkeys(tags)),
        notes=asked["question"] if asked else None,
        config={**config, "choices": choices},
    )


def origin_of(experiment: Experiment) -> dict[str, Any]:
    """What a checkpoint says of the run that pruned its network, for whoever simulates it."""
    own = experiment.config.get("granularity", {})
    return {
        "run": experiment.run,
        "name": experiment.name,
        "seed": experiment.seed,
        "granularity": experiment.choices["granularity"],
        "parameters": {key: value for key, value in own.items() if key != "_target_"},
        "remaining": experiment.prune.remaining,
    }


def _prepared(experiment: Experiment) -> tuple[nn.Module, list[CrossbarMatrix], list[CrossbarMatrix]]:
    """The untrained network, its matrices, and those that may be pruned; the same in every process of a run."""
    quiet_lightning()
    threads = _threads(experiment.trainer)
    if threads:
        torch.set_num_threads(threads)
    pl.seed_everything(experiment.seed, verbose=False)
    network = experiment.build_network()
    if experiment.trainer.channels_last:
        network = network.to(memory_format=torch.channels_last)
    matrices = mapped_matrices(network, experiment)
    return network, matrices, prunable_matrices(matrices, experiment.prune)


def _threads(settings: TrainerSettings) -> int | None:
    """Processor threads of a process: as asked, or a fair share of the cores; None leaves torch's choice."""
    if settings.threads is not None or settings.devices == 1:
        return settings.threads
    return max(1, len(os.sched_getaffinity(0)) // settings.devices)


def mapped_matrices(network: nn.Module, experiment: Experiment) -> list[CrossbarMatrix]:
    """The crossbar matrices of the network for the experiment's images."""
    return network_matrices(network, image_shape(experiment), experiment.mapping.row_order)


def image_shape(experiment: Experiment) -> tuple[int, int, int]:
    """Channels, height and width of the experiment's images."""
    size = experiment.data.image_size
    return experiment.data.in_channels, size, size


def _refuse_impossible_budget(
    network: nn.Module, prunable: list[CrossbarMatrix], experiment: Experiment
) -> None:
    """Plan the last pruning on the untrained weights: what fails whatever the weights fails here, for free."""
    importance = {m.name: torch.ones(m.weight_shape) for m in prunable}
    generator = torch.Generator().manual_seed(experiment.seed)
    make_masks(network, prunable, experiment.rule, experiment.budget, generator, None, importance)


def _dense_weights(
    network: nn.Module, matrices: list[CrossbarMatrix], experiment: Experiment, tracker: Tracker
) -> Weights:
    """The dense network's weights, from a given checkpoint, from an earlier run, or trained now."""
    kept = experiment.dense_dir / experiment.dense_run / checkpoints.NETWORK_FILE
    if experiment.checkpoint is not None:
        _loaded(network, experiment.checkpoint, experiment)
        return _snapshot(network)
    with locked(kept.parent, wait=True):  # another run may be training it at this moment
        if kept.exists() and _loaded(network, kept, experiment):
            return _with_history(network, experiment, tracker)
        _train_dense(network, matrices, experiment, tracker, kept)
    return _snapshot(network)


def _with_history(network: nn.Module, experiment: Experiment, tracker: Tracker) -> Weights:
    """The weights that were found, the epochs that made them shown again."""
    for row in read_rows(dense_history(experiment)):
        tracker.log(tracked(row))
    return _snapshot(network)


def _train_dense(
    network: nn.Module, matrices: list[CrossbarMatrix], experiment: Experiment, tracker: Tracker, kept: Path
) -> None:
    """Train the network and keep its weights for every run that starts from them."""
    with _together(network, experiment, "dense") as part:
        _fit_dense(network, matrices, experiment, tracker, part)
    checkpoints.save(kept, {"network": _snapshot(network), "dense_run": experiment.dense_run})
    checkpoints.discard(kept.parent / "checkpoints")


def _fit_dense(
    network: nn.Module,
    matrices: list[CrossbarMatrix],
    experiment: Experiment,
    tracker: Tracker,
    part: FitPart,
) -> None:
    mapping = mapping_of(matrices, experiment, dict, tracker)
    curve = dense_curve(experiment.recipe)
    _fit(network, experiment, "dense", curve, dense_history(experiment), tracker, [mapping], part)


def _loaded(network: nn.Module, source: Path, experiment: Experiment) -> bool:
    """Load dense weights; whether they are in. A damaged network of an earlier run is told, and trained anew.

    Raises:
        CheckpointError: a checkpoint that a person gave can't be used.
    """
    try:
        content = checkpoints.load(source)
        if experiment.checkpoint is None and content.get("dense_run") != experiment.dense_run:
            raise CheckpointError(f"checkpoint {source} is of another run")
        checkpoints.load_into(network, checkpoints.network_weights(content), source)
    except CheckpointError as problem:
        if experiment.checkpoint is not None:
            raise
        print(f"cimlab: {problem}; the dense network is trained anew", file=sys.stderr)
        return False
    return True


def dense_history(experiment: Experiment) -> Path:
    """Metrics by epoch of the dense phase, kept beside its weights."""
    return experiment.dense_dir / experiment.dense_run / "history.jsonl"


def _gathered(
    network: nn.Module, matrices: list[CrossbarMatrix], experiment: Experiment
) -> tuple[list[CrossbarMatrix], Gathered | None]:
    """Permute lines for the dense weights, which every run finds again: a resumed run finds the same order."""
    settings = experiment.permutation
    if settings is None:
        return matrices, None
    lines = Lines(settings.rows, settings.columns, settings.rounds)
    prunable = prunable_matrices(matrices, experiment.prune)
    gathered = gather(network, prunable, experiment.rule, experiment.budget, lines, experiment.seed)
    if experiment.trainer.progress != "none":
        print(
            f"permutation: pruning keeps {100 * gathered.after:.1f} % of the squared weights instead of "
            f"{100 * gathered.before:.1f} %",
            flush=True,
        )
    permuted = {m.name: m for m in gathered.matrices}
    return [permuted.get(m.name, m) for m in matrices], gathered


def _prune_retrain(
    network: nn.Module,
    matrices: list[CrossbarMatrix],
    prunable: list[CrossbarMatrix],
    experiment: Experiment,
    tracker: Tracker,
) -> tuple[PruneRetrain, QuantisedTraining | None]:
    """Run the schedule; the callbacks returned hold the masks, and the steps of a quantised one."""
    with _together(network, experiment, "retrain") as part:
        return _fit_pruned(network, matrices, prunable, experiment, tracker, part)


def _fit_pruned(
    network: nn.Module,
    matrices: list[CrossbarMatrix],
    prunable: list[CrossbarMatrix],
    experiment: Experiment,
    tracker: Tracker,
    part: FitPart,
) -> tuple[PruneRetrain, QuantisedTraining | None]:
    start = 0.0 if experiment.sparsity is None else experiment.sparsity.share
    pruning = PruneRetrain(
        prunable,
        experiment.rule,
        experiment.budget,
        experiment.schedule,
        experiment.seed,
        experiment.recipe.gradient_batches,
        start,
    )
    callbacks: list[pl.Callback] = [pruning]
    if experiment.sparsity is not None:
        callbacks.insert(0, AdmmTraining(prunable, experiment.rule, experiment.budget, experiment.sparsity))
    first = experiment.recipe.epochs
    mapping = mapping_of(matrices, experiment, lambda: pruning.masks, tracker, first)
    curve = retrain_curve(experiment.recipe, experiment.schedule, start)
    history = experiment.run_dir / "history.jsonl"
    rounding = None
    if experiment.quantisation is not None:
        rounding = QuantisedTraining(network, matrices, experiment.quantisation, lambda: pruning.masks)
        callbacks.append(rounding)
    teacher = _teacher(network, experiment)
    _fit(
        network,
        experiment,
        "retrain",
        curve,
        history,
        tracker,
        [*callbacks, mapping],
        part,
        teacher,
    )
    return pruning, rounding


@dataclass(frozen=True)
class FitPart:
    """What one process of a fit is told.

    Args:
        rank: its place.
        resume: the checkpoint from which the fit goes on.
        ready: to be called when it is about to meet the others.
    """

    rank: Rank
    resume: Path | None
    ready: Callable[[], None]


@contextmanager
def _together(network: nn.Module, experiment: Experiment, phase: str) -> Generator[FitPart]:
    """This process's part in a fit, and the others that the fit needs at their places.

    Raises:
        ParallelError: one of the others failed.
    """
    folder = _fit_folder(experiment, phase)
    folder.mkdir(parents=True, exist_ok=True)
    resume = checkpoints.latest(folder / "checkpoints", _fit_name(experiment, phase))
    follow = functools.partial(_follow_fit, experiment.again, phase, _snapshot(network), resume)
    with company(experiment.trainer.devices, follow) as rank:
        yield FitPart(rank, resume, lambda: None)


def _follow_fit(
    again: Callable[[], Experiment],
    phase: str,
    weights: Weights,
    resume: Path | None,
    rank: Rank,
    ready: Callable[[], None],
) -> None:
    """One fit in a process that only helps: no history, no tracker, no record."""
    experiment = again()
    experiment.data.prepare_data()
    network, matrices, _ = _prepared(experiment)
    network.load_state_dict(weights)
    part = FitPart(rank, resume, ready)
    if phase == "dense":
        _fit_dense(network, matrices, experiment, Tracker(), part)
        return
    matrices, _ = _gathered(network, matrices, experiment)
    _fit_pruned(network, matrices, prunable_matrices(matrices, experiment.prune), experiment, Tracker(), part)


def _fit_folder(experiment: Experiment, phase: str) -> Path:
    """Where a phase keeps its checkpoints."""
    return experiment.run_dir if phase == "retrain" else experiment.dense_dir / experiment.dense_run


def _fit_name(experiment: Experiment, phase: str) -> str:
    """What the checkpoints of a phase belong to: all that shapes its result."""
    return f"{phase} {experiment.run if phase == 'retrain' else experiment.dense_run}"


def _teacher(network: nn.Module, experiment: Experiment) -> Teacher | None:
    """The dense network that retraining listens to, if it does; the network holds its weights at this point."""
    if experiment.distillation is None:
        return None
    return Teacher(network, experiment.distillation, experiment.trainer.compile)


def _fit(
    network: nn.Module,
    experiment: Experiment,
    phase: str,
    curve: RateCurve,
    history: Path,
    tracker: Tracker,
    callbacks: list[pl.Callback],
    part: FitPart,
    teacher: Teacher | None = None,
) -> None:
    """One process's part of one Lightning fit, resumed if there is a checkpoint."""
    folder = _fit_folder(experiment, phase)
    epochs = experiment.recipe.epochs if phase == "dense" else experiment.schedule.epochs
    first = 0 if phase == "dense" else experiment.recipe.epochs
    bars = _show_bars(experiment.trainer)
    lines = experiment.trainer.progress == "lines" or (experiment.trainer.progress == "auto" and not bars)
    keep = checkpoints.PacedCheckpoint(folder / "checkpoints", experiment.trainer.checkpoint_every_s)
    judge = experiment.judge if phase == "retrain" else None
    report = EpochReport(phase, first, history, tracker, lines, judge)
    trainer = _trainer(
        experiment,
        epochs,
        [SeedEpochs(experiment.seed, phase), *callbacks, report, keep],
        bars,
        fit=_fit_name(experiment, phase),
        rank=part.rank,
    )
    smoothing = experiment.recipe.label_smoothing
    resizing = experiment.resizing
    if phase == "retrain" and resizing is not None and not resizing.retraining:
        resizing = None
    module = Classifier(network, experiment.optimizer_factory, curve, smoothing, teacher, resizing)
    part.ready()
    trainer.fit(module, datamodule=experiment.data, ckpt_path=part.resume, weights_only=True)
    if trainer.interrupted:
        raise KeyboardInterrupt
    broken = checkpoints.not_finite(network.state_dict())
    if broken is not None:
        raise TrainingError(f"{broken} became NaN or infinite in the last {phase} epoch; lower optimizer.lr")


def _trainer(
    experiment: Experiment,
    epochs: int,
    callbacks: list[pl.Callback],
    bars: bool,
    fit: str | None,
    rank: Rank = Rank(),  # noqa: B008 (frozen)
) -> pl.Trainer:
    settings = experiment.trainer
    if bars:
        callbacks = [*callbacks, pl.callbacks.RichProgressBar(refresh_rate=10)]
    return pl.Trainer(
        accelerator=settings.accelerator,
        precision=settings.precision,
        max_epochs=epochs,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=fit is not None,
        enable_progress_bar=bars,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        deterministic=settings.deterministic,
        benchmark=not settings.deterministic,  # of cuDNN's algorithms; shapes are few and repeat
        default_root_dir=experiment.run_dir,
        plugins=[*([] if fit is None else [checkpoints.AtomicCheckpoints(fit)]), *rank.plugins()],
        **rank.trainer_options(),
    )


def _show_bars(settings: TrainerSettings) -> bool:
    return settings.progress == "bar" or (settings.progress == "auto" and sys.stdout.isatty())


def _test(
    network: nn.Module,
    phases: dict[str, Weights],
    experiment: Experiment,
    quantisers: nn.ModuleDict | None = None,
) -> dict[str, dict[str, float]]:
    """Accuracy of every phase: the one time that test data is touched. Attached quantisers follow to the device."""
    module = Classifier(network, experiment.optimizer_factory, dense_curve(experiment.recipe))
    if quantisers is not None:
        module.quantisers = quantisers
    trainer = _trainer(experiment, 1, [], bars=False, fit=None)
    accuracy = {}
    for phase, weights in phases.items():
        network.load_state_dict(weights)
        metrics = {}
        if experiment.data.validation_size:
            metrics |= trainer.validate(module, datamodule=experiment.data, verbose=False)[0]
        metrics |= trainer.test(module, datamodule=experiment.data, verbose=False)[0]
        accuracy[phase] = {
            name.removeprefix("accuracy/"): value
            for name, value in metrics.items()
            if name.startswith("accuracy/")
        }
    return accuracy


def mapping_of(
    matrices: list[CrossbarMatrix],
    experiment: Experiment,
    masks: Callable[[], Masks],
    tracker: Tracker,
    first_epoch: int = 0,
) -> CimMapping:
    rule = experiment.rule
    return CimMapping(
        matrices,
        rule.geometry,
        experiment.cost,
        rule.granularity,
        experiment.mapping,
        masks,
        tracker,
        first_epoch,
    )


def _snapshot(network: nn.Module) -> Weights:
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}


def _record(
    experiment: Experiment,
    matrices: list[CrossbarMatrix],
    prunable: list[CrossbarMatrix],
    placement: NetworkPlacement,
    compared: CostComparison,
    accuracy: dict[str, dict[str, float]],
    gathered: Gathered | None,
    kept: dict[str, Any],
) -> RunRecord:
    on_gpu = experiment.trainer.accelerator != "cpu" and torch.cuda.is_available()
    accelerator = torch.cuda.get_device_name() if on_gpu else None
    dense = [] if experiment.checkpoint else read_rows(dense_history(experiment))
    retrained = read_rows(experiment.run_dir / "history.jsonl")
    seconds = {
        phase: sum(row.get("seconds", 0.0) for row in rows)
        for phase, rows in (("dense", dense), ("retrain", retrained))
    }
    return RunRecord(
        run=experiment.run,
        name=experiment.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seed=experiment.seed,
        choices=experiment.choices,
        config=experiment.config,
        code=code_version(),
        packages=package_versions(),
        machine={**machine(), "accelerator": accelerator, "torch_threads": torch.get_num_threads()},
        wall_time_s=seconds,
        accuracy=accuracy,
        weights=weight_summary(placement, prunable),
        hardware=hardware_summary(experiment, matrices, placement)
        | {"cost": compared.summary()}
        | ({} if gathered is None else {"permutation": permutation_summary(gathered)}),
        **kept,
    )


def weight_summary(placement: NetworkPlacement, prunable: list[CrossbarMatrix]) -> dict[str, float]:
    """What is left of the weights, over the prunable ones and over all; compression = all / left."""
    total = placement.total
    names = {m.name for m in prunable}
    prunable_total = sum(m.weights for m in prunable)
    prunable_left = sum(p.counts.weights_left for name, p in placement.layers.items() if name in names)
    return {
        "total": total.weights,
        "prunable": prunable_total,
        "left": total.weights_left,
        "remaining_prunable": prunable_left / prunable_total,
        "remaining_all": total.weights_left / total.weights,
        "compression": total.weights / total.weights_left,
    }


def hardware_summary(
    experiment: Experiment, matrices: list[CrossbarMatrix], placement: NetworkPlacement
) -> dict[str, Any]:
    """Counts of the network and its layers, beside the dense ones, with their ratios."""
    geometry = experiment.rule.geometry
    metrics = hardware_metrics(placement)
    layers = {}
    for matrix in matrices:
        shape = {
            "groups": matrix.groups,
            "rows": matrix.rows,
            "cols": matrix.cols,
            "products": matrix.products,
        }
        counts = placement.layers[matrix.name].counts
        layers[matrix.name] = {
            **shape,
            **asdict(counts),
            "dense_steps": placement.dense[matrix.name].counts.steps,
        }
    return {
        "geometry": asdict(geometry),
        "mapping": asdict(experiment.mapping),
        "total": asdict(placement.total),
        "dense": asdict(placement.dense_total),
        "ratio": {k.removeprefix("hardware/")[:-6]: v for k, v in metrics.items() if k.endswith("_ratio")},
        "utilisation": utilisation(placement.total, geometry.columns_per_weight),
        "layers": layers,
    }


def permutation_summary(gathered: Gathered) -> dict[str, Any]:
    """Share of the magnitude that pruning the dense weights keeps, without and with the permutations found."""
    permuted = {m.name: m for m in gathered.matrices}
    layers = {
        name: {"kept_before": before, "kept_after": after, "order_bits": permuted[name].order_bits}
        for name, (before, after) in gathered.layers.items()
    }
    return {"kept_before": gathered.before, "kept_after": gathered.after, "layers": layers}


def utilisation(counts: Counts, columns_per_weight: int) -> float:
    """Cells that hold a kept weight, over cells provisioned."""
    return counts.weights_left * columns_per_weight / counts.cells


def _flat(record: RunRecord) -> dict[str, float]:
    """The final numbers under stable names, for the tracker's summary."""
    flat = {f"accuracy/{phase}": values["test"] for phase, values in record.accuracy.items()}
    flat |= {f"weights/{name}": value for name, value in record.weights.items()}
    flat |= {f"hardware/{name}": value for name, value in record.hardware["total"].items()}
    flat |= {f"hardware/{name}_ratio": value for name, value in record.hardware["ratio"].items()}
    cost = record.hardware["cost"]
    flat |= {f"hardware/{name}": value for name, value in cost["total"].items() if name != "arrays"}
    flat |= {f"hardware/{name}_ratio": value for name, value in cost["ratio"].items() if name != "arrays"}
    return flat | {f"hardware/energy_j/{name}": value for name, value in cost["energy_j"].items()}


def quiet_lightning() -> None:
    """Lightning's hints are for those who write training loops, not for those who run ours."""
    import logging

    for name in ("pytorch_lightning", "lightning.fabric", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=UserWarning, module="pytorch_lightning")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    # the successor of broadcast_buffers is in the newest torch only
    warnings.filterwarnings("ignore", message=".*broadcast_buffers.*")
    warnings.filterwarnings("ignore", message=".*srun.*")  # a machine may have Slurm and not use it
