"""Words and conf/ to one composed configuration, with Hydra's refusals in this house's one line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from hydra import compose
from omegaconf import DictConfig, OmegaConf, open_dict

from cimlab.choices import choices, conf_dir, groups, keys
from cimlab.config import errors
from cimlab.config.keys import unknown_key
from cimlab.config.words import A_PATH, parsed, readable


@cache
def shipped_target(group: str, choice: str) -> str | None:
    """What conf/GROUP/CHOICE.yaml names as `_target_`; None where there is no such file of ours, or it names none."""
    path = conf_dir() / group / f"{choice}.yaml"
    content = OmegaConf.load(path) if path.is_file() else {}
    return content.get("_target_") if isinstance(content, DictConfig) else None


def composed(name: str, words: Sequence[str], schema: type) -> tuple[DictConfig, DictConfig]:
    """conf/NAME.yaml with overrides, and Hydra's own settings; within Hydra's `initialize_config_dir`.

    Raises:
        ConfigError: Hydra refuses a word, or a file asks for what only the command line may.
    """
    try:
        config = compose(name, read(words, schema), return_hydra_config=True)
    except errors.ConfigError:
        raise
    except Exception as problem:
        if not is_hydra(problem) and not isinstance(problem, ValueError):  # Hydra raises both about words
            raise
        raise errors.ConfigError(hydra_line(problem, schema)) from problem
    with open_dict(config):
        return config, config.pop("hydra")


def read(words: Sequence[str], schema: type) -> list[str]:
    """The overrides of one configuration in Hydra's grammar.

    Raises:
        ConfigError: one can't be read, or gives a group several choices that takes one.
    """
    found = readable(words, schema)
    for word in found:
        override = parsed(word)
        group, value = override.key_or_group, override.value()
        if group not in groups("train"):
            continue
        if override.is_add() or override.is_force_add():
            plain = word.lstrip("+")
            raise errors.ConfigError(f"{word}: the group is there, so that nothing is added; write {plain}")
        several = isinstance(groups("train")[group], list)
        if not several and isinstance(value, list):  # Hydra would merge them
            each = f"{group}={','.join(map(str, value))}"
            errors.refuse(group, value, f"takes one choice; -m {each} takes each in turn")
        for choice in value if isinstance(value, list) else [value]:
            if choice is None and override.is_delete():  # the schema says what is needed
                continue
            if choice is None or isinstance(choice, bool | int | float):
                none = f", {group}=[] for none" if several else ""
                errors.refuse(group, choice, f"takes the name of a choice{none}; {_known(choices(group))}")
    return found


def is_hydra(problem: BaseException) -> bool:
    """Whether Hydra or OmegaConf raised it, about the configuration."""
    return any(base.__module__.split(".")[0] in ("hydra", "omegaconf") for base in type(problem).__mro__)


def hydra_line(problem: BaseException, schema: type) -> str:
    """Hydra's multi-line advice as one line that fits what is allowed here (a key can't be added with +)."""
    text = " ".join(str(problem).split())
    unknown = re.search(r"Could not override '([^']+)'", text)
    if unknown and "To append" in text:
        return unknown_key(schema, unknown[1])
    if wrong := re.search(r"Could not (?:find|load) '(hydra/\w+|\w+)/([^']*)'", text):
        group, _, name = wrong[2].rpartition("/")
        if group and not choices(wrong[1]):  # a file's `- model: vgg8`, which Hydra looks for beside the file
            return f"{group}: {name}: a file takes another choice of a group with - override /{group}: {name}"
        listed = re.search(r"Available options in '[^']+':(.*?)(?: Config search path|$)", text)
        return _no_choice(wrong[1], wrong[2], listed[1].split() if listed else choices(wrong[1]))
    if lost := re.search(r"Additional config directory '([^']+)' not found", text):
        return f"--config-dir={lost[1]} is no folder; give one that holds GROUP/CHOICE.yaml"
    if several := re.match(r"Ambiguous value for argument '([^=]+)=([^']+)'", text):
        return _several(several[1], several[2])
    return text.split(" Set the environment variable HYDRA_FULL_ERROR")[0].split(" Config search path")[0]


def _no_choice(group: str, choice: str, known: list[str]) -> str:
    """What to say of a choice that a group does not offer."""
    near = (
        difflib.get_close_matches(choice, known, n=1)
        or [name for name in known if choice and choice in name][:1]
    )
    hint = f"did you mean {near[0]}? " if near else ""
    if group == "model" and not near:
        hint = "networks of libraries go by their name, model=torchvision model.name=vit_b_16; "
    file = next(
        (name for name in (choice, f"{choice}.py") if name.endswith(".py") and Path(name).is_file()), None
    )
    if group == "model" and file:
        hint = f"a network of your own goes with model=own model.file={file}; "
    more = " (joblib and submitit come with: pip install cimlab[grid])" if group == "hydra/launcher" else ""
    return f"{group}={choice}: is no choice; {hint}{_known(known)}{more}"


def _known(names: list[str]) -> str:
    return f"choices: {', '.join(names)}"


def _several(key: str, values: str) -> str:
    """What to say of `geometry=a,b` without -m."""
    more = ""
    if isinstance(groups("train").get(key), list) or keys("train").get(key, "").startswith("["):
        more = f" or, for all of them at once, {key}=[{values}]"
    elif re.fullmatch(r"\d*,\d+", values):
        more = f"; a fraction has a point, {key}={values.replace(',', '.')}"
    elif A_PATH.search(key):
        more = f"""; a name with a comma goes in quotes, once for the shell too: '{key}="{values}"'"""
    return f"{key}={values}: add -m to take each in turn{more}"
