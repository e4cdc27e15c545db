"""What a checkpoint says it is, composed: its network, images, granularity and geometry stand where nothing is said.

A run's network.pt says which choices and settings made it. They come before the words of the command line, which
override them; where both speak of the same thing and differ, a line tells so.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from cimlab.config.compose import choices as shipped
from cimlab.config.compose import composed

Choices = dict[str, str]


def informed(
    command: str, schema: type, config: DictConfig, choices: Choices, given: Sequence[str]
) -> tuple[DictConfig, Choices]:
    """The configuration and its choices, with what the checkpoint says wherever the command line says nothing.

    Args:
        command: names conf/COMMAND.yaml.
        schema: the dataclass that it has to fit.
        config, choices: as composed from the command line alone; `checkpoint` may be null, or no file, which is told
            later.
        given: the overrides of the command line.

    Raises:
        ConfigError, CheckpointError: one line each.
    """
    path = config.get("checkpoint")
    if not isinstance(path, str) or not Path(path).is_file():
        return config, choices
    from cimlab.network.stored import read

    said = read(Path(path)).description()
    keys = {word.lstrip("+~").partition("=")[0].partition("@")[0].replace("/", ".") for word in given}
    if said is None:
        _tell_of_silence(path, config, keys)
        return config, choices
    groups = {g: c for g, c in said["choices"].items() if g in choices}
    words = [f"{g}={c}" for g, c in groups.items() if g not in keys and c in shipped(g)]
    base, _ = composed(command, [*words, *given], schema)
    leaves = {key: value for key, value in said["settings"].items() if _is_setting(base, key)}
    free = {key: value for key, value in leaves.items() if not keys & {key, key.partition(".")[0]}}
    words += [f"{key}={_word(value)}" for key, value in free.items()]
    config, hydra = composed(command, [*words, *given], schema)
    choices = {str(g): str(c) for g, c in hydra.runtime.choices.items() if c}
    _tell_of_differences(path, groups, leaves, config, choices)
    return config, choices


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


def _tell_of_silence(path: str, config: DictConfig, keys: set[str]) -> None:
    """A checkpoint that says nothing leaves defaults standing, which may be another network's images."""
    image = config.get("input")
    if image is None or any(key.partition(".")[0] == "input" for key in keys):
        return
    print(
        f"cimlab: checkpoint {path} does not say what images it takes; input.channels={image.channels} "
        f"input.size={image.size} input.classes={image.classes} is assumed",
        file=sys.stderr,
    )


def _tell_of_differences(
    path: str, groups: Mapping[str, str], leaves: Mapping[str, Any], config: DictConfig, choices: Choices
) -> None:
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
    if told:
        print(
            f"cimlab: checkpoint {path} says otherwise, what is given is taken: {', '.join(told)}",
            file=sys.stderr,
        )
