"""From placed layers to action counts and instances: one row per layer, one column per kind, ready to be priced.

Counts are per image and follow CONCEPTS.md, section 5; what is charged beyond it (registers, selection, alignment,
index fetches) is defined here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from jaxtyping import Float, Int

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.placement import Placement, accumulator_bits
from cimlab.crossbar.tally import Work
from cimlab.hardware.activity import ActivityFactors
from cimlab.hardware.chip import Chip
from cimlab.hardware.technology import ACTIONS, INSTANCES, CellDevice

WORD_BITS = 16
"""Width of the adders that technologies price; a wider accumulator chains them."""


@dataclass(frozen=True)
class PlacedLayer:
    """One layer on its arrays, with what its cells and inputs hold."""

    matrix: CrossbarMatrix
    placement: Placement
    activity: ActivityFactors


def action_counts(
    layers: Sequence[PlacedLayer],
    geometry: CrossbarGeometry,
    chip: Chip,
    device: CellDevice,
    conversion_s: float,
    adc_bits: int,
) -> Float[np.ndarray, "layers actions"]:
    """Actions of one image, by layer, in the order of `ACTIONS`.

    A full array, in 8 row groups x 8 mux positions x 8 input cycles, drives 16 rows and converts 16 bitlines in each:

    >>> from cimlab.config.hardware import load_technology
    >>> from cimlab.crossbar.placement import place_dense
    >>> matrix, geometry = CrossbarMatrix("fc", (16, 128)), CrossbarGeometry()
    >>> layer = PlacedLayer(matrix, place_dense(matrix, geometry), ActivityFactors())
    >>> found = action_counts([layer], geometry, Chip(), load_technology("isaac32").device, 1e-7, adc_bits=6)
    >>> [int(found[0, ACTIONS.index(name)]) for name in ("step", "row_drive", "conversion")]
    [512, 8192, 8192]

    Args:
        layers: the placed layers.
        geometry, chip: the accelerator.
        device: the cell whose conductances weigh the reads.
        conversion_s: how long a bitline is watched by its ADC.
        adc_bits: width of a conversion's result.
    """
    rows = [_of_layer(layer, geometry, chip, device, conversion_s, adc_bits) for layer in layers]
    return np.array([[row.get(name, 0.0) for name in ACTIONS] for row in rows], dtype=float)


def _of_layer(
    layer: PlacedLayer,
    geometry: CrossbarGeometry,
    chip: Chip,
    device: CellDevice,
    conversion_s: float,
    adc_bits: int,
) -> dict[str, float]:
    counts, work, products = layer.placement.counts, layer.placement.work, layer.matrix.products
    cycles = geometry.input_cycles * products
    held = chip.readout == "held"
    drives = (work.held_drives if held else work.drives) * cycles
    step, column, row = (
        executed_share(layer.activity, chip, of)
        for of in (work.row_group_steps, work.columns_of, work.drives_of)
    )
    cells = _weights_read(work, chip) * geometry.columns_per_weight
    reads = _effective_reads(layer, geometry, device, cells) * cycles
    indexed = counts.index_bits > 0
    words = ceil(accumulator_bits(layer.matrix.rows, geometry) / WORD_BITS)
    bias = _bias_additions(work, geometry) * products
    return {
        "cell_read": reads,
        "cell_second": reads * conversion_s,
        "row_drive": drives * row,
        "active_row": drives * layer.activity.input_density,
        "step": counts.steps * step,
        "conversion": counts.adc_conversions * column,
        "partial_sum_word": (counts.partial_sum_adds + bias) * words,
        "register_bit": drives * geometry.dac_bits,
        "input_bit": counts.input_buffer_bits,
        "output_bit": counts.output_buffer_bits,
        "output": work.outputs * products,
        # the sequencer walks through the index once an input cycle
        "index_bit": counts.index_bits * cycles,
        "selected_bit": drives * geometry.dac_bits * indexed,
        "aligned_bit": counts.adc_conversions * column * adc_bits * indexed,
        "checked_bit": work.held_drives * cycles * geometry.dac_bits * chip.skip_zero_inputs,
    }


def executed_share(
    activity: ActivityFactors, chip: Chip, of: Int[np.ndarray, "groups row_groups *"]
) -> float:
    """What is left of row groups' work on a chip that skips input cycles in which all their rows are fed zero.

    Cells and active rows are charged for inputs that are 1, which skipping does not change; registers for every bit.

    Of 3 + 1 steps of two row groups, half of the first group's cycles are skipped:

    >>> measured = ActivityFactors(zero_share=np.array([[0.5, 0.0]]))
    >>> executed_share(measured, Chip(skip_zero_inputs=True), of=np.array([[[3], [1]]]))
    0.625
    """
    if not chip.skip_zero_inputs or activity.zero_share is None:
        return 1.0
    total = of.sum(dtype=np.int64)
    return 1 - float((activity.zero_share[..., None] * of).sum() / total) if total else 1.0


def written_cells(layer: PlacedLayer, geometry: CrossbarGeometry, chip: Chip) -> int:
    """Cells of one copy that are programmed: those of kept weights; pruned ones stay as the array was erased.

    Offset encoding keeps its bias in every cell that is read, pruned or not.

    >>> from cimlab.crossbar.placement import place_dense
    >>> matrix, geometry = CrossbarMatrix("fc", (4, 128)), CrossbarGeometry()  # 8 cells hold a weight
    >>> written_cells(PlacedLayer(matrix, place_dense(matrix, geometry), ActivityFactors()), geometry, Chip())
    4096
    """
    biased = geometry.signed_encoding == "offset"
    kept = layer.placement.counts.weights_left
    weights = _weights_read(layer.placement.work, chip) if biased else kept
    return weights * geometry.columns_per_weight


def _weights_read(work: Work, chip: Chip) -> int:
    """Weights whose cells are read in an input cycle, kept or not."""
    return work.held_cells if chip.readout == "held" else work.cells


def _bias_additions(work: Work, geometry: CrossbarGeometry) -> int:
    """Additions that take the bias of offset encoding out again, for one product.

    A cell holds w + 2^(b-1), so a row group's partial sum is too large by 2^(b-1) times the sum of its inputs. That sum
    is made once (one addition per row) and taken from every column's partial sum (one each); ISAAC, section V.
    """
    return work.held_drives + work.columns if geometry.signed_encoding == "offset" else 0


def _effective_reads(layer: PlacedLayer, geometry: CrossbarGeometry, device: CellDevice, cells: int) -> float:
    """Cell reads of one input cycle, each weighed by its input bit and conductance over the published ones."""
    activity = layer.activity
    kept = layer.placement.counts.weights_left * geometry.columns_per_weight
    level = kept * activity.kept_level + (cells - kept) * activity.zero_level
    off = device.conductance_s(0.0)
    conductance = cells * off + level * (device.conductance_s(1.0) - off)
    density = activity.input_density / device.reference_input_density.value
    return density * conductance / device.reference_conductance_s


def array_instances(
    layers: Sequence[PlacedLayer], geometry: CrossbarGeometry, chip: Chip, adc_bits: int
) -> Float[np.ndarray, "layers instances"]:
    """What one array of each layer brings along, in the order of `INSTANCES`: its own parts, its share of a tile, and
    selection and alignment where the layer has an index.

    >>> from cimlab.crossbar.placement import place_dense
    >>> matrix, geometry = CrossbarMatrix("fc", (16, 128)), CrossbarGeometry()
    >>> layer = PlacedLayer(matrix, place_dense(matrix, geometry), ActivityFactors())
    >>> found = array_instances([layer], geometry, Chip(arrays_per_tile=4), adc_bits=6)
    >>> [float(found[0, INSTANCES.index(name)]) for name in ("cell", "adc", "tile", "selector")]
    [16384.0, 16.0, 0.25, 0.0]

    Args:
        layers: the placed layers.
        geometry, chip: the accelerator.
        adc_bits: width of a conversion's result.
    """
    indexed = np.array([layer.placement.counts.index_bits > 0 for layer in layers])
    adcs = chip.adcs_per_array(geometry)
    columns: Mapping[str, float | np.ndarray] = {
        "cell": geometry.rows * geometry.cols,
        "row": geometry.rows,
        "column": geometry.cols,
        "array": 1,
        "adc": adcs,
        "tile": 1 / chip.arrays_per_tile,
        "selector": geometry.rows * indexed,
        "aligner": adcs * adc_bits * indexed,
        "detector": geometry.rows * chip.skip_zero_inputs,
    }
    return np.stack([np.broadcast_to(columns.get(name, 0.0), indexed.shape) for name in INSTANCES], 1).astype(
        float
    )


def instance_counts(
    layers: Sequence[PlacedLayer],
    arrays: Int[np.ndarray, " layers"],
    copies: Int[np.ndarray, " layers"],
    geometry: CrossbarGeometry,
    chip: Chip,
    adc_bits: int,
) -> Float[np.ndarray, "layers instances"]:
    """What each layer occupies, in the order of `INSTANCES`; what the chip has once is shared by arrays.

    Three copies of a layer of one array:

    >>> from cimlab.crossbar.placement import place_dense
    >>> matrix, geometry = CrossbarMatrix("fc", (16, 128)), CrossbarGeometry()
    >>> layer = PlacedLayer(matrix, place_dense(matrix, geometry), ActivityFactors())
    >>> found = instance_counts([layer], np.array([1]), np.array([3]), geometry, Chip(arrays_per_tile=4), adc_bits=6)
    >>> [float(found[0, INSTANCES.index(name)]) for name in ("array", "adc", "tile")]
    [3.0, 48.0, 0.75]

    Args:
        layers: the placed layers.
        arrays: of one copy of each layer; copies: how often they exist, and the index with them.
        geometry, chip: the accelerator.
        adc_bits: width of a conversion's result.
    """
    used = arrays * copies
    total = max(1, int(used.sum()))
    on_chip = total if chip.max_arrays is None else min(total, chip.max_arrays)
    built = used * (on_chip / total)  # a network larger than the chip shares its arrays in turns
    found = array_instances(layers, geometry, chip, adc_bits) * built[:, None]
    found[:, INSTANCES.index("chip")] = used / total * chip.off_chip_links
    index = np.array([layer.placement.counts.index_bits for layer in layers])
    found[:, INSTANCES.index("index_bit")] = index * copies
    return found
