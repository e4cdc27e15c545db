"""A small run record whose numbers hang together, for the tests of records and reporting."""

from dataclasses import replace

from cimlab.records.record import RunRecord

DENSE = {
    "weights": 1000, "weights_left": 1000, "arrays": 10, "cells": 163840, "steps": 4000, "critical_steps": 800,
    "cell_reads": 90000, "adc_conversions": 64000, "wordline_drives": 50000, "partial_sum_adds": 700,
    "input_buffer_bits": 9000, "output_buffer_bits": 5000, "index_bits": 0,
}  # fmt: skip


def example(granularity: str = "operation_unit", remaining: float = 0.25, seed: int = 0) -> RunRecord:
    """A run at `remaining`; steps follow the weights for operation units, and not at all for single weights."""
    total = DENSE | {"weights_left": round(1000 * remaining), "index_bits": 128}
    if granularity != "weight":
        total["steps"] = round(4000 * remaining)
        total["arrays"] = 8
    ratio = {name: total[name] / DENSE[name] for name in total if DENSE[name]}
    return RunRecord(
        run=f"{granularity}-{remaining}-{seed}".ljust(64, "0"),
        name=f"digits_cnn-digits-{granularity}-{remaining}-s{seed}",
        created="2026-01-02T03:04:05+00:00",
        seed=seed,
        choices={"model": "digits_cnn", "data": "digits", "granularity": granularity},
        config={"prune": {"remaining": remaining}, "recipe": {"epochs": 3, "note": "größer, 2 µm"}},
        code={"version": "0.1.0", "git_commit": None, "git_changed": None},
        packages={"torch": "2.11.0"},
        machine={"processor": "test", "cores": 2, "memory_bytes": 1024, "system": "Linux", "python": "3.11.0"},
        wall_time_s={"dense": 12.5, "retrain": 1e-3},
        accuracy={
            "dense": {"test": 0.98 + seed / 1000, "validation": 0.97},
            "pruned": {"test": 0.5},
            "retrained": {"test": 0.9 + remaining / 10 + seed / 1000},
        },
        weights={
            "total": 1000, "prunable": 900, "left": 1000 * remaining, "remaining_prunable": remaining,
            "remaining_all": remaining, "compression": 1 / remaining,
        },
        hardware={
            "total": total, "dense": DENSE, "ratio": ratio, "utilisation": 0.125,
            "layers": {"conv1": {"groups": 1, **total}},
        },
    )  # fmt: skip


def renamed(record: RunRecord, name: str) -> RunRecord:
    return replace(record, name=name)
