"""Weights and masks as people keep them, put into a network: whatever the trainer, the wrapper or the pruning tool.

Understood are a run's network.pt, Lightning's files, `state_dict`, `model_state_dict` and their like, names behind
`module.`, `model.`, `net.` and `_orig_mod.`, torch.nn.utils.prune's `weight_orig` with `weight_mask`, and files without
batch counters. What was not read or had no place in the network is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cimlab.network.checkpoint_file import CheckpointError, load, unread
from cimlab.network.description import plain, printable
from cimlab.network.masks import MaskError, Masks, checked_masks, weight_shapes
from cimlab.network.stored_entries import Entry, entry_of
from cimlab.network.stored_names import (
    COUNTER,
    MASK,
    ORIG,
    SeveralNetworksError,
    fitted,
    parameter_of,
    under_names,
)
from cimlab.network.weights import parameters, stored_weight

REPARAMETRISED = {
    "_g": "torch.nn.utils.remove_weight_norm",
    "_v": "torch.nn.utils.remove_weight_norm",
    "original": "torch.nn.utils.parametrize.remove_parametrizations",
    "original0": "torch.nn.utils.parametrize.remove_parametrizations",
    "original1": "torch.nn.utils.parametrize.remove_parametrizations",
}
"""End of a parameter's name -> what makes plain weights of it, to be called before saving."""
ORIGIN: dict[str, type | tuple[type, ...]] = {
    "run": str, "name": str, "seed": int, "granularity": str, "parameters": dict, "remaining": (int, float),
}  # fmt: skip
"""What a run's checkpoint says of how its network was pruned, and of what type."""
MASKS = re.compile(r"(^|_)masks?(_dict)?$")
"""What an entry with masks is called."""


@dataclass(frozen=True, eq=False)
class Stored:
    """One checkpoint.

    Args:
        path: its file, for messages.
        content: all that was read of it.
        notes: what was passed over, a line each; `fill` adds to them.
    """

    path: Path
    content: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    _masks: Masks = field(default_factory=dict, repr=False)

    def fill(self, network: nn.Module) -> None:
        """Put the weights into the network; they have to fit exactly.

        Raises:
            CheckpointError: names or shapes differ, so that it is the checkpoint of another network, or a weight is
                not a number; the network is then as it was.
        """
        whole = network.state_dict()
        own = {name: value for name, value in whole.items() if isinstance(value, Tensor)}
        besides = {name: value for name, value in whole.items() if name not in own}
        entry = self._entry()
        try:
            state, left_out = fitted(entry.weights, own)
        except SeveralNetworksError as problem:
            raise CheckpointError(f"checkpoint {self.path} {problem}") from problem
        state, masks = _without_reparametrised(state)
        for name in own:
            if name.endswith(COUNTER):
                state.setdefault(name, own[name])
        self._require_fit(state, own)
        by_design = not_finite(own)  # as an attention mask has infinities
        broken = [name for name in not_finite(state) if name not in by_design]
        if broken:
            raise CheckpointError(
                f"checkpoint {self.path} has NaN or infinity in {broken[0]}; use one saved before training diverged"
            )
        network.load_state_dict(state | besides)
        self._masks.update(masks)
        self.notes.extend(f"checkpoint {self.path}: {note}" for note in entry.notes())
        if besides:
            kept = ", ".join(besides)
            self.notes.append(f"checkpoint {self.path}: {kept}: no tensor, left as the network has it")
        if left_out:
            some = ", ".join(left_out[:3]) + (f" and {len(left_out) - 3} more" if len(left_out) > 3 else "")
            self.notes.append(f"checkpoint {self.path}: {some}: no part of the network, left out")

    def masks(self, network: nn.Module, layers: Iterable[str]) -> tuple[Masks, str]:
        """Layer name -> True where a weight is kept, and where that is from; a layer that is not named is whole.

        Args:
            network: filled from this checkpoint.
            layers: those that may be pruned. Of a checkpoint without masks, their zeros are what was pruned.

        Raises:
            CheckpointError: its masks are not of this network's layers.
        """
        given = self._given_masks()
        if given is not None and not isinstance(
            given, Tensor
        ):  # of a plain state_dict, a parameter of that name
            shapes = weight_shapes(network, given)
            try:
                return checked_masks(under_names(given, shapes), shapes), "with its masks"
            except MaskError as problem:
                raise CheckpointError(f"checkpoint {self.path}: {problem}") from problem
        layers = list(layers)
        if masks := self._masks_of(layers):
            return masks, "with its masks"
        values = parameters(network)
        zeros = {name: stored_weight(values, name).detach() != 0 for name in layers}
        if zeros and not any(bool(mask.any()) for mask in zeros.values()):
            raise CheckpointError(
                f"checkpoint {self.path}: every weight is 0; nothing is left to be put on arrays"
            )
        pruned = {name: mask for name, mask in zeros.items() if not bool(mask.all())}
        return pruned, "its zeros taken as pruned" if pruned else "no weight pruned"

    def _masks_of(self, layers: Iterable[str]) -> Masks:
        """Masks of the layers, whatever their weight is stored in, and of every other layer's own weight."""
        own = ".weight"
        found = {name.removesuffix(own): mask for name, mask in self._masks.items() if name.endswith(own)}
        for layer in layers:
            with suppress(KeyError):
                found[layer] = stored_weight(self._masks, layer)
        return found

    def origin(self) -> dict[str, Any] | None:
        """How the network was pruned, as `ORIGIN`; None for a checkpoint that doesn't say, like a dense one.

        Raises:
            CheckpointError: it says something else.
        """
        origin = self.content.get("origin")
        if origin is None or isinstance(origin, Tensor):  # of a plain state_dict, a parameter of that name
            return None
        known = isinstance(origin, Mapping) and origin.keys() == ORIGIN.keys()
        if not known or not all(isinstance(origin[key], kind) for key, kind in ORIGIN.items()):
            raise CheckpointError(
                f"checkpoint {self.path} does not say how it was pruned (origin); save it again"
            )
        parameters = origin["parameters"]
        if not all(isinstance(v, str | int | float) for pair in parameters.items() for v in pair):
            raise CheckpointError(
                f"checkpoint {self.path} holds a granularity with odd parameters; save it again"
            )
        return {**origin, "parameters": dict(parameters)}

    def description(self) -> dict[str, Any] | None:
        """What made the network, as `described_as` wrote it; None for a checkpoint that doesn't say.

        Only plain values come through: whoever wrote the file chooses nothing that could be called or read. `file` is
        a network's of one's own and `sources` are hashes by file, both for messages alone; `unsaid` are arguments of
        the network whose values were not plain.
        """
        said = self.content.get("description")
        if not isinstance(said, Mapping):
            origin = self.origin()  # what runs wrote before they described themselves
            if origin is None:
                return None
            settings = {f"granularity.{key}": value for key, value in origin["parameters"].items()}
            said = {"choices": {"granularity": origin["granularity"]}, "settings": settings}
        choices, settings = (said.get(part) for part in ("choices", "settings"))
        return {
            "choices": {k: v for k, v in plain(choices).items() if isinstance(v, str)},
            "settings": plain(settings),
            "unsaid": plain(said.get("unsaid")),
            "sources": printable(said.get("sources")),
            "file": file if isinstance(file := said.get("file"), str) and file.isprintable() else None,
        }

    def _given_masks(self) -> object:
        """The entry `masks`, or else one called nearly so, as `mask` or `pruning_masks`, that holds tensors by name."""
        if "masks" in self.content:
            return self.content["masks"]
        return next(_masks_in(self.content), None)

    def _require_fit(self, state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
        """Refuse weights of another network.

        Raises:
            CheckpointError: names the first difference, and the model that the file says it was saved from.
        """
        differences = list(_differences(state, own))
        if not differences:
            return
        for name in state:
            plain = next((tool for end, tool in REPARAMETRISED.items() if name.endswith(end)), None)
            if plain is not None and name not in own:
                raise CheckpointError(
                    f"checkpoint {self.path} holds {name}, from which the weight is computed; call {plain} before "
                    "saving"
                )
        more = f" and {len(differences) - 1} more differences" if len(differences) > 1 else ""
        model = (self.description() or {"choices": {}})["choices"].get("model")
        mend = f"set model to the one it was saved from{f', model={model}' if model else ''}"
        if all(name in state for name in own) and len(differences) == len(state) - len(own):
            name = next(name for name in state if name not in own)  # as a loss's class weights have
            raise CheckpointError(
                f"checkpoint {self.path} has an unknown {name}{more} beside all that the network has; {mend}, or, if "
                "that is no layer of a network, save the weights without it"
            )
        raise CheckpointError(
            f"checkpoint {self.path} is of another network: it {differences[0]}{more}; {mend}"
        )

    def _entry(self) -> Entry:
        """Where the weights are, and those themselves.

        Raises:
            CheckpointError: there are none, or nobody can tell which are meant.
        """
        try:
            entry = entry_of(self.content)
        except SeveralNetworksError as problem:
            raise CheckpointError(f"checkpoint {self.path} {problem}") from problem
        if entry is not None:
            return entry
        entries = ", ".join(map(str, self.content)) or "nothing"
        foreign = next(
            (f"; {entry} is a {kind}, which is not read" for entry, kind in unread(self.content)), ""
        )
        raise CheckpointError(
            f"checkpoint {self.path} holds no weights by name, but {entries}{foreign}; save network.state_dict(), "
            "alone or as the entry state_dict"
        )


def read(path: Path) -> Stored:
    """A checkpoint, every byte checked and none of it run.

    Raises:
        CheckpointError: it is missing, damaged, or no checkpoint.
    """
    content = load(path)
    kinds: dict[str, str] = {}
    for entry, kind in unread(content):
        kinds.setdefault(entry, kind)
    notes = [f"checkpoint {path}: {entry} holds {kind}, which is not read" for entry, kind in kinds.items()]
    return Stored(path, content, notes)


def _masks_in(content: Mapping[Any, Any]) -> Iterator[dict[str, Tensor]]:
    """Entries that are called masks, at any depth, which hold tensors by layer, or by parameter within each layer."""
    for name, value in content.items():
        if not isinstance(value, Mapping):
            continue
        masks = _by_name(value) if isinstance(name, str) and MASKS.search(name) else {}
        if masks and all(isinstance(mask, Tensor) for mask in masks.values()):
            yield masks
        else:
            yield from _masks_in(value)


def _by_name(entry: Mapping[Any, Any]) -> dict[str, Any]:
    """Values by their names; of a mapping within, by its name and theirs."""
    found: dict[str, Any] = {}
    for name, value in entry.items():
        inner = _by_name(value) if isinstance(value, Mapping) else {}
        found |= {f"{name}.{own}": deeper for own, deeper in inner.items()} or {str(name): value}
    return found


def not_finite(state: Mapping[str, Tensor]) -> list[str]:
    """Names of the tensors with a value that is NaN or infinite, in order."""
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    return [name for name, value in tensors.items() if not bool(torch.isfinite(value).all())]


def _without_reparametrised(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], Masks]:
    """Parameters that torch.nn.utils.prune had split into values and mask, put together; and the masks by parameter."""
    split = [name.removesuffix(ORIG) for name in state if name.endswith(ORIG)]
    split = [name for name in split if name + MASK in state]
    whole = {name: value for name, value in state.items() if parameter_of(name) not in split}
    masks = {name: state[name + MASK] for name in split}
    whole |= {name: state[name + ORIG] * masks[name] for name in split}
    return whole, checked_masks(masks, {name: tuple(mask.shape) for name, mask in masks.items()})


def _differences(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Iterator[str]:
    """In what the tensors of a file are not those of a network."""
    yield from (f"lacks {name}" for name in own if name not in state)
    yield from (f"has an unknown {name}" for name in state if name not in own)
    for name in own:
        if name not in state:
            continue
        if state[name].shape != own[name].shape:
            yield f"has {name} of shape {tuple(state[name].shape)} for {tuple(own[name].shape)}"
        elif own[name].is_floating_point() and not state[name].is_floating_point():
            yield f"has {name} as {state[name].dtype}, not as real numbers"
