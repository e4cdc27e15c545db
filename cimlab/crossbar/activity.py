"""What a network's cells and wordlines carry: histograms of its integers, measured once and kept with its record.

From the histogram of integer weights the level of every cell follows for any cell_bits and signed encoding, from that
of integer inputs the digit of every input cycle for any dac_bits; exactly, at the precision that was measured. At
another precision the integers are rounded again to it, which a note says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cimlab.crossbar.cells import largest_weight, mean_levels
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.inputs import largest_input, mean_digits
from cimlab.crossbar.zero_planes import ZeroPlanes


@dataclass(frozen=True, eq=False)
class IntegerHistogram:
    """How often each integer occurs.

    >>> inputs = IntegerHistogram.of(torch.tensor([0, 0, 0, 2]))
    >>> inputs.total, inputs.mean(torch.Tensor.double, key=("as it is",))
    (4, 0.5)
    >>> inputs.rescaled(top=3, new_top=15).values.tolist()  # from 2 bits to 4
    [0, 10]
    >>> IntegerHistogram.of_json((inputs + inputs).to_json()).counts.tolist()
    [6, 2]

    Args:
        values: the integers that do, ascending.
        counts: how often.
    """

    values: Int[np.ndarray, " values"]
    counts: Int[np.ndarray, " values"]
    _means: dict[tuple[object, ...], float] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, integers: Int[Tensor, "..."], weights: Int[Tensor, "..."] | None = None) -> IntegerHistogram:
        """Count integers, each `weights` times.

        >>> IntegerHistogram.of(torch.tensor([3, -1, 3])).to_json()
        {'values': [-1, 3], 'counts': [1, 2]}
        >>> IntegerHistogram.of(torch.tensor([2, 0, 0])).to_json()
        {'first': 0, 'counts': [2, 0, 1]}
        """
        flat = integers.flatten().long().cpu()
        if not len(flat):
            return cls(np.zeros(0, np.int64), np.zeros(0, np.int64))
        low = int(flat.min())
        often = None if weights is None else weights.flatten().double().cpu()  # exact below 2^53
        counts = torch.bincount(flat - low, weights=often).long().numpy()
        return cls(np.flatnonzero(counts) + low, counts[counts > 0])

    def __add__(self, other: IntegerHistogram) -> IntegerHistogram:
        values, place = np.unique(np.concatenate([self.values, other.values]), return_inverse=True)
        counts = np.zeros(len(values), np.int64)
        np.add.at(counts, place, np.concatenate([self.counts, other.counts]))
        return IntegerHistogram(values, counts)

    @property
    def total(self) -> int:
        """Integers that were counted."""
        return int(self.counts.sum())

    def mean(
        self, of: Callable[[Int[Tensor, " values"]], Float[Tensor, " values"]], key: tuple[object, ...]
    ) -> float:
        """Mean of a function of the integers, 0 where there are none; remembered under what the function depends on."""
        if not self.total:
            return 0.0
        if key not in self._means:
            self._means[key] = float(of(torch.from_numpy(self.values)).numpy() @ (self.counts / self.total))
        return self._means[key]

    def rescaled(self, top: int, new_top: int) -> IntegerHistogram:
        """The integers of a range that ends at `top`, rounded (half to even) to one that ends at `new_top`."""
        values, place = np.unique(
            np.round(self.values * (new_top / top)).astype(np.int64), return_inverse=True
        )
        return IntegerHistogram(values, np.bincount(place, weights=self.counts).astype(np.int64))

    def to_json(self) -> dict[str, Any]:
        """Plain lists: how often each integer from `first` on occurs, or only those that do if that is shorter."""
        first = int(self.values[0]) if len(self.values) else 0
        span = int(self.values[-1]) - first + 1 if len(self.values) else 0
        if span > 2 * len(self.values):
            return {"values": self.values.tolist(), "counts": self.counts.tolist()}
        counts = np.zeros(span, np.int64)
        counts[self.values - first] = self.counts
        return {"first": first, "counts": counts.tolist()}

    @classmethod
    def of_json(cls, content: Mapping[str, Any]) -> IntegerHistogram:
        """The inverse of `to_json`.

        Raises:
            ValueError, KeyError, TypeError: it is something else.
        """
        counts = np.array(content["counts"], dtype=np.int64)
        stated = content["values"] if "values" in content else content["first"] + np.arange(len(counts))
        values = np.array(stated, dtype=np.int64)
        if (
            values.shape != counts.shape
            or values.ndim != 1
            or (counts < 0).any()
            or (np.diff(values) < 1).any()
        ):
            raise ValueError("values and counts don't belong together")
        return cls(values[counts > 0], counts[counts > 0])


@dataclass(frozen=True, eq=False)
class LayerActivity:
    """Integers of one layer; None where nobody measured.

    >>> layer = LayerActivity.of_json({"inputs": {"first": 0, "counts": [3, 0, 1]}})  # 0 three times, 2 once
    >>> layer.inputs.values.tolist(), layer.inputs.counts.tolist(), layer.weights
    ([0, 2], [3, 1], None)

    Args:
        weights: of the weights that are kept, -(2^(weight_bits - 1) - 1) .. 2^(weight_bits - 1) - 1.
        inputs: of all wordlines of the layer's matrix over all products of the calibration images, padding included,
            0 .. 2^input_bits - 1.
        zero_planes: input cycles in which all rows of a row group are fed zero.
    """

    weights: IntegerHistogram | None = None
    inputs: IntegerHistogram | None = None
    zero_planes: ZeroPlanes | None = None

    @classmethod
    def of_json(cls, content: Mapping[str, Any]) -> LayerActivity:
        """The inverse of plain containers, as `Activity.to_json` gives them; records of before hold no planes."""
        weights, inputs, planes = (content.get(key) for key in ("weights", "inputs", "zero_planes"))
        return cls(
            weights and IntegerHistogram.of_json(weights),
            inputs and IntegerHistogram.of_json(inputs),
            planes and ZeroPlanes.of_json(planes),
        )


@dataclass(frozen=True, eq=False)
class Activity:
    """What was measured of a network, pruned and dense; a layer or value that is missing is assumed.

    >>> inputs = IntegerHistogram.of(torch.tensor([0, 255]))
    >>> measured = Activity(pruned={"fc": LayerActivity(inputs=inputs)}, images=1)
    >>> again = Activity.of_json(measured.to_json()).at(CrossbarGeometry(input_bits=4))
    >>> again.pruned["fc"].inputs.values.tolist()
    [0, 15]
    >>> print(*again.notes)
    values of cells and inputs were measured at weight_bits=8 and input_bits=8, and are rounded again to 8 and 4

    Args:
        weight_bits, input_bits: precision at which it was measured.
        pruned: layer name -> integers of the network as it is.
        dense: the same of the network before pruning.
        images: calibration images; 0 where inputs were not measured.
        input_density: share of ones among the input bits, where inputs were not measured.
        notes: what was assumed, in words.
    """

    weight_bits: int = 8
    input_bits: int = 8
    pruned: Mapping[str, LayerActivity] = field(default_factory=dict)
    dense: Mapping[str, LayerActivity] = field(default_factory=dict)
    images: int = 0
    input_density: float = 0.5
    notes: tuple[str, ...] = ()
    _at: dict[tuple[int, int], Activity] = field(default_factory=dict, repr=False)

    def at(self, geometry: CrossbarGeometry) -> Activity:
        """The same at a geometry's precision, with a note where that is another one."""
        bits = geometry.weight_bits, geometry.input_bits
        if bits == (self.weight_bits, self.input_bits):
            return self
        if bits not in self._at:
            self._at[bits] = self._rounded(*bits)
        return self._at[bits]

    def _rounded(self, weight_bits: int, input_bits: int) -> Activity:
        own = largest_weight(self.weight_bits), largest_input(self.input_bits)
        other = largest_weight(weight_bits), largest_input(input_bits)

        def rounded(layers: Mapping[str, LayerActivity]) -> dict[str, LayerActivity]:
            return {
                name: LayerActivity(
                    layer.weights and layer.weights.rescaled(own[0], other[0]),
                    layer.inputs and layer.inputs.rescaled(own[1], other[1]),
                )
                for name, layer in layers.items()
            }

        note = (
            f"values of cells and inputs were measured at weight_bits={self.weight_bits} and "
            f"input_bits={self.input_bits}, and are rounded again to {weight_bits} and {input_bits}"
        )
        return Activity(
            weight_bits, input_bits, rounded(self.pruned), rounded(self.dense),
            self.images, self.input_density, (*self.notes, note),
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Plain containers, for a record."""

        def plain(layers: Mapping[str, LayerActivity]) -> dict[str, Any]:
            return {
                name: {key: value and value.to_json() for key, value in vars(layer).items()}
                for name, layer in layers.items()
            }

        return {
            **{name: value for name, value in vars(self).items() if not name.startswith("_")},
            "pruned": plain(self.pruned),
            "dense": plain(self.dense),
            "notes": list(self.notes),
        }

    @classmethod
    def of_json(cls, content: Mapping[str, Any]) -> Activity:
        """The inverse of `to_json`.

        Raises:
            ValueError, KeyError, TypeError: it is something else.
        """

        def layers(plain: Mapping[str, Any]) -> dict[str, LayerActivity]:
            return {name: LayerActivity.of_json(own) for name, own in plain.items()}

        return cls(
            weight_bits=int(content["weight_bits"]),
            input_bits=int(content["input_bits"]),
            pruned=layers(content["pruned"]),
            dense=layers(content["dense"]),
            images=int(content["images"]),
            input_density=float(content["input_density"]),
            notes=tuple(content["notes"]),
        )


def mean_cell_level(weights: IntegerHistogram, geometry: CrossbarGeometry) -> float:
    """Mean level of the cells of these weights over full scale, 0 to 1, over all their physical columns.

    3 fills one cell of its differential pair, and 0 none:

    >>> mean_cell_level(IntegerHistogram.of(torch.tensor([3, 0])), CrossbarGeometry(weight_bits=3))
    0.25
    """
    g = geometry
    return weights.mean(lambda w: mean_levels(w, g), (g.signed_encoding, g.weight_bits, g.cell_bits))


def mean_input_digit(inputs: IntegerHistogram, geometry: CrossbarGeometry) -> float:
    """Mean digit that a wordline carries in a cycle over full scale; bit-serial, the share of ones.

    >>> mean_input_digit(IntegerHistogram.of(torch.tensor([0, 3])), CrossbarGeometry(input_bits=2))
    0.5
    """
    g = geometry
    return inputs.mean(lambda q: mean_digits(q, g), (g.input_bits, g.dac_bits))
