"""Compiled kernels use as many threads as torch does, so that one setting rules both."""

from __future__ import annotations

import numba
import torch


def follow_torch() -> None:
    """Set numba's threads to torch's number, or to all that numba started with if that is less.

    numba starts its threads at the first call, which sets the number that OpenMP, and torch with it, uses; torch's is
    put back.
    """
    threads = torch.get_num_threads()
    numba.set_num_threads(min(threads, vars(numba.config)["NUMBA_NUM_THREADS"]))
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
