"""Records whose numbers hang together, enough for every table and figure: a grid of granularities, kept weights and
seeds, with layers, prices and simulations. The values are made up; none of them is a result."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from cimlab.records.record import RunRecord, content_hash
from cimlab.records.simulation import SimulationRecord
from cimlab.reporting.evidence import Evidence
from cimlab.reporting.planned import PlannedGrid
from cimlab.reporting.published import Published
from tests.records.examples import example

GEOMETRY: dict[str, Any] = {
    "rows": 128, "cols": 128, "active_rows": 16, "columns_per_adc": 8, "mux_control": "lockstep", "weight_bits": 8,
    "cell_bits": 2, "signed_encoding": "differential", "input_bits": 8, "dac_bits": 1, "adc_bits": None,
}  # fmt: skip
CONFIG = {
    "recipe": {"epochs": 12}, "schedule": {"_target_": "x.OneShot", "epochs": 6}, "data": {"batch_size": 256},
    "trainer": {"precision": "bf16-mixed", "threads": 2}, "saliency": {"_target_": "x.L2"},
}  # fmt: skip
METHODS_BEFORE = {
    "distillation": "hinton", "permutation": "gather", "sparsity": "admm", "resizing": "small_first",
}  # fmt: skip
FINE = ("weight", "column_segment", "row_segment", "balanced_segment", "operation_unit")
HARM = {name: 1.0 + 0.6 * i for i, name in enumerate(
    (*FINE, "kernel", "array_row", "array_column", "channel", "filter", "crossbar")
)}  # fmt: skip


def run(
    granularity: str = "operation_unit",
    remaining: float = 0.25,
    seed: int = 0,
    *,
    priced: bool = False,
    geometry: dict[str, Any] | None = None,
    layers: int = 4,
    **changes: Any,
) -> RunRecord:
    """A run whose loss grows with coarseness and with what is pruned; `changes` go into its configuration."""
    made = example(granularity, remaining, seed)
    geometry = GEOMETRY | (geometry or {})
    harm = HARM.get(granularity, 5.0) * (0.05 / remaining) + seed / 100
    steps = 1.0 if granularity == "weight" else min(1.0, remaining * 1.2)
    busiest = min(1.0, steps * 1.25)
    ratio = {
        "steps": steps,
        "critical_steps": busiest,
        "adc_conversions": max(remaining, 0.9 * steps),
        "arrays": 0.5 + steps / 2,
    }
    hardware: dict[str, Any] = {
        **made.hardware, "geometry": geometry, "mapping": {"placement": "in_place"}, "ratio": ratio,
        "total": made.hardware["total"] | {"critical_steps": round(800 * busiest * 16 / geometry["active_rows"])},
        "layers": {f"layer{i}": _layer(i, layers, remaining, steps) for i in range(layers)},
    }  # fmt: skip
    if priced:
        hardware["cost"] = _cost(remaining, steps)
    run_hash = f"{abs(hash_of(granularity, remaining, seed, geometry, changes)):064x}"
    return replace(
        made,
        schema=1,
        run=run_hash,
        name=f"resnet20-cifar10-{granularity}-{remaining:g}-s{seed}",
        choices={
            "model": "resnet20", "data": "cifar10", "granularity": granularity, "schedule": "one_shot",
            "saliency": "l2", **_chosen(changes),
        },
        config={**CONFIG, "prune": {"remaining": remaining, "allocation": "global"}, "geometry": geometry, **changes},
        accuracy={
            "dense": {"test": 0.915 + seed / 1000},
            "pruned": {"test": 0.5},
            "retrained": {"test": 0.915 + seed / 1000 - harm / 100},
        },
        hardware=hardware,
    )  # fmt: skip


def _chosen(changes: dict[str, Any]) -> dict[str, str]:
    """The choices of the first schema that go with changed settings."""
    chosen = {group: choice for group, choice in METHODS_BEFORE.items() if group in changes}
    kind = changes.get("schedule", {}).get("_target_", "x.OneShot").rpartition(".")[2].lower()
    return chosen | ({} if kind == "oneshot" else {"schedule": kind})


def hash_of(*parts: Any) -> int:
    """The same number for the same parts in every process."""
    return int(content_hash([repr(part) for part in parts])[:16], 16)


def _layer(i: int, layers: int, remaining: float, steps: float) -> dict[str, int]:
    ends = i in (0, layers - 1)
    share = 1.0 if ends else min(1.0, remaining * (1.4 - i / layers))
    executed = 400 if ends else round(400 * min(1.0, share * 1.2 if steps < 1 else 1))
    return {
        "groups": 1, "rows": 256, "cols": 16, "weights": 1000, "weights_left": round(1000 * share), "cells": 16384,
        "arrays": 2, "steps": executed, "critical_steps": max(executed // 2, executed - 150), "dense_steps": 400,
    }  # fmt: skip


def _cost(remaining: float, steps: float) -> dict[str, Any]:
    dense = {"adc": 6e-6, "cells": 1e-6, "wordline_driver": 1.5e-6, "shift_add": 4e-7, "input_register": 5e-7,
             "input_buffer": 3e-7, "interconnect": 2e-7, "leakage": 1e-7, "index_memory": 0.0}  # fmt: skip
    own = {name: joules * max(steps, remaining) for name, joules in dense.items()}
    own |= {"index_memory": 4e-8, "input_selection": 3e-8}
    energy, whole = sum(own.values()), sum(dense.values())
    gathered = min(steps, 1.2 * remaining)  # single weights and row segments share steps no more
    return {
        "technology": "isaac32", "adc_price": "isaac_table", "energy_j": own, "dense_energy_j": dense,
        "area_m2": {
            "adc": 4e-6, "cells": 8e-7, "index_memory": 4e-8, "input_selection": 1e-7, "output_alignment": 6e-8,
        },
        "total": {
            "energy_j": energy, "dynamic_j": 0.4 * energy, "leakage_w": 1e-3, "support_energy_j": 7e-8,
            "images_per_s": 2000 / steps, "latency_s": 1e-3 * steps, "area_m2": 5e-6,
        },
        "dense": {
            "energy_j": whole, "dynamic_j": 0.4 * whole, "leakage_w": 1e-3, "support_energy_j": 0.0,
            "images_per_s": 2000.0, "latency_s": 1e-3,
        },
        "ratio": {
            "steps": steps, "energy_j": energy / whole, "latency_s": steps, "images_per_s": 1 / steps, "area_m2": 1.02,
            "effective_ops_per_s": 1 / steps, "effective_ops_per_j": whole / energy,
        },
        "gathered": {
            "ratio": {"steps": gathered, "energy_j": gathered + 0.02, "images_per_s": 1 / gathered},
            "area_curve": _area_curve(gathered, energy, whole),
        },
        "area_curve": _area_curve(steps, energy, whole),
    }  # fmt: skip


def _area_curve(steps: float, energy: float, whole: float) -> list[dict[str, float | None]]:
    return [
        {
            "area_over_dense": area, "images_per_s": 1000 * area / steps, "energy_j": energy,
            "dense_images_per_s": 1000 * area if area >= 1 else None, "dense_energy_j": whole,
        }
        for area in (0.5, 1.0, 2.0)
    ]  # fmt: skip


def grid(names: tuple[str, ...], fractions: tuple[float, ...], seeds: int, **more: Any) -> list[RunRecord]:
    """Every combination."""
    return [run(n, f, s, **more) for n in names for f in fractions for s in range(seeds)]


def simulation(bits: int | None, device: str, left: int = 1000) -> SimulationRecord:
    """What `cimlab simulate` writes, made up."""
    drop = 0.0 if bits is None else 0.3 / 2**bits
    mean = 0.91 - drop - (0.0 if device == "ideal" else 0.01) - (0.004 if left < 1000 else 0)
    return SimulationRecord(
        simulation=f"{hash_of(bits, device, left):064x}",
        name=f"simulate-resnet20-cifar10-full_scale-{bits}b-s0",
        created="2026-01-02T03:04:05+00:00",
        seed=0,
        choices={"model": "resnet20", "data": "cifar10", "adc": "full_scale", "device": device},
        config={"geometry": GEOMETRY | {"adc_bits": bits}},
        code={"version": "0.1.0", "git_commit": None, "git_changed": None},
        packages={},
        machine={},
        wall_time_s={},
        images=10000,
        accuracy={
            "float": 0.915, "quantised": 0.912, "draws": [mean], "mean": mean, "spread": None,
            "interval": None if device == "ideal" else [mean - 0.003, mean + 0.003],
        },
        weights={"total": 1000, "left": left},
        layers={},
    )  # fmt: skip


def evidence(
    records: Iterable[RunRecord] = (),
    simulations: Iterable[SimulationRecord] = (),
    grids: Iterable[PlannedGrid] = (),
) -> Evidence:
    """What a report over these would be drawn from."""
    return Evidence(tuple(records), tuple(simulations), tuple(grids), Published.read(), ())


def everything() -> tuple[list[RunRecord], list[SimulationRecord]]:
    """Records for every table and figure."""
    records = grid(tuple(HARM), (0.5, 0.25, 0.15, 0.09, 0.05, 0.03), 3, priced=True, layers=20)
    records += [
        run(geometry={"active_rows": rows, "columns_per_adc": shared}, remaining=0.09, priced=True, layers=20)
        for rows in (4, 8, 16, 32, 64, 128) for shared in (4, 8, 16) if (rows, shared) != (16, 8)
    ]  # fmt: skip
    records.append(run("operation_unit", 0.09, 0, schedule={"_target_": "x.Gradual", "epochs": 12}))
    bits = (4, 5, 6, 7, 8, None)
    simulations = [
        simulation(b, d, w) for b in bits for d in ("ideal", "programming_variation") for w in (1000, 90)
    ]
    return records, simulations
