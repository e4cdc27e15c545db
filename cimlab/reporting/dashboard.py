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
from cimlab.reporting.figures import ORDER, granularity_style

SHAPES = {
    "o": "circle",
    "s": "square",
    "^": "triangle-up",
    "D": "diamond",
    "v": "triangle-down",
    "P": "cross",
}
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
TABLE = (
    "state", "model", "data", "granularity", "geometry", "remaining", "seed", "accuracy", "dense", "compression",
    "arrays", "steps_ratio", "energy_j", "seconds", "created", "name", "reason",
)  # fmt: skip


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
    columns = st.columns(4)
    for column, state in zip(columns, ("done", "running", "failed", "killed"), strict=True):
        column.metric(state, int(counts.get(state, 0)))
    curves, table, one = st.tabs(["curves", "runs", "one run"])
    with curves:
        show_curves(chosen[chosen["state"] == "done"])
    with table:
        shown = [name for name in TABLE if name in chosen and chosen[name].notna().any()]
        st.dataframe(chosen[shown], hide_index=True, width="stretch")
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


def show_curves(done: pd.DataFrame) -> None:
    """Accuracy against what is left: a line a granularity through the means over seeds, a point a run."""
    if done.empty:
        st.info("No finished run among those chosen.")
        return
    there = {label: field for label, field in AXES.items() if done[field].notna().any()}
    labels = list(there)
    columns = st.columns(2)
    for number, column in enumerate(columns):
        label = column.selectbox("against", labels, index=min(number, len(labels) - 1), key=f"axis {number}")
        column.altair_chart(curve(done, there[label], label), width="stretch")


def curve(done: pd.DataFrame, field: str, label: str) -> alt.LayerChart:
    """One accuracy chart."""
    names = sorted(
        done["granularity"].unique(), key=lambda n: (ORDER.index(n) if n in ORDER else len(ORDER), n)
    )
    styles = [granularity_style(name) for name in names]
    color = alt.Color("granularity:N", scale=alt.Scale(domain=names, range=[s["color"] for s in styles]))
    shapes = [SHAPES.get(s["marker"], "circle") for s in styles]
    shape = alt.Shape("granularity:N", scale=alt.Scale(domain=names, range=shapes))
    keys = ["model", "data", "geometry", "granularity", "remaining"]
    means = done.groupby(keys, as_index=False)[[field, "accuracy"]].mean()
    y = alt.Y("accuracy:Q", title="test accuracy after retraining", axis=alt.Axis(format="%"))
    y = y.scale(zero=False)
    fraction = field in ("left", "steps_ratio", "conversions_ratio", "energy_ratio")
    x = (
        alt.X(f"{field}:Q", title=label, axis=alt.Axis(format="%"))
        if fraction
        else alt.X(f"{field}:Q", title=label)
    )
    lines = CHART(means).mark_line().encode(x=x, y=y, color=color, detail=["model", "data", "geometry"])
    tips = ["name", "model", "data", "geometry", "remaining", "seed", "accuracy", field]
    points = (
        CHART(done).mark_point(filled=True, size=60).encode(x=x, y=y, color=color, shape=shape, tooltip=tips)
    )
    return (lines + points).properties(height=380)


def show_run(runs: pd.DataFrame) -> None:
    """Loss by epoch, and what is left of each layer; follows a run that is under way."""
    folders = runs["folder"].tolist()
    states = dict(zip(folders, runs["state"], strict=True))
    folder = st.selectbox("run", folders, format_func=lambda f: f"{Path(f).name}  ({states[f]})")
    if not folder:
        return

    @st.fragment(run_every=REFRESH_S if states[folder] == "running" else None)
    def details() -> None:
        show_history(Path(folder))
        show_layers(Path(folder))

    details()


def show_history(folder: Path) -> None:
    """Loss and accuracy by epoch."""
    history = pd.DataFrame(read_rows(folder / "history.jsonl"))
    if history.empty:
        st.info("No retraining epoch of this run is done yet.")
        return
    columns = st.columns(2)
    for column, word in zip(columns, ("loss", "accuracy"), strict=True):
        fields = [name for name in history if name.startswith(f"{word}/")]
        long = history.melt("epoch", fields, "metric", word)
        chart = CHART(long).mark_line(point=True).encode(
            x=alt.X("epoch:Q", axis=alt.Axis(tickMinStep=1)), y=alt.Y(f"{word}:Q").scale(zero=False), color="metric:N"
        )  # fmt: skip
        column.altair_chart(chart.properties(height=260), width="stretch")


def show_layers(folder: Path) -> None:
    """Weights, steps and energy left, layer by layer."""
    try:
        record = RunRecord.read(folder / RECORD_FILE)
    except RecordError:
        st.info("The layers are known when the run is done.")
        return
    layers = pd.DataFrame([layer_row(name, counts) for name, counts in record.hardware["layers"].items()])
    long = layers.melt("layer", ["weights left", "steps left"], "what", "fraction")
    chart = CHART(long).mark_bar().encode(
        x=alt.X("layer:N", sort=layers["layer"].tolist()),
        y=alt.Y("fraction:Q", axis=alt.Axis(format="%")).scale(domain=[0, 1]),
        xOffset="what:N",
        color="what:N",
        tooltip=["layer", "what", alt.Tooltip("fraction:Q", format=".2%")],
    )  # fmt: skip
    st.altair_chart(chart.properties(height=280, title="left of each layer"), width="stretch")
    cost = record.hardware.get("cost")
    if cost:
        show_energy(cost)


def show_energy(cost: dict[str, Any]) -> None:
    """Energy of an image by component, beside the unpruned network's."""
    parts = [("pruned", cost["energy_j"]), ("dense", cost["dense_energy_j"])]
    energy = pd.DataFrame(
        [{"component": c, "energy (J)": v, "network": n} for n, e in parts for c, v in e.items()]
    )
    bars = CHART(energy).mark_bar().encode(
        x=alt.X("energy (J):Q", axis=alt.Axis(format="~s")),
        y=alt.Y("component:N", sort="-x"),
        yOffset="network:N",
        color="network:N",
        tooltip=["component", "network", "energy (J)"],
    )  # fmt: skip
    title = f"energy of an image by component ({cost['technology']}, ADC model {cost['adc_model']})"
    st.altair_chart(bars.properties(title=title), width="stretch")


def layer_row(name: str, counts: dict[str, Any]) -> dict[str, Any]:
    """A layer's name and the fractions of its weights and steps that are left."""
    steps = counts["steps"] / counts["dense_steps"] if counts["dense_steps"] else 0.0
    return {"layer": name, "weights left": counts["weights_left"] / counts["weights"], "steps left": steps}


if __name__ == "__main__":
    page([Path(word) for word in sys.argv[1:]] or [Path("outputs")])
