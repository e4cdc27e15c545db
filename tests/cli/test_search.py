"""Searches on digits: the space as written, a study that goes on, a front that nothing beats."""

import errno
import itertools
import os
from pathlib import Path

import pytest
from conftest import Answer, Cimlab, one_line

from cimlab.config.errors import ConfigError

optuna = pytest.importorskip("optuna")

from cimlab.grids.space import refuse_idle_axes, space_of, suggested  # noqa: E402

SMALL = ("recipe.epochs=1", "schedule.epochs=1", "trainer.threads=1", "tracker=none")
SPACE = """\
# @package _global_
prune:
  allocation: per_layer
hydra:
  sweeper:
    params:
      granularity: weight,filter
      prune.layer_remaining.3: tag(log, interval(0.05, 0.8))
      prune.layer_remaining.7: interval(0.05, 0.8)
      seed: range(0, 3)
"""


@pytest.fixture
def search(cimlab: Cimlab, tmp_path: Path) -> Cimlab:
    (tmp_path / "space.yaml").write_text(SPACE)

    def run(*words: str) -> Answer:
        place = f"paths.output_dir={tmp_path / 'out'}"
        return cimlab("search", str(tmp_path / "space.yaml"), *SMALL, place, *words)

    return run


def the_study(folder: Path):
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    storage = JournalStorage(JournalFileBackend(str(folder / "out" / "search.journal")))
    return optuna.load_study(study_name="space", storage=storage)


def test_a_search_keeps_to_its_space_goes_on_and_shows_the_front(search: Cimlab, tmp_path: Path) -> None:
    from cimlab.records.store import load

    assert search("--trials=2").code == 0
    answer = search("--trials=4")
    assert answer.code == 0, answer.err
    study = the_study(tmp_path)
    assert len(study.trials) == 4
    for trial in study.trials:
        assert 0.05 <= trial.params["prune.layer_remaining.3"] <= 0.8
        assert trial.params["granularity"] in ("weight", "filter")
        assert trial.params["seed"] in (0, 1, 2)
    records, _ = load(tmp_path / "out")
    measured = {(r.accuracy["retrained"]["validation"], r.hardware["ratio"]["steps"]) for r in records}
    assert {tuple(trial.values) for trial in study.trials} == measured
    assert {record.search for record in records} == {"space"}
    front = [trial.values for trial in study.best_trials]
    assert not any(
        a >= front_a and s <= front_s and (a, s) != (front_a, front_s)
        for front_a, front_s in front
        for a, s in measured
    )
    assert f"{len(front)} best of 4 trials" in answer.out
    assert (tmp_path / "out" / "space-front.png").stat().st_size > 1000


def test_a_trial_whose_process_died_is_tried_again(search: Cimlab, tmp_path: Path) -> None:
    assert search("--trials=1").code == 0
    trial = the_study(tmp_path).ask()
    trial.set_user_attr("search", "killed")
    (tmp_path / "out" / ".search" / "killed").mkdir(parents=True)
    lost = {
        "granularity": trial.suggest_categorical("granularity", ["weight", "filter"]),
        "prune.layer_remaining.3": trial.suggest_float("prune.layer_remaining.3", 0.05, 0.8, log=True),
        "prune.layer_remaining.7": trial.suggest_float("prune.layer_remaining.7", 0.05, 0.8),
        "seed": trial.suggest_int("seed", 0, 2),
    }
    assert search("--trials=2").code == 0
    trials = the_study(tmp_path).trials
    assert [t.state.name for t in trials] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert trials[2].params == lost


def test_trials_of_a_search_that_lives_or_runs_on_another_machine_are_left_alone(
    search: Cimlab, tmp_path: Path
) -> None:
    from cimlab.records.locks import locked

    assert search("--trials=1").code == 0
    study = the_study(tmp_path)
    for name in ("lives", "elsewhere"):
        study.ask().set_user_attr("search", name)
    with locked(tmp_path / "out" / ".search" / "lives"):
        assert search("--trials=2").code == 0
    assert [t.state.name for t in study.trials] == ["COMPLETE", "RUNNING", "RUNNING", "COMPLETE"]
    assert not [path for path in (tmp_path / "out" / ".search").iterdir() if path.is_dir()]


def test_searches_that_begin_together_draw_different_points_and_one_that_goes_on_the_same() -> None:
    from cimlab.grids.study import SeededByTrial

    def drawn(trials: int, *seeds: int) -> list[float]:
        study = optuna.create_study()
        points = []
        for number in range(trials):
            study.sampler = SeededByTrial(seeds[number % len(seeds)])  # as begun anew
            points.append(study.ask().suggest_float("x", 0, 1))
        return points

    alone = drawn(4, 0)
    assert len(set(alone)) == 4
    study = optuna.create_study(sampler=SeededByTrial(0))
    assert [study.ask().suggest_float("x", 0, 1) for _ in range(4)] == alone
    assert drawn(4, 1) != alone


def test_a_search_that_was_stopped_amid_a_trial_tries_what_an_undisturbed_one_tries(tmp_path: Path) -> None:
    from cimlab.grids.study import SeededByTrial, searching

    def search_on(study: optuna.Study, trials: int) -> None:
        with searching(study, tmp_path) as own:
            while sum(trial.state.name == "COMPLETE" for trial in study.trials) < trials:
                trial = study.ask()
                trial.set_user_attr("search", own)
                x = trial.suggest_float("x", 0, 1)
                if trial.number in stopping:
                    return
                study.tell(trial, (x - 0.3) ** 2)

    found = []
    for stopping in ((), (1, 4)):
        study = optuna.create_study(sampler=SeededByTrial(0))
        for _ in range(1 + len(stopping)):
            search_on(study, 14)  # TPE looks at what was tried from the eleventh on
        found.append([trial.params["x"] for trial in study.trials if trial.state.name == "COMPLETE"])
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--objectives=accuracy,beauty",), "choose of accuracy, steps"),
        (("--trials=0",), "argument --trials: 0"),
        (("--floor=85",), "argument --floor: 85: give a number from 0 to 1"),
        (("granularity=nope,weight", "--trials=1", "--seed=1"), "nope"),
    ],
)
def test_what_cannot_be_searched_is_refused(words: tuple[str, ...], message: str, search: Cimlab) -> None:
    answer = search(*words)
    assert answer.code == 2
    assert message in one_line(answer.err)


def test_a_study_keeps_its_objectives(search: Cimlab) -> None:
    assert search("--trials=1").code == 0
    answer = search("--trials=2", "--objectives=accuracy,arrays")
    assert answer.code == 2
    assert "was begun with --objectives=accuracy,steps" in one_line(answer.err)


def test_a_study_keeps_its_settings_and_choices_and_lets_an_interval_move(
    search: Cimlab, tmp_path: Path
) -> None:
    assert search("--trials=1").code == 0
    for word, was in (
        ("saliency=l1", "saliency=l2"),
        ("prune.exempt_last=false", "prune.exempt_last=true"),
        ("granularity=weight,channel", "granularity=weight,filter"),
    ):
        answer = search("--trials=2", word)
        assert answer.code == 2
        assert f"was begun with {was}; go on with that" in one_line(answer.err)
    assert (
        search("--trials=2", "prune.layer_remaining.7=interval(0.1,0.7)", "trainer.progress=none").code == 0
    )
    assert len(the_study(tmp_path).trials) == 2


def test_a_half_written_line_of_the_journal_is_cut_off_and_the_study_goes_on(
    search: Cimlab, tmp_path: Path
) -> None:
    assert search("--trials=1").code == 0
    journal = tmp_path / "out" / "search.journal"
    whole = journal.read_bytes()
    for half in (b'{"op_code":4,"wor', whole.splitlines()[-1]):
        journal.write_bytes(whole + half)
        assert search("--trials=1").code == 0
        assert journal.read_bytes().startswith(whole)
        assert len(the_study(tmp_path).trials) == 1


def test_a_damaged_journal_is_refused_in_one_line(search: Cimlab, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "search.journal").write_text('{"op_code":0,\n{"op_code":0}\n')
    answer = search("--trials=1")
    assert answer.code == 2
    assert "search.journal: can't be opened" in one_line(answer.err)


def test_the_lock_of_a_killed_search_is_taken_away_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from optuna.storages.journal import _file

    from cimlab.grids.study import open_study

    monkeypatch.chdir(tmp_path)  # outputs/ is a relative folder unless told otherwise
    Path("out").mkdir()
    locks: list[tuple[str, str]] = []
    link = os.symlink

    def seen(target: str, place: str) -> None:
        locks.append((target, place))
        link(target, place)

    def opened() -> optuna.Study:
        return open_study("space", ["maximize"], ["accuracy"], {"seed": 0}, None, Path("out"))

    with monkeypatch.context() as patch:
        patch.setattr(_file.os, "symlink", seen)
        opened()
    link(*locks[0])  # as a search leaves it that is killed while it writes
    clock = itertools.count(step=10)
    with monkeypatch.context() as patch:
        patch.setattr(_file.time, "monotonic", lambda: float(next(clock)))
        assert opened().study_name == "space"
    assert not os.path.lexists(locks[0][1])


def finished_trial(*accuracies: float):
    """A finished trial whose validation accuracy was this, epoch by epoch."""
    values = {
        "granularity": "weight",
        "prune.layer_remaining.3": 0.5,
        "prune.layer_remaining.7": 0.5,
        "seed": 0,
    }
    spaces = {
        "granularity": optuna.distributions.CategoricalDistribution(["weight", "filter"]),
        "prune.layer_remaining.3": optuna.distributions.FloatDistribution(0.05, 0.8, log=True),
        "prune.layer_remaining.7": optuna.distributions.FloatDistribution(0.05, 0.8),
        "seed": optuna.distributions.IntDistribution(0, 2),
    }
    return optuna.trial.create_trial(
        values=[accuracies[-1], 0.9],
        params=values,
        distributions=spaces,
        user_attrs={"accuracies": accuracies},
    )


def test_a_trial_is_hopeless_only_if_the_largest_rise_seen_does_not_reach_the_floor() -> None:
    from cimlab.cli.search import hopeless

    study = optuna.create_study(directions=["maximize", "minimize"])
    for rises in ((0.5, 0.6, 0.7), (0.6, 0.5, 0.9), (0.7, 0.7, 0.7)):
        study.add_trial(finished_trial(*rises))
    assert hopeless(study, 0.8, 3, [0.1]) is None  # three trials have shown too little
    study.add_trial(finished_trial(0.5, 0.8, 0.8))
    assert hopeless(study, 0.8, 3, [0.5]) is None  # 0.6 rose to 0.9: it may yet come to 0.8
    assert "rose by at most 0.3" in str(hopeless(study, 0.8, 3, [0.49]))
    assert hopeless(study, 0.8, 3, [0.2, 0.41]) is None  # from the second epoch 0.4 was gained
    assert "after retraining epoch 2" in str(hopeless(study, 0.8, 3, [0.5, 0.39]))
    assert hopeless(study, 0.8, 3, [0.1, 0.1, 0.1]) is None  # it is done anyway
    study.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.PRUNED))
    assert hopeless(study, 0.8, 3, [0.5]) is None
    assert hopeless(study, 0.8, 16, [0.1]) is None  # trials of three epochs tell nothing of one of sixteen


def test_a_hopeless_trial_ends_early_and_is_no_point_of_the_front(search: Cimlab, tmp_path: Path) -> None:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    (tmp_path / "out").mkdir()
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "out" / "search.journal")))
    study = optuna.create_study(study_name="space", storage=storage, directions=["maximize", "minimize"])
    for _ in range(4):
        study.add_trial(finished_trial(0.99, 0.99))
    answer = search("--trials=5", "--floor=1", "schedule.epochs=2")
    assert answer.code == 0, answer.err
    trial = the_study(tmp_path).trials[4]
    assert trial.state.name == "PRUNED"
    assert "does not reach --floor=1" in trial.user_attrs["stopped"]
    assert trial.number not in [best.number for best in the_study(tmp_path).best_trials]
    assert "1 trials were stopped as hopeless" in answer.out
    folder = Path(trial.user_attrs["folder"])
    assert len((folder / "history.jsonl").read_text().splitlines()) == 1
    assert not (folder / "record.json").exists()


def spaced(folder: Path, **axes: str) -> Path:
    """A file of axes alone."""
    lines = "".join(f"      {key.replace('__', '.')}: {value}\n" for key, value in axes.items())
    path = folder / "axes.yaml"
    path.write_text(f"# @package _global_\nhydra:\n  sweeper:\n    params:\n{lines}")
    return path


@pytest.mark.parametrize(
    ("axes", "line", "says"),
    [
        ({"paths__output_dir": "a,b"}, 5, "paths.output_dir: its 2 values make the same run; give it one value"),
        ({"seed": "0,1", "trainer__threads": "range(1,4)"}, 6, "trainer.threads: its 3 values make the same run"),
        ({"paths__dense_dir": "a,b", "prune__remaining": "interval(0.1,0.5)"}, 5, "paths.dense_dir: its 2 values"),
        ({"adc": "full_scale,mse"}, 5, "compare them with cimlab simulate -m"),
        ({"seed": "range(3,3)"}, None, "seed=range(3,3): matches nothing"),
    ],
)  # fmt: skip
def test_an_axis_in_which_a_search_can_find_nothing_is_refused_before_anything_is_made(
    axes: dict[str, str], line: int | None, says: str, cimlab: Cimlab, tmp_path: Path, monkeypatch
) -> None:
    path = spaced(tmp_path, **axes)
    monkeypatch.chdir(tmp_path)
    answer = cimlab("search", str(path), "--trials=1")
    assert answer.code == 2
    told = one_line(answer.err)
    assert says in told
    assert line is None or told.startswith(f"cimlab: {path}:{line}: ")
    assert [entry.name for entry in tmp_path.iterdir()] == ["axes.yaml"]


def test_a_search_of_which_every_trial_fails_ends_and_says_why(search: Cimlab, tmp_path: Path) -> None:
    answer = search("--trials=2", "optimizer.lr=1e20", "recipe.warmup=0")
    assert answer.code == 1
    assert answer.err.count(": failed: ") == 5
    assert "cimlab: 5 trials in a row failed, the last by: the training loss became" in answer.err
    assert {trial.state.name for trial in the_study(tmp_path).trials} == {"FAIL"}


@pytest.mark.parametrize("after", [0, 1])
def test_a_full_disk_ends_a_search_and_costs_it_no_trial(
    after: int, search: Cimlab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cimlab.runs import train

    perform, calls = train.perform, itertools.count()

    def full(*given, **named):
        if next(calls) == after:
            raise OSError(errno.ENOSPC, "No space left on device")
        return perform(*given, **named)

    with monkeypatch.context() as patched:
        patched.setattr(train, "perform", full)
        answer = search("--trials=2")
    assert answer.code == 1
    assert "no space left for" in one_line(answer.err)
    assert search("--trials=2").code == 0
    done = [trial for trial in the_study(tmp_path).trials if trial.state.name == "COMPLETE"]
    assert len(done) == 2


def test_what_matters_beside_one_choice_of_another_axis_alone_is_searched(tmp_path: Path) -> None:
    path = spaced(tmp_path, method="none,lsq", adc="full_scale,mse")
    space = space_of({"method": "method=none,lsq", "adc": "adc=full_scale,mse"})

    def run_of(words: list[str]) -> str:
        return words[0] if words[0] == "method=none" else " ".join(words)

    refuse_idle_axes(space, run_of, path)
    with pytest.raises(ConfigError, match="adc: its 2 values make the same run"):
        refuse_idle_axes(space, lambda words: words[0], path)


def test_every_kind_of_axis_is_drawn_from() -> None:
    written = {
        "a": "a=interval(0.1,0.5)", "b": "b=range(1,8,3)", "c": "c=range(0.5,2,0.5)", "d": "d=x,y", "e": "e=5",
        "f": "f=range(5,0,-2)",
    }  # fmt: skip
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(sampler=sampler)
    drawn = [suggested(study.ask(), space_of(written)) for _ in range(60)]
    values = [{word.partition("=")[2] for word in words} for words in zip(*drawn, strict=True)]
    assert all(0.1 <= float(value) <= 0.5 for value in values[0])
    assert values[1:] == [{"1", "4", "7"}, {"0.5", "1.0", "1.5"}, {"x", "y"}, {"5"}, {"5", "3", "1"}]


def test_a_trial_costs_what_its_own_accelerator_costs(cimlab: Cimlab, tmp_path: Path) -> None:
    path = spaced(tmp_path, technology="isaac32,neurosim22_rram")
    place = f"paths.output_dir={tmp_path / 'out'}"
    answer = cimlab("search", str(path), *SMALL, place, "--trials=6", "--objectives=accuracy,energy")
    assert answer.code == 0, answer.err
    assert len(list((tmp_path / "out").glob("*/record.json"))) == 1
    energies = {line.split("energy ")[1] for line in answer.out.splitlines() if line.startswith("trial ")}
    assert len(energies) == 2


def test_a_logarithmic_range_is_drawn_on_a_logarithmic_scale() -> None:
    space = space_of({"x": "x=tag(log, range(1, 1001))"})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [int(suggested(study.ask(), space)[0].removeprefix("x=")) for _ in range(200)]
    assert 0.35 < sum(value < 32 for value in drawn) / 200 < 0.65  # half of the decades
    assert max(drawn) <= 1000


@pytest.mark.parametrize(
    ("axis", "told"),
    [
        ("tag(log, interval(0, 0.5))", "a logarithmic scale has no 0"),
        ("interval(0.5, 0.1)", "the interval ends before it begins"),
        ("tag(log, range(1, 9, 2))", "in steps of 1"),
    ],
)
def test_an_axis_of_which_nothing_can_be_drawn_is_refused(axis: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        space_of({"x": f"x={axis}"})


MIXED = """\
# @package _global_
hydra:
  sweeper:
    params:
      prune.budget: weights,steps
      prune.allocation: global,erk
"""


def test_points_that_are_refused_are_failed_trials_and_the_search_goes_on(
    search: Cimlab, tmp_path: Path
) -> None:
    (tmp_path / "space.yaml").write_text(MIXED)
    answer = search("--trials=3")
    assert answer.code == 0, answer.err
    states = [trial.state.name for trial in the_study(tmp_path).trials]
    assert states.count("COMPLETE") == 3
    assert {*states} <= {"COMPLETE", "FAIL"}
    assert answer.err.count("prune.allocation=erk shares out weights") == states.count("FAIL") > 0


def test_accuracy_without_validation_images_is_refused_before_the_study_is_opened(
    search: Cimlab, tmp_path: Path
) -> None:
    answer = search("--trials=1", "data.validation_size=0")
    assert answer.code == 2
    assert "data.validation_size=0: a search chooses by the accuracy on validation images" in one_line(
        answer.err
    )
    assert not (tmp_path / "out" / "search.journal").exists()


def test_a_run_that_another_process_is_at_is_waited_for(
    search: Cimlab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cimlab.cli import search as command
    from cimlab.records.locks import FolderLockError
    from cimlab.runs import train

    perform, refusals = train.perform, iter(range(2))

    def held(*words, **named):
        if next(refusals, None) is not None:
            raise FolderLockError("is being worked on")
        return perform(*words, **named)

    monkeypatch.setattr(train, "perform", held)
    monkeypatch.setattr(command, "WAIT_S", 0.0)
    assert search("--trials=1").code == 0
    assert [trial.state.name for trial in the_study(tmp_path).trials] == ["COMPLETE"]
