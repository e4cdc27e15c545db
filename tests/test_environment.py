"""The set-up a stranger meets first: the hashed lock, and the Makefile's search for an interpreter."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
BROKEN = "echo 'pyenv: python3: command not found' >&2; exit 127"
REAL = f'exec "{sys.executable}" "$@"'


def locked() -> dict[str, list[str]]:
    """Each requirement's blocks of the lock, by name; one name may stand there once per Python version."""
    blocks: dict[str, list[str]] = {}
    for block in re.split(r"\n(?=\S)", LOCK.strip()):
        matched = re.match(r"[a-z0-9-]+", block)
        assert matched, f"not a requirement: {block.splitlines()[0]}"
        blocks.setdefault(matched[0], []).append(block)
    return blocks


def declared() -> list[str]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)
    extras = project["project"]["optional-dependencies"].values()
    wanted = [project["build-system"]["requires"], project["project"]["dependencies"], *extras]
    return sorted({requirement for group in wanted for requirement in group})


def test_every_locked_requirement_is_pinned_and_hashed() -> None:
    for name, blocks in locked().items():
        for block in blocks:
            assert re.match(r"[a-z0-9-]+==\S+", block), f"{name} is not pinned"
            assert re.search(r"--hash=sha256:[0-9a-f]{64}(\s|$)", block), f"{name} has no hash"


@pytest.mark.parametrize("address", ["http://", "https://", "git+", "file:", "-index", "--find-links", " @ "])
def test_the_lock_names_no_place_to_fetch_from(address: str) -> None:
    assert address not in LOCK


@pytest.mark.parametrize("requirement", declared())
def test_every_declared_dependency_is_locked(requirement: str) -> None:
    matched = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert matched
    name = re.sub(r"[-_.]+", "-", matched[0]).lower()
    assert name in locked(), f"{name} is in pyproject.toml but not in requirements.lock; run: make lock"


def test_the_lock_carries_exactly_one_uv_to_bootstrap_from() -> None:
    assert len(locked()["uv"]) == 1


class Machine:
    """A PATH with make and a few tools but no Python, in front of which folders of fake ones can be put."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path: list[str] = []
        tools = folder / "tools"
        tools.mkdir()
        for name in ("make", "sh", "cat", "rm", "touch", "mkdir"):
            found = shutil.which(name)
            assert found, f"{name} is missing on this machine"
            (tools / name).symlink_to(found)
        self.tools = str(tools)

    def add(self, folder: str, name: str, script: str) -> str:
        """Put an executable after the folders added so far, and say where it is."""
        where = self.folder / folder
        if not where.exists():
            where.mkdir()
            self.path.append(str(where))
        program = where / name
        program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        program.chmod(0o755)
        return str(program)

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        # a bare environment: flags of the make that runs these tests must not leak in
        path = os.pathsep.join([*self.path, self.tools])
        command = [f"{self.tools}/make", "-s", *arguments]
        return subprocess.run(
            command, cwd=ROOT, env={"PATH": path}, capture_output=True, text=True, timeout=30
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_broken_shim_does_not_stop_the_search(machine: Machine) -> None:
    machine.add("shims", "python3", BROKEN)
    real = machine.add("later", "python3", REAL)
    found = machine.make("which-python")
    assert (found.returncode, found.stdout, found.stderr) == (0, f"{real}\n", "")


def test_a_versioned_name_will_do(machine: Machine) -> None:
    machine.add("shims", "python3", BROKEN)
    machine.add("old", "python3", "echo is Python 3.9")
    real = machine.add("old", "python3.12", REAL)
    assert machine.make("which-python").stdout == f"{real}\n"


def test_python_overrides_the_search(machine: Machine) -> None:
    machine.add("first", "python3", REAL)
    chosen = machine.add("elsewhere", "my-python", REAL)
    assert machine.make("which-python", f"PYTHON={chosen}").stdout == f"{chosen}\n"


def test_no_interpreter_is_one_line_that_says_what_to_install(machine: Machine) -> None:
    found = machine.make("which-python")
    assert found.returncode == 2
    assert found.stdout == ""
    (line,) = found.stderr.splitlines()
    assert "no python3 on PATH" in line
    assert "apt install python3 python3-venv" in line


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (BROKEN, "does not run"),
        ("echo is Python 3.9", "is Python 3.9"),
        ("echo lacks venv or ensurepip", "lacks venv or ensurepip"),
    ],
)
def test_an_unfit_interpreter_is_named_with_the_reason(machine: Machine, script: str, reason: str) -> None:
    program = machine.add("only", "python3", script)
    found = machine.make("which-python")
    assert found.returncode == 2
    (line,) = found.stderr.splitlines()
    assert f"{program} {reason}" in line
