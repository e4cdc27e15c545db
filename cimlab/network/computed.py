"""Weights that a forward pass computes from what is stored, as under weight norm: their values, and what masks do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from cimlab.network.account import NetworkAccount
from cimlab.network.batch import Batch, call, on, samples, tensors
from cimlab.network.masks import MaskError, Masks, masks_on_arrays
from cimlab.network.operations import Call, Factors, Operations
from cimlab.network.trace import opened, quiet, shadow, with_values
from cimlab.network.weights import parameters, stored_weight


@dataclass(frozen=True, eq=False)
class ComputedWeights:
    """The weights on arrays that a network computes.

    Args:
        account: what the network multiplies.
        batch: what it is given; its first sample is computed.
    """

    account: NetworkAccount
    batch: Batch

    @property
    def names(self) -> tuple[str, ...]:
        """Of the weights."""
        return tuple(weight.name for weight in self.account.on_arrays if weight.computed)

    def values(self, network: nn.Module) -> dict[str, Tensor]:
        """The weights as their layers hold them; digital ones among them, and none where no weight is computed."""
        if not any(weight.computed for weight in (*self.account.on_arrays, *self.account.digital)):
            return {}
        copied = shadow(opened(network))
        found: dict[str, Tensor] = {}

        def see(product: Call, factors: Factors | None) -> None:
            block = product.block
            names = () if block is None else self.account.reads.get(block, ())
            if block is not None and block.computed and factors is not None and len(names) == 1:
                read = block if block.reading == "transposed" else replace(block, reading="outputs_first")
                repeated = factors.weight.ndim == 3 and block.groups == 1
                found[names[0]] = read.layer_weight(factors.weight[0] if repeated else factors.weight)

        where = next((p.device for p in copied.parameters()), torch.device("cpu"))
        one = on(samples(with_values(self.batch), 1), where)
        operations = Operations(copied, see, with_modules=False)
        with quiet(copied), operations.within(tensors(one)):
            call(copied, one)
        return found

    def zeros_that_move(self, network: nn.Module) -> list[str]:
        """Those that are not 0 where what is stored is 0, as under weight standardisation: masks don't hold."""
        if not self.names:
            return []
        tried = shadow(opened(network), own=True)
        stored, zeros = parameters(tried), {}
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for weight in (weight for weight in self.account.on_arrays if weight.computed):
                values = stored_weight(stored, weight.name)
                kept = (torch.rand(values.shape, generator=generator) < 0.5).to(values.device)
                drawn = torch.randn(values.shape, generator=generator).to(values)
                values.copy_(torch.where(kept, drawn, 0.0))
                if kept.numel() == weight.weights:
                    zeros[weight.name] = ~weight.block.layer_weight(kept)
        found = self.values(tried)
        return [n for n in self.names if n not in zeros or n not in found or bool(found[n][zeros[n]].any())]

    def moved(self, network: nn.Module, names: Iterable[str]) -> str | None:
        """The line that refuses to prune some weights, where masks of them don't hold."""
        wanted = set(names) & set(self.names)
        bad = [name for name in self.zeros_that_move(network) if name in wanted] if wanted else []
        if not bad:
            return None
        return (
            f"the forward pass computes the weights of {', '.join(bad)} so that a pruned one would not be 0 in its "
            "place (as weight standardisation does, or a copy in another order); leave them digital and whole with "
            f"analog.digital=[{','.join(bad)}]"
        )

    def kept(self, network: nn.Module, masks: Mapping[str, Any]) -> Masks:
        """Checked masks of the weights on arrays, of which every one holds.

        Raises:
            MaskError: as `masks_on_arrays`, or the network computes a pruned weight so that it would not be 0.
        """
        kept = masks_on_arrays(masks, self.account)
        pruned = [name for name, mask in kept.items() if not mask.all()]
        if (moved := self.moved(network, pruned)) is not None:
            raise MaskError(moved)
        return kept

    def undefined(self, network: nn.Module, masks: Mapping[str, Tensor]) -> list[str]:
        """Those that masks would make something else than numbers: weight norm divides by a norm of 0."""
        some = [name for name in self.names if name in masks]
        if not some:
            return []
        tried = shadow(opened(network), own=True)
        stored = parameters(tried)
        with torch.no_grad():
            for name in some:
                stored_weight(stored, name).mul_(masks[name])
        found = self.values(tried)
        return [name for name in some if name not in found or not bool(torch.isfinite(found[name]).all())]
