"""What many tests need: the command run in this process, and the smallest experiment that is still a real one.

No test reads the caller's environment, and none writes into the checkout: see `own_environment` and `keep_checkout`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator
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

ROOT = Path(__file__).resolve().parents[1]
READ = ("WANDB_", "CIMLAB_", "HYDRA_", "SLURM_", "SUBMITIT_", "PL_", "COMP_", "PG")
"""What variables begin with that cimlab, or a library it calls, lets decide something."""
OURS = ("CIMLAB_WRITE_GOLDEN", "CIMLAB_FUZZ_CASES", "CIMLAB_FUZZ_RUNS")
"""What a person tells the tests themselves."""
SMALL = ("recipe.epochs=1", "schedule.epochs=1", "trainer.threads=1", "tracker=none")
"""The smallest run on digits that is still a real one."""
CACHES = ("__pycache__", ".venv", ".git", ".hypothesis", ".pytest_cache", ".ruff_cache")


@pytest.fixture(scope="session", autouse=True)
def own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Take away what the caller's environment says to cimlab and to wandb, and their home for settings and caches."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(READ) and name not in OURS]:
            patch.delenv(name)
        for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR", "XDG_CACHE_HOME"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
        yield


def keep_checkout(event: str, arguments: tuple) -> None:
    """Stop a test, at the line that does it, from opening a file of the checkout for writing or making a folder there.

    Raises:
        AssertionError: which nobody takes for a full disk.
    """
    if event not in ("open", "os.mkdir") or "PYTEST_CURRENT_TEST" not in os.environ:
        return
    file, _, flags = arguments
    reads = event == "open" and not flags & (os.O_WRONLY | os.O_RDWR)
    reads |= event == "os.mkdir" and os.path.isdir(file)  # which is there already, as Hydra's "." is
    if reads or not isinstance(file, str | bytes | os.PathLike):
        return
    path = Path(os.path.abspath(os.fsdecode(file)))
    if not path.is_relative_to(ROOT) or set(path.parts) & set(CACHES) or path.name.startswith(".coverage"):
        return
    golden = path.parent.name == "golden" and os.environ.get("CIMLAB_WRITE_GOLDEN") == "1"
    assert golden, f"a test writes {path.relative_to(ROOT)} into the checkout; give it tmp_path"


sys.addaudithook(keep_checkout)


def places() -> dict[str, tuple[int, int]]:
    """What programs that tests start could leave: top-level names, and files where cimlab writes by itself."""
    found = {path.name: (0, 0) for path in ROOT.iterdir() if not path.name.startswith(".")}
    for folder in ("paper", "outputs", "multirun", "wandb", "data"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and not set(path.parts) & set(CACHES):
                status = path.stat()
                found[str(path.relative_to(ROOT))] = (status.st_mtime_ns, status.st_size)
    return found


BEFORE = pytest.StashKey[dict[str, tuple[int, int]]]()


def pytest_sessionstart(session: pytest.Session) -> None:
    # as a terminal's program gets it: a shell starts what it puts in the background deaf to Ctrl-C, nohup to SIGHUP
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    session.config.stash[BEFORE] = places()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the whole where files of the checkout came, went or changed meanwhile; once, not in every worker."""
    before, after = session.config.stash[BEFORE], places()
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    if changed and not hasattr(session.config, "workerinput"):
        print(f"\nERROR: the checkout changed while the tests ran: {', '.join(changed[:10])}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def experiment_script(name: str, folder: str = "experiments") -> ModuleType:
    """A script under experiments/ or paper/, which are no packages, as a module."""
    path = Path(__file__).resolve().parents[1] / folder / name
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[path.stem] = module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(path.parent)  # as a script finds those beside it
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
        return cimlab("train", *SMALL, f"paths.output_dir={tmp_path}", *words)

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
