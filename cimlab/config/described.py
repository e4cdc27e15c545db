"""What a checkpoint says it is, composed: its network, images, granularity and geometry stand where nothing is said.

A run's network.pt says which choices and settings made it. They come before the words of the command line, which
override them; where both speak of the same thing and differ, a line tells so. Where the run found its data, its record
beside the file says.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from cimlab.choices import choices as shipped
from cimlab.config.compose import composed
from cimlab.config.errors import ConfigError
from cimlab.config.schema import plain_config
from cimlab.config.sources import source_hashes
from cimlab.records.flat import in_yaml
from cimlab.records.record import RECORD_FILE, RecordError, RunRecord

Choices = dict[str, str]
OWN = "own"
"""conf/model/own.yaml, the network in a file of one's own."""


def informed(command: str, given: Sequence[str], schema: type) -> tuple[DictConfig, Choices, tuple[str, ...]]:
    """The configuration, its choices and what is to be told, as `described`.

    The lines are for `tell` once the checkpoint fits: a refusal says what is wrong with it, and stays one line.
    """
    config, hydra, lines = described(command, given, schema)
    return config, _chosen(hydra), lines


def tell(lines: Iterable[str]) -> None:
    """Print what is to be told."""
    for line in lines:
        print(f"cimlab: {line}", file=sys.stderr, flush=True)


def described(
    command: str, given: Sequence[str], schema: type, swept: Collection[str] = ()
) -> tuple[DictConfig, DictConfig, tuple[str, ...]]:
    """A configuration with what its checkpoint says wherever the words say nothing, Hydra's own settings, and what is
    to be told; within Hydra's `initialize_config_dir`.

    Args:
        command: names conf/COMMAND.yaml.
        given: the overrides of the command line; `checkpoint` may be null, or no file, which is told later.
        schema: the dataclass that the configuration has to fit.
        swept: of the given keys, axes of a grid: nobody has to be told that they differ from the checkpoint's.

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
        return config, hydra, _on_silence(path, config, _chosen(hydra), keys)
    groups = {g: c for g, c in said["choices"].items() if g in _chosen(hydra)}
    if said["file"] is not None:
        groups["model"] = OWN
        keys -= {"model"} if f"model={OWN}" in given else set()
        _require_file(path, said["file"], keys)
    words = [f"{g}={c}" for g, c in groups.items() if g not in keys and c in shipped(g)]
    base, hydra = composed(command, [*words, *given], schema)
    same = hydra.runtime.choices.get("model") == groups.get("model")
    leaves = {k: v for k, v in said["settings"].items() if _is_setting(base, k, same)}
    if "data" in {key.partition(".")[0] for key in keys}:  # whose images they are is said
        leaves = {key: value for key, value in leaves.items() if not key.startswith("input.")}
    free = {key: value for key, value in leaves.items() if not keys & {key, key.partition(".")[0]}}
    words += [f"{key}={_word(value)}" for key, value in free.items()]
    folder, found = _own_data(Path(path), base, _chosen(hydra), keys)
    config, hydra = composed(command, [*words, *folder, *given], schema)
    told = {key: value for key, value in leaves.items() if not {key, key.partition(".")[0]} & {*swept}}
    others = {group: choice for group, choice in groups.items() if group not in swept}
    lines = _on_differences(path, others, told, config, _chosen(hydra)) + found
    if same:
        lines += _on_the_unsaid(path, said["unsaid"].keys() - keys)
        lines += _on_edits(path, said["sources"], plain_config(config))
    return config, hydra, lines


def _chosen(hydra: DictConfig) -> Choices:
    return {str(group): str(choice) for group, choice in hydra.runtime.choices.items() if choice}


@lru_cache(maxsize=8)
def _description(path: str, _written: int) -> dict[str, Any] | None:
    """What the file says; a grid asks for every point."""
    from cimlab.network.stored import read

    return read(Path(path)).description()


def _require_file(path: str, file: str, keys: set[str]) -> None:
    """A checkpoint that was made by a file of one's own does not run it: whoever sent the one may have sent the other.

    Raises:
        ConfigError: the command line names neither that file nor another model.
    """
    if keys & {"model", "model.file"}:
        return
    where = (
        f"model.file={file}" if Path(file).is_file() else f"model.file=FILE ({file} is not there any more)"
    )
    raise ConfigError(
        f"checkpoint {path} holds a network of your own, and only the command line may name code; add {where}"
    )


def _own_data(
    path: Path, config: DictConfig, choices: Choices, keys: set[str]
) -> tuple[list[str], tuple[str, ...]]:
    """The folder in which a run found its images, as a word, where none is named, and a line that says so.

    A relative one is where it was for the run, whose folder lies in `paths.output_dir`.
    """
    if (
        "input" in config
        or "data_dir" not in config.paths
        or keys & {"paths", "paths.data_dir", "data.data_dir"}
    ):
        return [], ()
    try:
        record = RunRecord.read(path.parent / RECORD_FILE)
    except RecordError:  # a checkpoint that lies alone
        return [], ()
    said = record.config.get("data", {}).get("data_dir")
    if not isinstance(said, str) or record.choices.get("data") != choices.get("data"):
        return [], ()
    output = Path(record.config.get("paths", {}).get("output_dir", ""))
    above, own = path.resolve().parents[1].parts, output.parts
    inside = bool(own) and not output.is_absolute() and above[-len(own) :] == own
    folder = Path(*above[: -len(own)], said) if inside else Path(said)
    if (
        "${" in str(folder)
        or not folder.is_dir()
        or folder.resolve() == Path(config.paths.data_dir).resolve()
    ):
        return [], ()
    return [f"paths.data_dir={_word(str(folder))}"], (
        f"images are read where the run read them, in {folder}",
    )


def _is_setting(config: DictConfig, key: str, same: bool) -> bool:
    """Whether the command has such a setting, and not what is called (`_target_`); of the same model, any argument."""
    if any(part.startswith("_") for part in key.split(".")):
        return False
    parent, _, last = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    return isinstance(node, DictConfig) and (last in node or (same and parent == "model"))


def _word(value: object) -> str:
    """A value in Hydra's grammar."""
    if isinstance(value, list):
        return f"[{','.join(map(_word, value))}]"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"'{escaped}'"
    return in_yaml(value)


def _on_silence(path: str, config: DictConfig, choices: Choices, keys: set[str]) -> tuple[str, ...]:
    """A checkpoint that says nothing leaves defaults standing, which may be another network's images."""
    if "input" not in config or {"input", "data"} & {key.partition(".")[0] for key in keys}:
        return ()
    return (
        f"checkpoint {path} does not say what images it takes; those of data={choices['data']} are assumed; others: "
        "data=..., or input.channels=, input.size=, input.classes=",
    )


def _on_the_unsaid(path: str, unsaid: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"checkpoint {path} does not say its {key}; give it again" for key in sorted(unsaid))


def _on_edits(path: str, sources: Mapping[str, str], plain: Mapping[str, Any]) -> tuple[str, ...]:
    """Code that is not what it was when the checkpoint was made may compute another network of the same shapes."""
    if not sources:
        return ()
    today = source_hashes(plain)
    edited = sorted(Path(file).name for file, digest in today.items() if digest not in sources.values())
    if not edited and len(today) == len(sources):
        return ()
    what = ", ".join(edited) or "the modules beside it"
    return (f"checkpoint {path} was made before an edit of {what}; today's is used",)


def _on_differences(
    path: str, groups: Mapping[str, str], leaves: Mapping[str, Any], config: DictConfig, choices: Choices
) -> tuple[str, ...]:
    """One line for all that the command line says otherwise."""
    others = [g for g, said in groups.items() if choices.get(g) != said]
    told = [f"{g}={choices.get(g)} (not {groups[g]})" for g in others]
    plain = OmegaConf.to_container(config, resolve=True)
    for key, said in leaves.items():
        node: Any = plain
        for part in key.split("."):
            node = node.get(part) if isinstance(node, dict) else None
        if key.partition(".")[0] not in others and node != said:
            told.append(f"{key}={in_yaml(node)} (not {in_yaml(said)})")
    if not told:
        return ()
    return (f"taken as given, other than what checkpoint {path} was made with: {', '.join(told)}",)
