"""Tables of what a network costs on a chip, from the plain summaries that reports and records hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isclose, isfinite
from typing import Any

from cimlab.records.components import SUPPORT
from cimlab.reporting.table import Table

FIGURES = {
    "images_per_s": ("throughput", "images/s"),
    "energy_j": ("energy per image", "J"),
    "dynamic_j": ("of it dynamic", "J"),
    "support_energy_j": ("of it pruning support", "J"),
    "latency_s": ("latency of a lone image", "s"),
    "lone_energy_j": ("energy of a lone image", "J"),
    "effective_ops_per_s": ("effective operations", "op/s"),
    "raw_ops_per_s": ("operations of kept weights", "op/s"),
    "effective_ops_per_j": ("effective efficiency", "op/s/W"),
    "area_m2": ("area, sum of parts", "mm2"),
    "footprint_m2": ("area with layout factor", "mm2"),
    "leakage_w": ("leakage", "W"),
    "arrays": ("arrays of all copies", ""),
    "steps": ("array steps per image", ""),
    "programming_j": ("programming once: energy", "J"),
    "programming_s": ("programming once: time, all arrays at once", "s"),
}
"""Totals in the order in which people ask for them: heading and unit, of an image."""
WORK = (("weights", "weights"), ("weights_left", "weights"), ("macs", "macs"), ("macs_left", "macs"))
"""Figures of a layer, and what stands for them off the arrays, where nothing is pruned."""
PREFIXES = {12: "T", 9: "G", 6: "M", 3: "k", 0: "", -3: "m", -6: "µ", -9: "n", -12: "p", -15: "f"}


def quantity(value: float, unit: str) -> str:
    """A number in SI units as people read it.

    >>> quantity(2.25e-3, "J"), quantity(9.94e-5, "mm2"), quantity(0.0, "s"), quantity(7196, "")
    ('2.25 mJ', '99.4 mm2', '0 s', '7,196')
    """
    (text,) = quantities((value,), unit)
    return text


def quantities(values: Iterable[float | None], unit: str) -> tuple[str, ...]:
    """Numbers that are compared, of a row or a column: of one prefix, wherever it leaves each of them three decimals.

    It is the greatest one's, or the next smaller; a number too small for both has its own. None is left blank.

    >>> quantities((1.28e-6, 209e-9, 0.0, None), "J")
    ('1.28 µJ', '0.209 µJ', '0 µJ', '')
    >>> quantities((1.83e-3, 0.41e-6), "J"), quantities((1.0, 2e-9), "J")
    (('1,830 µJ', '0.41 µJ'), ('1 J', '2 nJ'))
    """
    values = tuple(values)
    if unit == "":
        return tuple("" if value is None else f"{value:,.0f}" for value in values)
    if unit == "mm2":
        return tuple("" if value is None else f"{value * 1e6:.3g} mm2" for value in values)
    sizes = [abs(value) for value in values if value and isfinite(value)]
    shared = _power(max(sizes, default=1.0))
    least = min(sizes, default=1.0)
    if not _readable(least, shared) and _readable(least, shared - 3):
        shared -= 3
    return tuple("" if value is None else _written(value, unit, shared) for value in values)


def _written(value: float, unit: str, shared: int) -> str:
    """With the shared prefix, or with its own if that makes it too small."""
    power = shared if not value or _readable(value, shared) else _power(abs(value))
    return f"{float(f'{value / 10.0**power:.3g}'):,.10g} {PREFIXES[power]}{unit}"


def _power(size: float) -> int:
    """Of the prefix that a number has when it stands alone."""
    return next((p for p in PREFIXES if float(f"{size:.3g}") >= 10.0**p), min(PREFIXES))


def _readable(value: float, power: int) -> bool:
    return power in PREFIXES and abs(value) >= 1e-3 * 10.0**power


def alike(rows: Iterable[Sequence[float | None]], unit: str) -> list[tuple[str, ...]]:
    """Columns side by side that are compared, as `quantities`; a tuple a row."""
    rows = list(rows)
    texts = iter(quantities((value for row in rows for value in row), unit))
    return [tuple(next(texts) for _ in row) for row in rows]


def component(name: str) -> str:
    """A component of the hardware model in words.

    >>> component("shift_add"), component("adc")
    ('shift add', 'ADC')
    """
    return "ADC" if name == "adc" else name.replace("_", " ")


def of_sample(summary: Mapping[str, Any]) -> str:
    """What energies and times are of: an image, or something else with its article."""
    sample = summary.get("sample", "image")
    return "an image" if sample == "image" else f"a {sample}"


def figure(name: str, summary: Mapping[str, Any]) -> tuple[str, str]:
    """Heading and unit of a total, of what the network's samples are.

    >>> figure("energy_j", {"sample": "sequence of 16 tokens"})
    ('energy per sequence of 16 tokens', 'J')
    """
    (heading, unit), sample = FIGURES[name], summary.get("sample", "image")
    if sample != "image":
        heading = heading.replace("per image", f"per {sample}").replace(
            "lone image", f"lone {sample.split()[0]}"
        )
        unit = unit.replace("image", sample.split()[0])
    return heading, unit


def totals_table(summary: Mapping[str, Any], title: str) -> Table:
    """One network: every total, dense and pruned, with their ratio."""
    both, weights = (summary["dense"], summary["total"]), summary["weight_counts"]
    loose = any(own["footprint_m2"] != own["area_m2"] for own in both)
    lines = [
        (*figure(name, summary), [own[name] for own in both], summary["ratio"].get(name))
        for name in FIGURES
        if loose or name != "footprint_m2"
    ]
    if tokens := summary.get("tokens"):
        each = [own["energy_j"] / tokens for own in both]
        lines.insert(1, ("energy per token", "J", each, summary["ratio"].get("energy_j")))
    lines.append(("weights", "", [weights["total"], weights["left"]], weights["remaining_all"]))
    joules = iter(alike((pair for _, unit, pair, _ in lines if unit == "J"), "J"))
    rows = [
        (heading, *(next(joules) if unit == "J" else quantities(pair, unit)), _ratio(ratio))
        for heading, unit, pair, ratio in lines
    ]
    return Table.of_texts(("", "dense", "pruned", "ratio"), rows, title)


def work_table(summary: Mapping[str, Any]) -> Table:
    """Weights, multiply-accumulates and energy, on the arrays and off them."""
    off = summary["off_arrays"]
    kinds = dict.fromkeys(row["component"] for row in off)
    rows, joules = [], []
    for kind in ("", *kinds):
        own = [row for row in off if row["component"] == kind] if kind else summary["layers"]
        numbers = [sum(row.get(key, row[whole]) for row in own) for key, whole in WORK]
        joules.append(
            [
                sum(part for name, part in parts.items() if name == kind or not (kind or name in kinds))
                for parts in (summary["dense_energy_j"], summary["energy_j"])
            ]
        )
        rows.append((kind.replace("_", " ") or "on arrays", *quantities(numbers, "")))
    rows = [(*row, *texts) for row, texts in zip(rows, alike(joules, "J"), strict=True)]
    headings = ("", "weights", "left", "multiply-accumulates", "left", "dense energy", "pruned")
    return Table.of_texts(headings, rows, f"on the arrays and off them, per {summary.get('sample', 'image')}")


def area_table(summary: Mapping[str, Any]) -> Table:
    """Where the area of the chip went, in the dense and in the pruned network."""
    dense, own = dict(summary["dense_area_split_m2"]), dict(summary["area_split_m2"])
    for split, parts in ((dense, summary["dense_area_m2"]), (own, summary["area_m2"])):
        split["of it pruning support"] = sum(parts[name] for name in SUPPORT)
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
    rows, (_, rate) = [], figure("images_per_s", summary)
    chip = summary.get("chip_over_dense")
    names = ("images_per_s", "energy_j")
    texts = [
        alike(([point[f"dense_{name}"], point[name]] for point in summary["area_curve"]), unit)
        for name, unit in zip(names, (rate, "J"), strict=True)
    ]
    for point, *pairs in zip(summary["area_curve"], *texts, strict=True):
        over = point["area_over_dense"]
        marks = {"one dense copy": 1.0, "this chip": chip or 0.0}
        mark = "".join(f"{said} " for said, where in marks.items() if isclose(over, where))
        cells = [f"{mark}{over:.2f}"]
        for name, (dense_text, own_text) in zip(names, pairs, strict=True):
            own, dense = point[name], point[f"dense_{name}"]
            cells += [dense_text or "does not fit", own_text]
            cells.append("" if dense is None or own is None else f"{own / dense:.3f}")
        rows.append(tuple(cells))
    headings = ("area / dense", f"dense {rate}", "pruned", "ratio", "dense energy", "pruned", "ratio")
    this = "" if chip is None else f"; the first table's chip: {chip:.2f}"
    title = f"over the area of the chip (1: the dense network with one copy of each layer{this})"
    return Table.of_texts(headings, rows, title)


def components_table(summary: Mapping[str, Any]) -> Table:
    """Energy and area by component; components that cost nothing are left out."""
    energy, dense, area = summary["energy_j"], summary["dense_energy_j"], summary["area_m2"]
    names = [name for name in energy if energy[name] or dense[name] or area.get(name)]
    joules = alike(((dense[name], energy[name]) for name in names), "J")
    rows = [
        (
            component(name),
            *texts,
            _share(energy[name], sum(energy.values())),
            quantity(area[name], "mm2") if name in area else "",
            _share(area[name], sum(area.values())) if name in area else "",
        )
        for name, texts in zip(names, joules, strict=True)
    ]
    headings = ("", "dense energy", "pruned", "share", "area", "share")
    return Table.of_texts(headings, rows, "by component; area and shares are the pruned network's")


def layers_table(summary: Mapping[str, Any]) -> Table:
    """One row per layer: weights left, arrays, copies, time, energy, what waits for what; then all off the arrays."""
    headings = ("", "weights left", "arrays", "copies", "time", "energy", "area", "ADCs busy", "arrays busy")
    layers, beside = summary["layers"], summary.get("off_arrays", ())
    times = quantities((row["layer_s"] for row in layers), "s")
    energies = iter(quantities((row["energy_j"] for row in (*layers, *beside)), "J"))
    rows = [
        (
            row["layer"],
            _share(row["weights_left"], row["weights"]),
            f"{row['arrays']:,}",
            str(row["copies"]),
            time,
            next(energies),
            quantity(row["area_m2"], "mm2"),
            _share(row["adcs_converting"], 1),
            _share(row["array_balance"], 1),
        )
        for row, time in zip(layers, times, strict=True)
    ]
    for row in beside:
        left, where = _share(row["weights"], row["weights"]), row["component"].replace("_", " ")
        rows.append((row["name"], left, where, "", "", next(energies), "", "", ""))
    return Table.of_texts(headings, rows, "by layer, of the pruned network")


def sensitivity_table(by_model: Mapping[str, Mapping[str, Any] | str]) -> Table:
    """The same network under every ADC price: totals, and the ratios that conclusions rest on."""
    figures = ("energy_j", "dynamic_j", "area_m2", "images_per_s")
    headings = [heading for name in figures for heading in (FIGURES[name][0], "ratio")]
    priced = [summary for summary in by_model.values() if not isinstance(summary, str)]
    texts = {
        figure: iter(quantities((own["total"][figure] for own in priced), FIGURES[figure][1]))
        for figure in figures
    }
    rows = []
    for name, summary in by_model.items():
        if isinstance(summary, str):
            rows.append((name, summary, *("" for _ in headings)))
            continue
        cells = []
        for figure in figures:
            cells += [next(texts[figure]), f"{summary['ratio'][figure]:.3f}"]
        rows.append((name, *cells, _share(summary["energy_j"]["adc"], summary["total"]["dynamic_j"])))
    title = "sensitivity to the ADC price (ratios: over the unpruned network)"
    return Table.of_texts(("", *headings, "ADC in dynamic"), rows, title)


def answer(summary: Mapping[str, Any], weights: str) -> str:
    """The two ratios that people ask for first, and what they are of, in one line.

    >>> answer({"ratio": {"images_per_s": 3.2, "energy_j": 0.281}, "chip_over_dense": 2.0}, "of run a")
    'of run a: 3.2 x the throughput and 0.281 x the energy of the unpruned network, at equal area (2 x its smallest)'

    Args:
        summary: of the priced network.
        weights: what its ratios are of.
    """
    names = {"images_per_s": "throughput", "energy_j": "energy"}
    told = [
        f"{summary['ratio'][name]:.3g} x the {said}"
        for name, said in names.items()
        if name in summary["ratio"]
    ]
    over = summary.get("chip_over_dense")
    area = "" if over is None else f" ({over:.3g} x its smallest)"
    return f"{weights}: {' and '.join(told)} of the unpruned network, at equal area{area}"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else ""
