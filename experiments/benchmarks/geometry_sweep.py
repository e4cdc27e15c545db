"""How fast whole networks are priced: one geometry of ResNet-18, and a sweep of 1,000 geometries of a pruned VGG-16.

    python experiments/benchmarks/geometry_sweep.py

Networks are pruned at random to a quarter of their operation units on the default array; priced with isaac32 and the
Murmann ADC. The sweep draws rows, cols, active_rows, columns_per_adc, adc_bits and cell_bits; two threads share its
layers. Set-up (building the network, the masks, compiling the kernels) is timed apart.
"""

from __future__ import annotations

import argparse
import random
import resource
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product
from statistics import median

import torch
from torch import nn

from cimlab.config.hardware import load_cost_model
from cimlab.crossbar.geometry import CrossbarGeometry, GeometryError
from cimlab.crossbar.matrix import CrossbarMatrix, network_matrices
from cimlab.crossbar.placement import place_dense, place_mask
from cimlab.crossbar.tally import LayerMask
from cimlab.hardware.actions import PlacedLayer
from cimlab.hardware.activity import ActivityFactors
from cimlab.hardware.cost import CostModel
from cimlab.models.resnet18 import resnet18
from cimlab.models.vgg import vgg16
from cimlab.pruning.granularities.operation_unit import OperationUnit

REMAINING, GEOMETRIES, THREADS, REPEATS = 0.25, 1000, 2, 20
INDEX, ASSUMED = OperationUnit(), ActivityFactors()
Masks = list[tuple[CrossbarMatrix, LayerMask]]


def pruned(network: nn.Module, image: tuple[int, int, int]) -> Masks:
    """Every layer but the first and last, pruned at random unit by unit."""
    generator = torch.Generator().manual_seed(0)
    matrices = network_matrices(network, image)
    masks = []
    for matrix in matrices:
        grid = INDEX.units(matrix, CrossbarGeometry())
        units = torch.rand(matrix.groups, grid.unit_rows, grid.unit_cols, generator=generator) < REMAINING
        ends = matrix in (matrices[0], matrices[-1])
        masks.append((matrix, LayerMask.of(grid.spread(units | ends))))
    return masks


def priced(masks: Masks, geometry: CrossbarGeometry, model: CostModel) -> float:
    """Energy per image of the pruned network over that of the dense one."""
    layers = [
        PlacedLayer(matrix, place_mask(matrix, mask, geometry, INDEX.index(matrix, geometry)), ASSUMED)
        for matrix, mask in masks
    ]
    dense = [PlacedLayer(matrix, place_dense(matrix, geometry), ASSUMED) for matrix, _ in masks]
    return model.report(layers, geometry).total_energy_j / model.report(dense, geometry).total_energy_j


def geometries() -> list[CrossbarGeometry]:
    """1,000 different arrays that can be built, drawn from a grid of six fields."""
    heights = widths = (64, 128, 256, 512)
    grid = product(heights, widths, (4, 8, 16, 32, 64, 128), (1, 2, 4, 8, 16, 32), (5, 6, 7, 8), (1, 2, 4))
    legal = []
    for rows, cols, active, per_adc, adc_bits, cell_bits in grid:
        encoding = "offset" if cell_bits == 1 else "differential"  # 14 columns per weight fit no power of two
        try:
            legal.append(
                CrossbarGeometry(
                    rows=rows, cols=cols, active_rows=active, columns_per_adc=per_adc, adc_bits=adc_bits,
                    cell_bits=cell_bits, signed_encoding=encoding,
                )
            )  # fmt: skip
        except GeometryError:
            continue
    return random.Random(0).sample(legal, GEOMETRIES)


def fresh(masks: Masks) -> Masks:
    """The same masks without the reductions of earlier geometries."""
    return [(matrix, LayerMask(mask.kept)) for matrix, mask in masks]


def one_geometry(model: CostModel) -> None:
    """ResNet-18 (ImageNet shape) under one geometry, nothing kept from earlier ones."""
    masks = pruned(resnet18(num_classes=1000, in_channels=3, stem="imagenet"), (3, 224, 224))
    for name, mux in (("lockstep", "lockstep"), ("independent ADCs", "independent")):
        geometry = replace(CrossbarGeometry(), mux_control=mux)
        priced(fresh(masks), geometry, model)  # compiles
        wall, processor = [], []
        for _ in range(REPEATS):
            cold = fresh(masks)
            start, started = time.perf_counter(), time.process_time()
            priced(cold, geometry, model)
            wall.append(1e3 * (time.perf_counter() - start))
            processor.append(1e3 * (time.process_time() - started))
        print(
            f"resnet18, {name}: {median(wall):.1f} ms a geometry ({min(wall):.1f} to {max(wall):.1f} over {REPEATS}; "
            f"processor time {median(processor):.1f} ms), pruned and dense priced, nothing cached"
        )


def sweep(model: CostModel) -> None:
    """1,000 geometries of VGG-16 on two threads."""
    start = time.perf_counter()
    masks = pruned(vgg16(num_classes=10, in_channels=3), (3, 32, 32))
    arrays = geometries()
    print(f"set-up of the sweep: {time.perf_counter() - start:.1f} s")
    start, started = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(THREADS) as pool:
        ratios = list(pool.map(lambda geometry: priced(masks, geometry, model), arrays))
    wall_s, shared_s = time.perf_counter() - start, time.process_time() - started
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    few = arrays[:: GEOMETRIES // REPEATS]
    started = time.process_time()
    for geometry in few:
        priced(fresh(masks), geometry, model)
    alone_s = (time.process_time() - started) / len(few)
    print(
        f"vgg16, {GEOMETRIES} geometries on {THREADS} threads: {wall_s:.1f} s (processor time {shared_s:.1f} s), "
        f"peak memory {peak_gib:.2f} GiB"
    )
    print(
        f"  processor time a geometry: {1e3 * shared_s / GEOMETRIES:.1f} ms, alone {1e3 * alone_s:.1f} ms: "
        f"{alone_s * GEOMETRIES / shared_s:.1f} x"
    )
    print(f"  energy over dense: {min(ratios):.3f} to {max(ratios):.3f}")


if __name__ == "__main__":
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    cost_model = load_cost_model("isaac32", "murmann")
    one_geometry(cost_model)
    sweep(cost_model)
