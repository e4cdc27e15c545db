"""Draw the pictures of CONCEPTS.md, every number in them computed by cimlab.

python paper/concepts.py     writes paper/figures/matrix.svg, slices.svg and equal_area.svg
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from svg import box, line, picture, text
from torch import nn

from cimlab.crossbar.cells import Encoding, cell_levels
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.lab import Lab

ROWS, COLS, ON, POSITIONS = 18, 8, 6, 4
"""Of the small matrix: rows, columns, wordlines on at once, columns that share an ADC."""
TOY = (
    f"geometry.rows={ROWS}", f"geometry.cols={COLS}", f"geometry.active_rows={ON}",
    f"geometry.columns_per_adc={POSITIONS}", "geometry.weight_bits=2", "geometry.cell_bits=2",
    "geometry.signed_encoding=offset", "prune.exempt_first=false", "prune.exempt_last=false", "prune.layer_floor=0",
)  # fmt: skip
WEIGHTS, INPUTS, CYCLE = (-100, 37, 64), (178, 3, 90), 1
"""What three rows hold and are fed, and the input cycle that is drawn."""


def kept_units() -> tuple[torch.Tensor, int]:
    """The kept weights of a 3 x 3 convolution, rows as wordlines, and the array steps that are left of a product."""
    torch.manual_seed(3)
    network, image = nn.Sequential(nn.Conv2d(2, COLS, 3, bias=False)), torch.rand(1, 2, 5, 5)
    lab = Lab("granularity=operation_unit", "prune.remaining=0.5", *TOY)
    (mask,) = (masks := lab.prune(network, image)).values()
    counts = lab.place(network, masks, image).total
    products = 3 * 3  # output pixels of a 5 x 5 image
    return mask.flatten(1).T, counts.steps // products // lab.geometry.input_cycles


def matrix_view() -> str:
    """A convolution as a matrix, its row groups and mux positions, and the steps that are left."""
    kept, steps = kept_units()
    wide = COLS // POSITIONS
    parts = [text(20, 24, "Conv2d(2, 8, 3): a window of the input", "title")]
    for channel in range(2):
        for row in range(5):
            for col in range(5):
                kind = "driven" if row < 3 and col < 3 else "cell"
                parts.append(box(20 + channel * 130 + col * 20, 52 + row * 20, 18, 18, kind))
        parts.append(text(20 + channel * 130, 168, f"channel {channel + 1} of 2", "small"))
    parts += [
        text(20, 204, "The window is one input vector: R = 2 x 3 x 3 = 18", "small"),
        text(20, 220, "numbers, in the order of unfold. It slides over the", "small"),
        text(20, 236, "image: P = Hout Wout products with one matrix.", "small"),
    ]
    left, top, cell = 440, 64, 14
    parts.append(text(left - 42, 24, "M: 18 wordlines x 8 bitlines", "title"))
    for row in range(ROWS):
        y = top + row * cell + 8 * (row // ON)
        parts += [box(left - 34, y, 12, 12, "driven"), line(left - 20, y + 6, left - 6, y + 6, "wire")]
        for col in range(COLS):
            kind = "kept" if kept[row, col] else "gone"
            parts.append(box(left + col * cell + 8 * (col // wide), y, 12, 12, kind))
    for group in range(ROWS // ON):
        middle = top + (group + 0.5) * ON * cell + 8 * group
        parts.append(text(left - 42, middle, f"row group {group + 1}", "small", "end"))
    for position in range(POSITIONS):
        middle = left + (position + 0.5) * wide * cell + 8 * position - 1
        parts.append(text(middle, top - 8, f"{position + 1}", "small", "middle"))
    parts.append(text(left + COLS * cell + 30, top - 8, "mux position", "small"))
    parts += steps_left(650, 110, kept, steps)
    return picture(960, 350, "A convolution as a crossbar matrix, in row groups and mux positions", parts)


def steps_left(x: float, y: float, kept: torch.Tensor, steps: int) -> list[str]:
    """The array steps of one product and input cycle: executed where any weight of the operation unit is kept."""
    units = kept.view(ROWS // ON, ON, POSITIONS, -1).any(3).any(1)
    assert int(units.sum()) == steps
    parts = [text(x, y - 24, f"Array steps: {steps} of {units.numel()}", "title")]
    for group, position in torch.cartesian_prod(*map(torch.arange, units.shape)).tolist():
        executed = units[group, position]
        kind = "kept" if executed else "gone"
        parts.append(box(x + position * 46, y + group * 34, 42, 30, kind))
    parts += [
        text(x, y + 126, "One step per row group and mux position whose", "small"),
        text(x, y + 142, "operation unit (6 x 2 weights) keeps any weight;", "small"),
        text(x, y + 158, "the others are skipped. An image takes", "small"),
        text(x, y + 174, f"{steps} x P products x T input cycles.", "small"),
    ]
    return parts


def slices() -> str:
    """Weights in slices on pairs of columns, inputs bit by bit, and how codes add up."""
    geometry = CrossbarGeometry()
    encoding, levels = Encoding.of(geometry), cell_levels(torch.tensor(WEIGHTS), geometry, dim=1)
    bits = torch.tensor([[x >> t & 1 for x in INPUTS] for t in range(geometry.input_bits)])
    cycles = (bits @ levels.long()).tolist()  # input cycles x columns
    total = sum(
        2**t * c * code[s] for t, code in enumerate(cycles) for s, c in enumerate(encoding.coefficients)
    )
    assert total == sum(w * x for w, x in zip(WEIGHTS, INPUTS, strict=True))
    parts = [
        text(20, 24, "Inputs, a bit plane per cycle", "title"),
        text(330, 24, "Weights, in slices of 2 bits", "title"),
    ]
    parts += [text(81 + t * 20, 62, f"{t}", "small", "middle") for t in range(geometry.input_bits)]
    parts.append(text(64, 62, "t", "small", "end"))
    for i, (weight, x) in enumerate(zip(WEIGHTS, INPUTS, strict=True)):
        y = 76 + i * 34
        parts.append(text(64, y + 16, f"x = {x}", anchor="end"))
        for t in range(geometry.input_bits):
            kind = "cell" if not x >> t & 1 else "read" if t == CYCLE else "driven"
            parts.append(box(72 + t * 20, y + 2, 18, 18, kind))
        parts += [
            line(234, y + 11, 330, y + 11, "on" if x >> CYCLE & 1 else "wire"),
            text(282, y + 4, f"w = {weight}", "", "middle"),
        ]
        for s, level in enumerate(levels[i].tolist()):
            parts.append(box(column(s) - 18, y, 36, 22, "driven" if level else "cell"))
            parts.append(text(column(s), y + 15, f"{level}", "", "middle"))
    for s, (c, code) in enumerate(zip(encoding.coefficients, cycles[CYCLE], strict=True)):
        parts += [text(column(s), 62, f"{'+' if c > 0 else '−'}{abs(c)}", "small", "middle")]
        parts += [
            line(column(s), 166, column(s), 186, "used"),
            box(column(s) - 18, 186, 36, 20, "adc", ' rx="3"'),
        ]
        parts.append(text(column(s), 200, f"{code}", "", "middle"))
    parts += [
        text(330, 42, "positive column of each pair: what a level counts", "small"),
        text(column(4) - 18, 42, "negative column", "small"),
        text(20, 200, f"cycle t = {CYCLE}: each column adds the levels of the rows", "small"),
        text(20, 216, "whose bit is 1, and its ADC gives a code", "small"),
        text(330, 232, "y = sum over cycles and columns of 2^t x (what a level counts) x code", "small"),
        text(330, 250, f"{expression()} = {total:,}".replace("-", "−"), ""),
    ]  # fmt: skip
    return picture(960, 270, "Bit slices on differential columns and bit-serial inputs", parts)


def column(place: int) -> float:
    """Where a physical column is drawn; the negative ones stand apart."""
    return 350 + place * 62 + (60 if place > 3 else 0)


def expression() -> str:
    return " + ".join(f"{x} x ({w})" if w < 0 else f"{x} x {w}" for w, x in zip(WEIGHTS, INPUTS, strict=True))


def equal_area() -> str:
    """One area for the dense and the pruned network: what it is spent on, and which layer all wait for."""
    torch.manual_seed(0)
    first = (nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    middle = (nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU())
    last = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))
    network, images = nn.Sequential(*first, *middle, *last).eval(), torch.rand(4, 1, 8, 8)
    lab = Lab("granularity=operation_unit", "prune.remaining=0.25", "prune.allocation=uniform")
    cost = lab.cost(network, lab.prune(network, images), images)
    whole = sum(
        cost.dense.area_split_m2[part] for part in ("one copy of each layer", "further copies", "unused")
    )
    parts = [
        text(
            20,
            24,
            f"Two chips of {1e6 * whole:.2g} mm2: what the area holds, and the time that each layer takes",
            "title",
        )
    ]
    slowest = max(row["layer_s"] for row in cost.dense.layer_rows())
    for place, (name, own) in enumerate((("dense", cost.dense), ("pruned", cost.pruned))):
        parts += chip(56 + place * 122, name, own.layer_rows(), whole, slowest)
    why = "Pruned layers need fewer arrays and steps. The area that they leave holds copies, which share the work."
    parts.append(text(20, 296, why, "small"))
    return picture(960, 310, "A dense and a pruned network on chips of equal area", parts)


def chip(y: float, name: str, rows: list[dict[str, Any]], whole: float, slowest: float) -> list[str]:
    """What the area of a chip holds, in m2 of `whole`, and the time of each layer over the slowest of all."""
    parts, x = [text(20, y + 26, name, "title"), box(90, y - 2, 560, 44, "box")], 90.0
    waits = max(rows, key=lambda row: row["layer_s"])
    for number, row in enumerate(rows):
        width, kind = 560 * row["area_m2"] / whole, "driven" if number % 2 else "kept"
        one = width / row["copies"]
        parts += [box(x + copy * one + 1, y, one - 2, 40, kind) for copy in range(row["copies"])]
        if width > 45:
            parts.append(
                text(x + width / 2, y + 57, f"layer {number + 1}, {row['copies']} x", "small", "middle")
            )
        x += width
        bar, length = y + number * 20, 130 * row["layer_s"] / slowest
        parts.append(text(716, bar + 11, f"layer {number + 1}", "small", "end"))
        parts.append(box(724, bar, max(1.0, length), 14, "read" if row is waits else "driven"))
        parts.append(text(730 + max(1.0, length), bar + 11, f"{1e6 * row['layer_s']:.3g} us", "small"))
    rate = f"throughput = 1 / {1e6 * waits['layer_s']:.3g} us = {1 / waits['layer_s']:,.0f} images/s"
    return [*parts, text(90, y + 80, rate, "small")]


DRAWINGS = {"matrix": matrix_view, "slices": slices, "equal_area": equal_area}

if __name__ == "__main__":
    for name, draw in DRAWINGS.items():
        (Path(__file__).parent / "figures" / f"{name}.svg").write_text(draw())
