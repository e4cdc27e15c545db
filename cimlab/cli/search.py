"""`cimlab search experiments/NAME.yaml`: Optuna chooses the points, and the best trade-offs are shown.

The axes of the file are the space: `a,b,c` a choice, `interval(0.03,0.5)` a real number, `range(1,9)` a whole one,
`tag(log, interval(...))` on a logarithmic scale. An axis `prune.layer_remaining.PATTERN` is the fraction that the
layers of that name keep. Accuracy is that of the validation images: test images choose nothing.

With `--floor`, a trial ends early that can't reach it: after an epoch of retraining, its accuracy plus the largest
rise from that epoch to the end that any finished trial has shown is still below. A cheap trial is never ended for
being less accurate than a dear one, as a median over trials would: it may be on the front.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cimlab.cli.options import Options, Parser, at_least_one, fraction, of_experiment, seconds
from cimlab.config.errors import ConfigError, OutputError
from cimlab.errors import FAILED
from cimlab.records.record import RunRecord

if TYPE_CHECKING:
    import optuna

    from cimlab.grids.composition import Compose
    from cimlab.grids.grid import Document
    from cimlab.grids.space import Space
    from cimlab.runs.planned import PlannedRun

OBJECTIVES: dict[str, tuple[Literal["maximize", "minimize"], Callable[[RunRecord], float]]] = {
    "accuracy": ("maximize", lambda record: record.accuracy["retrained"]["validation"]),
    "steps": ("minimize", lambda record: record.hardware["ratio"]["steps"]),
    "conversions": ("minimize", lambda record: record.hardware["ratio"]["adc_conversions"]),
    "arrays": ("minimize", lambda record: record.hardware["total"]["arrays"]),
    "weights": ("minimize", lambda record: record.weights["remaining_all"]),
    "energy": ("minimize", lambda record: record.hardware["cost"]["total"]["energy_j"]),
}
MOST_FAILURES = 5
"""Trials that may fail in a row before the fault is taken to be none of theirs."""
MOST_REFUSED = 100
"""Points in a row that may be refused, which takes next to no time, before the space is taken to have no others."""
WAIT_S = 5.0
"""Between two looks at a run that another process is at."""
RISES_NEEDED = 4
"""Finished trials before what they have shown is taken for what a trial can do."""
HELP = """\
The study is kept in paths.output_dir/search.journal, so the same command goes on with it; --storage takes a URL of
a database instead (postgresql://USER@HOST/DATABASE, with cimlab[postgres]). Several processes and machines may
search one study at a time.
"""


def run(words: list[str]) -> int:
    """Run the command; an exit code, or raises what `errors.report` explains."""
    asked = parser().parse_intermixed_args(words)
    if find_spec("optuna") is None:
        raise ConfigError("a search needs optuna: pip install cimlab[grid]")
    unknown = [name for name in asked.objectives.split(",") if name not in OBJECTIVES]
    if unknown:
        raise ConfigError(f"--objectives={asked.objectives}: choose of {', '.join(OBJECTIVES)}")
    from cimlab.grids.composition import experiment

    path = Path(asked.file)
    with experiment(path, asked.overrides, asked.config_dir) as (axes, compose):
        return _search(path, axes, compose, asked)


def _search(path: Path, axes: dict[str, str], compose: Compose, asked: Options) -> int:
    import optuna

    from cimlab.grids.space import refuse_idle_axes, refuse_wrong_values, space_of, suggested
    from cimlab.grids.stops import Stop, raise_if_asked, stoppable
    from cimlab.grids.study import SeededByTrial, open_study, searching
    from cimlab.grids.worker import DiskFull

    space = space_of(axes)
    if not space:
        raise ConfigError(f"{path} has no axes to search; write them below hydra.sweeper.params")
    point = partial(_planned, compose, path.stem)
    refuse_wrong_values(space, lambda words: point(words).run)
    refuse_idle_axes(space, lambda words: point(words).run, path)
    base = compose([])
    names = asked.objectives.split(",")
    _refuse_without_validation(base, names, asked.floor)
    output_dir = Path(base["config"]["paths"]["output_dir"])
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    directions = [OBJECTIVES[name][0] for name in names]
    study = open_study(path.stem, directions, names, _settings(base, space), asked.storage, output_dir)
    study.sampler = SeededByTrial(asked.seed)
    deadline = None if asked.time_budget is None else time.time() + asked.time_budget
    stopped: Stop | None = None
    failed: list[str] = []
    refused: list[str] = []
    try:
        with searching(study, output_dir) as searcher, stoppable(deadline):
            while (
                _finished(study) < asked.trials
                and len(failed) < MOST_FAILURES
                and len(refused) < MOST_REFUSED
            ):
                trial = study.ask()
                trial.set_user_attr("search", searcher)
                words = suggested(trial, space)
                try:
                    planned = point(words)
                except ConfigError as problem:  # of two axes whose values don't go together
                    refused.append(_failed(study, trial, words, problem))
                else:
                    reason = _run(study, trial, words, planned, names, asked.floor)
                    failed, refused = [*failed, reason] if reason else [], []
                raise_if_asked()
    except Stop as reason:
        stopped = reason
    except DiskFull as problem:
        raise OutputError(str(problem)) from problem
    except optuna.exceptions.StorageInternalError as problem:
        text = " ".join(str(problem.__cause__ or problem).split())
        raise OutputError(f"the study was lost sight of ({text}); the same command goes on") from problem
    _show(study, names, output_dir / f"{path.stem}-front.png")
    if stopped:
        print(f"{stopped}: {_finished(study)} of {asked.trials} trials are done; the same command goes on")
        return stopped.exit_code
    for reasons, most in ((failed, MOST_FAILURES), (refused, MOST_REFUSED)):
        if len(reasons) == most:
            print(
                f"cimlab: {most} trials in a row failed, the last by: {reasons[-1]}; mend that, and the same command "
                "goes on",
                file=sys.stderr,
            )
            return FAILED
    return 0


def _settings(base: Document, space: Space) -> dict[str, Any]:
    """What all trials share: the choices and every setting that shapes a result; and what each axis is drawn from."""
    from cimlab.config.schema import TrainConfig
    from cimlab.grids.space import drawn_from
    from cimlab.records.flat import flat
    from cimlab.runs.identity import conditions, counted

    shaping = counted(base["config"], TrainConfig, conditions(base["config"]))
    shared = {group: base["choices"].get(group) for group in shaping if group in base["choices"]} | flat(
        shaping
    )
    fixed = {
        k: v for k, v in shared.items() if not any(k == axis or k.startswith(f"{axis}.") for axis in space)
    }
    return fixed | {axis: drawn_from(override) for axis, override in space.items()}


def _planned(compose: Compose, search: str, words: list[str]) -> PlannedRun:
    """The run of a point, told whose trial it is."""
    from cimlab.config.schema import TrainConfig, check_plain
    from cimlab.runs.planned import plan

    document = compose(words)
    config = check_plain(document["config"], TrainConfig)
    return replace(plan(config, document["config"], document["choices"]), search=search)


def _finished(study: optuna.Study) -> int:
    return sum(trial.state.is_finished() and trial.state.name != "FAIL" for trial in study.trials)


def _refuse_without_validation(base: Document, names: list[str], floor: float | None) -> None:
    """Test images choose nothing, so that accuracy as an objective needs others set aside."""
    if base["config"]["data"].get("validation_size") == 0 and ("accuracy" in names or floor is not None):
        raise ConfigError(
            "data.validation_size=0: a search chooses by the accuracy on validation images; set data.validation_size "
            "above 0, or --objectives without accuracy"
        )


def _failed(study: optuna.Study, trial: optuna.Trial, words: list[str], problem: Exception) -> str:
    """Tell that a trial came to nothing; why."""
    from optuna.trial import TrialState

    from cimlab.config.errors import describe

    study.tell(trial, state=TrialState.FAIL)
    print(f"trial {trial.number}: {' '.join(words)}: failed: {describe(problem)}", file=sys.stderr)
    return describe(problem)


def _run(
    study: optuna.Study,
    trial: optuna.Trial,
    words: list[str],
    planned: PlannedRun,
    names: list[str],
    floor: float | None,
) -> str | None:
    """Run a trial's point (or find its record) and tell what came of it; why it failed, if it did.

    Raises:
        DiskFull: no space is left; the trial stays under way, to be tried again.
        ConfigError: the first trial of all is refused.
    """
    from optuna.trial import TrialState

    from cimlab.grids.worker import raise_what_ends_all
    from cimlab.records.history import HISTORY_FILE, read_rows
    from cimlab.training.callbacks import Hopeless

    trial.set_user_attr("folder", str(planned.run_dir))
    trial.set_user_attr("name", planned.name)
    try:
        judge = None if floor is None else partial(hopeless, study, floor, planned.config.schedule.epochs)
        record = _record(planned, judge)
        if (reason := record.hardware.get("unpriced")) is not None:
            raise ConfigError(str(reason))
        values = [float(OBJECTIVES[name][1](record)) for name in names]
    except Hopeless as reason:
        trial.set_user_attr("stopped", str(reason))
        study.tell(trial, state=TrialState.PRUNED)
        print(f"trial {trial.number}: {' '.join(words)}: stopped: {reason}", flush=True)
        return None
    except Exception as problem:
        raise_what_ends_all(problem, planned.run_dir)
        told = _failed(study, trial, words, problem)
        if isinstance(problem, ConfigError) and all(t.state.name == "FAIL" for t in study.trials):
            raise
        return told
    history = read_rows(planned.run_dir / HISTORY_FILE)
    trial.set_user_attr(
        "accuracies", [row["accuracy/validation"] for row in history if "accuracy/validation" in row]
    )
    study.tell(trial, values)
    results = "  ".join(f"{name} {value:.4g}" for name, value in zip(names, values, strict=True))
    print(f"trial {trial.number}: {' '.join(words)}  ->  {results}", flush=True)
    return None


def _record(planned: PlannedRun, judge: Callable[[list[float]], str | None] | None) -> RunRecord:
    """What the run comes to; where another process is at it, once that is done."""
    from cimlab.grids.stops import raise_if_asked
    from cimlab.grids.worker import LOG_FILE, output_to
    from cimlab.records.locks import FolderLockError
    from cimlab.runs.train import perform

    told = False
    while True:
        try:
            with output_to(planned.run_dir / LOG_FILE):
                return perform(planned, judge=judge)
        except FolderLockError as held:
            if not told:
                print(f"waiting for its record: {held}", flush=True)
            told = True
            time.sleep(WAIT_S)
            raise_if_asked()


def hopeless(study: optuna.Study, floor: float, epochs: int, accuracies: list[float]) -> str | None:
    """Why a trial with these validation accuracies by epoch can't reach the floor; None if it may.

    Args:
        study: only trials of as many epochs tell how much there is to rise from one of them on.
        floor: validation accuracy to reach.
        epochs: of the trial's retraining.
        accuracies: so far.
    """
    epoch = len(accuracies)
    finished = [t.user_attrs.get("accuracies", ()) for t in study.trials if t.state.name == "COMPLETE"]
    rises = [shown[-1] - shown[epoch - 1] for shown in finished if len(shown) == epochs > epoch]
    if len(rises) < RISES_NEEDED or accuracies[-1] + max(rises) >= floor:
        return None
    return (
        f"accuracy {accuracies[-1]:.4g} after retraining epoch {epoch}; {len(rises)} trials rose by at most "
        f"{max(rises):.4g} from there, which does not reach --floor={floor:g}"
    )


def _show(study: optuna.Study, names: list[str], figure: Path) -> None:
    """The trials that no other beats in everything, as a table, and all of them as a plot."""
    from rich.console import Console

    from cimlab.reporting.chart import save
    from cimlab.reporting.plots import front_plot
    from cimlab.reporting.table import Column, Table

    done = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    stopped = sum(trial.state.name == "PRUNED" for trial in study.trials)
    if stopped:
        print(f"{stopped} trials were stopped as hopeless")
    if not done:
        return
    best = sorted(study.best_trials, key=lambda trial: list(trial.values or ()))
    columns = (*map(Column, ("trial", *names)), Column("values", text=True))
    rows = tuple(
        (
            str(t.number),
            *(f"{v:.4g}" for v in t.values or ()),
            "  ".join(f"{k}={v}" for k, v in t.params.items()),
        )
        for t in best
    )
    title = f"{study.study_name}: {len(best)} best of {len(done)} trials"
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(Table(columns, rows, title=title))
    if len(names) > 1:
        points, front = ([(v[1], v[0]) for v in (t.values for t in trials) if v] for trials in (done, best))
        plot = save(front_plot(points, front, (names[1], names[0])), figure)
        console.print(f"plot: {plot}", highlight=False, markup=False, soft_wrap=True)


def parser() -> Parser:
    """The options of the command."""
    options = Parser("search", __doc__, HELP)
    of_experiment(options, "an experiment file whose axes are the space, e.g. experiments/search_layers.yaml")
    options.add_argument("--trials", type=at_least_one, default=50, help="finished trials to reach (50)")
    more = f"what to trade off, of {', '.join(OBJECTIVES)} (accuracy,steps)"
    options.add_argument("--objectives", default="accuracy,steps", help=more)
    options.add_argument("--storage", metavar="URL", help="a database instead of the journal file")
    more = "end trials early that can't reach this validation accuracy, 0 to 1"
    options.add_argument("--floor", type=fraction, metavar="ACCURACY", help=more)
    options.add_argument("--seed", type=int, default=0, help="of the sampler (0)")
    options.add_argument(
        "--time-budget", type=seconds, metavar="9m", help="stop cleanly after so long (s, m, h)"
    )
    return options
