"""How fast whole chips are priced, copies included: ResNet-18 at ImageNet's shape, and 1,152 accelerators at once.

    python experiments/benchmarks/whole_chip.py

Times are of the processor as well as of the clock, because other work on the machine moves the clock most. A price is
that of a pruned network beside the unpruned one, both on one area filled with copies; masks are made before. The sweep
is `cimlab map -m` from words to CSV, table and plot, its start and its pruning for 64 geometries included.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import torch

from cimlab.config.hardware import load_cost_model
from cimlab.crossbar.activity import Activity
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import network_matrices
from cimlab.hardware.accelerator import Accelerator
from cimlab.hardware.price import NetworkShape, PrunedNetwork, price
from cimlab.models.resnet18 import resnet18
from cimlab.pruning.granularities.operation_unit import OperationUnit

REPEATS, REMAINING = 20, 0.25
AXES = (
    "geometry.rows=64,128,256,512", "geometry.cols=128,256", "geometry.active_rows=8,16,32,64",
    "geometry.columns_per_adc=4,8", "technology=isaac32,neurosim22_rram", "adc_price=isaac_table,murmann,sar",
    "chip.area_over_dense=1.5,2,4",
)  # fmt: skip


def image_net() -> tuple[NetworkShape, dict[str, torch.Tensor]]:
    """ResNet-18 at 224 x 224, a quarter of the operation units kept at random, first and last layer whole."""
    unit, generator = OperationUnit(), torch.Generator().manual_seed(0)
    matrices = network_matrices(resnet18(num_classes=1000, in_channels=3, stem="imagenet"), (3, 224, 224))
    masks = {}
    for matrix in matrices[1:-1]:
        grid = unit.units(matrix, CrossbarGeometry())
        units = torch.rand(matrix.groups, grid.unit_rows, grid.unit_cols, generator=generator) < REMAINING
        masks[matrix.name] = matrix.to_weight(grid.spread(units))
    return NetworkShape(tuple(matrices), unit.index, "compacted"), masks


def timed_price() -> None:
    """Median times of one price, with nothing remembered and with the placement remembered."""
    torch.set_num_threads(1)
    shape, masks = image_net()
    model = load_cost_model()
    accelerator = Accelerator(CrossbarGeometry(), model.technology, model.adc, model.chip)
    network = PrunedNetwork(shape, masks)
    price(network, Activity(), accelerator)  # compiles, and reduces the masks to bytes
    for what, forget in (("placed anew", True), ("placement remembered", False)):
        clock, processor = [], []
        for _ in range(REPEATS):
            if forget:
                network._placed.clear()
                for mask in network._reduced.values():
                    mask._cache.clear()
            started = time.perf_counter(), time.process_time()
            price(network, Activity(), accelerator)
            clock.append(1e3 * (time.perf_counter() - started[0]))
            processor.append(1e3 * (time.process_time() - started[1]))
        print(f"ResNet-18, 224 x 224, {what}: {median(clock):.1f} ms (processor {median(processor):.1f} ms)")


def timed_sweep() -> None:
    """`cimlab map -m` over all accelerators."""
    with tempfile.TemporaryDirectory() as folder:
        words = [*AXES, "model=resnet18", "prune.remaining=0.09", f"paths.output_dir={folder}"]
        command = [str(Path(sys.executable).with_name("cimlab")), "map", "-m", *words]
        started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, capture_output=True, text=True)
        used, clock = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - started
        print(
            "\n".join(done.stdout.splitlines()[-2:] if not done.returncode else done.stderr.splitlines()[-3:])
        )
    processor = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    print(f"cimlab map -m: {clock:.1f} s (processor {processor:.1f} s over all threads)")


if __name__ == "__main__":
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    timed_price()
    timed_sweep()
