"""The slow twin of placement: the counts of CONCEPTS.md, section 5 in nested loops over plain Python numbers.

Written from the definitions, one weight at a time, without a tensor operation; nothing here is imported from
`cimlab/crossbar/placement.py` or `units.py`. A mask is `mask[group][row][col]`, True where a weight is left.
"""

from collections import defaultdict

from cimlab.crossbar.geometry import CrossbarGeometry

Mask = list[list[list[bool]]]
Labels = list[int]


def row_groups_of_matrix(rows: int, geometry: CrossbarGeometry) -> list[list[int]]:
    """Rows that are on together: active_rows at a time, starting afresh at the top of every array."""
    groups = []
    for top in range(0, rows, geometry.rows):
        bottom = min(top + geometry.rows, rows)
        starts = range(top, bottom, geometry.active_rows)
        groups += [list(range(first, min(first + geometry.active_rows, bottom))) for first in starts]
    return groups


def array_of_row_group(group: list[int], geometry: CrossbarGeometry) -> int:
    return group[0] // geometry.rows


def adc_of(col: int, geometry: CrossbarGeometry) -> int:
    """Which ADC group of its array converts this logical column; n columns side by side are read in a step."""
    n = geometry.cols // geometry.columns_per_adc // geometry.columns_per_weight
    return col % array_width(geometry) % n


def mux_position_of(col: int, geometry: CrossbarGeometry) -> int:
    n = geometry.cols // geometry.columns_per_adc // geometry.columns_per_weight
    return col % array_width(geometry) // n


def array_width(geometry: CrossbarGeometry) -> int:
    return geometry.cols // geometry.columns_per_weight


def array_columns(cols: int, geometry: CrossbarGeometry) -> list[list[int]]:
    """The logical columns of every column of arrays."""
    width = array_width(geometry)
    return [list(range(left, min(left + width, cols))) for left in range(0, cols, width)]


def executed_steps(
    mask: list[list[bool]], rows: list[int], cols: list[int], geometry: CrossbarGeometry
) -> list[list[int]]:
    """The steps that one array takes for one row group; each is the list of columns that it converts."""
    kept = [c for c in cols if any(mask[r][c] for r in rows)]
    steps: dict[int, list[int]] = defaultdict(list)
    if geometry.mux_control == "lockstep":
        for col in kept:
            steps[mux_position_of(col, geometry)].append(col)
    else:
        queues: dict[int, list[int]] = defaultdict(list)
        for col in kept:
            queues[adc_of(col, geometry)].append(col)
        for queue in queues.values():
            for place, col in enumerate(queue):
                steps[place].append(col)
    return list(steps.values())


def count(
    mask: Mask, geometry: CrossbarGeometry, products: int, row_of: Labels, col_of: Labels, mode: str
) -> dict[str, int]:
    """Every count of one layer. `row_of` and `col_of` label the units that the index tells of."""
    rows, cols = len(mask[0]), len(mask[0][0])
    k, cycles = geometry.columns_per_weight, -(-geometry.input_bits // geometry.dac_bits)
    row_groups, stripes = row_groups_of_matrix(rows, geometry), array_columns(cols, geometry)
    total: dict[str, int] = defaultdict(int)
    steps_of_array: dict[tuple[int, int, int], int] = defaultdict(int)
    for g, matrix in enumerate(mask):
        total["weights"] += rows * cols
        total["weights_left"] += sum(weight for row in matrix for weight in row)
        for group in row_groups:
            for stripe, columns in enumerate(stripes):
                for converted in executed_steps(matrix, group, columns, geometry):
                    driven = [r for r in group if any(matrix[r][c] for c in converted)]
                    steps_of_array[g, array_of_row_group(group, geometry), stripe] += cycles
                    total["steps"] += cycles * products
                    total["cell_reads"] += len(driven) * len(converted) * k * cycles * products
                    total["adc_conversions"] += len(converted) * k * cycles * products
                    total["wordline_drives"] += len(driven) * cycles * products
        for col in range(cols):
            groups_kept = sum(any(matrix[r][col] for r in group) for group in row_groups)
            if groups_kept:
                total["partial_sum_adds"] += (groups_kept - 1) * products
                accumulator = geometry.input_bits + geometry.weight_bits + (rows - 1).bit_length()
                total["output_buffer_bits"] += accumulator * products
        for columns in stripes:
            fetched = sum(any(matrix[r][c] for c in columns) for r in range(rows))
            total["input_buffer_bits"] += fetched * geometry.input_bits * products
        total["arrays"] += (
            arrays_in_place(matrix, geometry)
            if mode == "in_place"
            else arrays_compacted(matrix, geometry, row_of, col_of)
        )
    total["critical_steps"] = max(steps_of_array.values(), default=0) * products
    total["cells"] = total["arrays"] * geometry.rows * geometry.cols
    total["index_bits"] = index_bits(mask, row_of, col_of, len(row_groups), mode)
    return total


def arrays_in_place(matrix: list[list[bool]], geometry: CrossbarGeometry) -> int:
    """Arrays of the dense placement that hold any weight."""
    width, found = array_width(geometry), set()
    for r, row in enumerate(matrix):
        for c, weight in enumerate(row):
            if weight:
                found.add((r // geometry.rows, c // width))
    return len(found)


def arrays_compacted(
    matrix: list[list[bool]], geometry: CrossbarGeometry, row_of: Labels, col_of: Labels
) -> int:
    """Stack what is kept of every column, one array on top of the other; a stripe needs as many as its tallest.

    Units lower than a row group move up row by row; all others move up a row group at a time.
    """
    tallest_unit = max(row_of.count(label) for label in row_of)
    needed = 0
    for columns in array_columns(len(col_of), geometry):
        if tallest_unit < geometry.active_rows:
            heights = [rows_of_kept_units(matrix, col, row_of, col_of) for col in columns]
            needed += max(fill_rows(height, geometry) for height in heights)
        else:
            needed += max(fill_row_groups(matrix, col, geometry) for col in columns)
    return needed


def rows_of_kept_units(matrix: list[list[bool]], col: int, row_of: Labels, col_of: Labels) -> int:
    beside = [c for c in range(len(col_of)) if col_of[c] == col_of[col]]
    height = 0
    for label in set(row_of):
        unit_rows = [r for r in range(len(row_of)) if row_of[r] == label]
        if any(matrix[r][c] for r in unit_rows for c in beside):
            height += len(unit_rows)
    return height


def fill_rows(height: int, geometry: CrossbarGeometry) -> int:
    arrays = 0
    while arrays * geometry.rows < height:
        arrays += 1
    return arrays


def fill_row_groups(matrix: list[list[bool]], col: int, geometry: CrossbarGeometry) -> int:
    """Put the kept row groups of a column into the lowest free slot that is high enough, the tallest first."""
    groups = row_groups_of_matrix(len(matrix), geometry)
    waiting = sorted((len(g) for g in groups if any(matrix[r][col] for r in g)), reverse=True)
    slot_heights = [len(g) for g in row_groups_of_matrix(geometry.rows, geometry)]
    slots: list[int] = []
    arrays = 0
    for height in waiting:
        while not any(slot >= height for slot in slots):
            slots += slot_heights
            arrays += 1
        slots.remove(min(slot for slot in slots if slot >= height))
    return arrays


def index_bits(mask: Mask, row_of: Labels, col_of: Labels, row_groups: int, mode: str) -> int:
    """A bit a unit, or for a compacted layer ceil(log2(row groups)) bits (at least one) a kept unit if fewer."""
    units = len(set(row_of)) * len(set(col_of)) * len(mask)
    kept = {
        (g, row_of[r], col_of[c])
        for g, matrix in enumerate(mask)
        for r, row in enumerate(matrix)
        for c, weight in enumerate(row)
        if weight
    }
    if len(kept) == units:
        return 0
    listed = len(kept) * max(1, (row_groups - 1).bit_length())
    return units if mode == "in_place" else min(units, listed)
