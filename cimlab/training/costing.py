"""What a trained network costs: its own quantised weights and its own inputs, priced beside the unpruned network."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.placement import NetworkPlacement
from cimlab.hardware.activity import Activity, input_densities, weight_activities, with_input_densities
from cimlab.hardware.cost import CostModel
from cimlab.hardware.report import CostComparison
from cimlab.pruning.masks import Masks


def measured_cost(
    cost: CostModel,
    network: nn.Module,
    images: Float[Tensor, "batch channels height width"],
    matrices: list[CrossbarMatrix],
    placement: NetworkPlacement,
    masks: Masks,
    dense: dict[str, Tensor],
    geometry: CrossbarGeometry,
) -> CostComparison:
    """Price the network as it is now.

    Args:
        cost: technology, ADC price and chip.
        network: with its retrained weights.
        images: one batch, on which the input bits are measured; the dense network is taken to see the same.
        matrices, placement, masks: where the weights are.
        dense: weights of the unpruned network, for its cell values.
        geometry: the array.
    """
    images = images.to(next(network.parameters()).device, torch.float32)
    densities = input_densities(network, images, [m.name for m in matrices], geometry.input_bits)
    own, whole = weight_activities(matrices, network.state_dict(), dense, masks, geometry, Activity())
    return cost.compare(
        matrices,
        placement,
        geometry,
        with_input_densities(own, densities),
        with_input_densities(whole, densities),
    )
