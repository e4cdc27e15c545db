"""From the blocks that products read to weights: each stored value in one of them, whoever multiplies by it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod

from torch import Tensor, nn

from cimlab.network.operand import Block
from cimlab.network.weights import PACKED, name_of, name_of_part, parameters


@dataclass(frozen=True)
class Use:
    """A block, and what reads it for one image.

    Args:
        block: the weights.
        modules: the innermost modules that multiply by it.
        products, macs: of one image.
    """

    block: Block
    modules: tuple[str, ...]
    products: int
    macs: int


@dataclass(frozen=True)
class Piece:
    """A weight: rows of one parameter, or what is computed from one or several.

    Args:
        name: of the weight.
        block: the weights, cut so that no two pieces share any.
        layers: whose weight it is.
        shape: of what is stored.
        uses: everything that multiplies by it.
        reason: why it can't be on arrays.
    """

    name: str
    block: Block
    layers: tuple[str, ...]
    shape: tuple[int, ...]
    uses: tuple[Use, ...]
    reason: str | None = None


class Stored:
    """The parameters of a network, and what each is called."""

    def __init__(self, network: nn.Module) -> None:
        self.own: dict[str, Tensor] = dict(network.named_parameters())
        self._all = parameters(network)
        self._aliases: dict[int, list[str]] = {}
        for name, parameter in self._all.items():
            self._aliases.setdefault(id(parameter), []).append(name)

    def name(self, parameter: str) -> str:
        """What the weight in a parameter is called."""
        return name_of(parameter, self._all)

    def name_of_part(self, parameter: str, start: int, stop: int) -> str:
        """What rows of a parameter are called."""
        return name_of_part(parameter, self._all, start, stop)

    def layers(self, parameter: str) -> tuple[str, ...]:
        """Names of the weight in each layer that holds the parameter."""
        return tuple(self.name(alias) for alias in self._aliases[id(self.own[parameter])])

    def called(self, parameter: str, modules: Iterable[str]) -> str:
        """The parameter's name, a tied one's by the layer that multiplies by it first."""
        aliases = self._aliases[id(self.own[parameter])]
        multiplying = [alias for module in modules for alias in aliases if self.name(alias) == module]
        return (multiplying or aliases)[0]


def pieces(uses: list[Use], stored: Stored) -> list[Piece]:
    """Weights in the order of their first use."""
    sources: dict[object, list[Use]] = {}
    for use in uses:
        sources.setdefault((use.block.parameters, use.block.computed), []).append(use)
    found, names = [], set[str]()
    for some in sources.values():
        for piece in _computed(some, stored) if some[0].block.computed else _cut(some, stored):
            if piece.name in names:  # as where it is multiplied as it is stored, and computed from besides
                reason = piece.reason or "is read in a second way"
                piece = replace(piece, name=_read_in(piece.name, piece.uses[0]), reason=reason)
            names.add(piece.name)
            found.append(piece)
    return found


def _read_in(name: str, use: Use) -> str:
    """What a digital read of a weight is called, whose own name is that of what is on arrays."""
    return f"{name} (in {use.modules[0] or 'the network'})"


def _computed(uses: list[Use], stored: Stored) -> list[Piece]:
    """A weight that the forward pass computes: in one way, and read whole in one way; or all of its reads digital."""
    block = uses[0].block
    if len(uses) > 1 or block.start != 0:
        reason = f"is computed from {', '.join(block.parameters)} and read in parts or in several ways"
        return [replace(_piece(use.block, (use,), stored), reason=reason) for use in uses]
    return [_piece(block, tuple(uses), stored)]


def _piece(block: Block, uses: tuple[Use, ...], stored: Stored) -> Piece:
    """What is computed from parameters, named after the one that it has the size of, a layer's weight before others."""
    holds = [name for name in block.parameters if stored.own[name].numel() == block.weights]
    main = min(holds or block.parameters, key=lambda parameter: stored.name(parameter) == parameter)
    name = stored.name(stored.called(main, uses[0].modules))
    shape = tuple(stored.own[main].shape) if holds else (block.outputs, block.channels, *block.kernel)
    parameters = (main, *(other for other in block.parameters if other != main))
    block = replace(block, parameters=parameters)
    return Piece(name, block, stored.layers(main), shape, uses)


def _cut(uses: list[Use], stored: Stored) -> list[Piece]:
    """The parts of one parameter that are multiplied apart."""
    (parameter,) = uses[0].block.parameters
    value = stored.own[parameter]
    alias = stored.called(parameter, uses[0].modules)
    layers = stored.layers(parameter)
    rows = len(value) if value.ndim else 1
    size = max(1, value.numel() // rows)
    first = next((use.block for use in uses if _in_rows(use.block, size)), uses[0].block)
    alike = _agreeing(uses, first, size)
    found = []
    for start, stop in _ranges(
        [use.block for use in alike], _packed(alias, value) if _divisible(first) else []
    ):
        over = tuple(use for use in alike if _covers(use.block, start, stop))
        block = replace(first, start=start, outputs=(stop - start) // _per_output(first))
        whole_rows = stop // size - start // size
        part = stored.name_of_part(alias, start // size, stop // size)
        own = layers if whole_rows == rows else (part,)
        found.append(Piece(part, block, own, (whole_rows, *value.shape[1:]), over))
    for use in uses:
        if use not in alike:
            name = stored.name(alias)
            shape, reason = tuple(value.shape), _why_not(use.block, size)
            found.append(Piece(_read_in(name, use), use.block, (name,), shape, (use,), reason))
    return found


def _in_rows(block: Block, size: int) -> bool:
    """Whether the block is whole rows of what is stored."""
    return block.start is not None and block.start % size == 0 and block.weights % size == 0


def _same_reading(one: Block, other: Block) -> bool:
    return replace(one, start=0, offset=0, outputs=0) == replace(other, start=0, offset=0, outputs=0)


def _why_not(block: Block, size: int) -> str:
    if not _in_rows(block, size):
        return "is read in parts that are not whole rows, or not in the order of its dimensions"
    return "is stored on arrays for other products, which read it another way (transposed, or with other strides)"


def _per_output(block: Block) -> int:
    return block.channels * prod(block.kernel)


def _packed(parameter: str, value: Tensor) -> list[int]:
    """Where an attention's packed projection is three matrices."""
    if parameter.rpartition(".")[2] != PACKED or value.ndim != 2 or len(value) % 3:
        return []
    third = value.numel() // 3
    return [third, 2 * third]


def _divisible(block: Block) -> bool:
    """Whether outputs may be taken apart: they lie one after the other, and no group holds several."""
    return block.reading == "outputs_first" and block.groups == 1


def _agreeing(uses: list[Use], first: Block, size: int) -> list[Use]:
    """Uses that read whole rows in the way of `first`; where outputs can't be taken apart, none that overlap."""
    agreeing: list[Use] = []
    for use in uses:
        if not _in_rows(use.block, size) or not _same_reading(use.block, first):
            continue
        clear = all(use.block == other.block or _apart(use.block, other.block) for other in agreeing)
        if _divisible(first) or clear:
            agreeing.append(use)
    return agreeing


def _ends(block: Block) -> tuple[int, int]:
    assert block.start is not None
    return block.start, block.start + block.weights


def _apart(one: Block, other: Block) -> bool:
    (a, b), (c, d) = _ends(one), _ends(other)
    return b <= c or d <= a


def _ranges(blocks: list[Block], more_cuts: list[int]) -> list[tuple[int, int]]:
    """Elements from and to which the parameter is cut, so that every block is a row of pieces."""
    ends = [_ends(block) for block in blocks]
    marks = sorted({mark for pair in ends for mark in pair} | set(more_cuts))
    return [span for span in pairwise(marks) if any(a <= span[0] and span[1] <= b for a, b in ends)]


def _covers(block: Block, start: int, stop: int) -> bool:
    first, last = _ends(block)
    return first <= start and stop <= last


def sites(found: Iterable[Piece]) -> Mapping[Block, tuple[str, ...]]:
    """Block as a forward pass reads it -> the weights that its outputs are made of, in order."""
    table: dict[Block, list[tuple[int, str]]] = {}
    for piece in found:
        for use in piece.uses:
            table.setdefault(use.block, []).append((piece.block.start or 0, piece.name))
    return {block: tuple(name for _, name in sorted(parts)) for block, parts in table.items()}
