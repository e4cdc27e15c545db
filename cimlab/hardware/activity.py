"""What inputs and cells hold, on average: read energy follows the bits that are 1 and the conductances they meet.

Cell values are known exactly from the quantised weights; input bits are measured on calibration images. What was not
measured is assumed, and the report says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.hardware.errors import require_numbers
from cimlab.network.borrowed import borrowed

ASSUMED = "assumed"
MEASURED = "measured"


@dataclass(frozen=True)
class Activity:
    """Mean values of one layer.

    Args:
        input_density: fraction of input bits that are 1, over the rows that are driven.
        kept_level: mean cell value over full scale, over the cells of kept weights.
        zero_level: the same for cells of pruned weights; 0 unless the encoding stores a bias.
        inputs, weights: `assumed` or `measured`.
    """

    input_density: float = 0.5
    kept_level: float = 0.5
    zero_level: float = 0.0
    inputs: str = ASSUMED
    weights: str = ASSUMED

    def __post_init__(self) -> None:
        for name in ("input_density", "kept_level", "zero_level"):
            value = getattr(self, name)
            require_numbers(f"activity {name}", value)
            require_numbers(f"activity {name} (1 - {value})", 1 - value)

    def with_weights(
        self, weight: Float[Tensor, "..."], kept: Bool[Tensor, "..."], geometry: CrossbarGeometry
    ) -> Activity:
        """The same inputs with the cell values that these weights are quantised to."""
        levels = cell_levels(weight[kept], weight.abs().max(), geometry)
        zero = cell_levels(weight.new_zeros(1), weight.new_ones(()), geometry)
        mean = float(levels.mean()) if levels.numel() else 0.0
        return replace(self, kept_level=mean, zero_level=float(zero.mean()), weights=MEASURED)


def weight_activities(
    matrices: Sequence[CrossbarMatrix],
    weights: Mapping[str, Float[Tensor, "..."]],
    dense: Mapping[str, Float[Tensor, "..."]],
    kept: Mapping[str, Bool[Tensor, "..."]],
    geometry: CrossbarGeometry,
    base: Activity,
) -> tuple[dict[str, Activity], dict[str, Activity]]:
    """Layer name -> activity with the cell values of stored weights, of the pruned network and of the dense one.

    Args:
        matrices: the layers.
        weights, dense: `LAYER.weight` -> weights, as in a state_dict.
        kept: layer name -> mask in the weight's shape; a layer that is not named is whole.
        geometry: the array.
        base: gives the inputs.
    """
    own, whole = {}, {}
    for matrix in matrices:
        key = f"{matrix.name}.weight"
        before = dense[key].detach().cpu()
        everything = torch.ones_like(before, dtype=torch.bool)
        whole[matrix.name] = base.with_weights(before, everything, geometry)
        mask = kept[matrix.name].cpu() if matrix.name in kept else everything
        own[matrix.name] = base.with_weights(weights[key].detach().cpu(), mask, geometry)
    return own, whole


def cell_levels(
    weights: Float[Tensor, " weights"], largest: Float[Tensor, ""], geometry: CrossbarGeometry
) -> Float[Tensor, " weights"]:
    """Mean cell value over full scale of every weight, over all its columns.

    Weights are quantised symmetrically, `largest` to the largest magnitude. A differential pair keeps the magnitude
    in one column and 0 in the other; `offset` stores w + 2^(b-1), `twos_complement` w modulo 2^b.
    """
    top = 2 ** (geometry.weight_bits - 1) - 1
    scale = largest if float(largest) > 0 else torch.ones_like(largest)
    quantised = (weights / scale * top).round().clamp(-top, top).long()
    if geometry.signed_encoding == "differential":
        stored = quantised.abs()
    elif geometry.signed_encoding == "offset":
        stored = quantised + 2 ** (geometry.weight_bits - 1)
    else:
        stored = quantised % 2**geometry.weight_bits
    full = 2**geometry.cell_bits - 1
    total = torch.zeros_like(stored, dtype=torch.float64)
    for place in range(geometry.slices):
        total += (stored >> (place * geometry.cell_bits)) & full
    return total / (full * geometry.columns_per_weight)


@torch.no_grad()
def input_densities(
    network: nn.Module,
    images: Float[Tensor, "batch channels height width"],
    layers: list[str],
    input_bits: int,
) -> dict[str, float]:
    """Fraction of ones among the input bits of each layer, measured in one forward pass.

    Activations are quantised to `input_bits` by the largest magnitude in the batch; a signed input is fed as its
    magnitude. The network is left as it was, the mode of every module among it.
    """
    found: dict[str, list[float]] = {name: [] for name in layers}

    def hook(name: str):
        def measure(_module: nn.Module, inputs: tuple[Tensor, ...], _output: object) -> None:
            found[name].append(_bit_density(inputs[0], input_bits))

        return measure

    modules = dict(network.named_modules())
    handles = [modules[name].register_forward_hook(hook(name)) for name in layers]
    try:
        # compiled code would call no hooks
        with borrowed(network), torch.compiler.set_stance("force_eager"):
            network(images)
    finally:
        for handle in handles:
            handle.remove()
    return {name: sum(values) / len(values) for name, values in found.items() if values}


def with_input_densities(
    activities: Mapping[str, Activity], densities: Mapping[str, float]
) -> dict[str, Activity]:
    """The activities with measured input densities, where there are any."""
    return {
        name: replace(activity, input_density=densities[name], inputs=MEASURED)
        if name in densities
        else activity
        for name, activity in activities.items()
    }


def _bit_density(values: Tensor, bits: int) -> float:
    magnitude = values.abs()
    largest = magnitude.max()
    if float(largest) == 0:
        return 0.0
    quantised = (magnitude / largest * (2**bits - 1)).round().long()
    ones = sum(int(((quantised >> place) & 1).sum()) for place in range(bits))
    return ones / (bits * quantised.numel())
