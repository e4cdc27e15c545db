"""The runs below the folders as a table, and what of them is looked at."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from cimlab.records.index import rows, unfinished
from cimlab.records.record import RECORD_FILE
from cimlab.records.store import without_trials
from cimlab.reporting.studies import worded

REFRESH_S = 5
ALL = "all runs"
FILTERS = (
    "state", "model", "data", "granularity", "parameters", "budget", "methods", "geometry", "technology", "seed",
)  # fmt: skip


@st.cache_data(ttl=REFRESH_S, show_spinner="reading the runs")
def read(folders: tuple[Path, ...], trials: bool) -> tuple[pd.DataFrame, list[str]]:
    """Every run below the folders, done or not, searches' trials only if asked, and a line for each thing wrong.

    Columns beside those of `records.index`: `place`, its folder or file as the page calls it; and `grid`, the grid
    that it was run for (else the folder that holds it) and its network, which nobody knows of a run that is not done.
    """
    found, problems = [], []
    for folder in folders:
        whole, damaged = rows(folder)
        found += whole + unfinished(folder)
        problems += [f"damaged: {problem}" for problem in damaged]
    if not trials:
        found, left_out = without_trials(found, lambda row: row.get("search"))
        problems += left_out
    runs = pd.DataFrame(found)
    if runs.empty:
        return runs, problems
    top = os.path.commonpath([folder.absolute() for folder in folders])
    runs["place"] = [_place(file, top) for file in runs["file"]]
    runs["grid"] = [_grid(row) for row in found]
    return runs, problems


def _place(file: str, top: str) -> str:
    path = os.path.relpath(os.path.abspath(file), top)
    return os.path.dirname(path) if os.path.basename(path) == RECORD_FILE else path.removesuffix(".json")


def _grid(row: dict) -> str | None:
    if row["state"] != "done":
        return None
    path = Path(row["file"]).absolute()
    holder = path.parent.parent if path.name == RECORD_FILE else path.parent
    return f"{row.get('group') or holder.name}: {worded(row['model'])} on {worded(row['data'])}"


def grids(runs: pd.DataFrame) -> list[str]:
    """What the runs were run for, newest first."""
    if "created" not in runs:
        return []
    newest = runs.groupby("grid")["created"].max()
    return newest.sort_values(ascending=False, kind="stable").index.tolist()


def kept_choice(key: str, label: str, options: Sequence[str]) -> str:
    """A choice that stands in the address even where it is the first, which will be another tomorrow."""
    asked = st.query_params.get(key)
    index = options.index(asked) if asked in options else 0
    chosen = st.selectbox(label, options, index=index, key=key)
    st.query_params[key] = chosen
    return chosen


def filtered(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs that the choices in the sidebar leave; no choice is all."""
    for name in FILTERS:
        if name not in runs:
            continue
        values = [_said(value) for value in sorted(runs[name].dropna().unique())]
        if len(values) > 1:
            wanted = st.sidebar.multiselect(name, values, key=name, bind="query-params")
            runs = runs[runs[name].map(_said).isin(wanted)] if wanted else runs
    return runs


def _said(value: object) -> str:
    """A value in an address; pandas makes seeds of a table with gaps floating-point numbers."""
    return f"{value:g}" if isinstance(value, float) else str(value) or "none"
