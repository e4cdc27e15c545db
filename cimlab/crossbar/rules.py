"""The rules by which real numbers become integers, by name; no torch, so that a configuration is checked in no time."""

from __future__ import annotations

from typing import Literal

RangeRule = Literal["max", "percentile", "mse"]
WeightScale = Literal["per_tensor", "per_channel"]
