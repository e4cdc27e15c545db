"""What a checkpoint says it is, composed: its network, images, granularity and geometry stand where nothing is said.

A run's network.pt says which choices and settings made it. They come before the words of the command line, which
override them; where both speak of the same thing and differ, a line tells so.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from cimlab.config.compose import choices as shipped
from cimlab.config.compose import composed

Choices = dict[str, str]


def informed(command: str, given: Sequence[str], schema: type) -> tuple[DictConfig, Choices]:
    """The configuration and its choices, as `described`; what it tells is printed."""
    config, hydra, lines = described(command, given, schema)
    for line in lines:
        print(f"cimlab: {line}", file=sys.stderr)
    return config, _chosen(hydra)


def described(
    command: str, given: Sequence[str], schema: type
) -> tuple[DictConfig, DictConfig, tuple[str, ...]]:
    """A configuration with what its checkpoint says wherever the words say nothing, Hydra's own settings, and what is
    to be told; within Hydra's `initialize_config_dir`.

    Args:
        command: names conf/COMMAND.yaml.
        given: the overrides of the command line; `checkpoint` may be null, or no file, which is told later.
        schema: the dataclass that the configuration has to fit.

    Raises:
        ConfigError, CheckpointError: one line each.
    """
    config, hydra = composed(command, given, schema)
    path = config.get("checkpoint")
    if not isinstance(path, str) or not Path(path).is_file():
        return config, hydra, ()
    said = _description(path, Path(path).stat().st_mtime_ns)
    keys = {word.lstrip("+~").partition("=")[0].partition("@")[0].replace("/", ".") for word in given}
    if said is None:
        return config, hydra, _on_silence(path, config, keys)
    groups = {g: c for g, c in said["choices"].items() if g in _chosen(hydra)}
    words = [f"{g}={c}" for g, c in groups.items() if g not in keys and c in shipped(g)]
    base, _ = composed(command, [*words, *given], schema)
    leaves = {key: value for key, value in said["settings"].items() if _is_setting(base, key)}
    free = {key: value for key, value in leaves.items() if not keys & {key, key.partition(".")[0]}}
    words += [f"{key}={_word(value)}" for key, value in free.items()]
    config, hydra = composed(command, [*words, *given], schema)
    return config, hydra, _on_differences(path, groups, leaves, config, _chosen(hydra))


def _chosen(hydra: DictConfig) -> Choices:
    return {str(group): str(choice) for group, choice in hydra.runtime.choices.items() if choice}


@lru_cache(maxsize=8)
def _description(path: str, _written: int) -> dict[str, dict[str, Any]] | None:
    """What the file says; a grid asks for every point."""
    from cimlab.network.stored import read

    return read(Path(path)).description()


def _is_setting(config: DictConfig, key: str) -> bool:
    """Whether the command has such a setting, and not what is called (`_target_`)."""
    if any(part.startswith("_") for part in key.split(".")):
        return False
    parent, _, last = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    return isinstance(node, DictConfig) and last in node


def _word(value: object) -> str:
    """A value in Hydra's grammar."""
    if isinstance(value, list):
        return f"[{','.join(map(_word, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"'{escaped}'"
    return repr(value)


def _on_silence(path: str, config: DictConfig, keys: set[str]) -> tuple[str, ...]:
    """A checkpoint that says nothing leaves defaults standing, which may be another network's images."""
    image = config.get("input")
    if image is None or any(key.partition(".")[0] == "input" for key in keys):
        return ()
    return (
        f"checkpoint {path} does not say what images it takes; input.channels={image.channels} "
        f"input.size={image.size} input.classes={image.classes} is assumed",
    )


def _on_differences(
    path: str, groups: Mapping[str, str], leaves: Mapping[str, Any], config: DictConfig, choices: Choices
) -> tuple[str, ...]:
    """One line for all that the command line says otherwise."""
    others = [g for g, said in groups.items() if choices.get(g) != said]
    told = [f"{g}={choices.get(g)} for its {groups[g]}" for g in others]
    plain = OmegaConf.to_container(config, resolve=True)
    for key, said in leaves.items():
        node: Any = plain
        for part in key.split("."):
            node = node.get(part) if isinstance(node, dict) else None
        if key.partition(".")[0] not in others and node != said:
            told.append(f"{key}={node} for its {said}")
    if not told:
        return ()
    return (f"checkpoint {path} says otherwise, what is given is taken: {', '.join(told)}",)
