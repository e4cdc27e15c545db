"""From an experiment file to a grid whose every point is exactly what Hydra would compose, without composing each.

Hydra composes the first point, and then each other value of each axis by itself. What a value changes is kept as
a difference of leaves; a point is the first one plus the differences of its values. That is Hydra's own answer as
long as no leaf is changed by two axes, so axes that share a leaf (also through an interpolation) are composed
together, and the last point is composed in full and compared.
"""

from __future__ import annotations

import difflib
import itertools
import re
import sys
import tempfile
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Glob, Override
from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from cimlab.choices import conf_dir
from cimlab.config.compose import composed
from cimlab.config.described import described
from cimlab.config.errors import ConfigError
from cimlab.config.schema import TrainConfig, plain_config
from cimlab.config.text_file import text_of
from cimlab.config.trust import trusting
from cimlab.config.words import given, parsed, quoted, readable, values
from cimlab.grids.grid import (
    Axis,
    Command,
    Document,
    Grid,
    Leaf,
    Setting,
    difference,
    leaves,
    merge_overlapping,
)

Compose = Callable[[Sequence[str]], Document]


TRAIN = Command("train", TrainConfig)


def read_grid(path: Path, overrides: Sequence[str], config_dir: str | None = None) -> Grid:
    """The grid of an experiment file, with overrides: a list of values is an axis, a single one holds for all.

    Raises:
        ConfigError: the file, an axis or a value is unknown or malformed; names the line of the file.
    """
    _refuse_unreadable(path)
    overrides = given(overrides)
    with _hydra(path, overrides, config_dir) as base:
        return _Composer(TRAIN, path, base, overrides).grid()


def grid_of_words(command: Command, words: Sequence[str], config_dir: str | None = None) -> Grid:
    """The grid of a command line: a list of values is an axis, a single one holds for all.

    Raises:
        ConfigError: a word or a value is unknown or malformed.
    """
    words = given(words)
    base = searched(config_dir)
    with trusting(words), initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return _Composer(command, None, base, words).grid()


def as_written(path: Path) -> tuple[Document, dict[str, tuple[Any, ...]]]:
    """What an experiment file sets, and its axes: setting -> values, none where a search draws it from an interval.

    Raises:
        ConfigError: as `read_grid`.
    """
    _refuse_unreadable(path)
    with _hydra(path, ()) as base:
        composer = _Composer(TRAIN, path, base, ())
        axes = {override.key_or_group: override for override in composer.parse_written()}
        return composer.document(*composer.unswept), {
            key: _written_values(override) for key, override in axes.items()
        }


def _written_values(override: Override) -> tuple[Any, ...]:
    if override.is_interval_sweep():
        return ()
    if not override.is_sweep_override():
        return (override.value(),)
    return tuple(override.sweep_iterator())


@contextmanager
def experiment(
    path: Path, overrides: Sequence[str], config_dir: str | None = None
) -> Generator[tuple[dict[str, str], Compose]]:
    """The axes of an experiment file as they are written, and what composes one point from its overrides.

    Raises:
        ConfigError: as `read_grid`.
    """
    _refuse_unreadable(path)
    overrides = given(overrides)
    with _hydra(path, overrides, config_dir) as base:
        composer = _Composer(TRAIN, path, base, overrides)
        yield composer.written, lambda words: composer.document(*composer.compose(words))


def _refuse_unreadable(path: Path) -> None:
    if not path.is_file():
        beside = (*path.parent.glob("*.yaml"), *Path("experiments").glob("*.yaml"))
        there = [str(file) for file in beside if file.is_file()]
        near = difflib.get_close_matches(
            path.with_suffix(".yaml").name, [Path(name).name for name in there], n=1
        )
        meant = next((name for name in there if Path(name).name in near), "experiments/headline.yaml")
        raise ConfigError(f"{path} is no file; give an experiment file, e.g. {meant}")
    if not re.fullmatch(r"[\w-]+\.ya?ml", path.name):
        raise ConfigError(
            f"{path.name}: name an experiment file with letters, digits, - and _, ending in .yaml"
        )
    text = text_of(path)
    if "@package _global_" not in text:
        raise ConfigError(f"{path} has no line '# @package _global_'; an experiment file begins with it")
    try:
        axes = content = OmegaConf.to_container(OmegaConf.create(text))
    except YAMLError as problem:
        mark, what = getattr(problem, "problem_mark", None), getattr(problem, "problem", None) or problem
        raise ConfigError(f"{path}{f':{mark.line + 1}' if mark else ''}: is no YAML ({what})") from problem
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: holds a list; an experiment file is lines of KEY: VALUE")
    for key in ("hydra", "sweeper", "params"):
        axes = axes.get(key) if isinstance(axes, dict) else None
    if axes is not None and not (isinstance(axes, dict) and None not in axes.values()):
        raise ConfigError(f"{path}: hydra.sweeper.params are lines of KEY: VALUE,VALUE, one an axis")


@contextmanager
def _hydra(path: Path, overrides: Sequence[str], config_dir: str | None = None) -> Generator[tuple[str, ...]]:
    """Hydra with the file as the choice of a group; gives the overrides that choose it.

    Only the overrides are the person's own words: what the file may not decide is refused.
    """
    with tempfile.TemporaryDirectory() as folder:
        group = Path(folder) / "experiments"
        group.mkdir()
        (group / f"{path.stem}.yaml").write_text(text_of(path), encoding="utf-8")
        with trusting(overrides), initialize_config_dir(str(conf_dir()), version_base="1.3"):
            yield (*searched(folder, config_dir), f"+experiments={path.stem}")


def searched(*folders: str | None) -> tuple[str, ...]:
    """The override that lets Hydra look for choices in more folders, of those that are given.

    Raises:
        ConfigError: one is not there.
    """
    named = [Path(folder).absolute() for folder in folders if folder is not None]
    for folder in named:
        if not folder.is_dir():
            raise ConfigError(f"--config-dir={folder} is no folder; give one that holds GROUP/CHOICE.yaml")
    places = [quoted(f"file://{folder}") for folder in named]
    return (f"hydra.searchpath=[{','.join(places)}]",) if places else ()


class _Composer:
    """Composes points of one file or command line; lives as long as Hydra is initialised."""

    def __init__(
        self, command: Command, path: Path | None, base: tuple[str, ...], overrides: Sequence[str]
    ) -> None:
        self.command = command
        self.path = path
        self.told: set[str] = set()
        self.searched = base
        asked = self._parse(self._listed(word) for word in overrides)
        self.base = (*base, *(o.input_line or "" for o in asked if not o.is_sweep_override()))
        self.unswept = self.compose(())
        params = self.unswept[1].sweeper.params or {}
        written = {str(key).lstrip("+~"): self._listed(f"{key}={value}") for key, value in params.items()}
        for override in asked:
            written.pop(override.key_or_group, None)
        written |= {o.key_or_group: o.input_line or "" for o in asked if o.is_sweep_override()}
        self.written = written

    def grid(self) -> Grid:
        self.axes = [self._words(override) for override in self.parse_written()]
        first_words = [words[0] for words in self.axes]
        run, hydra = self.compose(first_words)
        self.first, self.raw = self.document(run, hydra), leaves(_unresolved(run))
        self.first_leaves = leaves(self.first)
        groups = [[i] for i in range(len(self.axes))]
        if not _only_simple_references(self.raw):
            groups = [list(range(len(self.axes)))]
        while True:
            axes = [self._axis(group, run) for group in groups]
            merged = merge_overlapping(groups, axes)
            if len(merged) == len(groups):
                break
            groups = merged
        launcher = OmegaConf.to_container(hydra.launcher, resolve=False)
        assert isinstance(launcher, dict)
        name = "multirun" if self.path is None else self.path.stem
        own = {str(k): v for k, v in launcher.items()}
        grid = Grid(self.command, name, self.first, tuple(axes), own)
        last = tuple(len(axis.settings) - 1 for axis in axes)
        if grid.document(last) != self.document(*self.compose(grid.words(last))):
            raise AssertionError(
                f"{self.path or 'multirun'}: a point differs from Hydra's own composition; please report it"
            )
        return grid

    def _axis(self, group: list[int], run: DictConfig) -> Axis:
        keys = tuple(self.axes[i][0].lstrip("+~").split("=", 1)[0] for i in group)
        combinations = list(itertools.product(*(self.axes[i] for i in group)))
        settings = [Setting(combinations[0])]
        updated = run.copy()  # one for the axis: every combination sets the same keys
        settings += [self._setting(words, group, updated) for words in combinations[1:]]
        return Axis(keys, tuple(settings))

    def _setting(self, words: tuple[str, ...], group: list[int], updated: DictConfig) -> Setting:
        parsed = self._parse(words)
        if all(_is_plain_value(override, updated) and not self._describes(override) for override in parsed):
            # put into the first point, which is all that Hydra does with plain values
            for override in parsed:
                OmegaConf.update(updated, override.key_or_group, override.value(), merge=True)
            after = {**self.first, "config": plain_config(updated)}
            rewired = {("config", *override.key_or_group.split(".")) for override in parsed}
        else:
            others = [axis[0] for i, axis in enumerate(self.axes) if i not in group]
            own, hydra = self.compose([*others, *words])
            raw, after = leaves(_unresolved(own)), self.document(own, hydra)
            rewired = {("config", *k) for k in {*raw, *self.raw} if raw.get(k, ...) != self.raw.get(k, ...)}
        return difference(self.first_leaves, leaves(after), words, frozenset(rewired))

    def _describes(self, override: Override) -> bool:
        """Whether a value says more than itself."""
        return self.command.described and override.key_or_group == "checkpoint"

    def compose(self, words: Sequence[str]) -> tuple[DictConfig, DictConfig]:
        """A run, and Hydra's own settings."""
        command, every = self.command, [*self.base, *words]
        swept = {parsed(word).key_or_group for word in words}
        try:
            if not command.described:
                return composed(command.name, every, command.schema)
            config, hydra, lines = described(command.name, every, command.schema, swept)
            for line in dict.fromkeys(line for line in lines if line not in self.told):
                self.told.add(line)
                print(f"cimlab: {line}", file=sys.stderr)
            return config, hydra
        except ConfigError as problem:
            raise ConfigError(f"{located(self.path, str(problem), words)}{problem}") from problem

    def document(self, run: DictConfig, hydra: DictConfig) -> Document:
        """A run as it was composed, every reference resolved.

        Raises:
            ConfigError: a reference leads nowhere.
        """
        chosen = OmegaConf.to_container(hydra.runtime.choices)
        assert isinstance(chosen, dict)
        try:
            config = plain_config(run)
        except ConfigError as problem:
            raise ConfigError(f"{located(self.path, str(problem), ())}{problem}") from problem
        named = {str(k): str(v) for k, v in chosen.items() if v and not str(k).startswith("hydra/")}
        return {"config": config, "choices": named}

    def parse_written(self) -> list[Override]:
        """The axes, parsed."""
        return self._parse(list(self.written.values()))

    def _listed(self, word: str) -> str:
        """A word with the choices that its `glob(...)` matches, also those of one's own folders; any other as it is.

        Raises:
            ConfigError: nothing matches.
        """
        if "=glob(" not in word:
            return word
        override = self._parse_one(word)
        pattern, key = override.value(), override.key_or_group
        if not isinstance(pattern, Glob):
            return word
        loader = GlobalHydra.instance().config_loader()
        known = loader.get_group_options(key, config_name=self.command.name, overrides=[*self.searched])
        if not (matching := pattern.filter(known)):
            mend = f"choices: {', '.join(known)}" if known else f"give it some, {key}=A,B"
            raise ConfigError(f"{located(self.path, word, [word])}{word}: is an axis without a value; {mend}")
        return f"{word.partition('=')[0]}={','.join(matching)}"

    def _parse(self, words: Iterable[str]) -> list[Override]:
        return [self._parse_one(word) for word in words]

    def _parse_one(self, word: str) -> Override:
        try:
            return parsed(*readable([word], self.command.schema))
        except ConfigError as problem:
            raise ConfigError(f"{located(self.path, str(problem), [word])}{problem}") from problem

    def _words(self, override: Override) -> tuple[str, ...]:
        if not override.is_sweep_override():
            return (override.input_line or "",)
        try:
            return values(override)
        except ConfigError as problem:
            line = override.input_line or ""
            raise ConfigError(f"{located(self.path, line, [line])}{problem}") from problem


def located(path: Path | None, message: str, words: Sequence[str]) -> str:
    """`FILE:LINE: ` of the axis among the words that a message is about, or only `FILE: `; nothing without a file.

    A message that repeats key=value is about it, else one that names the key, else one that names its last part.
    """
    if path is None:
        return ""
    asked = dict(word.lstrip("+~").split("=", 1) for word in words)
    lines = text_of(path).splitlines()
    keys = [(number, text.partition(":")[0].strip(" '\"+~")) for number, text in enumerate(lines, start=1)]
    for pattern in ("{key}={value}", "{last}={value}", "{key}", "{last}"):
        for number, key in keys:
            if key in asked:
                parts = {"key": key, "last": key.rsplit(".", 1)[-1], "value": asked[key]}
                text = pattern.format(**{name: re.escape(part) for name, part in parts.items()})
                if re.search(rf"(?<![\w.]){text}(?![\w.])", message):
                    return f"{path}:{number}: "
    return f"{path}: "


def _is_plain_value(override: Override, config: DictConfig) -> bool:
    key = override.key_or_group
    if override.is_add() or override.is_force_add() or override.is_delete() or override.package is not None:
        return False
    if not isinstance(override.value(), str | int | float | bool | None):
        return False
    *parents, last = key.split(".")
    parent = OmegaConf.select(config, ".".join(parents)) if parents else config
    return (
        isinstance(parent, DictConfig) and last in parent and not OmegaConf.is_config(parent._get_node(last))
    )


def _unresolved(run: DictConfig) -> dict[str, Any]:
    """The configuration in plain containers, with its references as they are written."""
    plain = OmegaConf.to_container(run)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _only_simple_references(raw: dict[Leaf, Any]) -> bool:
    texts = [value for value in raw.values() if isinstance(value, str)]
    return all(text.count("${") == len(re.findall(r"\$\{[\w.]+\}", text)) for text in texts)
