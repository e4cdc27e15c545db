"""Processor cores and how jobs that run side by side share them: too many threads stall each other."""

from __future__ import annotations

import os


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share(jobs: int) -> int:
    """Threads for each of so many jobs at a time."""
    return max(1, cores() // jobs)


def limit_threads(threads: int) -> None:
    """Hold the numeric libraries to so many threads; works until they are imported, and keeps what was set."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, str(threads))
