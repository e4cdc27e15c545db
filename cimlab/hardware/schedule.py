"""When things happen: array time per product, weight copies, the layer pipeline, and reloading what does not fit.

A layer waits for its slowest array. Layers run as a pipeline over images: throughput is that of the slowest layer,
and copies of weights are spent where they shorten it most. A network larger than the chip runs in segments of
consecutive layers, each loaded once a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log2

import numpy as np
from jaxtyping import Float, Int

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.placement import Placement
from cimlab.hardware.actions import PlacedLayer
from cimlab.hardware.chip import Chip
from cimlab.hardware.technology import Technology


@dataclass(frozen=True, eq=False)
class Timing:
    """Times of a network on a chip.

    Args:
        product_s: time of one matrix-vector product, by layer: that of the slowest array.
        layer_s: time of one image, by layer, with its copies at work and every pass of an oversized layer.
        copies: how often each layer's arrays exist.
        latency_s: from the first input to the last output of one image.
        batch_s: time of a whole batch.
        images_per_s: throughput in the steady state.
        load_s: part of `batch_s` that loads weights; 0 where the network fits.
        loaded_bits, cell_writes: what is loaded per image, by layer.
        segments: how many times the chip is loaded per batch; 1 where the network fits.
    """

    product_s: Float[np.ndarray, " layers"]
    layer_s: Float[np.ndarray, " layers"]
    copies: Int[np.ndarray, " layers"]
    latency_s: float
    batch_s: float
    images_per_s: float
    load_s: float
    loaded_bits: Float[np.ndarray, " layers"]
    cell_writes: Float[np.ndarray, " layers"]
    segments: int


def schedule(
    layers: Sequence[PlacedLayer],
    geometry: CrossbarGeometry,
    chip: Chip,
    technology: Technology,
    conversion_s: float,
    array_area_m2: float,
) -> Timing:
    """Lay the work of one batch out in time.

    Args:
        layers: the placed layers, in the order of computation.
        geometry, chip, technology: the accelerator.
        conversion_s: time of one ADC conversion.
        array_area_m2: area of one array with its periphery, for an area budget of copies.
    """
    read_s = technology.latency_s("cells")
    product_s = np.array(
        [product_seconds(layer.placement, geometry, chip, read_s, conversion_s) for layer in layers]
    )
    product_s *= technology.timing_margin.value
    products = np.array([layer.matrix.products for layer in layers])
    arrays = np.array([layer.placement.counts.arrays for layer in layers])
    fill_s = np.array([_fill_seconds(layer, technology) for layer in layers]) * (arrays > 0)
    if chip.max_arrays is not None and arrays.sum() > chip.max_arrays:
        return _reloaded(layers, geometry, chip, technology, product_s, products * product_s + fill_s)
    copies = balanced_copies(
        product_s, products, arrays, _spare_arrays(chip, int(arrays.sum()), array_area_m2)
    )
    layer_s = ceil_division(products, copies) * product_s
    latency = float((layer_s + fill_s).sum())
    slowest = float(layer_s.max(initial=0.0))
    nothing = np.zeros(len(layers))
    return Timing(
        product_s, layer_s, copies, latency, latency + (chip.batch - 1) * slowest,
        1 / slowest if slowest else float("inf"), 0.0, nothing, nothing, 1,
    )  # fmt: skip


def product_seconds(
    placement: Placement, geometry: CrossbarGeometry, chip: Chip, read_s: float, conversion_s: float
) -> float:
    """Time of one product on the layer's slowest array, or on the fullest stripe of compacted arrays.

    Compaction puts the row groups of several arrays on one, which then executes the steps of all of them.
    """
    slot_s = conversion_s * chip.bitlines_per_conversion_slot
    steps = placement.work.row_group_steps
    if chip.readout == "held":
        busy_s = placement.work.per_array(np.where(steps > 0, np.maximum(read_s, steps * slot_s), 0.0))
    else:
        busy_s = placement.work.steps_per_array * max(read_s, slot_s)
    shared_s = busy_s.sum(1) / np.maximum(placement.arrays_per_stripe, 1)
    return geometry.input_cycles * max(float(busy_s.max()), float(shared_s.max()))


def balanced_copies(
    product_s: Float[np.ndarray, " layers"],
    products: Int[np.ndarray, " layers"],
    arrays: Int[np.ndarray, " layers"],
    spare: float,
) -> Int[np.ndarray, " layers"]:
    """Copies that make the slowest layer as fast as `spare` more arrays allow.

    The fewest copies that reach a time per image are known layer by layer, so the best time is found by bisection.
    """
    one = np.ones(len(products), dtype=np.int64)
    if spare <= 0 or not len(products):
        return one

    def needed(target_s: float) -> Int[np.ndarray, " layers"]:
        rounds = np.floor(target_s / np.where(product_s > 0, product_s, target_s) * (1 + 1e-12))
        return np.where(product_s > 0, ceil_division(products, np.maximum(rounds, 1).astype(np.int64)), 1)

    slow, fast = float((products * product_s).max()), float(product_s.max())
    best = needed(slow)
    for target in [fast] if fast > 0 else []:
        if ((needed(target) - 1) * arrays).sum() <= spare:
            return needed(target)
    for _ in range(60):  # halves the interval until it is below a float's resolution
        middle = (slow + fast) / 2
        tried = needed(middle)
        if ((tried - 1) * arrays).sum() <= spare:
            best, slow = tried, middle
        else:
            fast = middle
    return best


def ceil_division(
    numbers: Int[np.ndarray, "..."], divisors: Int[np.ndarray, "..."]
) -> Int[np.ndarray, "..."]:
    """Integer division, rounded up."""
    return -(-numbers // divisors)


def _spare_arrays(chip: Chip, used: int, array_area_m2: float) -> float:
    """Arrays that may hold copies: the tightest of the budgets that are set."""
    budgets = [] if chip.duplication_arrays is None else [float(chip.duplication_arrays)]
    if chip.duplication_area_m2 is not None:
        budgets.append(chip.duplication_area_m2 / array_area_m2)
    if not budgets:
        return 0.0
    if chip.max_arrays is not None:
        budgets.append(float(chip.max_arrays - used))
    return min(budgets)


def _fill_seconds(layer: PlacedLayer, technology: Technology) -> float:
    """Once an image: fetch, add up the row groups' partial sums in a tree, write, hand on."""
    array_rows = layer.placement.work.steps_per_array.shape[1]
    once = sum(
        technology.latency_s(name) for name in ("input_buffer", "shift_add", "interconnect", "output_buffer")
    )
    return once + ceil(log2(array_rows)) * technology.latency_s("partial_sum_adder")


def _reloaded(
    layers: Sequence[PlacedLayer],
    geometry: CrossbarGeometry,
    chip: Chip,
    technology: Technology,
    product_s: Float[np.ndarray, " layers"],
    layer_s: Float[np.ndarray, " layers"],
) -> Timing:
    """A network larger than the chip: segments of consecutive layers, an oversized layer in several passes."""
    assert chip.max_arrays is not None
    counts = [layer.placement.counts for layer in layers]
    passes = np.array([max(1, ceil(c.arrays / chip.max_arrays)) for c in counts])
    layer_s = layer_s * passes
    bits = np.array([c.weights_left * geometry.weight_bits + c.index_bits for c in counts], dtype=float)
    cells = np.array([c.weights_left * geometry.columns_per_weight for c in counts], dtype=float)
    segments = segment_layers([c.arrays for c in counts], chip.max_arrays)
    program_s = geometry.rows * chip.write_pulses * technology.latency_s("weight_loading")  # a row at a time
    load_s, run_s = 0.0, 0.0
    for part in segments:
        loads = int(passes[part].max())
        load_s += max(bits[part].sum() / chip.dram_bits_per_s, loads * program_s)
        run_s += layer_s[part].sum() + (chip.batch - 1) * layer_s[part].max()
    batch_s = float(load_s + run_s)
    return Timing(
        product_s, layer_s, np.ones(len(layers), dtype=np.int64), batch_s, batch_s, chip.batch / batch_s, float(load_s),
        bits / chip.batch, cells * chip.write_pulses / chip.batch, int(passes.sum() - len(layers) + len(segments)),
    )  # fmt: skip


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
