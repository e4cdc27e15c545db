"""The page of `cimlab dashboard`, run by streamlit: curves, the table of runs, and one run in detail.

It reads records, histories and claims below the folders it is given, and shows them; text from files is shown as
text, never as markup.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from cimlab.records.history import read_rows
from cimlab.records.index import rows, unfinished
from cimlab.records.record import RECORD_FILE, RecordError, RunRecord
from cimlab.reporting.chart import DASHES, SHAPES
from cimlab.reporting.figures import ORDER, granularity_style
from cimlab.reporting.studies import priced_by

REFRESH_S = 5
CHART: Any = alt.Chart  # its mark_ methods have no type that a checker can follow
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
# what the runs of one line share besides granularity and what remains: the line is through means over the rest
STUDY = ("model", "data", "geometry", "saliency", "schedule", "allocation", "means")
# columns of the table -> how they are headed and written; None: as they are
COLUMNS = {
    "state": None, "model": None, "data": None, "granularity": None, "geometry": None, "means": None,
    "remaining": ("asked to remain", "percent"), "seed": None, "accuracy": ("accuracy", "percent"),
    "dense": ("dense", "percent"), "compression": ("compression", "%.1f x"), "arrays": None,
    "steps_ratio": ("steps left", "percent"), "energy_ratio": ("energy left", "percent"),
    "energy_uj": ("energy (µJ)", "%.3g"), "seconds": ("seconds", "%.0f"), "created": None, "name": None, "reason": None,
}  # fmt: skip
NETWORKS = alt.Scale(domain=["dense", "pruned"], range=["#B0B0B0", "#0072B2"])


def page(folders: list[Path]) -> None:
    """The whole page."""
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
    curves, table, one = st.tabs(["curves", "runs", "one run"])
    with curves:
        show_curves(chosen[chosen["state"] == "done"])
    with table:
        show_table(chosen)
    with one:
        show_run(chosen)


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
        st.altair_chart(curve(done, there[label], label), width="stretch")


def curve(done: pd.DataFrame, field: str, label: str) -> alt.LayerChart:
    """One accuracy chart."""
    names = sorted(
        done["granularity"].unique(), key=lambda n: (ORDER.index(n) if n in ORDER else len(ORDER), n)
    )
    styles = [granularity_style(name) for name in names]

    def channel(kind: Any, values: list[Any]) -> Any:
        legend = alt.Legend(orient="bottom", columns=6, title=None, labelLimit=240, symbolStrokeWidth=1)
        return kind("granularity:N", scale=alt.Scale(domain=names, range=values), legend=legend)

    color = channel(alt.Color, [style["color"] for style in styles])
    dash = channel(alt.StrokeDash, [DASHES[style["linestyle"]] for style in styles])
    shape = channel(alt.Shape, [SHAPES[style["marker"]] for style in styles])
    means = done.groupby([*STUDY, "granularity", "remaining"], as_index=False, dropna=False)
    means = means[[field, "accuracy"]].mean()
    y = alt.Y("accuracy:Q", title="test accuracy after retraining", axis=alt.Axis(format="%"))
    y = y.scale(zero=False)
    x = alt.X(f"{field}:Q", title=label, axis=alt.Axis(format="%" if field in FRACTIONS else "~s"))
    lines = CHART(means).mark_line().encode(x=x, y=y, color=color, strokeDash=dash, detail=list(STUDY))
    tips: list[Any] = ["name", "geometry", "means", "remaining", "seed"]
    tips += [alt.Tooltip("accuracy:Q", format=".2%"), alt.Tooltip(f"{field}:Q", title=label, format=".4~g")]
    points = (
        CHART(done).mark_point(filled=True, size=60).encode(x=x, y=y, color=color, shape=shape, tooltip=tips)
    )
    return (lines + points).properties(height=440)


def show_run(runs: pd.DataFrame) -> None:
    """Its numbers, loss by epoch, and what is left of each layer; follows a run that is under way."""
    files = runs["file"].tolist()
    states = dict(zip(files, runs["state"], strict=True))
    file = st.selectbox("run", files, format_func=lambda f: f"{run_label(Path(f))}  ({states[f]})")
    if not file:
        return

    @st.fragment(run_every=REFRESH_S if states[file] == "running" else None)
    def details() -> None:
        record = the_record(Path(file))
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


def the_record(file: Path) -> RunRecord | None:
    """The record, if it is there and whole."""
    try:
        return RunRecord.read(file)
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
        chart = CHART(long).mark_line(point=True).encode(
            x=alt.X("epoch:Q", axis=alt.Axis(tickMinStep=1)), y=alt.Y(f"{word}:Q").scale(zero=False),
            color=alt.Color("metric:N", legend=alt.Legend(orient="top", title=None)),
        )  # fmt: skip
        column.altair_chart(chart.properties(height=260), width="stretch")


def show_layers(record: RunRecord) -> None:
    """Weights and steps left, layer by layer, and energy by component."""
    layers = pd.DataFrame([layer_row(name, counts) for name, counts in record.hardware["layers"].items()])
    long = layers.melt("layer", ["weights left", "steps left"], "what", "fraction")
    chart = CHART(long).mark_bar().encode(
        x=alt.X("layer:N", sort=layers["layer"].tolist(), title=None, axis=alt.Axis(labelAngle=-40)),
        y=alt.Y("fraction:Q", axis=alt.Axis(format="%")).scale(domain=[0, 1]),
        xOffset="what:N",
        color=alt.Color("what:N", legend=alt.Legend(orient="top", title=None)),
        tooltip=["layer", "what", alt.Tooltip("fraction:Q", format=".2%")],
    )  # fmt: skip
    st.altair_chart(chart.properties(height=380, title="left of each layer"), width="stretch")
    cost = record.hardware.get("cost")
    if cost:
        show_energy(cost)


def show_energy(cost: dict[str, Any]) -> None:
    """Energy of an image by component, beside the unpruned network's."""
    parts = [("dense", cost["dense_energy_j"]), ("pruned", cost["energy_j"])]
    energy = pd.DataFrame(
        [{"component": c, "energy (J)": v, "network": n} for n, e in parts for c, v in e.items() if v]
    )
    order = sorted(cost["dense_energy_j"], key=cost["dense_energy_j"].get, reverse=True)
    bars = CHART(energy).mark_bar().encode(
        x=alt.X("energy (J):Q", axis=alt.Axis(format="~s")),
        y=alt.Y("component:N", sort=order, title=None, axis=alt.Axis(labelLimit=200)),
        yOffset=alt.YOffset("network:N", sort=["dense", "pruned"]),
        color=alt.Color("network:N", scale=NETWORKS, legend=alt.Legend(orient="top", title=None)),
        tooltip=["component", "network", alt.Tooltip("energy (J):Q", format=".3s")],
    )  # fmt: skip
    title = f"energy of an image by component ({priced_by(cost)})"
    st.altair_chart(bars.properties(title=title), width="stretch")


def layer_row(name: str, counts: dict[str, Any]) -> dict[str, Any]:
    """A layer's name and the fractions of its weights and steps that are left."""
    steps = counts["steps"] / counts["dense_steps"] if counts["dense_steps"] else 0.0
    return {"layer": name, "weights left": counts["weights_left"] / counts["weights"], "steps left": steps}


if __name__ == "__main__":
    page([Path(word) for word in sys.argv[1:]] or [Path("outputs")])
