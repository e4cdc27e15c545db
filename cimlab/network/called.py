"""How layers are called: `fc(x)`, by keyword as torch's own may be, or not at all, where torch reads their weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


def input_of(inputs: tuple[Any, ...], named: Mapping[str, Any]) -> Tensor:
    """What a Linear or convolution was given, from what a hook `with_kwargs` sees.

    >>> import torch
    >>> input_of((torch.tensor(1),), {}), input_of((), {"input": torch.tensor(2)})
    (tensor(1), tensor(2))
    """
    return inputs[0] if inputs else named["input"]


def keep_called(layer: nn.Module) -> RemovableHandle:
    """Have a layer called whose forward pass was replaced, until the handle is removed.

    In evaluation, nn.TransformerEncoderLayer computes by the weights of its layers and calls none of them. It does call
    them where one has a hook, whatever the hook does.
    """
    return layer.register_forward_pre_hook(_nothing)


def _nothing(_module: nn.Module, _inputs: tuple[Any, ...]) -> None:
    """A hook that changes nothing."""
