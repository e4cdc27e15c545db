"""The confidence interval of a mean, for whatever is measured several times: seeds, and chips."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import stdev

LEVEL = 0.95
"""Confidence level of every interval."""


def half_width(values: Sequence[float]) -> float:
    """Half the interval of the mean of two or more values, by Student's t.

    >>> half_width([0.9, 0.92, 0.91])
    0.0248...
    """
    from scipy.special import stdtrit

    n = len(values)
    return float(stdtrit(n - 1, (1 + LEVEL) / 2)) * stdev(values) / sqrt(n)
