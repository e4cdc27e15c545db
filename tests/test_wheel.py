"""What is installed is complete: the wheel carries conf/, and works from any folder."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's content, as pip would lay it out."""
    out = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = out.glob("*.whl")
    site = tmp_path_factory.mktemp("site")
    zipfile.ZipFile(wheel).extractall(site)
    return site


def test_every_configuration_file_is_in_the_wheel(installed: Path) -> None:
    sources = {path.relative_to(ROOT) for path in (ROOT / "conf").rglob("*.yaml")}
    package = installed / "cimlab"
    shipped = {path.relative_to(package) for path in (package / "conf").rglob("*.yaml")}
    assert sources == shipped


def test_the_installed_command_finds_its_configuration_from_any_folder(
    installed: Path, tmp_path: Path
) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "cimlab", "train", "--help"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "array_column      a column of one array" in answer.stdout
    assert not list(tmp_path.iterdir())


def test_the_installed_command_trains_outside_the_repository(installed: Path, tmp_path: Path) -> None:
    words = ("data=digits", "recipe.epochs=1", "schedule.epochs=1", "trainer.threads=1", "tracker=none")
    program = "import cimlab.cli.main as m; print(m.__file__); m.main()"
    answer = subprocess.run(
        [sys.executable, "-c", program, "train", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith(str(installed))
    assert len(list(tmp_path.glob("outputs/*/record.json"))) == 1
