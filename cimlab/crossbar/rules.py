"""Rules by name, of how numbers become integers and how weights are laid; no torch, so that a configuration is checked
in no time."""

from __future__ import annotations

from typing import Literal

RangeRule = Literal["max", "percentile", "mse"]
WeightScale = Literal["per_tensor", "per_channel"]
RowOrder = Literal["channel_major", "kernel_major"]
"""Order of a convolution's rows on the wordlines: (c, kh, kw), unfold's, or (kh, kw, c)."""
PlacementMode = Literal["in_place", "compacted", "gathered"]
"""Zeros are skipped where they are, or squeezed out of storage, whole steps alone or wordline by wordline."""
