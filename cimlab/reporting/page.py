"""The report as one HTML file: opens from disk, asks no network for anything, and forbids itself to.

Figures are live (Vega), tables sort and download as CSV. Every text is escaped; data stands in JSON that can't
close its own element.
"""

from __future__ import annotations

from html import escape
from importlib import metadata
from pathlib import Path
from typing import Any

from cimlab.records.json_text import json_text
from cimlab.reporting.chart import Chart, on_screen
from cimlab.reporting.report import Report
from cimlab.reporting.table import NOT_RUN, Table

ASSETS = Path(__file__).with_name("assets")
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; "
    "script-src 'unsafe-inline' 'unsafe-eval'"  # Vega compiles its expressions
)

ONE_LINE = 24
"""Letters of a cell up to which it is not wrapped."""


def html_page(report: Report) -> str:
    """The whole page."""
    import vl_convert

    library = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").replace("</script", "<\\/script")
    style, script = ((ASSETS / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    figures = "\n".join(map(_figure, report.charts))
    tables = "\n".join(map(_table, report.shown_tables))
    problems = "".join(f'<p class="note">{escape(line)}</p>' for line in report.notes)
    missing = "".join(f"<li>{escape(line)}</li>" for line in report.not_run)
    return f"""<!DOCTYPE html>
<html lang="en" data-theme="light">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>cimlab: results</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>cimlab: what was run, and what came of it</h1>
<nav><a href="#figures">figures</a><a href="#tables">tables</a><a href="#missing">not run</a></nav>
<button id="theme" type="button">light / dark</button>
</header>
<main>
<p>{escape(report.summary)}</p>
{problems}
<h2 id="figures">Figures</h2>
<div class="figures">
{figures}
</div>
<h2 id="tables">Tables</h2>
<p class="note">A heading sorts its column. Mean ± standard deviation over seeds; no ± means one seed.</p>
{tables}
<h2 id="missing">Not run</h2>
<ul>{missing or "<li>nothing is missing</li>"}</ul>
<p class="note">cimlab {escape(metadata.version("cimlab"))}</p>
</main>
{_json_element("looks", {"light": on_screen(dark=False), "dark": on_screen(dark=True)})}
<script>{library}</script>
<script>{script}</script>
</body>
</html>
"""


def _json_element(name: str, content: Any) -> str:
    """JSON inside a script element: no `<` is left that could end it."""
    text = json_text(content).replace("<", "\\u003c")
    return f'<script type="application/json" id="{escape(name)}">{text}</script>'


def _figure(chart: Chart) -> str:
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in chart.notes)
    if chart.spec is None:
        body = f'<div class="missing">{NOT_RUN}: {escape(chart.missing)}</div>'
    else:
        name = escape(chart.name)
        body = f'<div class="wide-content"><div class="figure" data-spec="spec-{name}" data-name="{name}"></div></div>'
        body += _json_element(f"spec-{chart.name}", chart.spec)
    wide = " wide" if chart.wide and chart.spec else ""
    return f"""<section class="item{wide}" id="{escape(chart.name)}">
<div class="bar"><h3>{escape(chart.name)}. {escape(chart.title)}</h3></div>
{body}{notes}
</section>"""


def _table(table: Table) -> str:
    name = escape(table.name)
    head = "".join(
        f'<th scope="col"{_text(column.text)}><button type="button">{escape(column.label)}</button></th>'
        for column in table.columns
    )
    rows = "\n".join(
        "<tr>" + "".join(map(_cell, shown, keys, table.columns)) + "</tr>"
        for shown, keys in zip(table.shown(), table.sort_keys(), strict=True)
    )
    body = f"<table><thead><tr>{head}</tr></thead><tbody>\n{rows}\n</tbody></table>"
    body = f'<div class="wide-content">{body}</div>'
    if not table.rows:
        body = f'<div class="missing">{NOT_RUN}: no records for this table</div>'
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in table.notes)
    return f"""<section class="item" id="{name}">
<div class="bar"><h3>{escape(table.headed)}</h3>
<button type="button" data-csv="csv-{name}" data-file="{name}.csv">CSV</button></div>
{body}{notes}{_json_element(f"csv-{table.name}", table.csv())}
</section>"""


def _text(text: bool) -> str:
    return ' class="text"' if text else ""


def _cell(shown: str, key: float | str | None, column: Any) -> str:
    if key is None:
        return f'<td class="not-run{" text" if column.text else ""}">{NOT_RUN}</td>'
    names = ["text"] if column.text else []
    if len(shown) > ONE_LINE:
        names.append("long")
    if shown in ("holds", "does not hold", "not tested"):
        names.append(shown.replace(" ", "-"))
    style = f' class="{" ".join(names)}"' if names else ""
    return f'<td{style} data-key="{escape(str(key))}">{escape(shown)}</td>'
