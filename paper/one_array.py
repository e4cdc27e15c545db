"""Draw README's picture: one array with its operation unit, and what each granularity leaves of the same weights.

    python paper/one_array.py     writes paper/figures/array.svg, for light and dark pages

The small matrices are real: 16 x 16 weights drawn at random, pruned by cimlab to a quarter on an array of that size
(4 wordlines on at once, 4 columns to an ADC, one cell a weight), steps and conversions counted by its placement.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from svg import box, line, picture, text
from torch import nn

from cimlab.lab import Lab

SIZE, GROUP, READ = 16, 4, 4
"""Rows and columns of the array, wordlines on at once, columns read at once."""
ROW_GROUP, POSITION = 1, 2
"""The step that is drawn: which row group, which mux position, from 0."""
SHOWN = {
    "weight": "single weights",
    "row_segment": "row segment: 1 x 4",
    "column_segment": "column segment: 4 x 1",
    "operation_unit": "operation unit: 4 x 4",
    "filter": "filter: a whole column",
    "channel": "input channel: a whole row",
}
KEPT = 0.25
GEOMETRY = (
    f"geometry.rows={SIZE}", f"geometry.cols={SIZE}", f"geometry.active_rows={GROUP}",
    f"geometry.columns_per_adc={SIZE // READ}", "geometry.weight_bits=2", "geometry.cell_bits=2",
    "geometry.signed_encoding=offset",
)  # fmt: skip


def pruned(granularity: str) -> tuple[np.ndarray, float, float]:
    """Kept weights, rows as wordlines, and what is left of the array steps and of the conversions."""
    torch.manual_seed(7)
    network, image = nn.Sequential(nn.Linear(SIZE, SIZE, bias=False)), torch.rand(1, SIZE)
    words = (f"granularity={granularity}", f"prune.remaining={KEPT}", "prune.layer_floor=0")
    lab = Lab(*words, "prune.exempt_first=false", "prune.exempt_last=false", *GEOMETRY)
    masks = lab.prune(network, image)
    counts = lab.place(network, masks, image)
    left, whole = counts.total, counts.dense_total
    (mask,) = masks.values()
    return mask.numpy().T, left.steps / whole.steps, left.adc_conversions / whole.adc_conversions


def array(x: float, y: float) -> list[str]:
    """One array in one step: a row group is driven, the columns of one mux position are converted."""
    pitch, cell = 15, 11
    end = SIZE * pitch
    driven = range(ROW_GROUP * GROUP, (ROW_GROUP + 1) * GROUP)
    read = range(POSITION * READ, (POSITION + 1) * READ)
    parts = [text(x, y - 26, "One array step", "title")]
    for i in range(SIZE):
        middle = i * pitch + cell / 2
        parts.append(line(x - 14, y + middle, x + end, y + middle, "on" if i in driven else "wire"))
        parts.append(line(x + middle, y - 6, x + middle, y + end + 12, "used" if i in read else "wire"))
    for row in range(SIZE):
        for col in range(SIZE):
            kind = "cell" if row not in driven else "read" if col in read else "driven"
            parts.append(box(x + col * pitch, y + row * pitch, cell, cell, kind))
    top, left = y + ROW_GROUP * GROUP * pitch - 3, x + POSITION * READ * pitch - 3
    parts.append(box(left, top, READ * pitch + 2, GROUP * pitch + 2, "box"))
    note = top + GROUP * pitch / 2
    parts += [
        text(x - 20, note - 4, "a row group:", "small", "end"),
        text(x - 20, note + 10, "4 wordlines on", "small", "end"),
    ]
    below = y + end + 12
    parts.append(box(x - 4, below, end + 4, 16, "box"))
    parts.append(text(x + end / 2, below + 12, "muxes: position 3 of 4", "small", "middle"))
    for adc in range(READ):
        place = x + 12 + adc * 60
        parts += [
            line(place + 20, below + 16, place + 20, below + 26, "used"),
            box(place, below + 26, 40, 18, "adc", ' rx="3"'),
        ]
        parts.append(text(place + 20, below + 39, "ADC", "small", "middle"))
    told = "The framed operation unit is what one step computes:"
    parts += [text(x - 100, below + 66, told, "small")]
    parts += [
        text(x - 100, below + 81, "a step whose 16 weights are all 0 is skipped, with its time.", "small")
    ]
    return parts


def matrix(x: float, y: float, granularity: str) -> list[str]:
    """What a granularity leaves, and what the array then still does."""
    kept, steps, conversions = pruned(granularity)
    pitch, cell = 8, 6.6
    parts = [text(x, y - 8, SHOWN[granularity])]
    for row in range(SIZE):
        for col in range(SIZE):
            there = x + col * pitch + 3 * (col // READ), y + row * pitch + 3 * (row // GROUP)
            parts.append(box(*there, cell, cell, "kept" if kept[row, col] else "gone"))
    under = y + SIZE * pitch + 22
    parts += [text(x, under, f"steps left {100 * steps:.0f} %", "small")]
    parts += [text(x, under + 14, f"conversions left {100 * conversions:.0f} %", "small")]
    return parts


def drawing() -> str:
    """The whole picture as SVG."""
    parts = array(118, 62)
    parts.append(
        text(
            430,
            36,
            f"What is pruned together decides what is skipped ({100 * KEPT:g} % kept)",
            "title",
        )
    )
    for place, name in enumerate(SHOWN):
        parts += matrix(430 + 178 * (place % 3), 76 + 196 * (place // 3), name)
    about = (
        "One array step of a crossbar, and the same weights pruned at six granularities with the steps left"
    )
    return picture(960, 460, about, parts)


if __name__ == "__main__":
    (Path(__file__).parent / "figures" / "array.svg").write_text(drawing())
