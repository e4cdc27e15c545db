"""The step sizes that quantisation-aware training learned, as a checkpoint carries them beside the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from cimlab.analog.errors import AnalogError


@dataclass(frozen=True, eq=False)
class LayerSteps:
    """How a network was trained to round one layer.

    Args:
        weight: real size of one weight level by output, before its norm is folded.
        input: real size of one input level.
        zero: the input level of real zero.
    """

    weight: Float[Tensor, " out"]
    input: float
    zero: int


@dataclass(frozen=True, eq=False)
class TrainedSteps:
    """What quantisation-aware training leaves beside the weights.

    Args:
        weight_bits, input_bits: the precision that it was trained for.
        layers: by name; a layer that is not there is calibrated.
    """

    weight_bits: int
    input_bits: int
    layers: Mapping[str, LayerSteps]

    def to_checkpoint(self) -> dict[str, Any]:
        """Tensors and plain containers."""
        layers = {name: vars(steps) for name, steps in self.layers.items()}
        return {"weight_bits": self.weight_bits, "input_bits": self.input_bits, "layers": layers}

    @classmethod
    def of_checkpoint(cls, content: Any) -> TrainedSteps:
        """The inverse of `to_checkpoint`.

        Raises:
            AnalogError: the content is something else, or a step is not above 0.
        """
        try:
            bits = int(content["weight_bits"]), int(content["input_bits"])
            layers = {}
            for name, node in content["layers"].items():
                steps = LayerSteps(node["weight"].float(), float(node["input"]), int(node["zero"]))
                positive = bool((steps.weight > 0).all()) and steps.input > 0
                if steps.weight.ndim != 1 or not positive or not 0 <= steps.zero < 2 ** bits[1]:
                    raise ValueError(name)
                layers[str(name)] = steps
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            raise AnalogError(
                "the checkpoint's learned steps are damaged; save it again, or without its entry steps"
            ) from problem
        return cls(*bits, layers)


def learned_in(content: Mapping[str, Any]) -> TrainedSteps | None:
    """The steps in a checkpoint; None where it holds none. Another trainer's count of its own steps is none either.

    Raises:
        AnalogError: they are damaged.
    """
    steps = content.get("steps")
    return TrainedSteps.of_checkpoint(steps) if isinstance(steps, Mapping) else None
