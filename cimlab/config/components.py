"""Building the parts that a configuration names by `_target_`: checked against their signature, then called.

A configuration file may come from a stranger, so a target is found by importing the module that defines it and
looking its name up there: no walk through attributes, which would reach `os` through whichever module imports it.
Each group may call only what lives in its own package; anything else is the user's choice, by `extensions` or, for a
network in a file of one's own, by `model.file` (`own.py`).
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import sys
from collections.abc import Callable, Iterable
from dataclasses import is_dataclass
from typing import Any, get_type_hints

from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError

from cimlab.config.errors import ConfigError, refuse, refuse_flags
from cimlab.config.own import own_file, own_function

HOMES = {
    "model": ("cimlab.models.", "torchvision.models."),
    "data": ("cimlab.data.",),
    "granularity": ("cimlab.pruning.granularities.",),
    "saliency": ("cimlab.pruning.saliencies.",),
    "method": ("cimlab.training.methods.",),
    "optimizer": ("torch.optim.",),
    "adc_price": ("cimlab.hardware.adc.",),
    "adc": ("cimlab.analog.adcs.",),
    "device": ("cimlab.analog.devices.",),
}
"""Where the parts of a group live; elsewhere in cimlab and torch are functions that write or delete files."""

KINDS = {
    "model": ("torch.nn", "Module"),
    "data": ("cimlab.data.base", "ImageDataModule"),
    "granularity": ("cimlab.pruning.granularities.base", "Granularity"),
    "saliency": ("cimlab.pruning.saliencies.base", "Saliency"),
    "method": ("cimlab.training.methods.base", "Method"),
    "optimizer": ("torch.optim", "Optimizer"),
    "adc_price": ("cimlab.hardware.adc", "AdcPrice"),
    "adc": ("cimlab.analog.adcs.base", "AdcRange"),
}
"""What a part has to be, by module and name, so that it is imported only when a part is built."""


class Component:
    """A callable with checked arguments, not yet called.

    Args:
        key: the configuration group, for messages.
        node: `_target_` and arguments; or the file and the function of a network of one's own, and arguments.
        extensions: more package prefixes that may be called.
        given: names of arguments that the program adds itself.

    Raises:
        ConfigError: the target is not allowed or not there, or an argument is unknown or of the wrong type.
    """

    def __init__(
        self, key: str, node: dict[str, Any], extensions: list[str], given: tuple[str, ...] = ()
    ) -> None:
        self.key = key
        arguments = dict(node)
        target = arguments.pop("_target_", None)
        if key == "model" and own_file(node) is not None:
            self.function = own_function(node)
            arguments = {name: value for name, value in arguments.items() if name not in ("file", "function")}
        else:
            self.function = _find(key, target, extensions)
        self.arguments = _checked(key, self.function, arguments, given)

    def build(self, *positional: Any, **more: Any) -> Any:
        """Call the target.

        Raises:
            ConfigError: the target refuses a value, or makes something else than the group holds.
        """
        try:
            part = self.function(*positional, **self.arguments, **more)
        except ConfigError:
            raise
        except (ValueError, TypeError, OverflowError, RuntimeError) as problem:
            raise ConfigError(f"{self.key}: {' '.join(str(problem).split())}") from problem
        group = self.key.partition(".")[0]
        if group in KINDS:
            module, name = KINDS[group]
            if not isinstance(part, getattr(importlib.import_module(module), name)):
                refuse(f"{self.key}._target_", _name(self.function), f"makes no {name}")
        return part


def _find(key: str, target: Any, extensions: list[str]) -> Callable[..., Any]:
    own = HOMES[key.partition(".")[0]]
    prefixes = (*own, *(f"{name.rstrip('.')}." for name in extensions))
    if not isinstance(target, str) or not target.startswith(prefixes):
        refuse(
            f"{key}._target_",
            target,
            f"must start with one of {', '.join(prefixes)}; name other packages in extensions",
        )
    module, _, name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as problem:
        reason = " ".join(str(problem).split())
        raise ConfigError(f"{key}._target_={target}: can't be imported ({reason})") from problem
    if not callable(found) or isinstance(found, type(sys)):
        refuse(f"{key}._target_", target, "is nothing that can be called")
    defined = f"{getattr(found, '__module__', None) or type(found).__module__}."
    if not defined.startswith(prefixes):
        refuse(f"{key}._target_", target, f"is defined in {defined[:-1]}, outside {', '.join(prefixes)}")
    return found


def _checked(
    key: str, function: Callable[..., Any], arguments: dict[str, Any], given: tuple[str, ...]
) -> dict:
    """Arguments converted to the types of the signature, unknown and missing ones refused."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as problem:
        raise ConfigError(f"{key}._target_: {_name(function)} doesn't state its arguments") from problem
    parameters = {
        name: parameter
        for name, parameter in signature.parameters.items()
        if name not in given and parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    }
    takes_any = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    hints = _hints(inspect.unwrap(function))
    checked = {}
    for name, value in arguments.items():
        if name in given or (name not in parameters and not takes_any):
            raise ConfigError(_unknown(f"{key}.{name}", _name(function), parameters))
        checked[name] = _convert(f"{key}.{name}", value, hints.get(name, Any))
    missing = [
        n for n, p in parameters.items() if p.default is p.empty and n not in checked and n != "params"
    ]
    if missing:
        raise ConfigError(f"{key}.{missing[0]} is missing; {_name(function)} needs it")
    return checked


def _unknown(key: str, function: str, parameters: Iterable[str]) -> str:
    """What to say of an argument that the target does not take."""
    allowed = [name for name in parameters if name != "params"]
    near = difflib.get_close_matches(key.rpartition(".")[2], allowed, n=1)
    hint = f"did you mean {key.rpartition('.')[0]}.{near[0]}? " if near else ""
    hint = "a file of your own goes with model=own; " if key == "model.file" else hint
    return f"unknown key {key}; {hint}{function} takes {', '.join(allowed) or 'nothing'}"


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Types of the arguments, as far as the function states them; a builtin states none."""
    try:
        if is_dataclass(function):  # whose fields may come from classes of other modules
            return get_type_hints(function)
        return get_type_hints(function.__init__ if inspect.isclass(function) else function)
    except Exception:  # of a function from outside, whatever its annotations raise
        return {}


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", repr(function))


def _convert(key: str, value: Any, annotation: Any) -> Any:
    try:
        config = ConfigDict(arbitrary_types_allowed=True, allow_inf_nan=False)
        adapter = TypeAdapter(annotation, config=config)
    except PydanticSchemaGenerationError:
        return value
    except Exception as problem:
        if "config" not in str(problem):
            raise
        adapter = TypeAdapter(annotation)
    try:
        taken = adapter.validate_python(value)
    except ValidationError as problem:
        message = problem.errors()[0]["msg"]
        refuse(key, value, message[:1].lower() + message[1:])
    refuse_flags(key, value, taken)
    return taken
