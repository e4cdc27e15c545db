"""The strokes of the project's own drawings, in colours that suit light and dark pages and colour-blind eyes."""

from __future__ import annotations

from collections.abc import Iterable

STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .small { font-size: 11px; fill: #57606a }
  .title { font-size: 13px; font-weight: 600 }
  .cell, .gone { fill: #eaeef2 } .kept { fill: #0072B2 } .driven { fill: #a9d3ec } .read { fill: #D55E00 }
  .wire { stroke: #afb8c1; stroke-width: 1 } .on { stroke: #0072B2; stroke-width: 2.5 }
  .used { stroke: #D55E00; stroke-width: 2.5 } .box { fill: none; stroke: #57606a; stroke-width: 1.2 }
  .adc { fill: #fff1e5; stroke: #D55E00; stroke-width: 1.5 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .small { fill: #9da7b3 } .cell, .gone { fill: #30363d } .kept { fill: #56B4E9 }
    .driven { fill: #1f5478 } .read { fill: #f08a3c } .wire { stroke: #484f58 } .on { stroke: #56B4E9 }
    .used { stroke: #f08a3c } .box { stroke: #9da7b3 } .adc { fill: #3a2413; stroke: #f08a3c }
  }
"""


def box(x: float, y: float, width: float, height: float, kind: str, more: str = "") -> str:
    return f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"{more}/>'


def line(x: float, y: float, to_x: float, to_y: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x:g}" y1="{y:g}" x2="{to_x:g}" y2="{to_y:g}"/>'


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{words}</text>'


def picture(width: float, height: float, about: str, parts: Iterable[str]) -> str:
    """The whole as SVG; `about` is read aloud where it can't be seen."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img">'
    return "\n".join([head, f"<title>{about}</title>", f"<style>{STYLE}</style>", *parts, "</svg>", ""])
