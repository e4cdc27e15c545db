"""One run in detail: its numbers, loss by epoch, what is left of each layer, and which weights are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from cimlab.records.history import HISTORY_FILE, read_rows
from cimlab.records.masks import StoredMask, read_masks
from cimlab.records.record import RECORD_FILE, RecordError, RunRecord
from cimlab.reporting.chart import chart, share
from cimlab.reporting.dashboard.chosen import REFRESH_S, kept_choice
from cimlab.reporting.dashboard.draw import draw, plain, values
from cimlab.reporting.hardware import component
from cimlab.reporting.plots import mask_plot, paired_bars
from cimlab.reporting.priced import Price, cost, priced_by
from cimlab.reporting.studies import geometry_of


def show_run(runs: pd.DataFrame, price: Price) -> None:
    """Follows a run that is under way."""
    if runs.empty:
        st.info("No run among those chosen.")
        return
    known = runs.set_index("place")
    place = kept_choice("run", "run", known.index.tolist())
    file, state = Path(known["file"][place]), known["state"][place]
    st.text(state)

    @st.fragment(run_every=REFRESH_S if state == "running" else None)
    def details() -> None:
        try:
            record = price(RunRecord.read(file), file)
        except RecordError as problem:
            st.text(f"layers and energy are known when the run is done: {problem}")
            record = None
        else:
            show_numbers(record)
        show_history(file)
        if record is not None:
            show_layers(record)
            show_masks(record, file)

    details()


def show_numbers(record: RunRecord) -> None:
    """Accuracy before and after, and what the network became."""
    numbers = {
        f"{name} accuracy": f"{100 * values['test']:.2f} %" for name, values in record.accuracy.items()
    }
    numbers["compression"] = f"{record.weights['compression']:.1f} x"
    ratios = record.hardware["ratio"] | record.hardware.get("cost", {}).get("ratio", {})
    for name, title in (("steps", "steps left"), ("energy_j", "energy left"), ("latency_s", "latency left")):
        if name in ratios:
            numbers[title] = f"{100 * ratios[name]:.1f} %"
    with st.container(horizontal=True):
        for name, text in numbers.items():
            st.metric(plain(name), text, width="content")


def history(file: Path) -> pd.DataFrame:
    """Loss and accuracy by epoch, which are kept in a run's own folder alone."""
    return pd.DataFrame(read_rows(file.with_name(HISTORY_FILE)) if file.name == RECORD_FILE else [])


def show_history(file: Path) -> None:
    """Loss and accuracy by epoch."""
    found = history(file)
    if found.empty:
        st.text(NO_HISTORY if file.name != RECORD_FILE else "No retraining epoch of this run is done yet.")
        return
    for column, word in zip(st.columns(2), ("loss", "accuracy"), strict=True):
        fields = [name for name in found if name.startswith(f"{word}/")]
        long = found.melt("epoch", fields, "metric", word)
        encoding = {
            "x": {"field": "epoch", "type": "quantitative", "axis": {"tickMinStep": 1}},
            "y": {"field": word, "type": "quantitative", "scale": {"zero": False}},
            "color": {"field": "metric", "type": "nominal", "legend": {"orient": "top", "title": None}},
        }
        with column:
            draw(chart(values(long), height=260, mark={"type": "line", "point": True}, encoding=encoding))


NO_HISTORY = "no curves of training: epochs are kept in a run's own folder, not beside a committed record"


def show_layers(record: RunRecord) -> None:
    """Weights and steps left, layer by layer, and energy by component."""
    rows = layer_rows(record)
    layers = list(dict.fromkeys(row["layer"] for row in rows))
    axis = {"labelAngle": -40, "labelLimit": 160, "labelOverlap": True}
    label = {"x": {"field": "layer", "type": "nominal", "sort": layers, "title": None, "axis": axis}}
    value = {"y": share("fraction", "left") | {"scale": {"domain": [0, 1]}}}
    draw(paired_bars(rows, value, label, "of", ["weights", "steps"], "left of each layer") | {"height": 380})
    priced = cost(record)
    if priced:
        show_energy(priced)
    else:
        st.text(f"energy by component: not run: {record.hardware.get('unpriced', '')}")


def show_energy(priced: dict[str, Any]) -> None:
    """Energy of an image by component, beside the unpruned network's."""
    dense, pruned = priced["dense_energy_j"], priced["energy_j"]
    rows = [
        {"component": component(name), "energy (µJ)": 1e6 * joules, "network": network}
        for network, parts_of in (("dense", dense), ("pruned", pruned))
        for name, joules in parts_of.items() if joules
    ]  # fmt: skip
    order = [component(name) for name in sorted(dense, key=dense.get, reverse=True)]
    axis = {"labelLimit": 200}
    label = {"y": {"field": "component", "type": "nominal", "sort": order, "title": None, "axis": axis}}
    value = {"x": {"field": "energy (µJ)", "type": "quantitative"}}
    title = "energy of an image by component"
    draw(paired_bars(rows, value, label, "network", ["pruned", "dense"], title) | {"height": {"step": 11}})
    st.caption(plain(f"Energy by {priced_by(priced)}."))


def layer_rows(record: RunRecord) -> list[dict[str, Any]]:
    """The fractions of every layer's weights and steps that are left."""
    rows = []
    for name, counts in record.hardware["layers"].items():
        steps = counts["steps"] / counts["dense_steps"] if counts["dense_steps"] else 0.0
        left = {"weights": counts["weights_left"] / counts["weights"], "steps": steps}
        rows += [{"layer": name, "of": what, "fraction": fraction} for what, fraction in left.items()]
    return rows


def show_masks(record: RunRecord, file: Path) -> None:
    """Which weights of a layer are left, as they lie on the arrays."""
    if record.unpriceable:
        st.text(f"masks: none: {record.unpriceable}")
        return
    try:
        masks = read_masks(file, record.masks_sha256)
    except RecordError as problem:
        st.text(f"masks: {problem}")
        return
    names = [own["name"] for own in record.layers]
    pruned = [name for name in names if masks.get(name, StoredMask()).kept is not None]
    layer = kept_choice("layer", "masks of layer", [*pruned, *(name for name in names if name not in pruned)])
    kept = masks.get(layer, StoredMask()).by_weight()
    if kept is None:
        st.text("this layer is whole: nothing of it was pruned")
        return
    group = int(st.number_input("group", 0, len(kept) - 1, key="group")) if len(kept) > 1 else 0
    geometry = geometry_of(record)
    title = f"{layer}, group {group}" if len(kept) > 1 else layer
    draw(mask_plot(kept[group], geometry.rows, geometry.logical_cols, title))
