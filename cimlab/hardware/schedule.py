"""When things happen: array time per product, weight copies, the layer pipeline, and reloading what does not fit.

A layer waits for its slowest array. Layers run as a pipeline over images: throughput is that of the slowest layer,
and the chip's area is spent where that shortens it (`copies.py`). A network larger than a chip of a fixed number of
arrays runs in segments of consecutive layers, each loaded once a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, log2

import numpy as np
from jaxtyping import Float, Int

from cimlab.crossbar.compaction import ceil_div
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.placement import Placement
from cimlab.hardware.actions import PlacedLayer, written_cells
from cimlab.hardware.activity import ActivityFactors
from cimlab.hardware.chip import Chip
from cimlab.hardware.copies import Room, Spent, Ways, spend
from cimlab.hardware.technology import Technology
from cimlab.hardware.transport import Transport

UNKNOWN = ActivityFactors()


@dataclass(frozen=True, eq=False)
class Timing:
    """Times of a network on a chip, and how it is laid.

    4 products of a full array, 512 steps of 100 ns each, shared by two copies:

    >>> from cimlab.config.hardware import load_technology
    >>> from cimlab.crossbar.matrix import CrossbarMatrix
    >>> from cimlab.crossbar.placement import place_dense
    >>> matrix, geometry = CrossbarMatrix("fc", (16, 128), products=4), CrossbarGeometry()
    >>> layers = [PlacedLayer(matrix, place_dense(matrix, geometry), ActivityFactors())]
    >>> room = Room(array_m2=np.ones(1), copy_m2=np.zeros(1), area_m2=2.0)
    >>> timing = schedule(layers, geometry, Chip(), load_technology("isaac32"), 1e-9, room)
    >>> timing.all_arrays, f"an image every {1e6 * timing.interval_s:.1f} us"
    (2, 'an image every 102.4 us')

    Args:
        product_s: time of one matrix-vector product, by layer: that of the slowest array.
        layer_s: time of one image, by layer, with its copies at work and every pass of an oversized layer.
        copies: how often each layer's arrays exist.
        arrays: of one copy of each layer.
        longest: steps of one input cycle on each layer's busiest array.
        balance: mean over busiest array's work, by layer.
        latency_s: from the first input to the last output of one image that is alone on the chip.
        images_per_s: throughput in the steady state.
        load_s: time of loading weights, per batch; 0 where the network fits.
        loaded_bits, cell_writes: what is loaded per image, by layer.
        segments: how many times the chip is loaded per batch; 1 where the network fits.
        outgrown: arrays of a chip that is smaller than the network; None where the network fits.
    """

    product_s: Float[np.ndarray, " layers"]
    layer_s: Float[np.ndarray, " layers"]
    copies: Int[np.ndarray, " layers"]
    arrays: Int[np.ndarray, " layers"]
    longest: Int[np.ndarray, " layers"]
    balance: Float[np.ndarray, " layers"]
    latency_s: float
    images_per_s: float
    load_s: float
    loaded_bits: Float[np.ndarray, " layers"]
    cell_writes: Float[np.ndarray, " layers"]
    segments: int
    outgrown: int | None = None

    @property
    def interval_s(self) -> float:
        """Time between two images in the steady state."""
        return 1 / self.images_per_s

    @property
    def all_arrays(self) -> int:
        """Arrays in use, copies included."""
        return int(self.arrays @ self.copies)


def schedule(
    layers: Sequence[PlacedLayer],
    geometry: CrossbarGeometry,
    chip: Chip,
    technology: Technology,
    conversion_s: float,
    room: Room,
    moved: Transport | None = None,
) -> Timing | None:
    """Lay the work of one image after another out in time; None if the area is too small for one copy of each layer.

    A network is reloaded where its fewest arrays are more than the chip's, and only there. Where the chip's number of
    arrays sets its area, pruning support that this leaves no room for comes on top of it.

    A full array on chips of half an array, one, and four, for 4 products:

    >>> from cimlab.config.hardware import load_technology
    >>> from cimlab.crossbar.matrix import CrossbarMatrix
    >>> from cimlab.crossbar.placement import place_dense
    >>> matrix, geometry = CrossbarMatrix("fc", (16, 128), products=4), CrossbarGeometry()
    >>> layers = [PlacedLayer(matrix, place_dense(matrix, geometry), ActivityFactors())]
    >>> rooms = [Room(array_m2=np.ones(1), copy_m2=np.zeros(1), area_m2=area_m2) for area_m2 in (0.5, 1.0, 4.0)]
    >>> technology = load_technology("isaac32")
    >>> found = [schedule(layers, geometry, Chip(), technology, 1e-9, room) for room in rooms]
    >>> [timing and f"{1e6 * timing.layer_s[0]:.1f} us" for timing in found]
    [None, '204.8 us', '51.2 us']

    Args:
        layers: the placed layers, in the order of computation.
        geometry, chip, technology: the accelerator.
        conversion_s: time of one ADC conversion.
        room: areas of the layers and of the chip.
        moved: what travels over the chip's floor plan, which then sets copies and arrays; a clock cycle is a step's.
    """
    read_s, margin = technology.latency_s("cells"), technology.timing_margin.value
    ways = [
        layer_ways(layer.placement, geometry, chip, read_s * margin, conversion_s * margin, layer.activity)
        for layer in layers
    ]
    products = np.array([layer.matrix.products for layer in layers], dtype=np.int64)
    fill_s = np.array([_fill_seconds(layer, technology) for layer in layers])
    fill_s *= np.array([w.arrays[0] > 0 for w in ways])
    fewest = np.array([w.arrays[0] for w in ways], dtype=np.int64)
    if moved is not None:
        fastest = [max(0, int((w.arrays <= n).sum()) - 1) for w, n in zip(ways, moved.arrays, strict=True)]
        spent = Spent(np.array(fastest, dtype=np.int64), moved.copies)
    elif chip.max_arrays is not None and fewest.sum() > chip.max_arrays:
        return _reloaded(layers, ways, geometry, chip, technology, fill_s)
    else:
        spent = spend(ways, products, room.of_arrays(chip.max_arrays))
        if spent is None and chip.max_arrays is not None:
            # pruning support takes more than the places: one copy of each layer, if an area that is given holds it
            held = chip.area_m2 is None or spend(ways, products, room)
            spent = spend(ways, products, replace(room, area_m2=None)) if held else None
    if spent is None:
        return None
    chosen = list(zip(ways, spent.way.tolist(), strict=True))
    product_s = np.array([w.product_s[i] for w, i in chosen], dtype=float)
    layer_s = ceil_div(products, spent.copies) * product_s
    if moved is not None:
        layer_s += moved.cycles * margin * max(read_s, conversion_s * chip.bitlines_per_conversion_slot)
    slowest, nothing = float(layer_s.max(initial=0.0)), np.zeros(len(layers))
    return Timing(
        product_s=product_s,
        layer_s=layer_s,
        copies=spent.copies,
        arrays=np.array([w.arrays[i] for w, i in chosen], dtype=np.int64),
        longest=np.array([w.longest[i] for w, i in chosen], dtype=np.int64),
        balance=np.array([w.balance[i] for w, i in chosen], dtype=float),
        latency_s=float((layer_s + fill_s).sum()),
        images_per_s=1 / slowest if slowest else float("inf"),
        load_s=0.0,
        loaded_bits=nothing,
        cell_writes=nothing,
        segments=1,
    )


def layer_ways(
    placement: Placement,
    geometry: CrossbarGeometry,
    chip: Chip,
    read_s: float,
    conversion_s: float,
    activity: ActivityFactors = UNKNOWN,
) -> Ways:
    """How one copy of a layer may be laid, and how long one product then takes on its slowest array.

    Where inputs that are zero are skipped, times are means over images; a packed array is taken to hold the steps of
    its stripe that skip least, so that pruning a step that is mostly skipped does not slow the others.

    A full array, driven anew at each of 8 mux positions, and read once per row group and held for fast ADCs:

    >>> from cimlab.crossbar.matrix import CrossbarMatrix
    >>> from cimlab.crossbar.placement import place_dense
    >>> geometry, chips = CrossbarGeometry(), [Chip(readout=readout) for readout in ("per_step", "held")]
    >>> layer = place_dense(CrossbarMatrix("fc", (16, 128)), geometry)
    >>> [f"{1e6 * layer_ways(layer, geometry, chip, 100e-9, 1e-9).product_s[0]:.1f} us" for chip in chips]
    ['51.2 us', '6.4 us']
    """
    slot_s, cycles = conversion_s * chip.bitlines_per_conversion_slot, geometry.input_cycles
    steps, held = placement.work.row_group_steps, chip.readout == "held"
    step_s = cycles * max(read_s, slot_s)
    group_s = (
        np.where(steps > 0, cycles * np.maximum(read_s, steps * slot_s), 0.0) if held else steps * step_s
    )
    skips = chip.skip_zero_inputs and activity.zero_share is not None
    if skips:
        group_s = group_s * (1 - activity.zero_share[..., None])
    if placement.row_groups is None:
        return Ways.cut(group_s, steps, geometry.row_groups)
    if not held:
        ways = Ways.of(placement.stripes, step_s)
        return _least_skipped(ways, group_s, steps) if skips else ways
    slowest = int(steps.max(initial=0))  # packed, every row group is given the time of the slowest
    return Ways.of(placement.row_groups, float(group_s.max(initial=0.0)), slowest)


def _least_skipped(
    ways: Ways,
    row_group_s: Float[np.ndarray, "groups row_groups array_cols"],
    steps: Int[np.ndarray, "groups row_groups array_cols"],
) -> Ways:
    """Ways whose busiest array executes those of its stripe's steps that take the longest in the mean."""
    each_s = np.divide(row_group_s, steps, out=np.zeros(steps.shape), where=steps > 0)
    slowest_first = np.argsort(-each_s, axis=1)
    held, taken_s = (
        np.pad(np.cumsum(np.take_along_axis(figures, slowest_first, 1), 1), ((0, 0), (1, 0), (0, 0)))
        for figures in (steps, row_group_s)
    )
    stripes = zip(
        *(figures.swapaxes(1, 2).reshape(-1, figures.shape[1]) for figures in (held, taken_s)), strict=True
    )
    product_s = np.max([np.interp(ways.longest, upto, seconds) for upto, seconds in stripes], axis=0)
    whole_s = ways.arrays * product_s
    balance = np.divide(row_group_s.sum(), whole_s, out=np.ones(len(whole_s)), where=whole_s > 0)
    return replace(ways, product_s=product_s, balance=balance)


def _fill_seconds(layer: PlacedLayer, technology: Technology) -> float:
    """Once an image: fetch, add up the array rows' partial sums in a tree, write, hand on."""
    array_rows = len(layer.placement.work.array_row_starts)
    once = sum(
        technology.latency_s(name) for name in ("input_buffer", "shift_add", "interconnect", "output_buffer")
    )
    return once + ceil(log2(array_rows)) * technology.latency_s("partial_sum_adder")


def _reloaded(
    layers: Sequence[PlacedLayer],
    ways: Sequence[Ways],
    geometry: CrossbarGeometry,
    chip: Chip,
    technology: Technology,
    fill_s: Float[np.ndarray, " layers"],
) -> Timing:
    """A network larger than the chip: segments of consecutive layers, an oversized layer in several passes."""
    assert chip.max_arrays is not None
    counts = [layer.placement.counts for layer in layers]
    arrays, longest, product_s, balance = (
        np.array([getattr(way, name)[0] for way in ways])
        for name in ("arrays", "longest", "product_s", "balance")
    )
    passes = np.maximum(1, ceil_div(arrays, np.array(chip.max_arrays)))
    layer_s = (np.array([layer.matrix.products for layer in layers]) * product_s + fill_s) * passes
    bits = np.array([c.weights_left * geometry.weight_bits + c.index_bits for c in counts], dtype=float)
    cells = np.array([written_cells(layer, geometry, chip) for layer in layers], dtype=float)
    segments = segment_layers(arrays.tolist(), chip.max_arrays)
    program_s = programming_seconds(geometry, chip, technology)
    load_s, run_s = 0.0, 0.0
    for part in segments:
        loads = int(passes[part].max())
        load_s += max(bits[part].sum() / chip.dram_bits_per_s, loads * program_s)
        run_s += layer_s[part].sum() + (chip.batch - 1) * layer_s[part].max()
    batch_s = float(load_s + run_s)
    return Timing(
        product_s=product_s,
        layer_s=layer_s,
        copies=np.ones(len(layers), dtype=np.int64),
        arrays=arrays,
        longest=longest,
        balance=balance,
        latency_s=float(load_s + layer_s.sum()),
        images_per_s=chip.batch / batch_s,
        load_s=float(load_s),
        loaded_bits=bits / chip.batch,
        cell_writes=cells * chip.write_pulses / chip.batch,
        segments=int(passes.sum() - len(layers) + len(segments)),
        outgrown=chip.max_arrays,
    )


def programming_seconds(geometry: CrossbarGeometry, chip: Chip, technology: Technology) -> float:
    """Time of writing every array once: arrays side by side, each a row at a time.

    >>> from cimlab.config.hardware import load_chip, load_technology
    >>> programming_seconds(CrossbarGeometry(rows=128), load_chip("default"), load_technology("isaac32"))
    5.12e-06
    """
    return geometry.rows * chip.write_pulses * technology.latency_s("weight_loading")


def segment_layers(arrays: Sequence[int], capacity: int) -> list[list[int]]:
    """Consecutive layers packed greedily into loads of at most `capacity` arrays; an oversized layer stands alone.

    >>> segment_layers([3, 4, 2, 9, 1], 6)
    [[0], [1, 2], [3], [4]]
    """
    segments: list[list[int]] = []
    filled = capacity + 1
    for number, size in enumerate(arrays):
        if filled + size > capacity:
            segments.append([])
            filled = 0
        segments[-1].append(number)
        filled += size
    return segments
