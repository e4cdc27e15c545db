"""The house plan as a test: which part of cimlab may import which other part, and which framework.

Every import counts, also one inside a function, under TYPE_CHECKING, or written as import_module("...").
A new package has to be entered in FLOORS before it may exist.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]

WATCHED = frozenset(
    {"torch", "torchvision", "timm", "pytorch_lightning", "lightning", "hydra", "omegaconf", "wandb"}
)  # every other library may be imported anywhere


class Floor(NamedTuple):
    """What one package may import: parts of cimlab, and libraries out of WATCHED."""

    cimlab: frozenset[str]
    libraries: frozenset[str]


def floor(cimlab: str, libraries: str = "") -> Floor:
    return Floor(
        frozenset((*cimlab.split(), "errors", "choices", "processors", "progress", "interval")),
        frozenset(libraries.split()),
    )


EVERYTHING = "network crossbar pruning hardware analog models data training records reporting config runs grids lab cli"

FLOORS = {
    "network": floor("network", "torch"),
    "crossbar": floor("network crossbar", "torch"),
    "pruning": floor("network crossbar pruning", "torch"),
    "hardware": floor("network crossbar records hardware", "torch"),
    "analog": floor("network crossbar analog", "torch"),
    "models": floor("models", "torch torchvision timm"),
    "data": floor("data", "torch torchvision"),
    "records": floor("records"),
    # crossbar: what follows from an array's numbers; pruning: how a granularity looks stands in its file
    "reporting": floor("records crossbar pruning reporting"),
    "training": floor(
        "records pruning network crossbar models data analog hardware reporting training",
        "torch torchvision pytorch_lightning wandb",
    ),
    "config": floor(
        "network crossbar pruning hardware analog models data training records config",
        "torch hydra omegaconf",
    ),
    "runs": floor(
        "network crossbar pruning hardware analog models data training records config runs",
        "torch omegaconf",
    ),
    "lab": floor("network crossbar pruning hardware analog training config runs", "torch hydra"),
    "grids": floor("records config runs grids", "hydra omegaconf"),
    "cli": floor(EVERYTHING, "torch torchvision hydra omegaconf"),
    # the other files that stand beside the packages; errors, what conf/ offers, cores and the bar are everybody's
    "errors": floor(""),
    "choices": floor(""),
    "processors": floor(""),
    "progress": floor(""),
    "interval": floor(""),
    "__init__": floor(""),
    "__main__": floor("cli"),
}


def imported_names(source: str, package: str) -> Iterator[tuple[int, str]]:
    """Yield (line, absolute dotted name) for every import in the source of a module inside `package`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = parts[: len(parts) - node.level + 1] if node.level else []
            origin = [*base, node.module] if node.module else base
            yield from ((node.lineno, ".".join([*origin, alias.name])) for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            name = node.args[0].value
            if called in {"import_module", "__import__"} and isinstance(name, str):
                yield node.lineno, name


def violations(source: str, path: Path) -> list[str]:
    """Say which imports in `source`, a module at `path` (cimlab/...), break the house plan."""
    part = path.parts[1] if len(path.parts) > 2 else path.stem
    if part not in FLOORS:
        return [f"{path}: cimlab/{part} is not in FLOORS; enter what it may import, or move the file"]
    allowed, found = FLOORS[part], []
    for line, name in imported_names(source, package=".".join(path.parent.parts)):
        first, *rest = name.split(".")
        if first == "cimlab":
            target = rest[0] if rest else ""
            if target in FLOORS and target not in allowed.cimlab:
                may = ", ".join(sorted(allowed.cimlab)) or "nothing"
                found.append(f"{path}:{line}: {part} imports {name}; of cimlab it may import {may}")
        elif first in WATCHED and first not in allowed.libraries:
            found.append(f"{path}:{line}: {part} must not import {first}")
    return found


def modules() -> list[Path]:
    return sorted(path.relative_to(ROOT) for path in (ROOT / "cimlab").rglob("*.py"))


def test_every_import_follows_the_house_plan() -> None:
    found = [
        text for path in modules() for text in violations((ROOT / path).read_text(encoding="utf-8"), path)
    ]
    assert not found, "\n".join(["imports against the house plan:", *found])


def test_the_package_has_modules_to_check() -> None:
    assert modules()


@pytest.mark.parametrize(
    ("path", "source", "complaint"),
    [
        ("cimlab/crossbar/units.py", "from cimlab.pruning import masks", "crossbar imports cimlab.pruning"),
        ("cimlab/crossbar/units.py", "from ..hardware import cost", "crossbar imports cimlab.hardware.cost"),
        ("cimlab/crossbar/__init__.py", "from .. import analog", "crossbar imports cimlab.analog"),
        ("cimlab/pruning/granularities/x.py", "from ...training import fit", "imports cimlab.training.fit"),
        ("cimlab/hardware/cost.py", "import cimlab.pruning.masks as m", "hardware imports cimlab.pruning"),
        ("cimlab/records/run.py", "def late():\n    import torch.nn", "records must not import torch"),
        ("cimlab/reporting/table.py", "import pytorch_lightning", "must not import pytorch_lightning"),
        ("cimlab/training/fit.py", "from omegaconf import DictConfig", "must not import omegaconf"),
        ("cimlab/models/vgg.py", "import lightning", "models must not import lightning"),
        ("cimlab/cli/main.py", "import wandb", "cli must not import wandb"),
        ("cimlab/data/digits.py", 'importlib.import_module("hydra.utils")', "data must not import hydra"),
        ("cimlab/__init__.py", "from cimlab import crossbar", "of cimlab it may import choices, errors"),
        ("cimlab/utils/text.py", "", "cimlab/utils is not in FLOORS"),
        ("cimlab/helpers.py", "", "cimlab/helpers is not in FLOORS"),
    ],
)
def test_a_forbidden_import_is_caught(path: str, source: str, complaint: str) -> None:
    (found,) = violations(source, Path(path))
    assert complaint in found


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("cimlab/crossbar/units.py", "import torch\nfrom .geometry import CrossbarGeometry"),
        ("cimlab/pruning/masks.py", "from cimlab.crossbar.units import UnitGrid"),
        ("cimlab/training/log.py", "import wandb\nfrom cimlab.records import run"),
        ("cimlab/cli/main.py", "import hydra\nfrom cimlab import __version__, training"),
        ("cimlab/__main__.py", "from cimlab.cli.main import main"),
    ],
)
def test_an_allowed_import_passes(path: str, source: str) -> None:
    assert violations(source, Path(path)) == []
