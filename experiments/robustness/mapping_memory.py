"""Map the two largest networks at ImageNet shape and print the peak memory of each, in a process of its own.

Question: do ResNet-50 and VGG-16 (torchvision, 3 x 224 x 224, 1000 classes) map within 4 GiB? Conditions: a quarter of
the weights left in operation units, default geometry; the peak is the process's largest resident size, libraries
included.

    python experiments/robustness/mapping_memory.py [--network resnet50 --network vgg16]
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import time

LIMIT_BYTES = 4 * 2**30


def map_network(name: str) -> tuple[float, int, int]:
    """Seconds, peak bytes and steps of the pruned network."""
    import torch

    from cimlab.crossbar.geometry import CrossbarGeometry
    from cimlab.crossbar.matrix import network_matrices
    from cimlab.crossbar.placement import place_network
    from cimlab.models.torchvision import torchvision_model
    from cimlab.pruning.allocation import Budget
    from cimlab.pruning.granularities.operation_unit import OperationUnit
    from cimlab.pruning.masks import PruningRule, make_masks
    from cimlab.pruning.saliencies.l2 import L2

    torch.manual_seed(0)
    start = time.perf_counter()
    network = torchvision_model(name, num_classes=1000)
    matrices = network_matrices(network, (3, 224, 224))
    rule = PruningRule(OperationUnit(), L2(), CrossbarGeometry())
    masks = make_masks(network, matrices[1:-1], rule, Budget(0.25), torch.Generator().manual_seed(0))
    placement = place_network(matrices, masks, rule.geometry, rule.granularity.index, "in_place")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return time.perf_counter() - start, peak, placement.total.steps


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", action="append")
    too_large = False
    for network in parser.parse_args().network or ["resnet50", "vgg16"]:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            seconds, peak, steps = pool.apply(map_network, (network,))
        too_large |= peak > LIMIT_BYTES
        print(f"{network}: peak {peak / 2**30:.2f} GiB, {seconds:.0f} s, {steps:,} steps per image")
    sys.exit(too_large)
