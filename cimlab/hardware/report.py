"""What a network costs on a chip: arrays of layers x components, whose sums are the only totals there are.

The energy of an image is that of the full pipeline: its actions, and the leakage of the whole chip for the time until
the next image comes out. Beside it stands the energy of an image that is alone on the chip.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import inf, isfinite
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from cimlab.crossbar.placement import Counts, weight_counts
from cimlab.hardware.notes import reload_notes
from cimlab.hardware.schedule import Timing
from cimlab.hardware.technology import ARRAY_COMPONENTS
from cimlab.network.off_arrays import OffArrays
from cimlab.records.components import OFF_ARRAYS, SUPPORT

"""Energy of what digital units multiply, beside the components."""
SAME_AREA = 5e-4
"""Two chips whose areas differ by a smaller share are of one area: tenths of a percent are shown."""


@dataclass(frozen=True, eq=False)
class HardwareReport:
    """Energy, area, leakage and time of one network on one chip; SI units, energies per image (`off_arrays.sample`).

    A full array, 512 steps of 100 ns an image, on a chip of twice its area:

    >>> from cimlab.config.hardware import load_cost_model
    >>> from cimlab.crossbar.geometry import CrossbarGeometry
    >>> from cimlab.crossbar.matrix import CrossbarMatrix
    >>> from cimlab.crossbar.placement import NetworkPlacement, place_dense
    >>> fc, geometry = CrossbarMatrix("fc", (16, 128)), CrossbarGeometry()
    >>> placed = NetworkPlacement(*[{"fc": place_dense(fc, geometry)}] * 2)
    >>> report = load_cost_model().compare([fc], placed, geometry).dense
    >>> report.layer_rows()[0]["steps"], f"{report.energy_by_component['adc'] / report.total_energy_j:.0%} for ADCs"
    (512, '63% for ADCs')
    >>> {part: f"{1e6 * m2:.3f} mm2" for part, m2 in report.area_split_m2.items()}
    {'one copy of each layer': '0.013 mm2', 'further copies': '0.000 mm2', 'unused': '0.013 mm2'}

    Args:
        technology, adc_price: whose numbers these are.
        adc_bits: resolution asked for.
        layers, components: names of the rows and columns.
        dynamic_j: energy of actions.
        leakage_w: power of what stands there; the last column is of area that no copy can use.
        area_m2: sum of parts, with the same last column, shared out over layers by the area that they use.
        total_area_m2: of the whole chip: what the parts add up to, as it was given, not as a sum rounds it, so that
            two networks on chips of one area have a ratio of 1.
        first_copies_m2: area of one copy of each layer.
        programming_j: energy of writing the kept cells of all copies once; no part of an image's energy.
        programming_s: time of it: arrays side by side, each a row at a time.
        timing: the schedule.
        layout_factor: footprint over sum of parts, of arrays.
        operations: 2 x MACs of the unpruned layer; operations_done: of the kept weights.
        off_arrays: what digital units multiply, in the unpruned network too.
        mac_j: energy of one multiply-accumulate of theirs.
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
    leakage_w: Float[np.ndarray, "layers area_components"]
    area_m2: Float[np.ndarray, "layers area_components"]
    total_area_m2: float
    first_copies_m2: float
    programming_j: Float[np.ndarray, " layers"]
    programming_s: float
    timing: Timing
    layout_factor: float
    operations: Int[np.ndarray, " layers"]
    operations_done: Int[np.ndarray, " layers"]
    off_arrays: OffArrays
    mac_j: float
    counts: tuple[Counts, ...]
    converted: Float[np.ndarray, " layers"]
    array_balance: Float[np.ndarray, " layers"]
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        """Three totals: the arrays behind them fill pages."""
        totals = self.totals()
        shown = ", ".join(f"{name}={totals[name]:.4g}" for name in ("energy_j", "images_per_s", "area_m2"))
        return f"HardwareReport({shown}, {len(self.layers)} layers, {self.technology}, {self.adc_price})"

    @property
    def energy_components(self) -> tuple[str, ...]:
        """Columns of `energy_j`."""
        return (*self.components, "leakage")

    @property
    def energy_j(self) -> Float[np.ndarray, "layers energy_components"]:
        """Energy per image in the steady state: actions by component, and leakage from one image to the next."""
        leakage_j = self.leakage_w.sum(1) * self.timing.interval_s
        return np.column_stack([self.dynamic_j, leakage_j])

    @property
    def off_arrays_j(self) -> dict[str, float]:
        """Energy per image of what digital units multiply, as `OFF_ARRAYS`."""
        sums = (self.mac_j * sum(product.macs for product in kind) for kind in self.off_arrays.kinds)
        return dict(zip(OFF_ARRAYS, sums, strict=True))

    @property
    def total_dynamic_j(self) -> float:
        """Energy per image of all actions, on the arrays and off them."""
        return float(self.dynamic_j.sum()) + self.mac_j * self.off_arrays.macs

    @property
    def total_energy_j(self) -> float:
        """Energy per image of the whole network."""
        return float(self.energy_j.sum()) + self.mac_j * self.off_arrays.macs

    @property
    def lone_energy_j(self) -> float:
        """Energy of one image that is alone on the chip, which leaks for the whole latency."""
        return self.total_dynamic_j + float(self.leakage_w.sum()) * self.timing.latency_s

    @property
    def area_components(self) -> tuple[str, ...]:
        """Columns of `area_m2`."""
        return (*self.components, "unused")

    @property
    def area_split_m2(self) -> dict[str, float]:
        """Where the area went: one copy of each layer, further copies, and what no copy can use."""
        unused = float(self.area_m2[:, -1].sum())
        return {
            "one copy of each layer": self.first_copies_m2,
            "further copies": self.total_area_m2 - unused - self.first_copies_m2,
            "unused": unused,
        }

    @property
    def footprint_m2(self) -> float:
        """Area with the technology's layout factor, which is that of arrays with their periphery."""
        area = self.area_by_component
        arrays = sum(area[name] for name in (*ARRAY_COMPONENTS, "unused") if name in area)
        return self.total_area_m2 + arrays * (self.layout_factor - 1)

    @property
    def support_energy_j(self) -> float:
        """What pruning support costs per image: index, selection, alignment."""
        return sum(self.energy_by_component[name] for name in SUPPORT)

    @property
    def energy_by_component(self) -> dict[str, float]:
        """Joules per image, leakage and what is digital among them."""
        return (
            dict(zip(self.energy_components, self.energy_j.sum(0).tolist(), strict=True)) | self.off_arrays_j
        )

    @property
    def area_by_component(self) -> dict[str, float]:
        """Square metres of all copies."""
        return dict(zip(self.area_components, self.area_m2.sum(0).tolist(), strict=True))

    @property
    def effective_ops_per_s(self) -> float:
        """Operations of the unpruned network per second."""
        return (float(self.operations.sum()) + 2 * self.off_arrays.macs) * self.timing.images_per_s

    @property
    def raw_ops_per_s(self) -> float:
        """Operations that are done per second: of kept weights, and off the arrays."""
        return (float(self.operations_done.sum()) + 2 * self.off_arrays.macs) * self.timing.images_per_s

    @property
    def effective_ops_per_j(self) -> float:
        """Operations of the unpruned network per joule (TOPS/W, times 1e12)."""
        energy = self.total_energy_j
        operations = float(self.operations.sum()) + 2 * self.off_arrays.macs
        return operations / energy if energy else inf  # nothing is left, and nothing spent

    def totals(self) -> dict[str, float]:
        """The network's figures under stable names."""
        return {
            "energy_j": self.total_energy_j,
            "dynamic_j": self.total_dynamic_j,
            "lone_energy_j": self.lone_energy_j,
            "latency_s": self.timing.latency_s,
            "images_per_s": self.timing.images_per_s,
            "area_m2": self.total_area_m2,
            "footprint_m2": self.footprint_m2,
            "leakage_w": float(self.leakage_w.sum()),
            "support_energy_j": self.support_energy_j,
            "effective_ops_per_s": self.effective_ops_per_s,
            "raw_ops_per_s": self.raw_ops_per_s,
            "effective_ops_per_j": self.effective_ops_per_j,
            "arrays": float(self.timing.all_arrays),
            "steps": float(sum(count.steps for count in self.counts)),
            "programming_j": float(self.programming_j.sum()),
            "programming_s": self.programming_s,
            "load_s": self.timing.load_s,
        }  # fmt: skip

    def off_arrays_rows(self) -> list[dict[str, Any]]:
        """One flat row per digital weight and per module that multiplies two activations."""
        return [
            {**asdict(product), "component": component, "energy_j": self.mac_j * product.macs}
            for component, kind in zip(OFF_ARRAYS, self.off_arrays.kinds, strict=True)
            for product in kind
        ]

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
                "macs": int(self.operations[i]) // 2,
                "macs_left": int(self.operations_done[i]) // 2,
                "programming_j": float(self.programming_j[i]),
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
                    for component, value in zip(self.area_components, self.area_m2[i], strict=True)
                },
            }
            for i, name in enumerate(self.layers)
        ]


@dataclass(frozen=True, eq=False)
class CostComparison:
    """A network's report beside that of the unpruned network on the same hardware.

    4 of 16 outputs of a full array:

    >>> from cimlab.config.hardware import load_cost_model
    >>> from cimlab.crossbar.geometry import CrossbarGeometry
    >>> from cimlab.crossbar.matrix import CrossbarMatrix
    >>> from cimlab.crossbar.placement import NetworkPlacement, place_dense
    >>> fc, geometry = [CrossbarMatrix("fc", (outputs, 128)) for outputs in (4, 16)], CrossbarGeometry()
    >>> placed = NetworkPlacement(*({"fc": place_dense(matrix, geometry)} for matrix in fc))
    >>> compared = load_cost_model().compare(fc[1:], placed, geometry)
    >>> compared.weights()["compression"], compared.ratios()["images_per_s"], compared.summary()["total"]["steps"]
    (4.0, 4.0, 128.0)
    """

    pruned: HardwareReport
    dense: HardwareReport

    def __repr__(self) -> str:
        """Energy and throughput over those of the unpruned network; `summary` has the rest."""
        ratios = self.ratios()
        shown = ", ".join(f"{n} x {ratios[n]:.4g}" for n in ("energy_j", "images_per_s") if n in ratios)
        return f"CostComparison({shown} of the unpruned network's; pruned={self.pruned}, dense={self.dense})"

    def ratios(self) -> dict[str, float]:
        """Pruned over dense, for every total that the dense network has; a network of nothing has no throughput."""
        own, dense = self.pruned.totals(), self.dense.totals()
        return {name: own[name] / dense[name] for name in own if dense[name] and isfinite(own[name])}

    def weights(self) -> dict[str, int | float]:
        """Weights that take part in a product, as `weight_counts`."""
        beside = self.pruned.off_arrays.weights
        on_arrays, left = (sum(c.weights_left for c in r.counts) for r in (self.dense, self.pruned))
        return weight_counts(on_arrays, left, beside)

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes of the price; what makes its ratios more than pruning's gain, or of unequal chips, comes first."""
        more = self.pruned.total_area_m2 / self.dense.total_area_m2 - 1
        larger = f"the pruned network's chip is {100 * more:.1f} % larger than the unpruned one's: support comes on top"
        return (
            *reload_notes(self.dense.timing, "the unpruned network is "),
            *((larger,) if more > SAME_AREA else ()),
            *self.pruned.notes,
        )

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
            "area_split_m2": self.pruned.area_split_m2,
            "dense_area_split_m2": self.dense.area_split_m2,
            "notes": list(self.notes),
            "sample": self.pruned.off_arrays.sample,
            "tokens": self.pruned.off_arrays.tokens,
            "weight_counts": self.weights(),
            "layers": self.pruned.layer_rows(),
            "off_arrays": self.pruned.off_arrays_rows(),
        }
