"""Price = f(network shape, masks, activity, accelerator): pure, in milliseconds, as often as anybody likes.

A run is trained once; what its masks then cost on a chip is asked here. Placing depends on the geometry alone and
is remembered, so that technologies, ADC prices and chips on one geometry share it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from jaxtyping import Bool
from torch import Tensor

from cimlab.crossbar.activity import Activity
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.placement import IndexOf, NetworkPlacement, place_masks
from cimlab.crossbar.rules import PlacementMode
from cimlab.crossbar.tally import LayerMask
from cimlab.hardware.accelerator import Accelerator
from cimlab.hardware.activity import activity_factors
from cimlab.hardware.cost import placed_layers
from cimlab.hardware.equal_area import over_area
from cimlab.hardware.report import CostComparison
from cimlab.network.masks import checked_masks
from cimlab.network.off_arrays import NOTHING, OffArrays


@dataclass(frozen=True, eq=False)
class NetworkShape:
    """What a price has to know of a network beside its masks.

    Args:
        matrices: the layers on arrays, in the order of computation.
        index_of: the units whose presence the hardware is told, by layer; a granularity's `index`.
        placement: `in_place`, `compacted` or `gathered`.
        off_arrays: what is multiplied digitally, and what a sample is.
    """

    matrices: tuple[CrossbarMatrix, ...]
    index_of: IndexOf
    placement: PlacementMode = "in_place"
    off_arrays: OffArrays = NOTHING


@dataclass(frozen=True, eq=False)
class PrunedNetwork:
    """A network's shape and masks, with the placements that were asked for.

    A quarter of a full array takes 2 mux positions in each of 8 or 4 row groups, in 8 input cycles:

    >>> import torch
    >>> from cimlab.pruning.granularities.operation_unit import OperationUnit
    >>> masks = {"fc": torch.arange(16)[:, None].expand(16, 128) < 4}  # 4 of 16 outputs
    >>> network = PrunedNetwork(NetworkShape((CrossbarMatrix("fc", (16, 128)),), OperationUnit().index), masks)
    >>> [network.placed(CrossbarGeometry(active_rows=m)).total.steps for m in (16, 32)]
    [128, 64]

    Args:
        shape: of the network.
        masks: layer name -> True where a weight is kept, in the weight's shape; a layer that is not named is whole.
    """

    shape: NetworkShape
    masks: Mapping[str, Bool[Tensor, "..."]]
    _placed: dict[CrossbarGeometry, NetworkPlacement] = field(default_factory=dict, repr=False)

    def placed(self, geometry: CrossbarGeometry) -> NetworkPlacement:
        """The kept weights on arrays of this geometry, beside all of them.

        Raises:
            MaskError: a mask is none, or of no layer of the network.
        """
        found = self._placed.get(geometry)
        if found is None:
            shape = self.shape
            found = self._placed[geometry] = place_masks(
                shape.matrices,
                self._reduced,
                geometry,
                shape.index_of,
                shape.placement,
                shape.off_arrays.weights,
            )
        return found

    @cached_property
    def _reduced(self) -> dict[str, LayerMask]:
        matrices = {matrix.name: matrix for matrix in self.shape.matrices}
        kept = checked_masks(self.masks, {name: matrix.weight_shape for name, matrix in matrices.items()})
        return {name: LayerMask.of(matrices[name].to_matrix(mask.cpu())) for name, mask in kept.items()}


def price(
    network: PrunedNetwork,
    activity: Activity,
    accelerator: Accelerator,
) -> CostComparison:
    """Energy, latency, area and throughput of a pruned network, beside the unpruned one on the same accelerator.

    >>> import torch
    >>> from cimlab.config.hardware import load_accelerator
    >>> from cimlab.pruning.granularities.operation_unit import OperationUnit
    >>> matrix = CrossbarMatrix("conv", (32, 16, 3, 3), products=36)
    >>> kept = torch.zeros(32, 16, 3, 3, dtype=torch.bool)
    >>> kept[:2] = True  # two outputs of 32: one column of operation units
    >>> network = PrunedNetwork(NetworkShape((matrix,), OperationUnit().index), {"conv": kept})
    >>> ratios = price(network, Activity(), load_accelerator(CrossbarGeometry())).ratios()
    >>> round(ratios["dynamic_j"], 3)
    0.068

    Args:
        network: shape and masks.
        activity: what inputs and cells hold; assumed where it was not measured.
        accelerator: what it is priced on.

    Raises:
        HardwareError: the technology can't build the geometry, or the ADC price lacks its resolution or node.
    """
    shape, placement = network.shape, network.placed(accelerator.geometry)
    return price_placement(shape.matrices, placement, activity, accelerator, shape.off_arrays)


def price_placement(
    matrices: Sequence[CrossbarMatrix],
    placement: NetworkPlacement,
    activity: Activity,
    accelerator: Accelerator,
    off_arrays: OffArrays,
) -> CostComparison:
    """`price` of a network that is placed already.

    >>> from cimlab.config.hardware import load_accelerator
    >>> from cimlab.crossbar.placement import place_dense
    >>> fc, geometry = CrossbarMatrix("fc", (16, 128)), CrossbarGeometry()
    >>> kept, whole = (place_dense(matrix, geometry) for matrix in (CrossbarMatrix("fc", (4, 128)), fc))
    >>> placed = NetworkPlacement({"fc": kept}, {"fc": whole})  # 4 of 16 outputs
    >>> ratios = price_placement([fc], placed, Activity(), load_accelerator(geometry), NOTHING).ratios()
    >>> ratios["steps"], ratios["images_per_s"]
    (0.25, 4.0)

    Args:
        matrices: the layers, in the order of computation.
        placement: where their weights are, on arrays of the accelerator's geometry.
        activity, accelerator: as `price` takes them.
        off_arrays: what is multiplied digitally.
    """
    geometry = accelerator.geometry
    measured = activity.at(geometry)
    own, dense = activity_factors(measured, [m.name for m in matrices], geometry)
    compared = accelerator.model.compare(matrices, placement, geometry, own, dense, off_arrays)
    pruned, whole = (
        replace(report, notes=(*report.notes, *measured.notes))
        for report in (compared.pruned, compared.dense)
    )
    return CostComparison(pruned, whole)


def price_over_area(
    network: PrunedNetwork, activity: Activity, accelerator: Accelerator
) -> list[dict[str, float | None]]:
    """Throughput and energy of both networks over the chip's area (`equal_area.over_area`); arguments of `price`.

    A quarter of a full array takes a quarter of the steps, on a chip of 2 and of 8 times its area:

    >>> import torch
    >>> from cimlab.config.hardware import load_accelerator
    >>> from cimlab.pruning.granularities.operation_unit import OperationUnit
    >>> masks = {"fc": torch.arange(16)[:, None].expand(16, 128) < 4}  # 4 of 16 outputs
    >>> network = PrunedNetwork(NetworkShape((CrossbarMatrix("fc", (16, 128)),), OperationUnit().index), masks)
    >>> points = price_over_area(network, Activity(), load_accelerator(CrossbarGeometry()))
    >>> [p["images_per_s"] / p["dense_images_per_s"] for p in points if p["area_over_dense"] in (2, 8)]
    [4.0, 4.0]
    """
    geometry, matrices = accelerator.geometry, network.shape.matrices
    own, dense = activity_factors(activity.at(geometry), [m.name for m in matrices], geometry)
    layers = placed_layers(matrices, network.placed(geometry), own, dense)
    return over_area(accelerator.model, *layers, geometry, network.shape.off_arrays)
