"""A study in a database by URL: what can't be opened is refused in one line, and searches on a real server share it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import Answer, Cimlab, one_line

optuna = pytest.importorskip("optuna")

SECRET = "not-for-every-eye"
SPACE = """\
# @package _global_
hydra:
  sweeper:
    params:
      granularity: weight,filter
      prune.remaining: interval(0.1, 0.9)
"""
SMALL = ("recipe.epochs=1", "schedule.epochs=1", "trainer.threads=1", "tracker=none")
needs_driver = pytest.mark.skipif(
    find_spec("psycopg") is None, reason="needs psycopg (pip install cimlab[postgres])"
)


@pytest.fixture
def words(tmp_path: Path) -> Callable[[str], list[str]]:
    """The words of a search whose study is at a URL."""
    (tmp_path / "space.yaml").write_text(SPACE)
    place = f"paths.output_dir={tmp_path / 'out'}"
    return lambda url: ["search", str(tmp_path / "space.yaml"), *SMALL, place, f"--storage={url}"]


def refusal(answer: Answer, folder: Path) -> str:
    """The one line of a search that was refused before anything ran, and that kept the password to itself."""
    assert answer.code == 2, answer.err
    assert SECRET not in answer.out + answer.err
    assert not list((folder / "out").glob("digits*"))
    return one_line(answer.err)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            f"postgresql://me:{SECRET}@127.0.0.1:1/lab",
            "needs the package psycopg: pip install cimlab[postgres]",
        ),
        (f"postgresql+psycopg://127.0.0.1/lab?password={SECRET}", "pip install cimlab[postgres]"),
        ("my-database", "--storage=my-database: is no database URL; write postgresql://USER@HOST/DATABASE"),
        (f"mongodb://me:{SECRET}@127.0.0.1/lab", "is no database URL"),
        ("sqlite:////nowhere/at/all.db", "can't be opened (unable to open database file)"),
    ],
)
def test_a_database_that_cannot_be_used_is_refused_in_one_line(
    url: str,
    message: str,
    words: Callable[[str], list[str]],
    cimlab: Cimlab,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)  # as where it is not installed
    assert message in refusal(cimlab(*words(url)), tmp_path)


@needs_driver
def test_a_server_that_is_not_there_is_refused_in_one_line(
    words: Callable[[str], list[str]], cimlab: Cimlab, tmp_path: Path
) -> None:
    answer = cimlab(*words(f"postgresql://me:{SECRET}@127.0.0.1:1/lab"))
    line = refusal(answer, tmp_path)
    assert "--storage=postgresql://me:***@127.0.0.1:1/lab: can't be opened (connection failed" in line
    assert "refused" in line


def _binaries() -> Path | None:
    """Where PostgreSQL's programs are; Debian keeps most of them off PATH."""
    found = shutil.which("initdb")
    places = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((place for place in reversed(places) if (place / "initdb").exists()), None)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A cluster of its own on a socket in its own folder, with a password; gives its URL. It refuses to run as root."""
    programs = _binaries()
    if programs is None:
        pytest.skip("needs PostgreSQL's initdb and pg_ctl")
    folder = Path(
        tempfile.mkdtemp(prefix="cimlab-pg-")
    )  # not below root's tmp_path: its user has to reach it
    user = None
    if os.geteuid() == 0:
        user = "postgres"
        shutil.chown(folder, user)

    def do(program: str, *arguments: str) -> None:
        command = [str(programs / program), "-D", str(folder / "data"), *arguments]
        subprocess.run(command, user=user, cwd=folder, check=True, capture_output=True, timeout=120)

    (folder / "password").write_text(SECRET)
    try:
        do("initdb", "-U", "lab", "-A", "scram-sha-256", f"--pwfile={folder / 'password'}", "--no-sync")
        settings = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
        do("pg_ctl", "start", "-w", "-s", "-l", str(folder / "log"), "-o", settings)
        try:
            yield f"postgresql://lab:{SECRET}@/postgres?host={folder}"
        finally:
            do("pg_ctl", "stop", "-w", "-s", "-m", "immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@needs_driver
def test_a_wrong_password_is_refused_in_one_line(
    server: str, words: Callable[[str], list[str]], cimlab: Cimlab, tmp_path: Path
) -> None:
    line = refusal(cimlab(*words(server.replace(SECRET, "wrong"))), tmp_path)
    assert "password authentication failed" in line
    assert "wrong" not in line


@needs_driver
def test_two_searches_at_once_share_the_trials_of_a_server(
    server: str, words: Callable[[str], list[str]], cimlab: Cimlab
) -> None:
    from sqlalchemy import make_url

    import_module("cimlab.training.phases")  # now, so that this search comes in while the other works
    url = make_url(server).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    command = [sys.executable, "-m", "cimlab", *words(server), "--trials=2"]
    other = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        for _ in range(600):
            if other.poll() is not None or "space" in optuna.get_all_study_names(url):
                break
            time.sleep(0.2)
        answer = cimlab(*words(server), "--trials=2")
        out, err = other.communicate(timeout=200)
    finally:
        other.kill()
    assert (answer.code, other.returncode) == (0, 0), answer.err + err
    trials = optuna.load_study(study_name="space", storage=url).trials
    assert len(trials) in (2, 3)  # both may begin the last one
    assert {trial.state.name for trial in trials} == {"COMPLETE"}
    assert len({trial.user_attrs["search"] for trial in trials}) == 2
    assert len({trial.params["prune.remaining"] for trial in trials}) == len(trials)
    assert f"best of {len(trials)} trials" in out + answer.out
