"""STE: rounded retraining with the straight-through estimator and ranges from extremes.

Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference", CVPR 2018.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cimlab.analog.fake_quantise import LayerQuantiser, StraightThrough
from cimlab.training.quantisation import RoundingMethod


@dataclass(frozen=True, kw_only=True)
class Ste(RoundingMethod):
    """Gradients pass rounding unchanged inside the range; ranges follow extremes."""

    quantiser: ClassVar[type[LayerQuantiser]] = StraightThrough
