"""Charts and words on the page: as wide as their place, readable on a dark ground, and never markup."""

from __future__ import annotations

import json
import re
from typing import Any

import pandas as pd
import streamlit as st

from cimlab.reporting.chart import Spec, on_screen
from cimlab.reporting.looks import on_dark


def draw(spec: Spec, **more: Any) -> Any:
    """Show a chart as wide as its place, in the looks of the report."""
    config = on_screen(dark()) | spec.get("config", {})
    shown = (on_dark(spec) if dark() else spec) | {"config": config}
    return st.vega_lite_chart(shown, width="stretch", theme=None, **more)


def dark() -> bool:
    """Whether the page has a dark ground."""
    return st.context.theme.type == "dark"


def values(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as a chart holds them; what is not known is null."""
    return json.loads(frame.to_json(orient="records") or "[]")


def plain(text: str) -> str:
    r"""A text for a heading or a label, which streamlit reads as Markdown: nothing in it is markup.

    >>> print(plain("a ![x](http://example.invalid)"))
    a \!\[x\]\(http\:\/\/example\.invalid\)
    """
    return re.sub(r"([^\w\s])", r"\\\1", text, flags=re.ASCII)
