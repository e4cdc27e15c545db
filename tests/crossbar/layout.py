"""The packing rule of `cimlab/crossbar/compaction.py` in plain loops: every block on its array, and what it computes.

`laid_out` puts the blocks of one column stripe on as few arrays as the rule allows; `computed` programs the cells and
runs the steps, one set of wordlines, one group of inputs and one column under each ADC at a time.
"""

from dataclasses import dataclass

from cimlab.crossbar.geometry import CrossbarGeometry
from tests.crossbar import reference


@dataclass
class Block:
    """One executed step: weights rows x columns, on wordlines of one mux position of an array."""

    rows: list[int]
    columns: list[int]
    height: int = 0
    position: int = -1
    wordlines: range = range(0)


def blocks_of_stripe(
    mask: list[list[bool]],
    columns: list[int],
    geometry: CrossbarGeometry,
    row_of: list[int],
    col_of: list[int],
) -> list[Block]:
    """Every step of a stripe, in the order of row groups; the rows are those whose place the index knows of."""
    whole_groups = max(row_of.count(label) for label in row_of) >= geometry.active_rows
    alive = {(row_of[r], col_of[c]) for r, row in enumerate(mask) for c, weight in enumerate(row) if weight}
    found = []
    for group in reference.row_groups_of_matrix(len(mask), geometry):
        for converted in reference.executed_steps(mask, group, columns, geometry):
            beside = columns
            if geometry.mux_control == "lockstep":
                place = reference.mux_position_of(converted[0], geometry)
                beside = [c for c in columns if reference.mux_position_of(c, geometry) == place]
            rows = [r for r in group if whole_groups or any((row_of[r], col_of[c]) in alive for c in beside)]
            found.append(Block(rows, converted, height_class(len(rows), geometry, whole_groups)))
    return found


def gathered_of_stripe(mask: list[list[bool]], columns: list[int], geometry: CrossbarGeometry) -> list[Block]:
    """Every step of a stripe whose mux positions gather the rows that their columns keep, active_rows at a time."""
    found = []
    for position in range(geometry.columns_per_adc):
        beside = [c for c in columns if reference.mux_position_of(c, geometry) == position]
        kept = [r for r in range(len(mask)) if any(mask[r][c] for c in beside)]
        for first in range(0, len(kept), geometry.active_rows):
            rows = kept[first : first + geometry.active_rows]
            converted = [c for c in beside if any(mask[r][c] for r in rows)]
            found.append(Block(rows, converted, height_class(len(rows), geometry, whole_groups=False)))
    return found


def height_class(height: int, geometry: CrossbarGeometry, whole_groups: bool) -> int:
    """Wordlines that a block takes."""
    m, short = geometry.active_rows, geometry.rows % geometry.active_rows
    if short:
        return short if height <= short else m
    if whole_groups:
        return m
    taken = m
    while taken > 1:
        smaller = taken // next(p for p in range(2, taken + 1) if taken % p == 0)
        if smaller < height:
            break
        taken = smaller
    return taken


def shares(blocks: list[Block], arrays: int) -> list[list[Block]]:
    """Equal contiguous shares of every height, highest first; what is left over goes to the next arrays in turn."""
    dealt: list[list[Block]] = [[] for _ in range(arrays)]
    turn = 0
    for height in sorted({b.height for b in blocks}, reverse=True):
        same = [b for b in blocks if b.height == height]
        base, extra = divmod(len(same), arrays)
        lucky = {(turn + i) % arrays for i in range(extra)}
        turn = (turn + extra) % arrays
        for array in range(arrays):
            count = base + (array in lucky)
            dealt[array] += same[:count]
            same = same[count:]
    return dealt


def placed(blocks: list[Block], geometry: CrossbarGeometry) -> bool:
    """Give every block of one array a mux position and wordlines; False if they don't fit."""
    m, short = geometry.active_rows, geometry.rows % geometry.active_rows
    slots = [
        [range(top, min(top + m, geometry.rows)) for top in range(0, geometry.rows, m)]
        for _ in range(geometry.columns_per_adc)
    ]
    used = [0] * geometry.columns_per_adc
    for block in blocks:
        for position in range(geometry.columns_per_adc):
            if short:
                free = [s for s in slots[position] if len(s) >= block.height]
                if free:
                    smallest = min(free, key=len)
                    slots[position].remove(smallest)
                    block.position, block.wordlines = position, smallest[: len(block.rows)]
                    break
            elif used[position] + block.height <= geometry.rows:
                top = used[position]
                used[position] += block.height
                block.position, block.wordlines = position, range(top, top + len(block.rows))
                break
        else:
            return False
    return True


def laid_out(
    mask: list[list[bool]],
    columns: list[int],
    geometry: CrossbarGeometry,
    row_of: list[int],
    col_of: list[int],
) -> list[list[Block]]:
    """The blocks of a stripe on the fewest arrays that hold them."""
    return on_fewest_arrays(blocks_of_stripe(mask, columns, geometry, row_of, col_of), geometry)


def on_fewest_arrays(blocks: list[Block], geometry: CrossbarGeometry) -> list[list[Block]]:
    """Blocks dealt to as few arrays as the rule allows."""
    arrays = 0
    while blocks:
        arrays += 1
        dealt = shares(blocks, arrays)
        if all(placed(share, geometry) for share in dealt):
            return dealt
    return []


def computed(
    stripes: list[list[list[Block]]], weights: list[list[int]], inputs: list[int], geometry: CrossbarGeometry
) -> list[int]:
    """Program the arrays of a matrix, run every step and add up what the ADCs give."""
    outputs = [0] * len(weights[0])
    for array in [array for stripe in stripes for array in stripe]:
        cells: dict[tuple[int, int, int], int] = {}  # wordline, mux position, ADC -> weight
        for block in array:
            for row, wordline in zip(block.rows, block.wordlines, strict=True):
                for column in block.columns:
                    cell = (wordline, block.position, reference.adc_of(column, geometry))
                    assert cell not in cells, "two weights in one cell"
                    cells[cell] = weights[row][column]
        for block in array:
            driven = dict(zip(block.wordlines, (inputs[row] for row in block.rows), strict=True))
            assert len(driven) <= geometry.active_rows
            adcs = [reference.adc_of(column, geometry) for column in block.columns]
            assert len(set(adcs)) == len(adcs), "one ADC converts two columns at once"
            for column, adc in zip(block.columns, adcs, strict=True):
                outputs[column] += sum(
                    x * cells[wordline, block.position, adc] for wordline, x in driven.items()
                )
    return outputs
