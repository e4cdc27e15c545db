"""The cost model against published designs: prints every figure with its error, and writes the table into README.md.

    python experiments/validation/validate.py

Published figures, their sources and the reasons for what is off stand in published.yaml beside this file.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isqrt
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from cimlab.config.hardware import load_cost_model, load_geometry
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix, network_matrices
from cimlab.crossbar.placement import place_dense
from cimlab.hardware.actions import PlacedLayer, action_counts
from cimlab.hardware.activity import ActivityFactors
from cimlab.hardware.floor_plan import FloorPlan
from cimlab.hardware.peak import Peak, peak
from cimlab.hardware.report import HardwareReport
from cimlab.hardware.technology import ACTIONS
from cimlab.hardware.transport import Transport, transport
from cimlab.models.vgg import vgg8

FOLDER = Path(__file__).parent
NEUROSIM_LEVEL = 0.5
"""Mean cell value of NeuroSim's measured state (conf/technology/neurosim22_rram.yaml, device.reference_level)."""
NEUROSIM_ENERGIES = {
    "ADC and array": ("adc", "cells"),
    "accumulation": ("shift_add", "partial_sum_adder"),
    "other": ("wordline_driver", "column_mux", "interconnect", "input_buffer", "activation"),
    "other, interconnect": ("interconnect",),
    "other, buffers": ("input_buffer",),
}
"""The groups of components in which NeuroSim reports a chip's energy."""


@dataclass(frozen=True)
class Row:
    """One figure: published, ours, and how far apart they may be (None: reported, not tested).

    Prices in conf/technology were taken from those that set prices: they check arithmetic, not the model.
    """

    case: str
    figure: str
    unit: str
    published: float
    ours: float
    tolerance: float | None
    note: str
    sets_prices: bool = False

    @property
    def error(self) -> float:
        """Relative error of our figure."""
        return self.ours / self.published - 1


def published() -> dict[str, Any]:
    """The content of published.yaml."""
    content = OmegaConf.to_container(OmegaConf.load(FOLDER / "published.yaml"))
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def isaac_peaks() -> dict[str, Peak]:
    """One IMA, one tile and the chip of ISAAC at full load."""
    model = load_cost_model("isaac32", "isaac_table", "isaac")
    geometry = replace(load_geometry("isaac"), adc_bits=8)  # ISAAC's flip encoding saves the ninth bit
    return {
        "IMA": peak(model, geometry, arrays=8),
        "tile": peak(model, geometry, arrays=96, tiles=1),
        "chip": peak(model, geometry, arrays=96 * 168, tiles=168, links=1),
    }


def isaac() -> dict[str, float]:
    """Figures of case `isaac`, in the units of published.yaml."""
    ima, tile, chip = isaac_peaks().values()
    return {
        "IMA power": ima.total_power_w * 1e3,
        "IMA area": ima.total_area_m2 * 1e12,
        "tile power": tile.total_power_w * 1e3,
        "tile area": tile.total_area_m2 * 1e6,
        "chip power": chip.total_power_w,
        "chip area": chip.total_area_m2 * 1e6,
        "chip throughput": chip.ops_per_s * 1e-12,
        "chip efficiency": chip.ops_per_s / chip.total_power_w * 1e-9,
        "chip density": chip.ops_per_s / chip.total_area_m2 * 1e-15,
        "tile efficiency": tile.ops_per_s / tile.total_power_w * 1e-9,
        "tile density": tile.ops_per_s / tile.total_area_m2 * 1e-15,
    }


def isaac_cycle() -> dict[str, float]:
    """Energy of an IMA per 100 ns cycle, in pJ."""
    return {name: power * 100e-9 * 1e12 for name, power in isaac_peaks()["IMA"].power_w.items()}


def neurosim_parts(parallel_rows: int, adc_bits: int) -> dict[str, float]:
    """Energy of one 128 x 128 sub-array for one input bit, half of the rows on, in pJ by NeuroSim's parts."""
    geometry = CrossbarGeometry(
        active_rows=parallel_rows, cell_bits=1, signed_encoding="offset", input_bits=1, adc_bits=adc_bits
    )
    matrix = CrossbarMatrix("sub-array", (geometry.logical_cols, 128))
    model = load_cost_model("neurosim22_rram", "sar")
    layer = PlacedLayer(matrix, place_dense(matrix, geometry), ActivityFactors(0.5, NEUROSIM_LEVEL))
    energy = model.report([layer], geometry).energy_by_component
    adc_s = model.prices.adc_figures(geometry).latency_s
    actions = action_counts([layer], geometry, model.chip, model.technology.device, adc_s, adc_bits)[0]
    wordline = model.technology.components["cells"].energy_j["active_row"].value
    wordline_j = float(actions[ACTIONS.index("active_row")]) * wordline
    return {
        "SAR with column current": (energy["adc"] + energy["cells"] - wordline_j) * 1e12,
        "wordline": wordline_j * 1e12,
        "drivers": energy["wordline_driver"] * 1e12,
        "mux and decoder": energy["column_mux"] * 1e12,
        "shift-add": energy["shift_add"] * 1e12,
    }


def neurosim_subarray() -> dict[str, float]:
    """Figures of case `neurosim_subarray`."""
    parts = neurosim_parts(parallel_rows=128, adc_bits=5)
    return {"total": sum(parts.values()), **parts}


def neurosim_rows() -> dict[str, float]:
    """Figures of case `neurosim_rows`."""
    return {f"{rows} rows": sum(neurosim_parts(rows, adc_bits=6).values()) for rows in (128, 64, 32, 16, 8)}


def neurosim_chip_report(case: dict[str, Any], parallel_rows: int = 128) -> tuple[HardwareReport, int]:
    """VGG8 on NeuroSim's chip, and its operations.

    Eight columns of one bit hold a weight, and nothing takes the offset out again. NeuroSim feeds the windows that lie
    inside an image, (H - 2)^2 of a 3 x 3 kernel, but plans copies and counts operations for all H^2.
    """
    model = load_cost_model("neurosim22_chip", "sar", "neurosim")
    geometry = CrossbarGeometry(
        active_rows=parallel_rows, cell_bits=1, signed_encoding="twos_complement", adc_bits=5
    )
    whole = network_matrices(vgg8(num_classes=10, in_channels=3), (3, 32, 32))
    plan = model.chip.floor_plan
    assert plan is not None
    planned = replace(plan, copies=tuple(plan_tiles(whole, geometry, plan).copies.tolist()))
    model = replace(model, chip=replace(model.chip, floor_plan=planned))
    inside = [replace(m, products=(isqrt(m.products) - 2) ** 2) if m.kernel_size > 1 else m for m in whole]
    activity = ActivityFactors(case["input_density"], case["cell_level"])
    layers = [PlacedLayer(m, place_dense(m, geometry), activity) for m in inside]
    report = model.report(layers, geometry, model.chip_area_m2(layers, geometry))
    return report, 2 * sum(m.weights * m.products for m in whole)


def plan_tiles(matrices: Sequence[CrossbarMatrix], geometry: CrossbarGeometry, plan: FloorPlan) -> Transport:
    """Copies and tiles of unpruned layers on a floor plan."""
    layers = [PlacedLayer(m, place_dense(m, geometry), ActivityFactors()) for m in matrices]
    return transport(layers, geometry, plan, array_m=1e-3)


def neurosim_chip(case: dict[str, Any]) -> dict[str, float]:
    """Figures of case `neurosim_chip`."""
    report, operations = neurosim_chip_report(case)
    energy = report.energy_by_component
    cycles = 8 * 8  # input bits x columns per ADC
    return {
        "area": report.footprint_m2 * 1e6,
        "sum of parts": report.total_area_m2 * 1e6,
        "clock": float(report.timing.product_s[0]) / cycles * 1e9,
        "images per second": report.timing.images_per_s,
        "throughput": operations * report.timing.images_per_s * 1e-12,
        "efficiency": operations / report.total_energy_j / case["post_layout"] * 1e-12,
        "energy": report.total_dynamic_j * 1e6,
        **{name: sum(energy[part] for part in parts) * 1e6 for name, parts in NEUROSIM_ENERGIES.items()},
    }


def neurosim_vgg8(case: dict[str, Any]) -> dict[str, float]:
    """Figures of case `neurosim_vgg8`: the chip of `neurosim_chip` that reads fewer rows at once."""
    figures = {}
    for rows in (32, 64):
        report, operations = neurosim_chip_report(case, rows)
        figures |= {
            f"{rows} rows area": report.footprint_m2 * 1e6,
            f"{rows} rows throughput": operations * report.timing.images_per_s * 1e-12,
            f"{rows} rows efficiency": operations / report.total_energy_j / case["post_layout"] * 1e-12,
        }
    return figures


def neurram_bits(case: dict[str, Any]) -> dict[str, float]:
    """Figures of case `neurram_bits`: energy per multiply-accumulate by bits, over that of 6-bit output, 4-bit input.

    A signed input of b bits takes b - 1 cycles of ternary pulses; every column has a converter of its own.
    """
    model = load_cost_model("neurosim22_rram", "sar")

    def energy_j(output_bits: int, input_bits: int) -> float:
        geometry = CrossbarGeometry(
            rows=256, cols=256, active_rows=256, columns_per_adc=1, weight_bits=4, cell_bits=3,
            input_bits=input_bits - 1, adc_bits=output_bits,
        )  # fmt: skip
        matrix = CrossbarMatrix("core", (geometry.logical_cols, 256))
        report = model.report(
            [PlacedLayer(matrix, place_dense(matrix, geometry), ActivityFactors())], geometry
        )
        energy = report.energy_by_component
        return sum(energy[name] for name in ("cells", "wordline_driver", "column_mux", "adc", "shift_add"))

    base = energy_j(6, 4)
    bits = [tuple(map(int, key.split("/"))) for key in case["efficiency_tops_per_w"] if key != "6/4"]
    return {f"energy at {o}-bit output and {i}-bit input": energy_j(o, i) / base for o, i in bits}


def rows() -> list[Row]:
    """Every published figure beside ours."""
    cases = published()
    ours = {
        "isaac": isaac(),
        "isaac_cycle": isaac_cycle(),
        "neurosim_subarray": neurosim_subarray(),
        "neurosim_rows": neurosim_rows(),
        "neurosim_chip": neurosim_chip(cases["neurosim_chip"]),
        "neurosim_vgg8": neurosim_vgg8(cases["neurosim_vgg8"]),
        "neurram_bits": neurram_bits(cases["neurram_bits"]),
    }
    found = []
    for name, case in cases.items():
        for figure, entry in case["figures"].items():
            tolerance = case.get("tolerance")
            if figure != "total":
                tolerance = case.get("part_tolerance", tolerance)
            note = case["notes"][entry["note"]] if "note" in entry else ""
            sets = entry.get("sets_prices", case.get("sets_prices", False))
            found.append(
                Row(name, figure, entry["unit"], entry["value"], ours[name][figure], tolerance, note, sets)
            )
    return found


def markdown(found: list[Row]) -> str:
    """The table of README.md, with the reasons for what is off below it."""
    lines = [
        "| case | figure | published | cimlab | error | allowed | sets prices |",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    cases = published()
    for row in found:
        allowed = "reported" if row.tolerance is None else f"{100 * row.tolerance:g} %"
        lines.append(
            f"| {cases[row.case]['title']} | {row.figure} | {row.published:g} {row.unit} | {row.ours:.4g} {row.unit} | "
            f"{100 * row.error:+.1f} % | {allowed} | {'yes' if row.sets_prices else 'no'} |"
        )
    lines += ["", "Sources:", ""]
    lines += [f"- {case['title']}: {case['source']}" for case in cases.values()]
    lines += ["", "Why the figures that are reported, not tested, are off:", ""]
    for note in dict.fromkeys(row.note for row in found if row.note):
        concerned = ", ".join(row.figure for row in found if row.note == note)
        lines.append(f"- {concerned}: {note}")
    return "\n".join(lines) + "\n"


BEGIN, END = "<!-- written by validate.py -->\n", "<!-- end -->\n"


def readme(found: list[Row], before: str) -> str:
    """README.md with its table made anew."""
    head, rest = before.split(BEGIN)
    return head + BEGIN + markdown(found) + END + rest.split(END)[1]


def main() -> None:
    """Print the table and write it into README.md."""
    found = rows()
    print(markdown(found))
    path = FOLDER / "README.md"
    path.write_text(readme(found, path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    main()
