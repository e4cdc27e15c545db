"""Words about hardware, taken apart: every choice of a group is composed once, and points are put together from them.

A thousand accelerators are a thousand combinations of a few choices and values. Hydra composes each choice of
geometry, technology, adc_price and chip with the words that hold for all points; what an axis of single settings
changes is then set in plain containers.
"""

from __future__ import annotations

import copy
import difflib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from omegaconf import OmegaConf
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as pydantic_dataclass

from cimlab.config.compose import composed
from cimlab.config.errors import ConfigError
from cimlab.config.hardware import make_adc_price, make_technology
from cimlab.config.schema import check_plain
from cimlab.config.words import parsed, values
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.hardware.accelerator import Accelerator
from cimlab.hardware.chip import Chip
from cimlab.hardware.errors import HardwareError

HARDWARE = ("geometry", "technology", "adc_price", "chip")
"""Groups that make an accelerator."""
PRICED = (*HARDWARE, "mapping")
"""Groups of which one trained run has a price for each value."""
Node = dict[str, Any]


@dataclass(frozen=True)
class Axis:
    """A key and the words that give it its values in turn."""

    key: str
    words: tuple[str, ...]

    @property
    def group(self) -> str:
        return self.key.split(".")[0]

    def values(self) -> list[str]:
        """The values as they were written."""
        return [word.partition("=")[2] for word in self.words]


@dataclass(frozen=True)
class Words:
    """Overrides taken apart.

    Args:
        fixed: hold for every point.
        hardware: axes of accelerators, in the order in which they were given.
        others: axes of everything else.
    """

    fixed: tuple[str, ...]
    hardware: tuple[Axis, ...]
    others: tuple[Axis, ...]

    @classmethod
    def of(cls, words: Sequence[str]) -> Words:
        """Take words apart; within Hydra's `initialize_config_dir`.

        Raises:
            ConfigError: a word is malformed, or an axis has no value.
        """
        fixed, hardware, others = [], [], []
        for word in words:
            override = parsed(word)
            if not override.is_sweep_override():
                fixed.append(word)
                continue
            axis = Axis(override.key_or_group, values(override))
            (hardware if axis.group in HARDWARE else others).append(axis)
        return cls(tuple(fixed), tuple(hardware), tuple(others))

    @property
    def chosen(self) -> dict[str, str]:
        """Group of the accelerator -> its choice, where a word chooses it for every point."""
        pairs = (word.lstrip("+").partition("=") for word in self.fixed)
        return {group: choice for group, _, choice in pairs if group in HARDWARE}


@dataclass(eq=False)
class Accelerators:
    """Every combination of hardware axes as an accelerator.

    Args:
        name: the configuration that is composed, conf/NAME.yaml.
        schema: what it has to fit, for messages.
        words: taken apart.
        extensions: packages besides cimlab whose code a configuration may call.
    """

    name: str
    schema: type
    words: Words
    extensions: list[str] = field(default_factory=list)
    _nodes: dict[tuple[str, str | None], Node] = field(default_factory=dict, repr=False)
    _parts: dict[tuple, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Refuse a choice that a group does not offer before the first price.

        Raises:
            ConfigError: names it.
        """
        for axis in self.words.hardware:
            for choice in axis.values() if axis.key == axis.group else ():
                self._node(axis.group, choice)

    def __len__(self) -> int:
        total = 1
        for axis in self.words.hardware:
            total *= len(axis.words)
        return total

    def points(
        self, chosen: Mapping[str, str], own: Mapping[str, Node] | None = None
    ) -> Iterator[tuple[dict[str, str], Accelerator | ConfigError]]:
        """Values of the axes and the accelerator, or why it can't be built.

        Args:
            chosen: choices of groups that the words leave open.
            own: content of groups, instead of a choice, where the words leave them open.
        """
        for words in itertools.product(*(axis.words for axis in self.words.hardware)):
            axes = {a.key: w.partition("=")[2] for a, w in zip(self.words.hardware, words, strict=True)}
            try:
                yield axes, self._accelerator(words, chosen, own or {})
            except ConfigError as problem:
                yield axes, problem

    def _accelerator(
        self, words: tuple[str, ...], chosen: Mapping[str, str], own: Mapping[str, Node]
    ) -> Accelerator:
        part = {group: self._part(group, words, chosen, own.get(group)) for group in HARDWARE}
        accelerator = Accelerator(**part)
        try:
            accelerator.check()
        except HardwareError as problem:
            raise ConfigError(str(problem)) from problem
        return accelerator

    def _part(
        self, group: str, words: tuple[str, ...], chosen: Mapping[str, str], content: Node | None
    ) -> Any:
        """One part of an accelerator; equal words make it once."""
        said = tuple(word for word in words if word.partition("=")[0].split(".")[0].lstrip("+") == group)
        settings = [word for word in said if "." in word.partition("=")[0]]
        choice = next((word.partition("=")[2] for word in said if word not in settings), None)
        given = None
        if choice is None and group not in self.words.chosen:
            choice = chosen.get(group)
            given = content
        key = (group, choice, tuple(settings), None if given is None else repr(given))
        if key not in self._parts:
            try:
                self._parts[key] = self._built(group, choice, settings, given)
            except ConfigError as problem:
                self._parts[key] = problem
        if isinstance(self._parts[key], ConfigError):
            raise self._parts[key]
        return self._parts[key]

    def _built(self, group: str, choice: str | None, settings: list[str], given: Node | None) -> Any:
        fixed = [word for word in self.words.fixed if word.partition("=")[0].startswith(f"{group}.")]
        if given is None:
            node = copy.deepcopy(self._node(group, choice))
        else:  # a run's own, with what is asked for all points
            node, settings = copy.deepcopy(given), [*fixed, *settings]
        for word in settings:
            _set(node, word)
        build = _BUILDERS[group]
        return build(node, choice or group, self.extensions)

    def _node(self, group: str, choice: str | None) -> Node:
        """A group's content with one choice and the words that hold for all points, composed once."""
        if (group, choice) not in self._nodes:
            chosen = [] if choice is None else [f"{group}={choice}"]
            config, _ = composed(self.name, [*self.words.fixed, *chosen], self.schema)
            for told in [group] if chosen else HARDWARE:
                node = OmegaConf.to_container(config[told], resolve=True)
                assert isinstance(node, dict)
                self._nodes[told, choice] = {str(key): value for key, value in node.items()}
        return self._nodes[group, choice]


def _set(node: Node, word: str) -> None:
    """Set what a word says in a group's content.

    Raises:
        ConfigError: there is no such key.
    """
    override = parsed(word)
    *parents, last = override.key_or_group.split(".")[1:]
    for parent in parents:
        node = node.get(parent, {})
    if not isinstance(node, dict) or (last not in node and not override.is_add()):
        near = difflib.get_close_matches(last, node, n=1) if isinstance(node, dict) else []
        hint = (
            f"; did you mean {'.'.join([override.key_or_group.rpartition('.')[0], *near])}?" if near else ""
        )
        raise ConfigError(f"unknown key {override.key_or_group}{hint}")
    node[last] = override.value()


@pydantic_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class _Geometry:
    geometry: CrossbarGeometry


@pydantic_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class _Chip:
    chip: Chip


_BUILDERS: dict[str, Callable[[Node, str, list[str]], Any]] = {
    "geometry": lambda node, *_: check_plain({"geometry": node}, _Geometry, {}).geometry,
    "chip": lambda node, *_: check_plain({"chip": node}, _Chip, {}).chip,
    "technology": lambda node, choice, _: make_technology(node, f"conf/technology/{choice}.yaml"),
    "adc_price": lambda node, _, extensions: make_adc_price(node, extensions),
}
