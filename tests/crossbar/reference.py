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
    shared_evenly: dict[tuple[int, int, int], int] = defaultdict(int)
    held = -(-geometry.rows // geometry.active_rows)
    each = -(-len(row_groups) // -(-len(row_groups) // held))
    for g, matrix in enumerate(mask):
        total["weights"] += rows * cols
        total["weights_left"] += sum(weight for row in matrix for weight in row)
        for place, group in enumerate(row_groups):
            for stripe, columns in enumerate(stripes):
                for converted in executed_steps(matrix, group, columns, geometry):
                    read = (
                        converted if geometry.mux_control == "lockstep" else columns
                    )  # one pattern a row group
                    driven = [r for r in group if any(matrix[r][c] for c in read)]
                    steps_of_array[g, array_of_row_group(group, geometry), stripe] += cycles
                    shared_evenly[g, place // each, stripe] += cycles
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
        total["arrays"] += arrays_in_place(matrix, geometry)
    cuts = [steps_of_array] if mode == "in_place" else [steps_of_array, shared_evenly]
    total["critical_steps"] = min(max(steps.values(), default=0) for steps in cuts) * products
    total["index_bits"] = index_bits(mask, row_of, col_of, geometry, mode)
    units = len(mask) * len(set(row_of)) * len(set(col_of))
    if mode == "gathered" and gather(mask, geometry, total, cycles, products):
        pass
    elif mode != "in_place" and len(units_kept(mask, row_of, col_of)) < units:
        compact(mask, geometry, row_of, col_of, total, cycles, products)
    total["cells"] = total["arrays"] * geometry.rows * geometry.cols
    return total


def units_kept(mask: Mask, row_of: Labels, col_of: Labels) -> set[tuple[int, int, int]]:
    """Units that hold a weight that is kept."""
    return {
        (g, row_of[r], col_of[c])
        for g, matrix in enumerate(mask)
        for r, row in enumerate(matrix)
        for c, weight in enumerate(row)
        if weight
    }


def compact(
    mask: Mask, geometry: CrossbarGeometry, row_of: Labels, col_of: Labels,
    total: dict[str, int], cycles: int, products: int,
) -> None:  # fmt: skip
    """The counts that packing changes."""
    from tests.crossbar.layout import laid_out

    rows, m = len(mask[0]), geometry.active_rows
    stripes = [
        laid_out(matrix, columns, geometry, row_of, col_of)
        for matrix in mask
        for columns in array_columns(len(mask[0][0]), geometry)
    ]
    total["arrays"] = sum(len(stripe) for stripe in stripes)
    busiest = max((len(array) for stripe in stripes for array in stripe), default=0)
    total["critical_steps"] = busiest * cycles * products
    drives = total["wordline_drives"] // (cycles * products) if products else 0
    fetched = drives
    if max(row_of.count(label) for label in row_of) >= m:
        heights = 2 if geometry.rows % m else 1
        in_place = -(-rows // geometry.rows)
        cuts = sum(max(0, max(len(stripe), min(in_place, sum(map(len, stripe)))) - 1) for stripe in stripes)
        fetched = min(
            drives, total["input_buffer_bits"] // (geometry.input_bits * products) + m * heights * cuts
        )
    total["input_buffer_bits"] = fetched * geometry.input_bits * products


def gather(mask: Mask, geometry: CrossbarGeometry, total: dict[str, int], cycles: int, products: int) -> bool:
    """The counts that gathering rows changes; False, and nothing, where it saves no step or nothing is pruned."""
    from tests.crossbar.layout import gathered_of_stripe, height_class, on_fewest_arrays

    rows, m, k = len(mask[0]), geometry.active_rows, geometry.columns_per_weight
    stripes = [
        gathered_of_stripe(matrix, columns, geometry)
        for matrix in mask
        for columns in array_columns(len(mask[0][0]), geometry)
    ]
    blocks = [block for stripe in stripes for block in stripe]
    whole = all(weight for matrix in mask for row in matrix for weight in row)
    if whole or len(blocks) * cycles * products >= total["steps"]:
        return False
    laid = [on_fewest_arrays(stripe, geometry) for stripe in stripes]
    times = cycles * products
    total["steps"] = len(blocks) * times
    total["cell_reads"] = sum(len(b.rows) * len(b.columns) for b in blocks) * k * times
    total["adc_conversions"] = sum(len(b.columns) for b in blocks) * k * times
    total["wordline_drives"] = drives = sum(len(b.rows) for b in blocks) * times
    kept_columns = sum(any(row[c] for row in matrix) for matrix in mask for c in range(len(mask[0][0])))
    total["partial_sum_adds"] = (sum(len(b.columns) for b in blocks) - kept_columns) * products
    total["arrays"] = sum(len(arrays) for arrays in laid)
    total["critical_steps"] = max(len(array) for arrays in laid for array in arrays) * times
    different = 0  # inputs of wordlines side by side
    for stripe in stripes:
        gathered: dict[int, list[int]] = defaultdict(list)
        for block in stripe:
            gathered[mux_position_of(block.columns[0], geometry)] += block.rows
        longest = max(map(len, gathered.values()), default=0)
        different += sum(len({own[i] for own in gathered.values() if i < len(own)}) for i in range(longest))
    in_place = -(-rows // geometry.rows)
    cuts = sum(
        max(0, max(len(arrays), min(in_place, len(stripe))) - 1)
        for arrays, stripe in zip(laid, stripes, strict=True)
    )
    heights = len({height_class(h, geometry, whole_groups=False) for h in range(1, m + 1)})
    fetched = min(drives // times, different + m * heights * cuts)
    total["input_buffer_bits"] = fetched * geometry.input_bits * products
    return True


def arrays_in_place(matrix: list[list[bool]], geometry: CrossbarGeometry) -> int:
    """Arrays of the dense placement that hold any weight."""
    width, found = array_width(geometry), set()
    for r, row in enumerate(matrix):
        for c, weight in enumerate(row):
            if weight:
                found.add((r // geometry.rows, c // width))
    return len(found)


def index_bits(mask: Mask, row_of: Labels, col_of: Labels, geometry: CrossbarGeometry, mode: str) -> int:
    """A bit per unit, or for a compacted layer a list by column of units if that is shorter: how many are kept, and
    where each stands; and a bit per row of every executed step, if a kept unit lacks a weight."""
    rows, cols = len(mask[0]), len(mask[0][0])
    unit_rows, unit_cols = len(set(row_of)), len(set(col_of))
    kept = units_kept(mask, row_of, col_of)
    whole = all(
        matrix[r][c] or (g, row_of[r], col_of[c]) not in kept
        for g, matrix in enumerate(mask)
        for r in range(rows)
        for c in range(cols)
    )
    bits, units = 0, unit_rows * unit_cols * len(mask)
    if 0 < len(kept) < units:
        counters = len(mask) * unit_cols * len(f"{unit_rows:b}")  # a number from 0 to unit_rows
        places = 0 if unit_rows == 1 else len(kept) * len(f"{unit_rows - 1:b}")
        bits = units if mode == "in_place" else min(units, counters + places)
    if not whole:
        for matrix in mask:
            for group in row_groups_of_matrix(rows, geometry):
                for columns in array_columns(cols, geometry):
                    steps = executed_steps(matrix, group, columns, geometry)
                    patterns = len(steps) if geometry.mux_control == "lockstep" else min(1, len(steps))
                    bits += patterns * len(group)
    return bits
