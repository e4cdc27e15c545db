"""What many tests need: the command run in this process, and the smallest experiment that is still a real one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

from cimlab.cli.main import main


class Answer(NamedTuple):
    """What a command left behind: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


Cimlab = Callable[..., Answer]


def experiment_script(name: str) -> ModuleType:
    """A script under experiments/, which is no package, as a module."""
    path = Path(__file__).resolve().parents[1] / "experiments" / name
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[path.stem] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def cimlab(capsys: pytest.CaptureFixture[str]) -> Cimlab:
    """`cimlab WORDS ...` in this process."""

    def run(*words: str) -> Answer:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main(list(words))
        captured = capsys.readouterr()
        return Answer(int(end.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def train(cimlab: Cimlab, tmp_path: Path) -> Cimlab:
    """`cimlab train` on digits, one dense and one retraining epoch unless told otherwise, into tmp_path."""

    def run(*words: str) -> Answer:
        small = ("recipe.epochs=1", "schedule.epochs=1", "trainer.threads=1", "tracker=none")
        return cimlab("train", *small, f"paths.output_dir={tmp_path}", *words)

    return run


def one_line(text: str) -> str:
    """The single line of an error message, checked to be single and no traceback."""
    lines = text.strip().splitlines()
    assert len(lines) == 1, text
    assert lines[0].startswith("cimlab: "), text
    return lines[0]


@contextmanager
def killed_in_epoch(monkeypatch: pytest.MonkeyPatch, epoch: int) -> Generator[None]:
    """Whatever fits meanwhile dies when this epoch begins (from 0), the epochs before it in its checkpoint."""
    from cimlab.training.callbacks import EpochReport

    original = EpochReport.on_train_epoch_start

    def stop(self, trainer, module) -> None:
        if trainer.current_epoch == epoch:
            raise MemoryError("killed")
        original(self, trainer, module)

    with monkeypatch.context() as patch:
        patch.setattr(EpochReport, "on_train_epoch_start", stop)
        yield
