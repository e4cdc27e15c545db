"""What is told with a price: assumptions, what has no price, and what was scaled from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.zero_planes import WATCHED_IMAGES
from cimlab.hardware.actions import PlacedLayer, executed_share
from cimlab.hardware.activity import ASSUMED
from cimlab.hardware.adc import AdcPrice
from cimlab.hardware.chip import Chip
from cimlab.hardware.occupancy import layer_bits
from cimlab.hardware.schedule import Timing
from cimlab.hardware.technology import Technology
from cimlab.network.off_arrays import OffArrays

NEVER_PRICED = (
    "pooling, sums and gates of activations, softmax and normalisation that can't be folded have no energy "
    "and no time"
)
"""What every price leaves out, dense and pruned alike (CONCEPTS.md, section 10)."""


def price_notes(
    technology: Technology,
    adc: AdcPrice,
    chip: Chip,
    layers: Sequence[PlacedLayer],
    geometry: CrossbarGeometry,
    timing: Timing,
    off_arrays: OffArrays,
) -> tuple[str, ...]:
    """Every note of a price.

    >>> from cimlab.config.hardware import load_cost_model
    >>> from cimlab.crossbar.matrix import CrossbarMatrix
    >>> from cimlab.crossbar.placement import place_dense
    >>> from cimlab.hardware.activity import ActivityFactors
    >>> from cimlab.network.off_arrays import NOTHING
    >>> model, geometry, fc = load_cost_model(), CrossbarGeometry(), CrossbarMatrix("fc", (16, 128))
    >>> layers = [PlacedLayer(fc, place_dense(fc, geometry), ActivityFactors())]
    >>> report = model.report(layers, geometry)
    >>> notes = price_notes(model.technology, model.adc, model.chip, layers, geometry, report.timing, NOTHING)
    >>> notes == report.notes, notes[-1]
    (True, 'mean value of kept cells assumed: 0.5 of full scale')

    Args:
        technology: that the network was priced with.
        adc: its ADC price.
        chip: its chip.
        layers: the placed layers.
        geometry: the array.
        timing: when its arrays work.
        off_arrays: what is multiplied digitally.
    """
    return (
        *reload_notes(timing),
        *_of_chip(chip),
        *_of_floor_plan(technology, chip),
        *_of_transposed(layers),
        *_of_gathered(layers),
        *_of_zero_inputs(chip, layers),
        *_of_converters(technology, adc, chip, layers, geometry),
        *technology.notes,
        *adc.notes(geometry.resolution_bits, technology.node_m),
        *_of_activity(layers),
        *off_arrays.notes,
        *(_of_digital(technology, off_arrays, timing) if off_arrays.macs else ()),
    )


def reload_notes(timing: Timing, whose: str = "") -> Iterator[str]:
    """That a network is reloaded, as it says of itself or, after `whose`, as another says of it.

    >>> from dataclasses import replace
    >>> from cimlab.config.hardware import load_cost_model
    >>> from cimlab.crossbar.matrix import CrossbarMatrix
    >>> from cimlab.crossbar.placement import place_dense
    >>> from cimlab.hardware.activity import ActivityFactors
    >>> model, geometry, fc = load_cost_model(), CrossbarGeometry(), CrossbarMatrix("fc", (48, 128))  # 3 arrays
    >>> small = replace(model, chip=replace(model.chip, max_arrays=2))
    >>> timing = small.report([PlacedLayer(fc, place_dense(fc, geometry), ActivityFactors())], geometry).timing
    >>> print(*reload_notes(timing, "the unpruned network is "))
    the unpruned network is larger than the chip's 2 arrays: reloaded in 2 parts per batch, one copy of each layer
    """
    if timing.outgrown is not None:
        yield (
            f"{whose}larger than the chip's {timing.outgrown} arrays: reloaded in {timing.segments} parts per batch, "
            "one copy of each layer"
        )


def _of_chip(chip: Chip) -> Iterator[str]:
    idle = chip.adc_idle_share
    gating = f"idle at {100 * idle:g} % of their power" if idle else "gated while they wait"
    yield f"ADCs are {gating} (chip.adc_idle_share={idle:g}); arrays that hold no copy leak as the others do"
    yield NEVER_PRICED


def _of_floor_plan(technology: Technology, chip: Chip) -> Iterator[str]:
    """What a floor plan decides, and what costs nothing without one."""
    if chip.floor_plan is not None:
        yield "copies follow chip.floor_plan; the unpruned network sets the area with them, and support comes on top"
        yield "inputs and results pass the floor plan's ports after the arrays are done, results before pooling"
        yield "places that a layer leaves free in its tiles take no area"
    elif technology.wires_by_length:
        yield f"technology {technology.name} without chip.floor_plan: buffers and wires take no energy"


def _of_transposed(layers: Sequence[PlacedLayer]) -> Iterator[str]:
    """That arrays do more than a transposed convolution needs."""
    if count := sum(layer.matrix.reading == "transposed" for layer in layers):
        yield (
            f"{count} of {len(layers)} layers are transposed convolutions: their arrays read every output pixel of the "
            "equivalent convolution, over an input with zeros between its pixels, stride^2 times as many products as "
            "their multiply-accumulates need"
        )


def _of_gathered(layers: Sequence[PlacedLayer]) -> Iterator[str]:
    """What choosing wordlines one by one is taken to cost."""
    if count := sum(layer.placement.gathered for layer in layers):
        yield (
            f"steps of {count} of {len(layers)} layers drive rows gathered from several row groups "
            "(mapping.placement=gathered): each wordline selects its input as in a compacted layer"
        )


def _of_zero_inputs(chip: Chip, layers: Sequence[PlacedLayer]) -> Iterator[str]:
    """How many steps of a chip that skips zero inputs are skipped, and where that was not measured."""
    if not chip.skip_zero_inputs:
        return
    shares = [executed_share(x.activity, chip, x.placement.work.row_group_steps) for x in layers]
    steps = np.array([layer.placement.counts.steps for layer in layers], dtype=float)
    skipped = 1 - float(shares @ steps) / steps.sum() if steps.sum() else 0.0
    yield (
        f"inputs that are zero in all rows of a row group skip {100 * skipped:.1f} % of array steps, as measured "
        f"on the first {WATCHED_IMAGES} images of a batch or fewer; "
        "array steps in the table are those before skipping, and times are means over images: arrays are taken to "
        "wait for each other only in the mean"
    )
    unknown = sum(layer.activity.zero_share is None for layer in layers)
    if unknown:
        yield f"zero inputs of {unknown} of {len(layers)} layers were not measured for these row groups: none skipped"


def _of_converters(
    technology: Technology,
    adc: AdcPrice,
    chip: Chip,
    layers: Sequence[PlacedLayer],
    geometry: CrossbarGeometry,
) -> Iterator[str]:
    """Which converters a chip has that sizes them by layer."""
    if chip.adc_resolution == "geometry":
        return
    bits = layer_bits(layers, geometry)
    bits = bits[bits > 0]  # an emptied layer has no converters
    if not len(bits):
        return
    each = ", each column converted at its own" if chip.adc_resolution == "column" else ""
    yield (
        f"converters of a layer are as wide as its fullest column needs, {bits.min()} to {bits.max()} bits"
        f"{each}; a conversion takes as long as at the geometry's resolution"
    )
    yield from adc.notes(int(bits.min()), technology.node_m)


def _of_activity(layers: Sequence[PlacedLayer]) -> Iterator[str]:
    """What was assumed of inputs and cells, where nothing was measured."""
    activities = [layer.activity for layer in layers]
    if densities := {a.input_density for a in activities if a.inputs == ASSUMED}:
        yield f"input bit density assumed: {', '.join(f'{d:g}' for d in sorted(densities))}"
    if levels := {a.kept_level for a in activities if a.weights == ASSUMED}:
        yield f"mean value of kept cells assumed: {', '.join(f'{v:g}' for v in sorted(levels))} of full scale"


def _of_digital(technology: Technology, off_arrays: OffArrays, timing: Timing) -> Iterator[str]:
    """The price of what is multiplied off the arrays, and what of it is not modelled."""
    mac, rate = technology.digital_mac_j, off_arrays.macs * timing.images_per_s
    yield (
        f"a digital multiply-accumulate takes {1e12 * mac.value:.3g} pJ ({mac.source}); fetching its operands, and "
        "area and leakage of its units, are not counted"
    )
    yield (
        f"digital units are taken to keep up with the arrays, {1e-9 * rate:.3g} G multiply-accumulates per second; "
        "latency holds no time of theirs"
    )
