"""Compiled kernels use as many threads as torch does, so that one setting rules both."""

from __future__ import annotations

import numba
import torch


def follow_torch() -> None:
    """Set numba's threads to torch's number, or to all that numba started with if that is less."""
    numba.set_num_threads(min(torch.get_num_threads(), vars(numba.config)["NUMBA_NUM_THREADS"]))
