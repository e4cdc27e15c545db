"""Simulated arrays against the float32 forward pass of the same network, in one run.

Question: how much slower than plain inference is inference on simulated crossbars, every partial sum through an ADC?
W1: CIFAR-10 ResNet-20. W2: one layer of 1152 x 128 weights, 1024 input vectors. Both with 8-bit weights and inputs,
2-bit cells, differential pairs, 128 x 128 arrays, 1-bit inputs, and an ADC two bits short of lossless; dense, and with
9 % of the operation units left (first and last layer of W1 dense). Weights and inputs are random: no cost depends on
their values.

Every time is the best of `repeats` after one call to warm up, network and arrays in turns. `--cpu-time` counts the
process's processor time instead of the clock's (with --threads 1), which holds on a machine that does other things.

`--device cuda` asks the same of the GPU's kernel, for W1 and ResNet-18, against the forward pass in bf16.

`--memory` asks another question instead: how much memory does a batch of ResNet-18 (CIFAR stem) take above the
converted model? Linux alone tells, by the high-water mark of the resident set, set back before the pass.

    python experiments/benchmarks/analog_inference.py --memory [--batch 128]
    python experiments/benchmarks/analog_inference.py [--threads 2] [--batch 128] [--repeats 3] [--reference]
    python experiments/benchmarks/analog_inference.py --device cuda --batch 512
"""

from __future__ import annotations

import argparse
import gc
import resource
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from cimlab.analog.adcs.full_scale import FullScaleAdc
from cimlab.analog.convert import convert, program_draw
from cimlab.analog.devices.base import Device
from cimlab.analog.devices.programming_variation import ProgrammingVariation
from cimlab.analog.settings import AnalogSettings, BackendName
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import network_matrices
from cimlab.crossbar.units import UnitGrid, aligned_segments
from cimlab.models.resnet18 import resnet18
from cimlab.models.resnet_cifar import CifarResNet

REMAINING = 0.09


def workloads(batch: int, where: torch.device) -> dict[str, tuple[nn.Module, Tensor, tuple[int, ...]]]:
    """Name -> network, inputs, shape of one input."""
    w1 = CifarResNet(depth=20, num_classes=10, in_channels=3).eval()
    images = torch.randn(batch, 3, 32, 32)
    found: dict[str, tuple[nn.Module, Tensor, tuple[int, ...]]] = {"W1 ResNet-20": (w1, images, (3, 32, 32))}
    if where.type == "cpu":
        w2 = nn.Sequential(nn.Linear(1152, 128)).eval()
        return found | {"W2 1152 x 128": (w2, torch.rand(1024, 1152), (1152,))}
    wide = resnet18(num_classes=10, in_channels=3, stem="cifar").eval()
    found |= {"ResNet-18": (wide, images, (3, 32, 32))}
    return {
        name: (network.to(where).to(memory_format=torch.channels_last), inputs.to(where), shape)
        for name, (network, inputs, shape) in found.items()
    }


def unit_masks(network: nn.Module, shape: tuple[int, ...], geometry: CrossbarGeometry) -> dict[str, Tensor]:
    """9 % of the operation units at random, first and last layer of a network whole."""
    matrices = network_matrices(network, shape)
    masks = {}
    for matrix in matrices if len(matrices) == 1 else matrices[1:-1]:
        grid = UnitGrid(
            aligned_segments(matrix.rows, geometry.rows, geometry.active_rows),
            aligned_segments(matrix.cols, geometry.logical_cols, geometry.operation_unit[1]),
        )
        kept = torch.rand(matrix.groups, grid.unit_rows, grid.unit_cols) < REMAINING
        kept[:, 0, 0] = True
        masks[matrix.name] = matrix.to_weight(grid.spread(kept))
    return masks


def best_times(calls: list[Callable[[], object]], repeats: int, clock: Callable[[], float]) -> list[float]:
    """Best time of every call, taken in turns."""
    times = [torch.inf] * len(calls)
    for turn in range(repeats + 1):
        for i, call in enumerate(calls):
            start = clock()
            call()
            if turn:
                times[i] = min(times[i], clock() - start)
    return times


def resident(key: str) -> int:
    """Bytes of VmRSS (resident now) or VmHWM (the most since `forget_peak`)."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split(f"{key}:")[1].split()[0])


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def memory(batch: int) -> None:
    """Print what one pass takes above the converted ResNet-18, backend by backend."""
    network, images = (
        resnet18(num_classes=10, in_channels=3, stem="cifar").eval(),
        torch.randn(batch, 3, 32, 32),
    )
    geometry = CrossbarGeometry(adc_bits=4)
    for backend, device in (("packed", Device()), ("conductance", Device(None, (ProgrammingVariation(),)))):
        rule = AnalogSettings(backend=backend, activation_range="max")
        arrays = convert(network, {}, geometry, rule, FullScaleAdc(), [images[:8]])
        program_draw(arrays, device, 0, 0)
        gc.collect()
        forget_peak()
        before = resident("VmRSS")
        with torch.no_grad():
            arrays(images)
        above = (resident("VmHWM") - before) / 2**30
        print(
            f"ResNet-18  batch {batch}  {backend:11s}  {above:.2f} GiB above the model's {before / 2**30:.2f} GiB"
        )


def finished() -> float:
    """The time when the GPU has done all that it was given."""
    torch.cuda.synchronize()
    return time.perf_counter()


def plainly(network: nn.Module, inputs: Tensor) -> Tensor:
    """The forward pass that arrays are compared with: float32 on the processor, bf16 on a GPU."""
    with torch.autocast(inputs.device.type, torch.bfloat16, enabled=inputs.is_cuda):
        return network(inputs)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--batch", type=int, default=128)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--reference", action="store_true", help="also time the reference backend (slow)")
    options.add_argument("--cpu-time", action="store_true", help="processor time, for --threads 1")
    options.add_argument("--memory", action="store_true", help="memory of ResNet-18 instead of times")
    options.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    asked = options.parse_args()
    where = torch.device(asked.device)
    clock = time.process_time if asked.cpu_time else finished if where.type == "cuda" else time.perf_counter
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    if asked.memory:
        memory(asked.batch)
        return
    backends: list[tuple[str, BackendName, Device]] = [
        ("packed", "packed", Device()),
        ("conductance", "conductance", Device(None, (ProgrammingVariation(),))),
    ]
    if asked.reference:
        backends.append(("reference", "reference", Device()))
    number = "float32"
    if where.type == "cuda":
        backends = [(label, "tensor_core", device) for label, _, device in backends[:2]]
        number = "bf16"
        print(torch.cuda.get_device_name(where))
    print(f"{asked.threads} threads, batch {asked.batch}, {'processor' if asked.cpu_time else 'wall'} time")
    for name, (network, inputs, shape) in workloads(asked.batch, where).items():
        for active_rows in (128, 16):
            lossless = CrossbarGeometry(active_rows=active_rows).lossless_adc_bits
            geometry = CrossbarGeometry(active_rows=active_rows, adc_bits=lossless - 2)
            for weights in ("dense", "pruned"):
                masks = {} if weights == "dense" else unit_masks(network, shape, geometry)
                for label, backend, device in backends:
                    rule = AnalogSettings(backend=backend, activation_range="max")
                    arrays = convert(network, masks, geometry, rule, FullScaleAdc(), [inputs[:8]])
                    program_draw(arrays, device, 0, 0)
                    with torch.no_grad():
                        plain, simulated = best_times(
                            [partial(plainly, network, inputs), partial(arrays, inputs)],
                            asked.repeats,
                            clock,
                        )
                    print(
                        f"{name}  {active_rows:3d} rows  {geometry.adc_bits}-bit ADC  {weights:6s}  {label:11s}  "
                        f"{number} {len(inputs) / plain:10,.0f}/s  arrays {len(inputs) / simulated:10,.1f}/s  "
                        f"{simulated / plain:7.1f} times slower",
                        flush=True,
                    )
    print(f"peak memory of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
