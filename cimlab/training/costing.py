"""What a trained network costs: its own quantised weights and its own inputs, priced beside the unpruned network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.placement import NetworkPlacement
from cimlab.data.base import ImageDataModule
from cimlab.hardware.activity import Activity, input_densities, with_input_densities
from cimlab.hardware.cost import CostModel
from cimlab.hardware.report import CostComparison
from cimlab.pruning.masks import Masks


def measured_cost(
    cost: CostModel,
    network: nn.Module,
    data: ImageDataModule,
    matrices: list[CrossbarMatrix],
    placement: NetworkPlacement,
    masks: Masks,
    dense: dict[str, Tensor],
    geometry: CrossbarGeometry,
) -> CostComparison:
    """Price the network as it is now.

    Args:
        cost: technology, ADC model and chip.
        network: with its retrained weights.
        data: gives one training batch on which input bits are measured; the dense network is taken to see the same.
        matrices, placement, masks: where the weights are.
        dense: weights of the unpruned network, for its cell values.
        geometry: the array.
    """
    device = next(network.parameters()).device
    images = next(iter(data.train_loader()))[0].to(device, torch.float32)
    densities = input_densities(network, images, [m.name for m in matrices], geometry.input_bits)
    weights = network.state_dict()
    own: dict[str, Activity] = {}
    whole: dict[str, Activity] = {}
    for matrix in matrices:
        name, key = matrix.name, f"{matrix.name}.weight"
        everything = torch.ones_like(dense[key], dtype=torch.bool)
        whole[name] = Activity().with_weights(dense[key], everything, geometry)
        kept = masks[name].cpu() if name in masks else everything
        own[name] = Activity().with_weights(weights[key].cpu(), kept, geometry)
    return cost.compare(
        matrices,
        placement,
        geometry,
        with_input_densities(own, densities),
        with_input_densities(whole, densities),
    )
