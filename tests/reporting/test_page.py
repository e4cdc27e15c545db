"""The HTML report: every text escaped, nothing asked of any network, drawn and sorted in a real browser."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest

from cimlab.reporting.page import html_page
from cimlab.reporting.parts import figures
from cimlab.reporting.published import Published
from cimlab.reporting.report import Report, assemble
from tests.reporting.made_up import run
from tests.reporting.test_golden import small_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NASTY = "</script><img src=x onerror=alert(1)>&\"'"


@pytest.fixture(scope="module")
def report() -> Report:
    return small_report()


@pytest.fixture(scope="module")
def page(report: Report) -> str:
    return html_page(report)


def without_library(page: str) -> str:
    """The page less Vega's own code, which holds addresses of its documentation."""
    return page.replace(max(re.findall(r"<script>.*?</script>", page, flags=re.S), key=len), "")


def test_the_page_refers_to_nothing_outside_and_forbids_itself_to(page: str) -> None:
    own = without_library(page).replace("https://vega.github.io/schema/vega-lite/v6.json", "")
    assert not re.search(r"https?://|//[a-z]|\bsrc=|<link|@import|url\(", own)
    assert "default-src 'none'" in page


def test_every_table_and_every_figure_is_there(report: Report, page: str) -> None:
    for table in report.tables:
        assert f'id="{table.name}"' in page
        assert f'data-csv="csv-{table.name}"' in page
    for chart in report.charts:
        assert f'data-spec="spec-{chart.name}"' in page


def test_the_same_records_give_the_same_page(report: Report, page: str) -> None:
    assert html_page(report) == page


def test_text_from_records_can_not_become_markup() -> None:
    record = run()
    nasty = replace(record, choices=record.choices | {"model": NASTY, "granularity": NASTY})
    made = assemble([nasty], [], [], Published.read(), (), [NASTY])
    page = without_library(html_page(made))
    assert "<img" not in page
    assert page.count("</script>") == page.count("<script")
    assert NASTY in unescape(page)


def test_what_was_not_run_is_written_out(page: str) -> None:
    assert '<td class="not-run">not run</td>' in page
    assert "<li>T1a " in page


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed (apt install chromium)")
@pytest.mark.timeout(240)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_browser_draws_every_figure_and_sorts_a_table(page: str, tmp_path: Path, theme: str) -> None:
    """What the page does is written into its own document, which Chromium then prints."""
    check = """<script>
    const wait = setInterval(() => {
      if (!document.documentElement.dataset.ready) return;
      clearInterval(wait);
      if (document.documentElement.dataset.theme !== "THEME") document.getElementById("theme").click();
      setTimeout(() => {
        const heading = document.querySelector("#T1a th:nth-child(2) button");
        heading.click();
        const first = () => document.querySelector("#T1a tbody tr td").textContent;
        const last = () => document.querySelector("#T1a tbody tr:last-child td").textContent;
        const rising = first() + "/" + last();
        heading.click();
        const link = [];
        const real = HTMLAnchorElement.prototype.click;
        HTMLAnchorElement.prototype.click = function () { link.push(this.download + " " + this.href.slice(0, 5)); };
        document.querySelector('button[data-csv="csv-T1a"]').click();
        const requests = performance.getEntriesByType("resource").filter((entry) => !entry.name.startsWith("blob:"));
        document.title = [rising, first() + "/" + last(), link.join(), requests.length].join("|");
        document.body.dataset.theme = document.documentElement.dataset.theme;
      }, 3000);
    }, 100);
    window.addEventListener("error", (event) => { document.body.dataset.failed = event.message; });
    </script></body>""".replace("THEME", theme)  # fmt: skip
    path = tmp_path / "report.html"
    body, _, rest = page.rpartition("</body>")  # Vega's code holds another
    path.write_text(body + check + rest, encoding="utf-8")
    assert CHROMIUM is not None
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--no-first-run", f"--user-data-dir={tmp_path / 'profile'}",
        "--virtual-time-budget=30000", "--dump-dom", path.as_uri(),
    ]  # fmt: skip
    drawn = subprocess.run(command, capture_output=True, text=True, timeout=200, check=True).stdout
    assert "data-failed" not in drawn
    assert f'data-theme="{theme}"' in drawn
    title = re.search(r"<title>(.*?)</title>", drawn)
    assert title is not None
    rising, falling, link, requests = unescape(title.group(1)).split("|")
    assert rising == "filter/dense"  # least accurate first
    assert falling == "dense/filter"
    assert link == "T1a.csv blob:"
    assert requests == "0"
    drawable = [figure.name for figure in figures()]
    drawings = re.findall(r'<div class="figure[^>]*data-name="(\w+)"[^>]*>(.*?)</section>', drawn, flags=re.S)
    assert [name for name, _ in drawings] == drawable
    assert all("<svg" in body and "<path" in body for _, body in drawings)
