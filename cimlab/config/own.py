"""A network of one's own: a function in a file that the command line names, run with the modules beside it.

The file is run anew for each network, so that an edit counts at once. While it runs, and its function, modules are
imported first from its folder, or from the folder of the package that it is part of. What it prints goes to stderr.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib
import importlib.util
import inspect
import sys
import sysconfig
import traceback
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from cimlab.choices import choices
from cimlab.config.errors import ConfigError, refuse
from cimlab.config.schema import CHOICE_NAME

EXAMPLE = "model=own model.file=mynet.py model.function=build"
_imported: set[str] = set()
"""Modules that own networks brought along in this process; another's may have the same names."""


def own_file(model: Mapping[str, Any]) -> Path | None:
    """The file that a model is made by, as it was named; None of a model that is not a file of one's own.

    Raises:
        ConfigError: it is no Python file, or not there.
    """
    if model.get("_target_") is not None or "file" not in model:
        return None
    file = model["file"]
    if file is None and (near := [key for key in model if difflib.get_close_matches(key, ["file"])][1:]):
        raise ConfigError(f"unknown key model.{near[0]}; did you mean model.file?")
    if not isinstance(file, str) or not file:
        refuse("model.file", file, f"name the file of your network: {EXAMPLE}")
    path = Path(file)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else f"does not exist (looked for it in {Path.cwd()})"
        near = difflib.get_close_matches(path.name, [other.name for other in path.parent.glob("*.py")], n=1)
        what += f", but {path.with_name(near[0])} does" if near and not path.is_dir() else ""
        refuse("model.file", file, f"{what}; give the Python file of your network")
    if path.suffix != ".py":
        refuse("model.file", file, "is no Python file; its name has to end in .py")
    return path


def own_name(model: Mapping[str, Any]) -> str:
    """What runs of the network are called: its file, and its function where that says more.

    Raises:
        ConfigError: the file's name can't be that of a run.

    >>> own_name({"file": "nets/mynet.py", "function": "build"}), own_name({"file": "mynet.py", "function": "small"})
    ('mynet', 'mynet.small')
    """
    stem, function = Path(model["file"]).stem, model.get("function")
    if not CHOICE_NAME.fullmatch(stem):
        refuse("model.file", model["file"], "runs are called after it; name it with letters, digits and ._+-")
    return stem if function == "build" and stem not in choices("model") else f"{stem}.{function}"


def is_installed(place: Path) -> bool:
    """Whether a module is a library's or cimlab's own, which records know by its version."""
    installed = [Path(sysconfig.get_path(key)) for key in ("purelib", "platlib", "stdlib")]
    return any(place.is_relative_to(folder.resolve()) for folder in (*installed, Path(__file__).parents[1]))


def module_of(path: Path) -> tuple[Path, str]:
    """The folder that a file's modules are imported from, and the file's own name there; dotted within a package."""
    top = path.resolve()
    names = [top.stem]
    while (top.parent / "__init__.py").is_file():
        top = top.parent
        names.insert(0, top.name)
    return top.parent, ".".join(names)


def own_function(model: Mapping[str, Any]) -> Callable[..., Any]:
    """What makes the network; takes the arguments of its own signature, and leaves others that it is given.

    Args:
        model: `file` and `function`.

    Raises:
        ConfigError: the file can't be run, or holds no such function; one line, as when the function fails.
    """
    path, name = own_file(model), model.get("function")
    assert path is not None
    folder, dotted = module_of(path)
    with _importing(folder), _worded(path, "model.file", str(path)):
        module = _run(path, dotted)
    function = vars(module).get(name) if isinstance(name, str) else None
    if function is None:
        made = [key for key, value in vars(module).items() if _is_made_in(module, value)]
        near = difflib.get_close_matches(str(name), made, n=1)
        hint = f"; did you mean model.function={near[0]}?" if near else ""
        refuse(
            "model.function",
            name,
            f"is nothing in {path}, which defines {', '.join(made) or 'nothing'}{hint}",
        )
    from torch import nn

    if isinstance(function, nn.Module) or not callable(function):
        refuse("model.function", name, f"is no function; write one into {path} that returns the network")

    @functools.wraps(function, updated=())
    def build(**arguments: Any) -> Any:
        taken = inspect.signature(function).parameters.values()
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken):
            names = {parameter.name for parameter in taken}
            arguments = {key: value for key, value in arguments.items() if key in names}
        with _importing(folder), _worded(path, "model.function", str(name)):
            network = function(**arguments)
        if not isinstance(network, nn.Module):
            kind = type(network).__name__
            refuse("model.function", name, f"returns {kind}, no torch.nn.Module; let it return the network")
        return network

    return build


def _run(path: Path, dotted: str) -> ModuleType:
    """The file as a module; the modules of an earlier file are forgotten before."""
    for earlier in _imported:
        sys.modules.pop(earlier, None)
    _imported.clear()
    before = set(sys.modules)
    try:
        if "." in dotted:
            return importlib.import_module(dotted)
        module = ModuleType(dotted)
        module.__file__ = str(path)
        sys.modules.setdefault(dotted, module)  # a library of that name stays what it is
        exec(compile(path.read_bytes(), str(path), "exec"), vars(module))
        return module
    finally:
        folder = module_of(path)[0]
        _imported.update(name for name in set(sys.modules) - before if _lies_in(sys.modules[name], folder))


def _lies_in(module: ModuleType, folder: Path) -> bool:
    """Whether a module is of the folder itself, and not of libraries installed below it."""
    file = getattr(module, "__file__", None)
    places = [Path(place).resolve() for place in ([file] if file else getattr(module, "__path__", ()))]
    return any(place.is_relative_to(folder) and not is_installed(place) for place in places)


def _is_made_in(module: ModuleType, value: Any) -> bool:
    return callable(value) and getattr(value, "__module__", None) == module.__name__


@contextlib.contextmanager
def _importing(folder: Path) -> Generator[None]:
    """Within, modules of the folder are found first and leave no bytecode there; later they are found last."""
    place, bytecode = str(folder), sys.dont_write_bytecode
    sys.path.insert(0, place)
    sys.dont_write_bytecode = True
    importlib.invalidate_caches()
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        sys.dont_write_bytecode = bytecode
        with contextlib.suppress(ValueError):
            sys.path.remove(place)
        if place not in sys.path:
            sys.path.append(place)


@contextlib.contextmanager
def _worded(path: Path, key: str, value: str) -> Generator[None]:
    """Within, whatever the code of the file raises becomes one line that says where.

    Raises:
        ConfigError: it raised something.
    """
    try:
        yield
    except (Exception, SystemExit) as problem:
        _refuse_failing(path, key, value, problem)


def _refuse_failing(path: Path, key: str, value: str, problem: BaseException) -> NoReturn:
    frames = traceback.extract_tb(problem.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    if isinstance(problem, SyntaxError) and problem.filename == str(path):
        lines.append(problem.lineno)
    where = f"{path}, line {lines[-1]}" if lines else f"{path}"
    text = " ".join(str(problem).split())
    mend = ""
    if isinstance(problem, ModuleNotFoundError):
        mend = f"; modules are imported from {module_of(path)[0]} and from the environment"
    elif isinstance(problem, SystemExit):
        mend = "; put what only a program does below if __name__ == '__main__':"
    raise ConfigError(f"{key}={value}: {where}: {type(problem).__name__}: {text}{mend}") from problem
