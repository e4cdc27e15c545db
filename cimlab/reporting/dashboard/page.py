"""The frame of the page that streamlit runs from `cli/dashboard_page.py`: which runs, and the views of them.

It reads records, histories and masks below the folders it is given, and shows them; text from files is shown as
text, never as markup. Only the view that is open is computed. Everything chosen stands in the address of the page.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pandas as pd
import streamlit as st

from cimlab.reporting import parts
from cimlab.reporting.dashboard.chosen import ALL, filtered, grids, kept_choice, read
from cimlab.reporting.dashboard.compare import show_compared
from cimlab.reporting.dashboard.curves import show_curves
from cimlab.reporting.dashboard.draw import draw, plain
from cimlab.reporting.dashboard.one import show_run
from cimlab.reporting.evidence import Evidence
from cimlab.reporting.priced import Price
from cimlab.reporting.report import make_evidence

STATES = ("done", "running", "failed", "killed", "stopped")
STYLE = (
    "<style>.stMainBlockContainer {padding-top: 2.5rem; padding-bottom: 2rem} "
    ".stVegaLiteChart {max-width: 100%; overflow: auto hidden}</style>"
)
"""Streamlit leaves a sixth of the screen empty above a page, and lets a wide figure push a narrow page aside."""
SETTINGS = (
    "state", "reason", "model", "data", "granularity", "parameters", "remaining", "budget", "methods", "geometry",
    "technology", "seed", "unpriceable",
)  # fmt: skip
"""Columns of the table that are left out where they are the same in all rows."""
RESULTS = {
    "accuracy": ("accuracy", "percent"), "energy_ratio": ("energy left", "percent"),
    "throughput_ratio": ("throughput, equal area", "%.2f x"), "compression": ("compression", "%.1f x"),
    "steps_ratio": ("steps left", "percent"), "energy_uj": ("energy (µJ)", "%.3g"), "dense": ("dense", "percent"),
    "seconds": ("seconds", "%.0f"),
}  # fmt: skip
"""Columns of numbers: how they are headed and written."""


def page(folders: list[Path], price: Price, trials: bool) -> None:
    """The whole page; `price` gives a record its costs by today's model; searches' trials are shown only if asked."""
    st.set_page_config(page_title="cimlab", layout="wide")
    st.html(STYLE)
    runs, problems = read(tuple(folders), trials)
    for problem in problems:
        st.text(problem)
    if runs.empty:
        st.info("No run yet in the folders given.")
        return
    grid = kept_choice("grid", "grid and network, newest first", [*grids(runs), ALL])
    chosen = filtered(runs if grid == ALL else runs[(runs["grid"] == grid) | runs["grid"].isna()])
    counts = chosen["state"].value_counts()
    st.text(", ".join(f"{int(counts.get(state, 0))} {state}" for state in STATES))
    views = {
        "curves": lambda: show_curves(chosen[chosen["state"] == "done"], price),
        "runs": partial(show_table, chosen),
        "compare": partial(show_compared, runs, chosen, price),
        "one run": partial(show_run, chosen, price),
        "figures and tables": lambda: show_figures(evidence_of(stamps(runs), folders, price, trials)),
    }
    tabs = st.tabs(list(views), key="view", bind="query-params")
    for tab, view in zip(tabs, views.values(), strict=True):
        if tab.open:
            with tab:
                view()


def show_table(runs: pd.DataFrame) -> None:
    """A row a run: its name, the settings in which the rows differ, and what came of it."""
    if "energy_j" in runs:
        runs = runs.assign(energy_uj=runs["energy_j"].astype(float) * 1e6)
    differ = [name for name in SETTINGS if name in runs and runs[name].nunique(dropna=False) > 1]
    known = [name for name in RESULTS if name in runs and runs[name].notna().any()]
    formats = {name: st.column_config.NumberColumn(head, format=how) for name, (head, how) in RESULTS.items()}
    formats |= {"remaining": st.column_config.NumberColumn("asked to remain", format="percent")}
    formats |= {"unpriceable": st.column_config.TextColumn("no price")}
    shown = runs[["name", *differ, *known]]
    st.dataframe(shown, hide_index=True, width="stretch", height=_height(shown), column_config=formats)
    first = {
        name: runs[name].iloc[0] for name in SETTINGS if name in runs and name not in differ and len(runs)
    }
    same = [f"{name} {value}" for name, value in first.items() if pd.notna(value) and value != ""]
    st.text(f"same in all: {', '.join(same)}" if same else "")


def _height(rows: pd.DataFrame) -> int:
    """Of a table that shows its rows without a bar of its own, in pixels, up to most of a screen."""
    return min(700, 38 + 35 * len(rows))


def stamps(runs: pd.DataFrame) -> tuple[tuple[str, int], ...]:
    """Every record's file and when it was written: what is priced for a page is priced again when they change."""
    files = sorted(path for path in map(Path, runs["file"]) if path.is_file())
    return tuple((str(path), path.stat().st_mtime_ns) for path in files)


@st.cache_resource(max_entries=4, show_spinner="pricing the runs")
def evidence_of(
    stamps: tuple[tuple[str, int], ...], _folders: list[Path], _price: Price, trials: bool
) -> Evidence:
    """All whole records with their costs, once for all pages over them."""
    return make_evidence(_folders, _price, trials)


def show_figures(evidence: Evidence) -> None:
    """Every figure and table that has a file, over all whole records."""
    st.caption("Over every finished run of the folders, whatever is chosen above and beside.")
    for line in parts.left_out(evidence):
        st.text(line)
    for figure in parts.figures():
        for drawn in figure.charts(evidence):
            st.subheader(plain(f"{drawn.name}. {drawn.title}"))
            if drawn.spec is None:
                st.text(f"not run: {drawn.missing}")
            else:
                draw(drawn.spec)
            for note in drawn.notes:
                st.text(note)
    for file in parts.tables():
        for table in file.tables(evidence):
            st.subheader(plain(table.headed))
            rows = pd.DataFrame(table.shown(), columns=[column.label for column in table.columns])
            if table.rows:
                st.dataframe(rows, hide_index=True, width="stretch", height=_height(rows))
            for note in table.notes:
                st.text(note)
