"""The page that streamlit runs from `cli/dashboard_page.py`: curves, the table of runs, one run in detail, figures.

It reads records, histories and claims below the folders it is given, and shows them; text from files is shown as
text, never as markup.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from cimlab.records.history import read_rows
from cimlab.records.index import rows, unfinished
from cimlab.records.record import RECORD_FILE, RecordError, RunRecord
from cimlab.reporting import parts
from cimlab.reporting.chart import Spec, by_granularity, chart, quantity, share
from cimlab.reporting.evidence import Evidence
from cimlab.reporting.plots import GROUPS, curves, paired_bars, study_of
from cimlab.reporting.priced import Price, cost, priced_by
from cimlab.reporting.report import make_evidence

REFRESH_S = 5
AXES = {
    "weights left": "left",
    "operation-unit steps left": "steps_ratio",
    "ADC conversions left": "conversions_ratio",
    "compression": "compression",
    "arrays": "arrays",
    "energy left": "energy_ratio",
    "energy (J)": "energy_j",
    "latency (s)": "latency_s",
}
FRACTIONS = ("left", "steps_ratio", "conversions_ratio", "energy_ratio")
# columns of the table -> how they are headed and written; None: as they are
COLUMNS = {
    "state": None, "model": None, "data": None, "granularity": None, "geometry": None, "methods": None,
    "remaining": ("asked to remain", "percent"), "seed": None, "accuracy": ("accuracy", "percent"),
    "dense": ("dense", "percent"), "compression": ("compression", "%.1f x"), "arrays": None,
    "steps_ratio": ("steps left", "percent"), "energy_ratio": ("energy left", "percent"),
    "energy_uj": ("energy (µJ)", "%.3g"), "seconds": ("seconds", "%.0f"), "created": None, "name": None, "reason": None,
}  # fmt: skip


def page(folders: list[Path], price: Price) -> None:
    """The whole page; `price` gives each record its costs."""
    st.set_page_config(page_title="cimlab", layout="wide")
    st.title("cimlab runs")
    runs, problems = read(folders)
    for problem in problems:
        st.text(f"damaged: {problem}")
    if runs.empty:
        st.info("No run yet in the folders given.")
        return
    chosen = filtered(runs)
    counts = chosen["state"].value_counts()
    states = ("done", "running", "failed", "killed", "stopped")
    for column, state in zip(st.columns(len(states)), states, strict=True):
        column.metric(state, int(counts.get(state, 0)))
    evidence = evidence_of(stamps(runs), folders, price)
    keys = {record.run: study_of(record) for record in evidence.records}
    done = chosen[chosen["state"] == "done"]
    over, table, one, figures = st.tabs(["curves", "runs", "one run", "figures and tables"])
    with over:
        show_curves(done.assign(study=done["run"].map(keys) if "run" in done else None))
    with table:
        show_table(chosen)
    with one:
        show_run(chosen, price)
    with figures:
        show_figures(evidence)


def read(folders: list[Path]) -> tuple[pd.DataFrame, list[str]]:
    """Every run below the folders, done or not, and a line for each damaged record."""
    found, problems = [], []
    for folder in folders:
        whole, damaged = rows(folder)
        found += whole + unfinished(folder)
        problems += damaged
    return pd.DataFrame(found), problems


def filtered(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs that the choices in the sidebar leave; no choice is all."""
    for name in ("state", "model", "data", "granularity", "geometry", "seed", "group"):
        if name not in runs:
            continue
        values = sorted(runs[name].dropna().unique().tolist(), key=str)
        if len(values) > 1:
            wanted = st.sidebar.multiselect(name, values, format_func=str)
            runs = runs[runs[name].isin(wanted)] if wanted else runs
    return runs


def show_table(runs: pd.DataFrame) -> None:
    """A row a run, with the columns that say something of any."""
    if "energy_j" in runs:
        runs = runs.assign(energy_uj=runs["energy_j"].astype(float) * 1e6)
    shown = [name for name in COLUMNS if name in runs and (runs[name].notna() & (runs[name] != "")).any()]
    formats = {
        name: st.column_config.NumberColumn(written[0], format=written[1])
        for name in shown
        if (written := COLUMNS[name])
    }
    height = min(700, 38 + 35 * len(runs))
    st.dataframe(runs[shown], hide_index=True, width="stretch", height=height, column_config=formats)


def show_curves(done: pd.DataFrame) -> None:
    """Accuracy against what is left, of one network: a line a granularity, a point a run."""
    if done.empty:
        st.info("No finished run among those chosen.")
        return
    columns = st.columns(3)
    networks = done["model"] + " on " + done["data"]
    network = columns[0].selectbox("network", networks.value_counts().index.tolist())
    done = done[networks == network]
    there = {label: field for label, field in AXES.items() if done[field].notna().any()}
    labels = list(there)
    for number in range(2):
        index = min(number, len(labels) - 1)
        label = columns[number + 1].selectbox("against", labels, index=index, key=f"axis {number}")
        draw(curve(done, there[label], label))


def values(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as a chart holds them; what is not known is null."""
    return json.loads(frame.to_json(orient="records") or "[]")


def draw(spec: Spec) -> None:
    """Show a chart as wide as its place."""
    st.vega_lite_chart(spec, width="stretch")


def curve(done: pd.DataFrame, field: str, label: str) -> Spec:
    """One accuracy chart."""
    fields = [*GROUPS, "name", "geometry", "methods", "seed", "accuracy", field]
    rows = values(done[list(dict.fromkeys(fields))])
    x = share(field, label) if field in FRACTIONS else quantity(field, label, axis={"format": "~s"})
    told = [{"field": name} for name in ("name", "geometry", "methods", "remaining", "seed")]
    told += [
        {"field": "accuracy", "type": "quantitative", "format": ".2%"},
        {"field": field, "type": "quantitative", "title": label, "format": ".4~g"},
    ]
    style = by_granularity(done["granularity"], columns=6)
    y = share("accuracy", "test accuracy after retraining")
    return chart(rows, height=440, layer=curves(x, y, style, GROUPS, told))


def show_run(runs: pd.DataFrame, price: Price) -> None:
    """Its numbers, loss by epoch, and what is left of each layer; follows a run that is under way."""
    files = runs["file"].tolist()
    states = dict(zip(files, runs["state"], strict=True))
    file = st.selectbox("run", files, format_func=lambda f: f"{run_label(Path(f))}  ({states[f]})")
    if not file:
        return

    @st.fragment(run_every=REFRESH_S if states[file] == "running" else None)
    def details() -> None:
        record = the_record(Path(file), price)
        if record is not None:
            show_numbers(record)
        show_history(Path(file))
        if record is None:
            st.info("Layers and energy are known when the run is done.")
        else:
            show_layers(record)

    details()


def run_label(file: Path) -> str:
    """A run by its folder, or by its file where many records lie side by side."""
    return file.parent.name if file.name == RECORD_FILE else f"{file.parent.name} / {file.stem}"


def the_record(file: Path, price: Price) -> RunRecord | None:
    """The record with its costs, if it is there and whole."""
    try:
        return price(RunRecord.read(file), file)
    except RecordError:
        return None


def show_numbers(record: RunRecord) -> None:
    """Accuracy before and after, and what the network became."""
    numbers = {name: f"{100 * values['test']:.2f} %" for name, values in record.accuracy.items()}
    numbers["compression"] = f"{record.weights['compression']:.1f} x"
    ratios = record.hardware["ratio"] | record.hardware.get("cost", {}).get("ratio", {})
    for name, title in (("steps", "steps left"), ("energy_j", "energy left"), ("latency_s", "latency left")):
        if name in ratios:
            numbers[title] = f"{100 * ratios[name]:.1f} %"
    for column, (name, text) in zip(st.columns(len(numbers)), numbers.items(), strict=True):
        column.metric(name, text)


def show_history(file: Path) -> None:
    """Loss and accuracy by epoch, which are kept in the run's own folder."""
    if file.name != RECORD_FILE:
        return
    history = pd.DataFrame(read_rows(file.with_name("history.jsonl")))
    if history.empty:
        st.info("No retraining epoch of this run is done yet.")
        return
    columns = st.columns(2)
    for column, word in zip(columns, ("loss", "accuracy"), strict=True):
        fields = [name for name in history if name.startswith(f"{word}/")]
        long = history.melt("epoch", fields, "metric", word)
        encoding = {
            "x": {"field": "epoch", "type": "quantitative", "axis": {"tickMinStep": 1}},
            "y": {"field": word, "type": "quantitative", "scale": {"zero": False}},
            "color": {"field": "metric", "type": "nominal", "legend": {"orient": "top", "title": None}},
        }
        with column:
            draw(chart(values(long), height=260, mark={"type": "line", "point": True}, encoding=encoding))


def show_layers(record: RunRecord) -> None:
    """Weights and steps left, layer by layer, and energy by component."""
    rows = [row for name, counts in record.hardware["layers"].items() for row in layer_rows(name, counts)]
    layers = list(dict.fromkeys(row["layer"] for row in rows))
    axis = {"labelAngle": -40, "labelLimit": 160}
    label = {"x": {"field": "layer", "type": "nominal", "sort": layers, "title": None, "axis": axis}}
    value = {"y": share("fraction", "left") | {"scale": {"domain": [0, 1]}}}
    draw(paired_bars(rows, value, label, "of", ["weights", "steps"], "left of each layer") | {"height": 380})
    priced = cost(record)
    if priced:
        show_energy(priced)


def show_energy(priced: dict[str, Any]) -> None:
    """Energy of an image by component, beside the unpruned network's."""
    dense, pruned = priced["dense_energy_j"], priced["energy_j"]
    rows = [
        {"component": name.replace("_", " "), "energy (J)": joules, "network": network}
        for network, parts_of in (("dense", dense), ("pruned", pruned))
        for name, joules in parts_of.items() if joules
    ]  # fmt: skip
    order = [name.replace("_", " ") for name in sorted(dense, key=dense.get, reverse=True)]
    axis = {"labelLimit": 200}
    label = {"y": {"field": "component", "type": "nominal", "sort": order, "title": None, "axis": axis}}
    value = {"x": {"field": "energy (J)", "type": "quantitative", "axis": {"format": "~s"}}}
    title = f"energy of an image by component ({priced_by(priced)})"
    draw(paired_bars(rows, value, label, "network", ["pruned", "dense"], title))


def layer_rows(name: str, counts: dict[str, Any]) -> list[dict[str, Any]]:
    """The fractions of a layer's weights and steps that are left."""
    steps = counts["steps"] / counts["dense_steps"] if counts["dense_steps"] else 0.0
    left = {"weights": counts["weights_left"] / counts["weights"], "steps": steps}
    return [{"layer": name, "of": what, "fraction": fraction} for what, fraction in left.items()]


def stamps(runs: pd.DataFrame) -> tuple[tuple[str, int], ...]:
    """Every record's file and when it was written: what is priced for a page is priced again when they change."""
    files = sorted(path for path in map(Path, runs["file"]) if path.is_file())
    return tuple((str(path), path.stat().st_mtime_ns) for path in files)


@st.cache_resource(max_entries=4, show_spinner="pricing the runs")
def evidence_of(stamps: tuple[tuple[str, int], ...], _folders: list[Path], _price: Price) -> Evidence:
    """All whole records with their costs, once for all pages over them."""
    return make_evidence(_folders, _price)


def show_figures(evidence: Evidence) -> None:
    """Every figure and table that has a file, over all whole records."""
    for figure in parts.figures():
        for drawn in figure.charts(evidence):
            st.subheader(f"{drawn.name}. {drawn.title}")
            if drawn.spec is None:
                st.text(f"not run: {drawn.missing}")
            else:
                draw(drawn.spec)
            for note in drawn.notes:
                st.text(note)
    for file in parts.tables():
        for table in file.tables(evidence):
            st.subheader(f"{table.name}. {table.title}")
            headings = [column.label for column in table.columns]
            st.dataframe(pd.DataFrame(table.shown(), columns=headings), hide_index=True, width="stretch")
            for note in table.notes:
                st.text(note)
