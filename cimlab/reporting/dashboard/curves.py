"""Accuracy over what a run costs and over what is left of it, with a legend that hides and shows its lines."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from cimlab.records.index import row_of
from cimlab.records.record import RecordError, RunRecord
from cimlab.records.study import settings
from cimlab.reporting.chart import Spec, by_granularity, chart, quantity, share
from cimlab.reporting.dashboard.draw import draw, plain, values
from cimlab.reporting.methods import BASELINE, VARIED
from cimlab.reporting.plots import curves
from cimlab.reporting.priced import UNPRICED, Price
from cimlab.reporting.studies import in_words, told

AXES = {
    "energy left": "energy_ratio",
    "throughput at equal area (of dense)": "throughput_ratio",
    "weights left": "left",
    "array steps left": "steps_ratio",
    "ADC conversions left": "conversions_ratio",
    "compression": "compression",
    "arrays": "arrays",
    "energy (J)": "energy_j",
    "latency (s)": "latency_s",
}
FRACTIONS = ("left", "steps_ratio", "conversions_ratio", "energy_ratio")
KINDS = ("place", "series", "geometry", "methods", "remaining", "seed")
"""Told of a point, where records know it."""
PRICED = ("energy_ratio", "throughput_ratio", "energy_j", "latency_s")
WIDE_RANGE = 8
"""From the smallest to the largest value: an axis of a wider range is logarithmic."""
ACCELERATOR = ("chip.", "geometry.")
"""Settings of these groups come with new models of the hardware; runs from before were made without them."""
MANY = 40
"""Studies whose settings are read to be told apart; of more, names are shown."""
PLOT_HEIGHT = 330
"""Of a chart with its axes, in pixels; the legend comes on top."""
SVG_POINTS = 1000
MANY_POINTS = {"usermeta": {"embedOptions": {"renderer": "canvas"}}, "config": {"aria": False}}
"""Drawn as pixels: a browser takes seconds for thousands of elements."""
METHODS = "methods"
"""A key that no setting has."""
ONE_COLUMN = 24
"""Letters of a name from which on a legend has one column: two don't fit a telephone."""


def show_curves(done: pd.DataFrame, price: Price) -> None:
    """Accuracy against each axis that was chosen: a line for each series, a point for each run."""
    if done.empty:
        st.info("No finished run among those chosen.")
        return
    networks = done["model"] + " on " + done["data"]
    if networks.nunique() > 1:
        st.info("Accuracies of several networks do not belong into one chart: choose one grid above.")
        return
    first = list(AXES)[: 4 if len(done) <= SVG_POINTS else 2]
    over = st.multiselect("accuracy over", list(AXES), default=first, key="over", bind="query-params")
    if st.toggle("price with today's model", key="today", bind="query-params"):
        done = priced_anew(done, price)
        st.caption("Energy, time and throughput by today's model, from the masks of each run.")
    else:
        st.caption("Energy, time and throughput as each run recorded them, by the model of its day.")
    shared = first_settings(done)
    done = done.assign(series=series(done, shared))
    if came_later := later(shared):
        st.caption(plain(f"Runs from before {', '.join(came_later)} could be set are drawn with the others."))
    names = sorted(done["series"].unique())
    hidden = [name for name in hidden_series() if name in names]
    for place, label in zip(_places(len(over)), over, strict=True):
        with place:
            show_curve(done, label, names, hidden)


def _places(number: int) -> list[Any]:
    """Two charts side by side, where the screen is wide enough."""
    pairs = [st.columns(2) for _ in range(-(-number // 2))]
    return [column for pair in pairs for column in pair][:number]


def show_curve(done: pd.DataFrame, label: str, names: list[str], hidden: list[str]) -> None:
    """One chart, and a line about each reason why runs are not in it."""
    field = AXES[label]
    if field in PRICED:
        done = done.assign(**{field: done[field].where(done["unpriceable"] == "")})
    known = done[done[field].notna()]
    if known.empty:
        st.text(f"accuracy over {label}: not run")
    else:
        key = f"accuracy over {field} without {hidden}"  # a chart keeps what was clicked as long as its key

        def hide() -> None:
            shown = {entry["series"] for entry in st.session_state[key]["selection"].get("shown", [])}
            st.session_state["hidden"] = [name for name in names if shown and name not in shown]

        draw(curve(known, label, names, hidden), key=key, on_select=hide, selection_mode="shown")
    missing = done[done[field].isna()]
    for reason, number in Counter(missing["unpriceable"].replace("", UNPRICED)).items():
        st.text(f"{number} of {len(done)} runs have no point over {label}: {reason}")


def hidden_series() -> list[str]:
    """The series that clicks on the legend hid; at first, those of the address."""
    hidden = st.session_state.setdefault("hidden", st.query_params.get_all("hidden"))
    st.query_params["hidden"] = hidden
    return hidden


def curve(known: pd.DataFrame, label: str, names: list[str], hidden: list[str]) -> Spec:
    """One accuracy chart; axes fit the runs that are not hidden.

    Args:
        known: runs with a value on the axis.
        label: of the axis.
        names: every series, in the legend even where hidden.
        hidden: series that the legend hides at first.
    """
    field = AXES[label]
    kinds = [name for name in KINDS if name in known]
    x = share(field, label) if field in FRACTIONS else quantity(field, label, axis={"format": "~s"})
    y = share("accuracy", "test accuracy after retraining")
    for channel in (x, y):
        channel["scale"] |= {"padding": 8}  # or marks lie on the frame
    shown = known[~known["series"].isin(hidden)] if len(hidden) < len(names) else known
    low, high = shown[field].min(), shown[field].max()
    if low > 0 and high > WIDE_RANGE * low:
        x["scale"] |= {"type": "log", "nice": False}
    told = [{"field": name} for name in kinds]
    told += [{"field": name, "type": "quantitative", "format": ".2%"} for name in ("accuracy", "dense")]
    told.append({"field": field, "type": "quantitative", "title": label, "format": ".4~g"})
    columns = 1 if max(map(len, names)) > ONE_COLUMN else 2
    style = by_granularity(names, columns, field="series")
    for channel in style.values():
        channel["legend"] |= {"labelLimit": 320}
    line, points = curves(x, y, style, ("series", "remaining"), told)
    points["params"] = [
        {
            "name": "shown", "bind": "legend",
            "select": {"type": "point", "fields": ["series"], "toggle": "true"},
            "value": [{"series": name} for name in names if name not in hidden],
        }
    ]  # fmt: skip
    if many := len(known) > SVG_POINTS:
        points["mark"] |= {"size": 12, "opacity": 0.5}
    return chart(
        values(known[[*kinds, "accuracy", "dense", field]]),
        height=PLOT_HEIGHT + 18 * -(-len(names) // columns),
        transform=[{"filter": {"param": "shown"}}],
        layer=[line, points],
        **(MANY_POINTS if many else {}),
    )


def priced_anew(done: pd.DataFrame, price: Price) -> pd.DataFrame:
    """The runs with the costs of today's model."""
    with st.spinner("pricing the runs"):
        anew = [_prices(file, Path(file).stat().st_mtime_ns, price) for file in done["file"]]
    return done.assign(**pd.DataFrame(anew, index=done.index))


@st.cache_data(max_entries=20_000, show_spinner=False)
def _prices(file: str, stamp: int, _price: Price) -> dict[str, Any]:
    """What today's model says of a record, once for as long as its file stays as it is."""
    try:
        record = _price(RunRecord.read(Path(file)), Path(file))
    except RecordError as problem:
        return {**dict.fromkeys(PRICED), "unpriceable": str(problem)}
    row = row_of(record)
    return {**{name: row[name] for name in PRICED}, "unpriceable": record.hardware.get("unpriced", "")}


def series(done: pd.DataFrame, shared: dict[str, dict[str, Any]]) -> list[str]:
    """Each run's line: its granularity, and in brackets the settings in which comparable runs of the table differ."""
    told = apart(shared) if shared else {study: study for study in done["study"]}
    names = []
    for choice, parameters, study in zip(done["granularity"], done["parameters"], done["study"], strict=True):
        said = ", ".join(part for part in (parameters, told[study]) if part)
        names.append(in_words(choice, {}) + (f" ({said})" if said else ""))
    return names


def first_settings(done: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Study -> its settings, dotted; nothing where there are too many to be told apart by them."""
    first = done.drop_duplicates("study").set_index("study")["file"]
    return {study: _settings(file) for study, file in first.items()} if len(first) <= MANY else {}


def later(shared: dict[str, dict[str, Any]]) -> list[str]:
    """Settings of the accelerator that are the same in all studies whose runs knew them, and unknown to older runs."""
    values = _values(shared)
    return [
        key for key in values
        if key.startswith(ACCELERATOR) and len(values[key]) == 1 and any(key not in own for own in shared.values())
    ]  # fmt: skip


def apart(shared: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Study -> what sets it apart from the others, in settings."""
    values, same = _values(shared), later(shared)
    known = {key: all(key in own for own in shared.values()) for key in values}
    differ = [key for key in values if key not in same and (len(values[key]) > 1 or not known[key])]
    brief = [key for key in differ if key != "method" and not key.startswith(VARIED)]
    for some in ([key for key in brief if known[key]], brief):
        said = _said(shared, some)
        if len(set(said.values())) == len(said):
            return said
    return _said(shared, [key for key in differ if key != METHODS])


def _values(shared: dict[str, dict[str, Any]]) -> dict[str, set[str]]:
    """Setting -> its values among the studies that have it."""
    keys = sorted({key for own in shared.values() for key in own})
    return {key: {repr(own[key]) for own in shared.values() if key in own} for key in keys}


def _said(shared: dict[str, dict[str, Any]], keys: list[str]) -> dict[str, str]:
    return {
        study: ", ".join(told(key, own[key]) for key in keys if key in own) for study, own in shared.items()
    }


@st.cache_data(max_entries=1000, show_spinner=False)
def _settings(file: str) -> dict[str, Any]:
    record = RunRecord.read(Path(file))
    return settings(record) | {METHODS: "+".join(record.methods) or BASELINE}
