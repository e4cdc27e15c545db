"""One run, from a plan to a record: dense training, pruning with retraining, test, mapping. Read `_run` first.

A dense network is trained once and found again by the hash of what defines it; either phase, killed, goes on from its
last epoch by the same command.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from cimlab.config.errors import ConfigError
from cimlab.config.schema import TrainConfig, check, plain_config
from cimlab.records.failure import FAILURE_FILE
from cimlab.records.history import read_rows
from cimlab.records.locks import LOCK_FILE, locked
from cimlab.records.record import CONFIG_FILE, RECORD_FILE, RecordError, RunRecord, write_atomically
from cimlab.runs.folders import made
from cimlab.runs.identity import conditions
from cimlab.runs.parts import Parts, assemble, subject_of, training_of
from cimlab.runs.planned import PlannedRun, plan
from cimlab.runs.reprice import priced_on, was_priced_on

if TYPE_CHECKING:
    from cimlab.training.callbacks import Judge
    from cimlab.training.fit import Phase, Seat, Training, Weights
    from cimlab.training.methods.base import Arrangement, PhaseName, Subject
    from cimlab.training.parallel import Rank
    from cimlab.training.phases import Retrained, Watch
    from cimlab.training.tracking import Shown, Tracker

NO_ERROR = {"adc": "full_scale", "device": "ideal"}
"""Groups that only simulation knows, unless a method trains for them, and their choice where nobody asked."""
HARDLY_BETTER = 1.25
"""Times the accuracy of guessing, below which a network has learnt next to nothing."""


def train(config: DictConfig, all_choices: dict[str, str]) -> RunRecord:
    """One run from a composed configuration.

    Raises:
        ConfigError and the failures of `cimlab.training`, each one line.
    """
    return perform(plan(check(config, TrainConfig), plain_config(config), all_choices))


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
        planned.look()
        parts = assemble(planned)
        with made(planned.run_dir), _room_for_dense(planned):
            parts.data.prepare_data()
            with locked(planned.run_dir):
                done = None if planned.config.rerun else _existing(record_file, tell=False)
                if done is None:  # and not finished by another process since the first look
                    with _begun(planned):
                        done = _run(planned, parts, judge)
                    (planned.run_dir / FAILURE_FILE).unlink(missing_ok=True)
    else:
        print(f"already done at commit {done.code['git_commit']}; rerun=true runs it again")
        if done.search and not planned.search:
            print(f"it was a trial of the search {done.search}, and is a run of its own from now on")
            done = replace(done, search="")
            done.write(record_file)
        if planned.config.simulate.at_end:
            from cimlab.runs.simulate import simulate_at_end
            from cimlab.training.checkpoints import NETWORK_FILE

            simulate_at_end(planned, planned.run_dir / NETWORK_FILE)
    if not was_priced_on(done, planned.plain):
        print(
            "it was priced on another accelerator, which its record keeps; priced here on the one asked for"
        )
        done = priced_on(done, record_file, planned.plain, planned.choices)
    print(f"record: {record_file}", flush=True)
    return done


def _room_for_dense(planned: PlannedRun) -> AbstractContextManager[None]:
    """The folder of dense networks, to write in; one that holds the network is only read."""
    if planned.config.checkpoint is not None or _kept_dense(planned).is_file():
        return nullcontext()
    return made(Path(planned.config.paths.dense_dir), by="set paths.dense_dir to")


def _kept_dense(planned: PlannedRun) -> Path:
    from cimlab.training import checkpoints

    return planned.dense_dir / checkpoints.NETWORK_FILE


@contextmanager
def _begun(planned: PlannedRun) -> Generator[None]:
    """The run's folder with its configuration, which goes again where the run fails before it keeps anything."""
    file = planned.run_dir / CONFIG_FILE
    write_atomically(file, OmegaConf.to_yaml(OmegaConf.create(planned.plain)))
    try:
        yield
    except Exception:
        if {path.name for path in planned.run_dir.iterdir()} <= {LOCK_FILE, CONFIG_FILE}:
            file.unlink()
        raise


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


def _run(planned: PlannedRun, parts: Parts, judge: Judge | None) -> RunRecord:
    """Train (or find) the dense network, prune and retrain it, test all phases, map, and write the record.

    Raises:
        ConfigError: the budget can't be met.
        CheckpointError, DataError, TrainingError, RecordError: one line each; earlier results stay as they are.
    """
    from cimlab.network.weights import snapshot
    from cimlab.pruning.allocation import PruningError
    from cimlab.runs.record import charts_of, final_numbers, save_network, write_record
    from cimlab.training.tracking import make_tracker

    config, training = planned.config, training_of(planned, parts)
    record = None
    try:
        subject = subject_of(planned, parts)
        _refuse_impossible(subject, parts)
        _tell_unseen(planned)
        for note in subject.off_arrays.notes:
            _tell(planned, f"note: {note}")
        if config.trainer.compile:
            subject.network.compile()
        tracker = make_tracker(parts.tracker, planned.run_dir, shown(planned, parts))
        watch = _watch(planned, parts, tracker, judge)
        try:
            dense = _dense_weights(planned, subject, parts, training, watch)
            subject, arrangements = arranged(subject, parts, config.trainer.progress != "none")
            with _together(planned, _retraining(planned, parts, training), subject) as (phase, seat):
                _tell(planned, f"pruned network: retraining, {_epochs(phase)}")
                retrained = _fit_pruned(subject, parts, training, phase, watch, seat)
            _tell_kept(planned, subject, retrained)
            weights = {
                "dense": dense,
                "pruned": retrained.pruning.weights_after_pruning,
                "retrained": snapshot(subject.network),
            }
            accuracy = _accuracies(planned, subject, training, weights, retrained)
            _tell_guessing(planned, accuracy["dense"]["test"], parts.data.num_classes)
            file = save_network(planned, subject, parts.data.num_classes, retrained, weights["retrained"])
            if config.simulate.at_end:
                from cimlab.runs.simulate import simulate_at_end

                simulate_at_end(planned, file)
            record = write_record(planned, parts, subject, training, retrained, dense, accuracy, arrangements)
        finally:
            report = planned.run_dir / RECORD_FILE if record else None
            numbers = final_numbers(record) if record else {}
            tracker.finish(numbers, report, charts_of(record) if record else ())
    except PruningError as problem:
        raise ConfigError(f"prune: {problem}") from problem
    return record


def _tell(planned: PlannedRun, line: str) -> None:
    """A line on what happens, unless the run is to be silent."""
    if planned.config.trainer.progress != "none":
        print(line, flush=True)


def _refuse_impossible(subject: Subject, parts: Parts) -> None:
    """Refuse now what would fail later: methods, and a budget that fails whatever the weights are."""
    import torch

    from cimlab.pruning.beyond import kept_beyond
    from cimlab.pruning.masks import make_masks, refuse_unprunable
    from cimlab.training.methods.base import MethodError, refuse_two

    try:
        refuse_two(parts.methods)
        for method in parts.methods.values():
            method.check(subject)
    except MethodError as problem:
        raise ConfigError(str(problem)) from problem
    refuse_unprunable(subject.network, subject.rule, [matrix.name for matrix in subject.prunable])
    importance = {m.name: torch.ones(m.weight_shape) for m in subject.prunable}
    generator = torch.Generator().manual_seed(subject.seed)
    masks = make_masks(
        subject.network, subject.prunable, subject.rule, subject.budget, generator, None, importance
    )
    if (more := kept_beyond(masks, subject.budget, subject.prunable, subject.rule)) is not None:
        print(f"cimlab: with weights that are not trained yet, {more}", file=sys.stderr, flush=True)


def _tell_kept(planned: PlannedRun, subject: Subject, retrained: Retrained) -> None:
    """Lines about more or less being kept than was asked, and about layers that keep next to nothing."""
    from cimlab.pruning.beyond import emptied, kept_beyond

    masks, budget = retrained.pruning.masks, subject.budget
    for line in (kept_beyond(masks, budget, subject.prunable, subject.rule), emptied(masks, budget)):
        if line is not None:
            _tell(planned, f"note: {line}")


def _tell_unseen(planned: PlannedRun) -> None:
    """A line about devices and ADC ranges that were chosen and that no accuracy of this run knows of."""
    if planned.config.simulate.at_end or "converters" in conditions(planned.plain):
        return
    choices = planned.choices
    if chosen := [
        f"{group}={choices[group]}" for group, usual in NO_ERROR.items() if choices[group] != usual
    ]:
        print(
            f"cimlab: accuracy does not see {' and '.join(chosen)}: training is told of neither devices nor ADCs; add "
            "simulate.at_end=true, or give the run's network.pt to cimlab simulate",
            file=sys.stderr,
            flush=True,
        )


def _watch(planned: PlannedRun, parts: Parts, tracker: Tracker, judge: Judge | None) -> Watch:
    from cimlab.training.callbacks import CimMapping
    from cimlab.training.phases import Watch

    def mapping(subject: Subject, masks: Any, tracker: Tracker, first_epoch: int) -> CimMapping:
        return CimMapping(
            subject.matrices,
            subject.off_arrays,
            planned.config.geometry,
            parts.cost,
            parts.rule.granularity,
            planned.config.mapping,
            masks,
            tracker,
            first_epoch,
        )

    return Watch(tracker, mapping, judge)


def _dense_phase(planned: PlannedRun, parts: Parts, training: Training) -> Phase:
    from cimlab.training.phases import dense_phase

    later = planned.config.schedule.epochs
    return dense_phase(training, later, parts.methods, planned.dense_dir, planned.dense_run)


def _retraining(planned: PlannedRun, parts: Parts, training: Training) -> Phase:
    from cimlab.training.phases import retrain_phase

    return retrain_phase(training, planned.config.schedule, parts.methods, planned.run_dir, planned.run)


def _dense_weights(
    planned: PlannedRun, subject: Subject, parts: Parts, training: Training, watch: Watch
) -> Weights:
    """The dense network's weights, from a given checkpoint, from an earlier run, or trained now."""
    from cimlab.network.description import DENSE, described_as
    from cimlab.network.stored import read
    from cimlab.network.weights import snapshot
    from cimlab.training import checkpoints
    from cimlab.training.callbacks import tracked
    from cimlab.training.phases import fit_dense

    network, phase = subject.network, _dense_phase(planned, parts, training)
    kept = _kept_dense(planned)
    if planned.config.checkpoint is not None:
        path = Path(planned.config.checkpoint)
        stored = read(path)
        stored.fill(network)
        for note in stored.notes:
            print(f"cimlab: {note}", file=sys.stderr)
        return snapshot(network)
    only_read = kept.is_file() and not os.access(kept.parent, os.W_OK)
    # another run may be training it at this moment
    with nullcontext() if only_read else locked(kept.parent, wait=True):
        if kept.exists() and _found(subject, kept, planned.dense_run):
            for row in read_rows(phase.history):  # the epochs that made it, shown again
                watch.tracker.log(tracked(row))
            _tell(planned, f"dense network: found, {kept.parent}")
            return snapshot(network)
        _tell(planned, f"dense network: training, {_epochs(phase)}")
        with (
            made(kept.parent, by="set paths.dense_dir to"),
            _together(planned, phase, subject) as (phase, seat),
        ):
            fit_dense(subject, parts.methods, training, phase, watch, seat)
        classes = parts.data.num_classes
        sources = planned.identity.sources
        said = described_as(planned.plain, planned.choices, subject.image_shape, classes, sources, DENSE)
        content = {"network": snapshot(network), "dense_run": planned.dense_run, "description": said}
        checkpoints.save(kept, content)
        checkpoints.discard(phase.checkpoints)
    return snapshot(network)


def _epochs(phase: Phase) -> str:
    return f"{phase.epochs} epoch{'' if phase.epochs == 1 else 's'}"


def _found(subject: Subject, kept: Path, dense_run: str) -> bool:
    """Load the dense network of an earlier run; a damaged one is told, and trained anew."""
    from cimlab.network.checkpoint_file import CheckpointError
    from cimlab.network.stored import read

    try:
        stored = read(kept)
        if stored.content.get("dense_run") != dense_run:
            raise CheckpointError(f"checkpoint {kept} is of another run")
        stored.fill(subject.network)
    except CheckpointError as problem:
        print(f"cimlab: {problem}; the dense network is trained anew", file=sys.stderr)
        return False
    return True


def arranged(subject: Subject, parts: Parts, tell: bool) -> tuple[Subject, dict[str, Arrangement]]:
    """Lay lines elsewhere on the arrays, for the dense weights: a resumed run finds the same order again."""
    found = {}
    for name, method in parts.methods.items():
        if (arrangement := method.arrange(subject)) is None:
            continue
        found[name] = arrangement
        moved = {m.name: m for m in arrangement.matrices}
        subject = replace(
            subject,
            matrices=[moved.get(m.name, m) for m in subject.matrices],
            prunable=[moved.get(m.name, m) for m in subject.prunable],
        )
        if tell:
            print(arrangement.line, flush=True)
    return subject, found


def _fit_pruned(
    subject: Subject, parts: Parts, training: Training, phase: Phase, watch: Watch, seat: Seat
) -> Retrained:
    from cimlab.training.phases import fit_pruned

    return fit_pruned(subject, parts.methods, training, phase, watch, seat)


def _accuracies(
    planned: PlannedRun,
    subject: Subject,
    training: Training,
    weights: dict[str, Weights],
    retrained: Retrained,
) -> dict[str, dict[str, float]]:
    """Test accuracy of every phase, and as the roundings compute the last one; the network holds the last one after."""
    from cimlab.training.fit import accuracies

    accuracy = accuracies(subject.network, weights, training, planned.run_dir)
    for rounding in retrained.roundings:
        with rounding.attached():
            last = {rounding.name: weights["retrained"]}
            accuracy |= accuracies(subject.network, last, training, planned.run_dir, rounding.modules)
    return accuracy


def _tell_guessing(planned: PlannedRun, accuracy: float, classes: int) -> None:
    """A line about a dense network that has learnt next to nothing: whatever is pruned from it, nothing is lost."""
    if accuracy < HARDLY_BETTER / classes:
        _tell(
            planned,
            f"note: the dense network is right on {100 * accuracy:.2f} % of the test images, guessing on "
            f"{100 / classes:.3g} %: its pruned accuracy says nothing yet; train it longer (recipe.epochs), in smaller "
            "batches (data.batch_size) or with another optimizer.lr",
        )


@contextmanager
def _together(planned: PlannedRun, phase: Phase, subject: Subject) -> Generator[tuple[Phase, Seat]]:
    """This process's seat in a fit, and the other processes that the fit needs at theirs.

    Raises:
        ParallelError: one of the others failed.
    """
    from cimlab.network.weights import snapshot
    from cimlab.training import checkpoints
    from cimlab.training.fit import Seat
    from cimlab.training.parallel import company

    phase.folder.mkdir(parents=True, exist_ok=True)
    resume = checkpoints.latest(phase.checkpoints, phase.fit)
    follow = functools.partial(_follow, planned, phase.name, snapshot(subject.network), resume)
    with company(planned.config.trainer.devices, follow) as rank:
        yield phase, Seat(rank, resume)


def _follow(
    planned: PlannedRun,
    phase: PhaseName,
    weights: Weights,
    resume: Path | None,
    rank: Rank,
    ready: Callable[[], None],
) -> None:
    """One fit in a process that only helps: no history, no tracker, no record."""
    from cimlab.training.fit import Seat
    from cimlab.training.phases import fit_dense
    from cimlab.training.tracking import Tracker

    parts = assemble(planned)
    parts.data.prepare_data()
    subject, training = subject_of(planned, parts), training_of(planned, parts)
    subject.network.load_state_dict(weights)
    watch, seat = _watch(planned, parts, Tracker(), None), Seat(rank, resume, ready)
    if phase == "dense":
        fit_dense(subject, parts.methods, training, _dense_phase(planned, parts, training), watch, seat)
        return
    subject, _ = arranged(subject, parts, tell=False)
    _fit_pruned(subject, parts, training, _retraining(planned, parts, training), watch, seat)


def shown(planned: PlannedRun, parts: Parts) -> Shown:
    """The run as it appears among others: tagged with what was chosen of each group, and with every method."""
    from cimlab.training.tracking import Shown

    choices = {group: choice for group, choice in planned.choices.items() if group != "method"}
    tags = [*choices.values(), *parts.methods]
    asked = planned.plain.get("experiment")
    return Shown(
        name=planned.name,
        group=parts.tracker.group,
        tags=[tag for tag in dict.fromkeys(tags) if tag not in ("default", "none")],
        notes=asked["question"] if asked else None,
        config={**planned.plain, "choices": planned.choices},
    )
