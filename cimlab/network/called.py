"""How layers are called: `fc(x)` or, as torch's own layers may be too, by keyword, `fc(input=x)`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def input_of(inputs: tuple[Any, ...], named: Mapping[str, Any]) -> Tensor:
    """What a Linear or convolution was given, from what a hook `with_kwargs` sees.

    >>> import torch
    >>> input_of((torch.tensor(1),), {}), input_of((), {"input": torch.tensor(2)})
    (tensor(1), tensor(2))
    """
    return inputs[0] if inputs else named["input"]
