"""The code from outside cimlab that a configuration names: part of what a run is, for an edited file computes else.

A file counts with the modules that it imports, from beside it or from elsewhere, and a package with all its modules.
Installed libraries, and cimlab, are told by their versions in the record instead.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator, Mapping
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from cimlab.config.errors import ConfigError
from cimlab.config.own import is_installed, module_of, own_file

OWN = ("cimlab", "torch", "torchvision")


def source_hashes(config: Mapping[str, Any]) -> dict[str, str]:
    """File -> SHA-256 of every source file from outside that the configuration reaches.

    Raises:
        ConfigError: a file that it names can't be read.
    """
    found: dict[Path, str] = {}
    for target in sorted(set(_targets(config))):
        for path in _files_of(target.partition(".")[0]):
            _take(path, found)
    for path in _named_files(config):
        _take(path, found)
    return {str(path): digest for path, digest in sorted(found.items())}


def _targets(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        target = node.get("_target_")
        if isinstance(target, str) and target.partition(".")[0] not in OWN:
            yield target
        for value in node.values():
            yield from _targets(value)


def _named_files(config: Mapping[str, Any]) -> Iterator[Path]:
    """`model.file=mynet.py`, and all of the package that it is part of."""
    model = config.get("model")
    file = own_file(model) if isinstance(model, Mapping) else None
    if file is not None:
        yield file
        folder, name = module_of(file)
        yield from sorted((folder / name.partition(".")[0]).rglob("*.py")) if "." in name else ()


def _files_of(name: str, *folders: Path) -> list[Path]:
    """Source files of a top-level module, or of a whole package; none of an installed library."""
    spec = PathFinder.find_spec(name, [*map(str, folders), *sys.path])
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return []
    origin = Path(spec.origin).resolve()
    if is_installed(origin):
        return []
    return sorted(origin.parent.rglob("*.py")) if origin.name == "__init__.py" else [origin]


def _take(path: Path, found: dict[Path, str]) -> None:
    """Take in a file and the modules that it imports."""
    path = path.resolve()
    if path in found:
        return
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise ConfigError(f"{path}: {problem.strerror or problem}; give an existing file") from problem
    found[path] = hashlib.sha256(content).hexdigest()
    for name in _imported(content):
        for other in _files_of(name, path.parent, module_of(path)[0]):
            _take(other, found)


def _imported(content: bytes) -> list[str]:
    """Top-level names of the modules that a source imports; a source that is no Python is refused when it is run."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return []
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module.partition(".")[0]} if node.module else {alias.name for alias in node.names}
    return sorted(names)
