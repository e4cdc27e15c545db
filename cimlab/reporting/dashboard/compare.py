"""Two to six runs side by side: what came of them, the settings that differ, their layers, their curves of training."""

from __future__ import annotations

from pathlib import Path
from string import ascii_uppercase

import pandas as pd
import streamlit as st

from cimlab.records.index import row_of
from cimlab.records.record import RecordError, RunRecord
from cimlab.records.why import differences
from cimlab.reporting.chart import Spec, by_series, chart, line_and_points, quantity, share
from cimlab.reporting.dashboard.draw import draw, values
from cimlab.reporting.dashboard.one import NO_HISTORY, history, layer_rows
from cimlab.reporting.hardware import FIGURES
from cimlab.reporting.hardware import quantity as in_units
from cimlab.reporting.priced import Price, cost

MOST = 6
COUNTED = "makes another run"
COUNTS = {True: "yes", False: "no", None: "not said"}


def show_compared(runs: pd.DataFrame, chosen: pd.DataFrame, price: Price) -> None:
    """Runs of any grid, those that are looked at first in the list."""
    places = [*chosen["place"][chosen["state"] == "done"], *runs["place"][runs["state"] == "done"]]
    asked = st.multiselect(
        "runs, two to six",
        list(dict.fromkeys(places)),
        max_selections=MOST,
        key="compare",
        bind="query-params",
    )
    if len(asked) < 2:
        st.info("Choose two to six runs; those of the grid above come first.")
        return
    files = runs.drop_duplicates("place").set_index("place")["file"]
    records: dict[str, tuple[RunRecord, Path]] = {}
    for letter, place in zip(ascii_uppercase, asked, strict=False):
        file = Path(files[place])
        try:
            records[letter] = (price(RunRecord.read(file), file), file)
        except RecordError as problem:
            st.text(f"{letter}: {problem}")
            continue
        st.text(f"{letter}: {place}")
    show_results({letter: record for letter, (record, _) in records.items()})
    show_settings({letter: record for letter, (record, _) in records.items()})
    show_left({letter: record for letter, (record, _) in records.items()})
    show_epochs({letter: file for letter, (_, file) in records.items()})


def results(record: RunRecord) -> dict[str, str]:
    """What came of a run, in words."""
    row, priced = row_of(record), cost(record)
    said = {f"{phase} accuracy": f"{100 * test['test']:.2f} %" for phase, test in record.accuracy.items()}
    said |= {"weights left": f"{100 * row['left']:.2f} %", "compression": f"{row['compression']:.1f} x"}
    said |= {"array steps left": f"{100 * row['steps_ratio']:.1f} %"}
    if priced is None:
        return said | {"price": f"not run: {record.hardware.get('unpriced', '')}"}
    for name in ("energy_j", "images_per_s", "latency_s", "area_m2"):
        heading, unit = FIGURES[name]
        said[heading] = f"{in_units(priced['total'][name], unit)} ({priced['ratio'][name]:.3g} x dense)"
    return said


def show_results(records: dict[str, RunRecord]) -> None:
    """A row a result, a column a run."""
    frame = pd.DataFrame({letter: results(record) for letter, record in records.items()})
    st.dataframe(frame, width="stretch")


def show_settings(records: dict[str, RunRecord]) -> None:
    """The settings that differ; of a run alone it is said in words."""
    found = differences(*records.values())
    if not found:
        st.text("they differ in no setting")
        return
    rows = [
        {
            "setting": d.setting,
            **dict(zip(records, map(_said, d.values), strict=True)),
            COUNTED: COUNTS[d.counts],
        }
        for d in found
    ]
    narrow = {name: st.column_config.TextColumn(width="medium") for name in ("setting", *records)}
    st.dataframe(pd.DataFrame(rows), hide_index=True, width="stretch", column_config=narrow)


def _said(value: object) -> str:
    return "not set" if value is None else str(value)


def show_left(records: dict[str, RunRecord]) -> None:
    """Weights and steps left of each layer, a line a run."""
    rows = [{**row, "run": letter} for letter, record in records.items() for row in layer_rows(record)]
    layers = list(dict.fromkeys(row["layer"] for row in rows))
    axis = {"labelAngle": -40, "labelLimit": 160, "labelOverlap": True}
    x = {"field": "layer", "type": "nominal", "sort": layers, "title": None, "axis": axis}
    for column, of in zip(st.columns(2), ("weights", "steps"), strict=True):
        with column:
            own = [row for row in rows if row["of"] == of]
            draw(by_run(own, x, share("fraction", f"{of} left of each layer"), list(records)))


def show_epochs(files: dict[str, Path]) -> None:
    """Curves of training; which runs have none is said."""
    found = {letter: history(file) for letter, file in files.items()}
    if without := ", ".join(letter for letter, own in found.items() if own.empty):
        st.text(f"{without}: {NO_HISTORY}")
    known = [own.assign(run=letter) for letter, own in found.items() if not own.empty]
    if not known:
        return
    rows = pd.concat(known)
    words = [name for name in rows if name.startswith(("loss/", "accuracy/"))]
    x = quantity("epoch", "epoch of retraining", axis={"tickMinStep": 1})
    places = [column for _ in range(-(-len(words) // 2)) for column in st.columns(2)]
    for place, word in zip(places, words, strict=False):
        title = word.replace("/", ", ")
        y = share(word, title) if word.startswith("accuracy") else quantity(word, title)
        with place:
            draw(by_run(values(rows[["run", "epoch", word]]), x, y, list(files)))


def by_run(rows: list[dict], x: Spec, y: Spec, letters: list[str]) -> Spec:
    """A line a run."""
    told = [{"field": "run"}, {"field": x["field"]}, {"field": y["field"], "format": ".4~g"}]
    return chart(rows, height=300, layer=line_and_points(x, y, by_series("run", None, letters, MOST), told))
