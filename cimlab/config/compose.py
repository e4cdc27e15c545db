"""Words and conf/ to one composed configuration, with Hydra's refusals in this house's one line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from functools import cache

from hydra import compose
from omegaconf import DictConfig, OmegaConf, open_dict

from cimlab.choices import choices, conf_dir
from cimlab.config import errors
from cimlab.config.schema import unknown_key
from cimlab.config.words import readable


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
        config = compose(name, readable(words, schema), return_hydra_config=True)
    except errors.ConfigError:
        raise
    except Exception as problem:
        if not is_hydra(problem) and not isinstance(problem, ValueError):  # Hydra raises both about words
            raise
        raise errors.ConfigError(hydra_line(problem, schema)) from problem
    with open_dict(config):
        return config, config.pop("hydra")


def is_hydra(problem: BaseException) -> bool:
    """Whether Hydra or OmegaConf raised it, about the configuration."""
    return any(base.__module__.split(".")[0] in ("hydra", "omegaconf") for base in type(problem).__mro__)


def hydra_line(problem: BaseException, schema: type) -> str:
    """Hydra's multi-line advice, made to fit what is allowed here (a key can't be added with +)."""
    text = " ".join(str(problem).split())
    unknown = re.search(r"Could not override '([^']+)'", text)
    if unknown and "To append" in text:
        return unknown_key(schema, unknown.group(1))
    if text.startswith("Config group override must be a string or a list"):
        return "a group takes a choice, not null; ~GROUP leaves an optional one out, e.g. ~distillation"
    text = text.replace("Available options in", "choices for")
    wrong = re.search(r"Could not (?:find|load) '(\w+)/([\w.-]+)'", text)
    near = difflib.get_close_matches(wrong[2], choices(wrong[1]), n=1) if wrong else []
    if near:
        text = f"did you mean {near[0]}? {text}"
    in_list = re.search(r"Could not load '([^'/]+)/", text)
    if in_list:  # of a wrong choice in a list, Hydra does not say what is right
        group = in_list.group(1)
        known = " ".join(choices(group))
        text = text.replace(". Config search path", f"; choices for '{group}': {known} Config search path")
    if "hydra/launcher/" in text:
        text += " (joblib and submitit come with: pip install cimlab[grid])"
    return text.split(" Set the environment variable HYDRA_FULL_ERROR")[0].split(" Config search path")[0]
