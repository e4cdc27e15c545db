"""What a network costs on a chip: arrays of layers x components, whose sums are the only totals there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from cimlab.crossbar.placement import Counts
from cimlab.hardware.schedule import Timing
from cimlab.hardware.technology import SUPPORT


@dataclass(frozen=True, eq=False)
class HardwareReport:
    """Energy, area, leakage and time of one network on one chip; SI units, energies per image.

    Args:
        technology, adc_price: whose numbers these are.
        adc_bits: resolution asked for.
        layers, components: names of the rows and columns.
        dynamic_j: energy of actions.
        leakage_w: power of what stands there.
        area_m2: sum of parts.
        timing: the schedule.
        batch: images that share a load and a first latency.
        layout_factor: footprint over sum of parts.
        operations: 2 x MACs of the unpruned layer; operations_done: of the kept weights.
        counts: the placement's counts.
        converted: ADC slots of executed steps that convert, 1 where no ADC waits.
        array_balance: mean over busiest array's steps, 1 where no array waits.
        notes: assumptions and scaling steps behind the numbers.
    """

    technology: str
    adc_price: str
    adc_bits: int
    layers: tuple[str, ...]
    components: tuple[str, ...]
    dynamic_j: Float[np.ndarray, "layers components"]
    leakage_w: Float[np.ndarray, "layers components"]
    area_m2: Float[np.ndarray, "layers components"]
    timing: Timing
    batch: int
    layout_factor: float
    operations: Int[np.ndarray, " layers"]
    operations_done: Int[np.ndarray, " layers"]
    counts: tuple[Counts, ...]
    converted: Float[np.ndarray, " layers"]
    array_balance: Float[np.ndarray, " layers"]
    notes: tuple[str, ...]

    @property
    def energy_components(self) -> tuple[str, ...]:
        """Columns of `energy_j`."""
        return (*self.components, "leakage")

    @property
    def energy_j(self) -> Float[np.ndarray, "layers energy_components"]:
        """Energy per image: actions by component, and leakage over a batch's time shared by its images."""
        leakage_j = self.leakage_w.sum(1) * (self.timing.batch_s / self.batch)
        return np.column_stack([self.dynamic_j, leakage_j])

    @property
    def total_energy_j(self) -> float:
        """Energy per image of the whole network."""
        return float(self.energy_j.sum())

    @property
    def total_area_m2(self) -> float:
        """Sum of parts of the whole chip."""
        return float(self.area_m2.sum())

    @property
    def footprint_m2(self) -> float:
        """Area with the technology's layout factor."""
        return self.total_area_m2 * self.layout_factor

    @property
    def support_energy_j(self) -> float:
        """What pruning support costs per image: index, selection, alignment."""
        return sum(self.energy_by_component[name] for name in SUPPORT)

    @property
    def energy_by_component(self) -> dict[str, float]:
        return dict(zip(self.energy_components, self.energy_j.sum(0).tolist(), strict=True))

    @property
    def area_by_component(self) -> dict[str, float]:
        return dict(zip(self.components, self.area_m2.sum(0).tolist(), strict=True))

    @property
    def effective_ops_per_s(self) -> float:
        """Operations of the unpruned network per second."""
        return float(self.operations.sum()) * self.timing.images_per_s

    @property
    def raw_ops_per_s(self) -> float:
        """Operations of kept weights per second."""
        return float(self.operations_done.sum()) * self.timing.images_per_s

    @property
    def effective_ops_per_j(self) -> float:
        """Operations of the unpruned network per joule (TOPS/W, times 1e12)."""
        return float(self.operations.sum()) / self.total_energy_j

    def totals(self) -> dict[str, float]:
        """The network's figures under stable names."""
        return {
            "energy_j": self.total_energy_j,
            "dynamic_j": float(self.dynamic_j.sum()),
            "latency_s": self.timing.latency_s,
            "images_per_s": self.timing.images_per_s,
            "area_m2": self.total_area_m2,
            "footprint_m2": self.footprint_m2,
            "leakage_w": float(self.leakage_w.sum()),
            "support_energy_j": self.support_energy_j,
            "effective_ops_per_s": self.effective_ops_per_s,
            "raw_ops_per_s": self.raw_ops_per_s,
            "effective_ops_per_j": self.effective_ops_per_j,
            "arrays": float(sum(c.arrays * n for c, n in zip(self.counts, self.timing.copies.tolist(), strict=True))),
            "load_s": self.timing.load_s,
        }  # fmt: skip

    def layer_rows(self) -> list[dict[str, Any]]:
        """One flat row a layer, for tables and CSV."""
        return [
            {
                "layer": name,
                "energy_j": float(self.energy_j[i].sum()),
                "area_m2": float(self.area_m2[i].sum()),
                "layer_s": float(self.timing.layer_s[i]),
                "product_s": float(self.timing.product_s[i]),
                "copies": int(self.timing.copies[i]),
                "arrays": self.counts[i].arrays,
                "steps": self.counts[i].steps,
                "adc_conversions": self.counts[i].adc_conversions,
                "index_bits": self.counts[i].index_bits,
                "weights": self.counts[i].weights,
                "weights_left": self.counts[i].weights_left,
                "adcs_converting": float(self.converted[i]),
                "array_balance": float(self.array_balance[i]),
                **{
                    f"energy_j/{component}": float(value)
                    for component, value in zip(self.energy_components, self.energy_j[i], strict=True)
                },
                **{
                    f"area_m2/{component}": float(value)
                    for component, value in zip(self.components, self.area_m2[i], strict=True)
                },
            }
            for i, name in enumerate(self.layers)
        ]


@dataclass(frozen=True, eq=False)
class CostComparison:
    """A network's report beside that of the unpruned network on the same hardware."""

    pruned: HardwareReport
    dense: HardwareReport

    def ratios(self) -> dict[str, float]:
        """Pruned over dense, for every total that the dense network has."""
        own, dense = self.pruned.totals(), self.dense.totals()
        return {name: own[name] / dense[name] for name in own if dense[name]}

    def summary(self) -> dict[str, Any]:
        """Everything a record keeps: whose numbers, totals, components, layers, ratios to dense."""
        return {
            "technology": self.pruned.technology,
            "adc_price": self.pruned.adc_price,
            "adc_bits": self.pruned.adc_bits,
            "total": self.pruned.totals(),
            "dense": self.dense.totals(),
            "ratio": self.ratios(),
            "energy_j": self.pruned.energy_by_component,
            "dense_energy_j": self.dense.energy_by_component,
            "area_m2": self.pruned.area_by_component,
            "dense_area_m2": self.dense.area_by_component,
            "notes": list(self.pruned.notes),
            "layers": self.pruned.layer_rows(),
        }
