"""Tables and figures of what a network costs on a chip, from the plain summaries that reports and records hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from cimlab.reporting.figures import PALETTE

FIGURES = {
    "energy_j": ("energy an image", "J"),
    "dynamic_j": ("of it dynamic", "J"),
    "latency_s": ("latency", "s"),
    "images_per_s": ("throughput", "images/s"),
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
    table = _table(title, ("dense", "pruned", "ratio"))
    for name, (heading, unit) in FIGURES.items():
        ratio = summary["ratio"].get(name)
        table.add_row(
            heading,
            quantity(summary["dense"][name], unit),
            quantity(summary["total"][name], unit),
            "" if ratio is None else f"{ratio:.3f}",
        )
    return table


def components_table(summary: Mapping[str, Any]) -> Table:
    """Energy and area by component; components that cost nothing are left out."""
    table = _table("by component", ("dense energy", "energy", "share", "area", "share"))
    energy, dense, area = summary["energy_j"], summary["dense_energy_j"], summary["area_m2"]
    for name in energy:
        if energy[name] or dense[name] or area.get(name):
            table.add_row(
                name.replace("_", " "),
                quantity(dense[name], "J"),
                quantity(energy[name], "J"),
                _share(energy[name], sum(energy.values())),
                quantity(area[name], "mm2") if name in area else "",
                _share(area[name], sum(area.values())) if name in area else "",
            )
    return table


def layers_table(summary: Mapping[str, Any]) -> Table:
    """One row a layer: weights left, arrays, copies, time, energy, and what waits for what."""
    table = _table(
        "by layer", ("weights left", "arrays", "copies", "time", "energy", "area", "ADCs busy", "arrays busy")
    )
    for row in summary["layers"]:
        table.add_row(
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
    return table


def side_by_side_table(summaries: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Table:
    """Several networks or chips: every total, and its ratio to the unpruned network on the same chip."""
    table = _table("side by side (in brackets: over the unpruned network on the same chip)", tuple(names))
    for name, (heading, unit) in FIGURES.items():
        cells = []
        for summary in summaries:
            ratio = summary["ratio"].get(name)
            cells.append(
                quantity(summary["total"][name], unit) + ("" if ratio is None else f" ({ratio:.3f})")
            )
        table.add_row(heading, *cells)
    table.add_row("technology", *(s["technology"] for s in summaries))
    table.add_row("ADC", *(f"{s['adc_price']}, {s['adc_bits']} b" for s in summaries))
    return table


def sensitivity_table(by_model: Mapping[str, Mapping[str, Any] | str]) -> Table:
    """The same network under every ADC price: totals, and the ratios that conclusions rest on."""
    figures = ("energy_j", "dynamic_j", "area_m2", "images_per_s")
    headings = [heading for name in figures for heading in (FIGURES[name][0], "ratio")]
    table = _table(
        "sensitivity to the ADC price (ratios: over the unpruned network)", (*headings, "ADC in dynamic")
    )
    for name, summary in by_model.items():
        if isinstance(summary, str):
            table.add_row(name, summary)
            continue
        cells = []
        for figure in figures:
            cells += [
                quantity(summary["total"][figure], FIGURES[figure][1]),
                f"{summary['ratio'][figure]:.3f}",
            ]
        table.add_row(name, *cells, _share(summary["energy_j"]["adc"], summary["total"]["dynamic_j"]))
    return table


def components_figure(summary: Mapping[str, Any], path: Path) -> Path:
    """Stacked bars: energy by layer and component, and energy and area of the whole, dense beside pruned."""
    plt = _pyplot()
    layers = summary["layers"]
    shown = [n for n in summary["energy_j"] if summary["energy_j"][n] > 0.01 * summary["total"]["energy_j"]]
    figure, (by_layer, whole, area) = plt.subplots(
        1, 3, figsize=(13, 4.2), width_ratios=(3, 1, 1), layout="constrained"
    )
    rows = [{n: row[f"energy_j/{n}"] for n in summary["energy_j"]} for row in layers]
    of_area = [n for n in summary["area_m2"] if summary["area_m2"][n] > 0.01 * summary["total"]["area_m2"]]
    looks = _looks([*shown, *(n for n in of_area if n not in shown)])
    _stack(by_layer, rows, shown, [row["layer"] for row in layers], looks)
    _stack(whole, [summary["dense_energy_j"], summary["energy_j"]], shown, ["dense", "pruned"], looks)
    _stack(area, [summary["dense_area_m2"], summary["area_m2"]], of_area, ["dense", "pruned"], looks)
    by_layer.set_ylabel("energy an image (uJ)")
    whole.set_ylabel("energy an image (uJ)")
    area.set_ylabel("area, sum of parts (mm$^2$)")
    by_layer.tick_params(axis="x", rotation=90, labelsize=7)
    named = {
        label: bar
        for axes in (by_layer, area)
        for bar, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(list(named.values()), list(named), loc="outside right center", frameon=False, fontsize=8)
    figure.suptitle(
        f"{summary['technology']}, ADC {summary['adc_price']} {summary['adc_bits']} b", fontsize=9
    )
    return _saved(figure, path)


def placement_figure(
    executed: np.ndarray, groups_per_array: int, steps_per_array: int, title: str, path: Path
) -> Path:
    """Where a layer's steps are: one cell a (row group, step), dark where it is executed, white where skipped.

    Args:
        executed: bool [row groups, steps] of one layer.
        groups_per_array, steps_per_array: where one array ends and the next begins.
        title: the layer.
        path: the file.
    """
    plt = _pyplot()
    groups, steps = executed.shape
    figure, axes = plt.subplots(
        figsize=(min(12, 3 + steps / 24), min(9, 2 + groups / 24)), layout="constrained"
    )
    axes.imshow(executed, cmap="Blues", vmin=0, vmax=1.4, aspect="auto", interpolation="nearest")
    for edge in range(groups_per_array, groups, groups_per_array):
        axes.axhline(edge - 0.5, color="#D55E00", lw=0.6)
    for edge in range(steps_per_array, steps, steps_per_array):
        axes.axvline(edge - 0.5, color="#D55E00", lw=0.6)
    axes.set_xlabel("step (operation units across; lines are array edges)")
    axes.set_ylabel("row group")
    skipped = 1 - executed.mean()
    axes.set_title(f"{title}: {100 * skipped:.1f} % of {executed.size:,} steps skipped", fontsize=9)
    return _saved(figure, path)


def _looks(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """The same colour and hatch for a component in every panel."""
    return {
        name: {"color": PALETTE[i % len(PALETTE)], "hatch": "//" * (i // len(PALETTE))}
        for i, name in enumerate(names)
    } | {"others": {"color": "0.7", "hatch": ""}}


def _stack(
    axes: Any,
    rows: Sequence[Mapping[str, float]],
    shown: Sequence[str],
    labels: list[str],
    looks: Mapping[str, Mapping[str, str]],
) -> None:
    """Bars of the shown components, and of all others together, so that heights are totals; J as uJ, m2 as mm2."""
    bottom = np.zeros(len(rows))
    place = np.arange(len(rows))
    parts = {n: 1e6 * np.array([row[n] for row in rows]) for n in shown}
    parts["others"] = 1e6 * np.array([sum(row.values()) for row in rows]) - sum(parts.values())
    for name, values in parts.items():
        axes.bar(place, values, bottom=bottom, label=name.replace("_", " "), **looks[name])
        bottom += values
    axes.set_xticks(place, labels)
    axes.spines[["top", "right"]].set_visible(False)


def _table(title: str, headings: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else ""


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def _saved(figure: Any, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    _pyplot().close(figure)
    return path
