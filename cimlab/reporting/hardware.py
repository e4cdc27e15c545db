"""Tables of what a network costs on a chip, from the plain summaries that reports and records hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cimlab.reporting.table import Table

FIGURES = {
    "images_per_s": ("throughput", "images/s"),
    "energy_j": ("energy an image", "J"),
    "dynamic_j": ("of it dynamic", "J"),
    "latency_s": ("latency of a lone image", "s"),
    "lone_energy_j": ("energy of a lone image", "J"),
    "effective_ops_per_s": ("effective operations", "op/s"),
    "raw_ops_per_s": ("operations done", "op/s"),
    "effective_ops_per_j": ("effective efficiency", "op/s/W"),
    "area_m2": ("area, sum of parts", "mm2"),
    "footprint_m2": ("area with layout factor", "mm2"),
    "leakage_w": ("leakage", "W"),
    "support_energy_j": ("of it pruning support", "J"),
    "arrays": ("arrays", ""),
}
"""Totals in the order in which people ask for them: heading and unit."""
PREFIXES = {12: "T", 9: "G", 6: "M", 3: "k", 0: "", -3: "m", -6: "u", -9: "n", -12: "p", -15: "f"}


def quantity(value: float, unit: str) -> str:
    """A number in SI units as people read it.

    >>> quantity(2.25e-3, "J"), quantity(9.94e-5, "mm2"), quantity(0.0, "s"), quantity(7196, "")
    ('2.25 mJ', '99.4 mm2', '0 s', '7,196')
    """
    if unit == "":
        return f"{value:,.0f}"
    if unit == "mm2":
        return f"{value * 1e6:.3g} mm2"
    if value == 0:
        return f"0 {unit}"
    power = next((p for p in PREFIXES if abs(value) >= 10.0**p), min(PREFIXES))
    return f"{value / 10.0**power:.3g} {PREFIXES[power]}{unit}"


def totals_table(summary: Mapping[str, Any], title: str) -> Table:
    """One network: every total, dense and pruned, with their ratio."""
    rows = [
        (
            heading,
            quantity(summary["dense"][name], unit),
            quantity(summary["total"][name], unit),
            _ratio(summary["ratio"].get(name)),
        )
        for name, (heading, unit) in FIGURES.items()
    ]
    return Table.of_texts(("", "dense", "pruned", "ratio"), rows, title)


def area_table(summary: Mapping[str, Any]) -> Table:
    """Where the area of the chip went, in the dense and in the pruned network."""
    dense, own = dict(summary["dense_area_split_m2"]), dict(summary["area_split_m2"])
    support = ("index_memory", "input_selection", "output_alignment")
    for split, parts in ((dense, summary["dense_area_m2"]), (own, summary["area_m2"])):
        split["of it pruning support"] = sum(parts[name] for name in support)
    rows = [
        (
            name,
            *(
                text
                for split in (dense, own)
                for text in (quantity(split[name], "mm2"), _share(split[name], whole))
            ),
        )
        for whole in (sum(summary["area_m2"].values()),)
        for name in own
    ]
    return Table.of_texts(("", "dense", "share", "pruned", "share"), rows, "where the area went")


def area_curve_table(summary: Mapping[str, Any]) -> Table:
    """Throughput and energy over the area of the chip, which both networks get alike."""
    rows = []
    for point in summary["area_curve"]:
        cells = [f"{point['area_over_dense']:.2f}"]
        for name, unit in (("images_per_s", "images/s"), ("energy_j", "J")):
            own, dense = point[name], point[f"dense_{name}"]
            cells += ["does not fit" if dense is None else quantity(dense, unit), quantity(own, unit)]
            cells.append("" if dense is None else f"{own / dense:.3f}")
        rows.append(tuple(cells))
    headings = ("area / dense", "dense images/s", "pruned", "ratio", "dense energy", "pruned", "ratio")
    return Table.of_texts(
        headings, rows, "over the area of the chip (1: the dense network with one copy of each layer)"
    )


def components_table(summary: Mapping[str, Any]) -> Table:
    """Energy and area by component; components that cost nothing are left out."""
    energy, dense, area = summary["energy_j"], summary["dense_energy_j"], summary["area_m2"]
    rows = [
        (
            name.replace("_", " "),
            quantity(dense[name], "J"),
            quantity(energy[name], "J"),
            _share(energy[name], sum(energy.values())),
            quantity(area[name], "mm2") if name in area else "",
            _share(area[name], sum(area.values())) if name in area else "",
        )
        for name in energy
        if energy[name] or dense[name] or area.get(name)
    ]
    return Table.of_texts(("", "dense energy", "energy", "share", "area", "share"), rows, "by component")


def layers_table(summary: Mapping[str, Any]) -> Table:
    """One row a layer: weights left, arrays, copies, time, energy, and what waits for what."""
    headings = ("", "weights left", "arrays", "copies", "time", "energy", "area", "ADCs busy", "arrays busy")
    rows = [
        (
            row["layer"],
            _share(row["weights_left"], row["weights"]),
            f"{row['arrays']:,}",
            str(row["copies"]),
            quantity(row["layer_s"], "s"),
            quantity(row["energy_j"], "J"),
            quantity(row["area_m2"], "mm2"),
            _share(row["adcs_converting"], 1),
            _share(row["array_balance"], 1),
        )
        for row in summary["layers"]
    ]
    return Table.of_texts(headings, rows, "by layer")


def side_by_side_table(summaries: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Table:
    """Several networks or chips: every total, and its ratio to the unpruned network on the same chip."""
    rows = [
        (heading, *(_with_ratio(summary, name, unit) for summary in summaries))
        for name, (heading, unit) in FIGURES.items()
    ]
    rows.append(("technology", *(s["technology"] for s in summaries)))
    rows.append(("ADC", *(f"{s['adc_price']}, {s['adc_bits']} b" for s in summaries)))
    title = "side by side (in brackets: over the unpruned network on the same chip)"
    return Table.of_texts(("", *names), rows, title)


def sensitivity_table(by_model: Mapping[str, Mapping[str, Any] | str]) -> Table:
    """The same network under every ADC price: totals, and the ratios that conclusions rest on."""
    figures = ("energy_j", "dynamic_j", "area_m2", "images_per_s")
    headings = [heading for name in figures for heading in (FIGURES[name][0], "ratio")]
    rows = []
    for name, summary in by_model.items():
        if isinstance(summary, str):
            rows.append((name, summary, *("" for _ in headings)))
            continue
        cells = []
        for figure in figures:
            cells += [
                quantity(summary["total"][figure], FIGURES[figure][1]),
                f"{summary['ratio'][figure]:.3f}",
            ]
        rows.append((name, *cells, _share(summary["energy_j"]["adc"], summary["total"]["dynamic_j"])))
    title = "sensitivity to the ADC price (ratios: over the unpruned network)"
    return Table.of_texts(("", *headings, "ADC in dynamic"), rows, title)


def _with_ratio(summary: Mapping[str, Any], name: str, unit: str) -> str:
    ratio = summary["ratio"].get(name)
    return quantity(summary["total"][name], unit) + ("" if ratio is None else f" ({ratio:.3f})")


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else ""
