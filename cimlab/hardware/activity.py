"""What inputs and cells hold, on average: read energy follows the bits that are 1 and the conductances they meet.

The integers are those of `cimlab.crossbar.activity`, measured on the network; here they become the few factors by
which one geometry's reads are weighed. What was not measured is assumed, and the report says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from cimlab.crossbar.activity import Activity, LayerActivity, mean_cell_level, mean_input_digit
from cimlab.crossbar.cells import mean_levels
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.zero_planes import cut_of_planes
from cimlab.hardware.errors import require_numbers

ASSUMED = "assumed"
MEASURED = "measured"


@dataclass(frozen=True)
class ActivityFactors:
    """Mean values of one layer on one geometry.

    Args:
        input_density: mean input digit over full scale, over all rows, driven or not; bit-serial, the share of ones.
        kept_level: mean cell value over full scale, over the cells of kept weights.
        zero_level: the same for cells of pruned weights; 0 unless the encoding stores a bias.
        inputs, weights: `assumed` or `measured`.
        zero_share: of each row group's input cycles, those in which all its rows are fed zero; None if not measured.
    """

    input_density: float = 0.5
    kept_level: float = 0.5
    zero_level: float = 0.0
    inputs: str = ASSUMED
    weights: str = ASSUMED
    zero_share: Float[np.ndarray, "groups row_groups"] | None = None

    def __post_init__(self) -> None:
        for name in ("input_density", "kept_level", "zero_level"):
            value = getattr(self, name)
            require_numbers(f"activity {name}", value)
            require_numbers(f"activity {name} (1 - {value})", 1 - value)


def activity_factors(
    activity: Activity, layers: Sequence[str], geometry: CrossbarGeometry
) -> tuple[dict[str, ActivityFactors], dict[str, ActivityFactors]]:
    """Layer name -> factors on a geometry whose precision the activity has, of the pruned network and the dense one.

    Of the bits of four inputs, those of one are all 1; the dense network was not measured:

    >>> from cimlab.crossbar.activity import IntegerHistogram
    >>> inputs = IntegerHistogram.of(torch.tensor([0, 0, 0, 255]))
    >>> measured = Activity(pruned={"fc": LayerActivity(inputs=inputs)})
    >>> pruned, dense = activity_factors(measured, ["fc"], CrossbarGeometry())
    >>> pruned["fc"].input_density, dense["fc"].input_density, dense["fc"].inputs
    (0.25, 0.5, 'assumed')
    """
    zero = float(mean_levels(torch.zeros((), dtype=torch.int64), geometry))
    assumed = ActivityFactors(activity.input_density, zero_level=zero)

    def factors(measured: Mapping[str, LayerActivity]) -> dict[str, ActivityFactors]:
        return {
            name: _factors(measured[name], assumed, geometry) if name in measured else assumed
            for name in layers
        }

    return factors(activity.pruned), factors(activity.dense)


def _factors(layer: LayerActivity, assumed: ActivityFactors, geometry: CrossbarGeometry) -> ActivityFactors:
    fed, held, planes = layer.inputs, layer.weights, layer.zero_planes
    return ActivityFactors(
        assumed.input_density if fed is None else mean_input_digit(fed, geometry),
        assumed.kept_level if held is None else mean_cell_level(held, geometry),
        assumed.zero_level,
        ASSUMED if fed is None else MEASURED,
        ASSUMED if held is None else MEASURED,
        planes.share if planes is not None and planes.cut == cut_of_planes(geometry) else None,
    )
