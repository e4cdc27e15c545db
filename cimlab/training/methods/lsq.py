"""LSQ: rounded retraining with learned step sizes, one per output for weights and one per layer for inputs.

Esser et al., "Learned step size quantization", ICLR 2020.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cimlab.analog.fake_quantise import LayerQuantiser, LearnedStepSize
from cimlab.training.quantisation import RoundingMethod


@dataclass(frozen=True, kw_only=True)
class Lsq(RoundingMethod):
    """Step sizes learn by the gradients of LSQ."""

    quantiser: ClassVar[type[LayerQuantiser]] = LearnedStepSize
