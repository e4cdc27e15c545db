"""An experiment file may come from a stranger: it runs no code of its own, whichever command reads it."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Cimlab, one_line

from cimlab.config.errors import ConfigError
from cimlab.grids.planning import check_every_value, make_plan

TOUCH = "{_target_: pathlib.Path.touch, self: {_target_: pathlib.Path, _args_: [MARK]}}"
HANDLER = "{version: 1, root: {handlers: [h]}, handlers: {h: {(): logging.FileHandler, filename: MARK}}}"
SLURM = "defaults: [override /hydra/launcher: submitit_slurm]\n"

EVIL = [
    # what the file says below `hydra:`, and the beginning of the refusal
    ("", f"callbacks: {{x: {TOUCH}}}", "hydra.callbacks.x="),
    ("", "launcher: {_target_: os.system}", "hydra.launcher._target_=os.system"),
    (
        SLURM,
        f"launcher: {{additional_parameters: {{x: {TOUCH}}}}}",
        "hydra.launcher.additional_parameters.x.",
    ),
    (SLURM, "launcher: {setup: ['touch MARK']}", "hydra.launcher.setup="),
    (
        SLURM,
        "launcher: {additional_parameters: {wrap: 'touch MARK'}}",
        "hydra.launcher.additional_parameters=",
    ),
    (SLURM, 'launcher: {comment: "x\\ntouch MARK #"}', "hydra.launcher.comment='x"),
    ("", "sweeper: {_target_: os.system}", "hydra.sweeper._target_=os.system"),
    ("", f"sweeper: {{params: {{seed: {TOUCH}}}}}", "hydra.sweeper.params.seed._target_="),
    (
        "",
        "sweeper: {params: {seed: '${oc.create:{_target_:os.getcwd}}'}}",
        "hydra.sweeper: While dereferencing interpolation",
    ),
    ("", "sweeper: {params: {+hydra.job.env_set.X: 1}}", "hydra.sweeper.params=+hydra.job.env_set.X"),
    ("", "job: {env_set: {WANDB_BASE_URL: 'http://thief'}}", "hydra.job.env_set="),
    ("", f"job_logging: {HANDLER}", "hydra.job_logging.handlers="),
    ("", f"hydra_logging: {HANDLER}", "hydra.hydra_logging.handlers="),
]


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    folder = tmp_path / "experiments"
    folder.mkdir()
    return folder / "stranger.yaml"


def refused(answer, start: str, path: Path) -> None:
    assert answer.code == 2, answer
    line = one_line(answer.err).removeprefix("cimlab: ").removeprefix(f"{path}: ")
    assert line.startswith(start), line


@pytest.mark.parametrize(("defaults", "hydra", "start"), EVIL)
def test_a_file_reaches_no_code_through_the_settings_of_hydra(
    defaults: str, hydra: str, start: str, stranger: Path, cimlab: Cimlab
) -> None:
    mark = stranger.parent / "ran"
    stranger.write_text(f"# @package _global_\n{defaults}hydra:\n  {hydra.replace('MARK', str(mark))}\n")
    refused(cimlab("sweep", str(stranger)), start, stranger)
    assert sorted(stranger.parent.iterdir()) == [stranger]


@pytest.mark.parametrize("command", ["train", "train -m", "map", "simulate"])
@pytest.mark.parametrize("hydra", [f"callbacks: {{x: {TOUCH}}}", f"hydra_logging: {HANDLER}"])
def test_every_command_asks_before_hydra_calls_anything(
    command: str, hydra: str, stranger: Path, cimlab: Cimlab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(stranger.parent)
    mark = stranger.parent / "ran"
    stranger.write_text(f"# @package _global_\nhydra:\n  {hydra.replace('MARK', str(mark))}\n")
    answer = cimlab(*command.split(), f"--config-dir={stranger.parents[1]}", "+experiments=stranger")
    refused(answer, f"hydra.{hydra.partition(':')[0]}.", stranger)
    assert sorted(stranger.parent.iterdir()) == [stranger]


@pytest.mark.parametrize("axis", [False, True])
@pytest.mark.parametrize("command", ["train -m", "sweep", "search"])
def test_a_file_opens_no_package(axis: bool, command: str, stranger: Path, cimlab: Cimlab) -> None:
    lines = (
        "hydra: {sweeper: {params: {extensions: '[fractions]', seed: '0,1'}}}"
        if axis
        else "extensions: [fractions]"
    )
    stranger.write_text(f"# @package _global_\n{lines}\n")
    words = (f"paths.output_dir={stranger.parent / 'out'}", "tracker=none")
    if command == "train -m":
        place = (f"--config-dir={stranger.parents[1]}", "+experiments=stranger")
        answer = cimlab("train", "-m", *place, *words)
    else:
        answer = cimlab(command, str(stranger), *words)
    assert answer.code == 2
    assert "extensions=fractions: a file may not open packages" in one_line(answer.err)
    assert not list(stranger.parent.rglob("record.json"))


def test_a_reference_opens_no_package_either(stranger: Path, cimlab: Cimlab) -> None:
    stranger.write_text(
        "# @package _global_\nextensions: '${oc.decode:${tracker.group}}'\n"
        "hydra: {sweeper: {params: {tracker.group: \"'[]','[fractions]'\"}}}\n"
    )
    answer = cimlab("sweep", str(stranger), "tracker=none")
    assert answer.code == 2
    assert "a file may not open packages" in one_line(answer.err)
    answer = cimlab("sweep", str(stranger), "tracker=none", "extensions=['${tracker.group}']")
    assert answer.code == 2
    assert "a file may not open packages" in one_line(answer.err)


def test_the_command_line_opens_a_package(stranger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stranger.write_text("# @package _global_\nmodel: {_target_: my_networks.small}\n")
    (stranger.parent / "my_networks.py").write_text(
        "from cimlab.models.digits_cnn import digits_cnn\n"
        "def small(num_classes: int, in_channels: int):\n"
        "    return digits_cnn(num_classes=num_classes, in_channels=in_channels)\n"
    )
    monkeypatch.syspath_prepend(stranger.parent)
    monkeypatch.chdir(stranger.parent)  # a plan looks for what is done in outputs
    with pytest.raises(ConfigError, match="name other packages in extensions"):
        check_every_value(make_plan(stranger, []), stranger)
    check_every_value(make_plan(stranger, ["extensions=[my_networks]"]), stranger)


def test_a_primary_file_makes_hydra_import_no_package(
    stranger: Path, cimlab: Cimlab, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = stranger.parent / "evil"
    package.mkdir()
    (package / "__init__.py").write_text(f"open({str(package / 'ran')!r}, 'w')\n")
    stranger.write_text("defaults: [train, _self_]\nhydra: {searchpath: ['pkg://evil']}\n")
    monkeypatch.syspath_prepend(stranger.parent)
    answer = cimlab("train", f"--config-dir={stranger.parent}", "--config-name=stranger")
    refused(answer, "hydra.searchpath=pkg://evil", stranger)
    assert not (package / "ran").exists()


def test_the_words_of_a_person_reach_hydra(cimlab: Cimlab, tmp_path: Path) -> None:
    words = ("+hydra.job.env_set.CIMLAB_TEST=1", "hydra/job_logging=none", "-c", "hydra")
    assert cimlab("train", *words).code == 0
    callback = "+hydra.callbacks.mine._target_=hydra.experimental.callbacks.LogJobReturnCallback"
    assert cimlab("train", callback, "-c", "hydra").code == 0
