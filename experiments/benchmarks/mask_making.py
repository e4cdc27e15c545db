"""Making all masks of ResNet-18 against one training step on the same machine, for every granularity.

Question: does pruning cost less than the training step it stands beside? Conditions: ResNet-18 with the CIFAR stem
(11.2 M weights), L1, global budget 0.25 with the default layer floor, default geometry; the step is SGD with momentum
on a batch of 128 x 3 x 32 x 32, channels_last, in float32 and under bfloat16 autocast. Every figure is the median of
`repeats` runs after one to warm up, with steps and masks taken in turns so that a busy machine slows both.

    python experiments/benchmarks/mask_making.py [--repeats 5] [--threads 2] [--granularity NAME ...]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
import yaml
from hydra.utils import instantiate
from torch import Tensor, nn

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import network_matrices
from cimlab.models.resnet18 import resnet18
from cimlab.pruning.allocation import Budget
from cimlab.pruning.masks import Masks, PruningRule, make_masks
from cimlab.pruning.saliencies.l1 import L1

CHOICES = Path(__file__).parents[2] / "conf" / "granularity"
BATCH = 128


def training_step(network: nn.Module, bf16: bool) -> Callable[[], None]:
    """One step of SGD on random images, as a call that can be timed."""
    optimiser = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)
    images = torch.randn(BATCH, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (BATCH,))

    def step() -> None:
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = nn.functional.cross_entropy(network(images), labels)
        loss.backward()
        optimiser.step()

    return step


def mask_maker(network: nn.Module, name: str) -> Callable[[], Masks]:
    """All masks of the network at one granularity, as a call that can be timed."""
    granularity = instantiate(yaml.safe_load((CHOICES / f"{name}.yaml").read_text()))
    matrices = network_matrices(network, (3, 32, 32))
    rule, budget = PruningRule(granularity, L1(), CrossbarGeometry()), Budget(0.25)
    return lambda: make_masks(network, matrices, rule, budget, torch.Generator().manual_seed(0))


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def left(masks: Masks) -> float:
    kept: Tensor = sum((m.sum() for m in masks.values()), torch.tensor(0))
    return int(kept) / sum(m.numel() for m in masks.values())


def main() -> None:
    names = sorted(path.stem for path in CHOICES.glob("*.yaml"))
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--granularity", nargs="+", default=names, choices=names)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    network = resnet18(num_classes=10, in_channels=3, stem="cifar").to(memory_format=torch.channels_last)
    calls: dict[str, Callable[[], object]] = {
        "step float32": training_step(network, bf16=False),
        "step bfloat16": training_step(network, bf16=True),
    }
    calls |= {name: mask_maker(network, name) for name in asked.granularity}
    kept = {name: left(mask_maker(network, name)()) for name in asked.granularity}
    times = {name: [] for name in calls}
    for round_ in range(asked.repeats + 1):
        print(f"round {round_} of {asked.repeats}", flush=True)
        for name, call in calls.items():
            times[name].append(seconds(call))
    middle = {name: median(taken[1:]) for name, taken in times.items()}
    float32, bfloat16 = middle["step float32"], middle["step bfloat16"]
    print(f"torch {torch.__version__}, {asked.threads} threads, medians of {asked.repeats}")
    print(f"training step of batch {BATCH}: float32 {float32:.3f} s, bfloat16 {bfloat16:.3f} s")
    print(
        f"{'granularity':<18}{'masks (s)':>10}{'spread (s)':>16}{'/ float32':>11}{'/ bfloat16':>12}{'left':>8}"
    )
    for name in asked.granularity:
        spread = f"{min(times[name][1:]):.3f}-{max(times[name][1:]):.3f}"
        print(
            f"{name:<18}{middle[name]:>10.3f}{spread:>16}{middle[name] / float32:>11.2f}"
            f"{middle[name] / bfloat16:>12.2f}{kept[name]:>8.4f}"
        )


if __name__ == "__main__":
    main()
