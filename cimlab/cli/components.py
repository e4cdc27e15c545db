"""Building the parts that a configuration names by `_target_`: checked against their signature, then called."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

from hydra.utils import get_object
from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError

from cimlab.cli.errors import ConfigError, refuse

ALLOWED = ("cimlab.", "torch.optim.", "torchvision.")


class Component:
    """A callable with checked arguments, not yet called.

    Args:
        key: the configuration group, for messages.
        node: `_target_` and arguments.
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
        self.function = _find(key, target, extensions)
        self.arguments = _checked(key, self.function, arguments, given)

    def build(self, *positional: Any, **more: Any) -> Any:
        """Call the target.

        Raises:
            ConfigError: the target refuses a value.
        """
        try:
            return self.function(*positional, **self.arguments, **more)
        except (ValueError, TypeError) as problem:
            raise ConfigError(f"{self.key}: {' '.join(str(problem).split())}") from problem


def _find(key: str, target: Any, extensions: list[str]) -> Callable[..., Any]:
    prefixes = (*ALLOWED, *(f"{name.rstrip('.')}." for name in extensions))
    if not isinstance(target, str) or not target.startswith(prefixes):
        refuse(
            f"{key}._target_",
            target,
            f"must start with one of {', '.join(prefixes)}; name other packages in extensions",
        )
    try:
        return get_object(target)
    except Exception as problem:
        raise ConfigError(f"{key}._target_={target}: can't be imported ({problem})") from problem


def _checked(
    key: str, function: Callable[..., Any], arguments: dict[str, Any], given: tuple[str, ...]
) -> dict:
    """Arguments converted to the types of the signature, unknown and missing ones refused."""
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in given and parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    }
    hints = get_type_hints(function.__init__ if inspect.isclass(function) else function)
    checked = {}
    for name, value in arguments.items():
        if name not in parameters:
            allowed = ", ".join(n for n in parameters if n != "params") or "nothing"
            raise ConfigError(f"unknown key {key}.{name}; {_name(function)} takes {allowed}")
        checked[name] = _convert(f"{key}.{name}", value, hints.get(name, Any))
    missing = [
        n for n, p in parameters.items() if p.default is p.empty and n not in checked and n != "params"
    ]
    if missing:
        raise ConfigError(f"{key}.{missing[0]} is missing; {_name(function)} needs it")
    return checked


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", repr(function))


def _convert(key: str, value: Any, annotation: Any) -> Any:
    try:
        adapter = TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticSchemaGenerationError:
        return value
    except Exception as problem:
        if "config" not in str(problem):
            raise
        adapter = TypeAdapter(annotation)
    try:
        return adapter.validate_python(value)
    except ValidationError as problem:
        message = problem.errors()[0]["msg"]
        refuse(key, value, message[:1].lower() + message[1:])
