"""Every count of a placement equals the slow twin's, and the numbers of examples worked by hand."""

from dataclasses import asdict, replace
from math import ceil, comb, log2

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cimlab.crossbar.geometry import CrossbarGeometry, GeometryError
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.placement import (
    Counts,
    accumulator_bits,
    place,
    place_dense,
    place_network,
)
from cimlab.crossbar.rules import PlacementMode
from cimlab.crossbar.units import UnitGrid, aligned_segments
from cimlab.pruning.granularities.row_segment import RowSegment
from tests.crossbar import layout, reference
from tests.crossbar.strategies import generator, geometries, has_bought_its_index, matrices


def column_segment_index(matrix: CrossbarMatrix, geometry: CrossbarGeometry) -> UnitGrid:
    return UnitGrid(
        aligned_segments(matrix.rows, geometry.rows, geometry.active_rows), torch.arange(matrix.cols)
    )


@st.composite
def indices(draw: st.DrawFn, matrix: CrossbarMatrix, geometry: CrossbarGeometry) -> UnitGrid:
    """Any way of cutting: aligned to arrays, by input channel, or in labels that lie scattered."""
    height, width = draw(st.integers(1, 10)), draw(st.integers(1, 6))
    rows = aligned_segments(matrix.rows, geometry.rows, height)
    cols = aligned_segments(matrix.cols, geometry.logical_cols, width)
    return UnitGrid(draw(st.sampled_from([rows, matrix.channel_of_row()])), cols)


@st.composite
def masks(draw: st.DrawFn, matrix: CrossbarMatrix, geometry: CrossbarGeometry) -> torch.Tensor:
    """Masks of any density, of single weights or of whole blocks, the empty and the full one among them."""
    density = draw(st.sampled_from([0.0, 0.05, 0.3, 0.7, 1.0]))
    height, width = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    grid = UnitGrid(
        aligned_segments(matrix.rows, geometry.rows, height),
        aligned_segments(matrix.cols, geometry.logical_cols, width),
    )
    shape = (matrix.groups, grid.unit_rows, grid.unit_cols)
    return grid.spread(torch.rand(shape, generator=generator(draw(st.integers(0, 2**31)))) < density)


def modes(geometry: CrossbarGeometry) -> st.SearchStrategy[PlacementMode]:
    """Placements that the array can have."""
    found: list[PlacementMode] = ["in_place", "compacted"]
    if geometry.mux_control == "lockstep":
        found.append("gathered")
    return st.sampled_from(found)


@settings(max_examples=250, deadline=None)
@given(st.data())
def test_every_count_equals_the_slow_twin(data: st.DataObject) -> None:
    geometry, matrix = data.draw(geometries()), data.draw(matrices())
    mask = data.draw(masks(matrix, geometry))
    index = data.draw(indices(matrix, geometry))
    mode: PlacementMode = data.draw(modes(geometry))
    counted = asdict(place(matrix, mask, geometry, index, mode).counts)
    row_of, col_of = index.row_of.tolist(), index.col_of.tolist()
    expected = reference.count(mask.tolist(), geometry, matrix.products, row_of, col_of, mode)
    assert counted == {name: expected[name] for name in counted}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_dense_placement_equals_a_full_mask_without_an_index(data: st.DataObject) -> None:
    geometry, matrix = data.draw(geometries()), data.draw(matrices())
    mask = [[[True] * matrix.cols] * matrix.rows] * matrix.groups
    mode: PlacementMode = data.draw(st.sampled_from(["in_place", "compacted"]))
    expected = reference.count(mask, geometry, matrix.products, [0] * matrix.rows, [0] * matrix.cols, mode)
    counted = asdict(place_dense(matrix, geometry, mode).counts)
    assert counted == {name: expected[name] for name in counted}
    assert counted["index_bits"] == 0


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_steps_by_array_add_up_to_the_layer_s(data: st.DataObject) -> None:
    geometry, matrix = data.draw(geometries()), data.draw(matrices())
    mask = data.draw(masks(matrix, geometry))
    placement = place(matrix, mask, geometry, column_segment_index(matrix, geometry))
    per_image = geometry.input_cycles * matrix.products
    assert int(placement.stripes.work.sum()) * per_image == placement.counts.steps
    assert int(placement.stripes.work.max(initial=0)) * per_image == placement.counts.critical_steps
    assert len(placement.stripes.work) == placement.counts.arrays


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_compacted_arrays_compute_the_same_products(data: st.DataObject) -> None:
    """Every cell is programmed once, every step drives one set of wordlines, and the sums are those of the matrix."""
    geometry, matrix = data.draw(geometries()), data.draw(matrices())
    mask, index = data.draw(masks(matrix, geometry)), data.draw(indices(matrix, geometry))
    seeded = generator(data.draw(st.integers(0, 2**31)))
    weights = torch.randint(-9, 10, mask.shape, generator=seeded) * mask
    inputs = torch.randint(0, 8, (matrix.rows,), generator=seeded)
    row_of, col_of = index.row_of.tolist(), index.col_of.tolist()
    arrays = 0
    for kept, values in zip(mask.tolist(), weights, strict=True):
        stripes = [
            layout.laid_out(kept, columns, geometry, row_of, col_of)
            for columns in reference.array_columns(matrix.cols, geometry)
        ]
        arrays += sum(len(stripe) for stripe in stripes)
        products = layout.computed(stripes, values.tolist(), inputs.tolist(), geometry)
        assert products == (inputs @ values).tolist()
    counts = place(matrix, mask, geometry, index, "compacted").counts
    if (
        len(reference.units_kept(mask.tolist(), row_of, col_of))
        < matrix.groups * index.unit_rows * index.unit_cols
    ):
        assert arrays == counts.arrays


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_gathered_arrays_compute_the_same_products(data: st.DataObject) -> None:
    geometry, matrix = replace(data.draw(geometries()), mux_control="lockstep"), data.draw(matrices())
    mask, index = data.draw(masks(matrix, geometry)), data.draw(indices(matrix, geometry))
    seeded = generator(data.draw(st.integers(0, 2**31)))
    weights = torch.randint(-9, 10, mask.shape, generator=seeded) * mask
    inputs = torch.randint(0, 8, (matrix.rows,), generator=seeded)
    stripes = [
        [
            layout.on_fewest_arrays(layout.gathered_of_stripe(kept, columns, geometry), geometry)
            for columns in reference.array_columns(matrix.cols, geometry)
        ]
        for kept in mask.tolist()
    ]
    for own, values in zip(stripes, weights, strict=True):
        products = layout.computed(own, values.tolist(), inputs.tolist(), geometry)
        assert products == (inputs @ values).tolist()
    placed = place(matrix, mask, geometry, index, "gathered")
    if placed.gathered:
        assert placed.counts.arrays == sum(len(arrays) for own in stripes for arrays in own)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_gathering_takes_the_fewest_steps_and_never_more_than_compacting(data: st.DataObject) -> None:
    geometry, matrix = replace(data.draw(geometries()), mux_control="lockstep"), data.draw(matrices())
    mask, index = data.draw(masks(matrix, geometry)), data.draw(indices(matrix, geometry))
    assume(not mask.all())
    compacted, gathered = (place(matrix, mask, geometry, index, mode) for mode in ("compacted", "gathered"))
    fewest = 0
    for kept in mask.tolist():
        for columns in reference.array_columns(matrix.cols, geometry):
            for position in range(geometry.columns_per_adc):
                beside = [c for c in columns if reference.mux_position_of(c, geometry) == position]
                fewest += ceil(sum(any(row[c] for c in beside) for row in kept) / geometry.active_rows)
    assert gathered.counts.steps == fewest * geometry.input_cycles * matrix.products <= compacted.counts.steps
    assert gathered.gathered or gathered.counts == compacted.counts
    assert gathered.counts.weights_left == compacted.counts.weights_left
    assert gathered.counts.index_bits == compacted.counts.index_bits
    assert gathered.counts.wordline_drives == compacted.counts.wordline_drives


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_one_more_row_segment_pruned_never_costs_a_gathered_layer_anything(data: st.DataObject) -> None:
    """Units as wide as a step; narrower ones may convert more where the rows above them leave."""
    geometry, matrix = replace(data.draw(geometries()), mux_control="lockstep"), data.draw(matrices())
    index = RowSegment().units(matrix, geometry)
    shape = (matrix.groups, index.unit_rows, index.unit_cols)
    seeded = generator(data.draw(st.integers(0, 2**31)))
    kept = torch.rand(shape, generator=seeded) < data.draw(st.sampled_from([0.1, 0.5, 0.9]))
    fewer = kept & (torch.rand(shape, generator=seeded) < 0.9)
    assume(not fewer.all() and not kept.all())
    before, after = (
        place(matrix, index.spread(own), geometry, index, "gathered").counts for own in (kept, fewer)
    )
    counted = ("arrays", "steps", "cell_reads", "adc_conversions", "wordline_drives", "partial_sum_adds")
    assert not [name for name in counted if getattr(after, name) > getattr(before, name)]


def test_whole_operation_units_have_nothing_to_gather_and_row_segments_do() -> None:
    """32 x 2 weights of one mux position: every other row fills one step instead of two; one unit of two is one."""
    matrix, geometry = CrossbarMatrix("fc", (2, 32)), CrossbarGeometry()
    rows = UnitGrid(torch.arange(32), torch.zeros(2, dtype=torch.long))
    every_other = torch.zeros(1, 32, 2, dtype=torch.bool)
    every_other[:, ::2] = True
    upper = torch.zeros(1, 32, 2, dtype=torch.bool)
    upper[:, :16] = True
    placed = [place(matrix, mask, geometry, rows, "gathered") for mask in (every_other, upper)]
    assert [p.counts.steps for p in placed] == [8, 8]  # input cycles
    assert [p.gathered for p in placed] == [True, False]
    assert place(matrix, every_other, geometry, rows, "compacted").counts.steps == 16


def test_a_layer_that_keeps_every_weight_gains_nothing_by_being_cut_otherwise() -> None:
    """16 rows on arrays of 6 take row groups of 4, 2, 4, 2 and 4, dense or not; gathered they would take 4 of 4."""
    matrix, geometry = CrossbarMatrix("fc", (1, 16)), replace(SMALL, rows=6, active_rows=4)
    whole = torch.ones(1, 16, 1, dtype=torch.bool)
    counts = place(matrix, whole, geometry, column_segment_index(matrix, geometry), "gathered").counts
    assert counts.steps == place_dense(matrix, geometry).counts.steps


def test_independent_muxes_and_gathered_rows_are_refused() -> None:
    matrix, geometry = CrossbarMatrix("fc", (2, 32)), CrossbarGeometry(mux_control="independent")
    with pytest.raises(
        GeometryError, match=r"use geometry\.mux_control=lockstep, or mapping\.placement=compacted"
    ):
        place(matrix, torch.ones(1, 32, 2) > 0, geometry, column_segment_index(matrix, geometry), "gathered")


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_pruning_more_never_costs_more(data: st.DataObject) -> None:
    geometry, matrix = data.draw(geometries()), data.draw(matrices())
    mode: PlacementMode = data.draw(st.sampled_from(["in_place", "compacted"]))
    index = data.draw(indices(matrix, geometry))
    mask = data.draw(masks(matrix, geometry))
    fewer = mask & data.draw(masks(matrix, geometry))
    assume(has_bought_its_index(mask, fewer, index))
    before, after = (place(matrix, m, geometry, index, mode) for m in (mask, fewer))
    own, less = asdict(before.counts), asdict(after.counts)
    grows = {"critical_steps"} if mode == "compacted" else set()  # fewer arrays may hold more each
    assert not [name for name in own if name not in grows and less[name] > own[name]]
    longest = np.arange(1, before.stripes.longest + 1)
    assert (after.stripes.arrays(longest) <= before.stripes.arrays(longest)).all()


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_two_masks_of_as_many_units_could_share_an_index(data: st.DataObject) -> None:
    """No code tells C(units, kept) masks apart with fewer bits than the logarithm."""
    geometry, matrix = data.draw(geometries()), data.draw(matrices())
    mode: PlacementMode = data.draw(st.sampled_from(["in_place", "compacted"]))
    mask, index = data.draw(masks(matrix, geometry)), data.draw(indices(matrix, geometry))
    units = matrix.groups * index.unit_rows * index.unit_cols
    kept = len(reference.units_kept(mask.tolist(), index.row_of.tolist(), index.col_of.tolist()))
    assert place(matrix, mask, geometry, index, mode).counts.index_bits >= log2(comb(units, kept)) - 1e-9


def test_masks_that_drive_other_wordlines_take_an_index_that_tells_of_rows() -> None:
    """16 x 2 weights of which column 0 keeps one: two column segments, and the 16 rows of its step (ragged n = 2)."""
    matrix, geometry = CrossbarMatrix("fc", (2, 16)), CrossbarGeometry()
    index = column_segment_index(matrix, geometry)
    first, all_rows = torch.zeros(2, 1, 16, 2, dtype=torch.bool)
    first[:, 0, 0] = all_rows[:, :, 0] = True
    one, whole = (place(matrix, mask, geometry, index).counts for mask in (first, all_rows))
    assert (one.wordline_drives, one.index_bits) == (8, 2 + 16)
    assert (whole.wordline_drives, whole.index_bits) == (128, 2)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_independent_adcs_never_take_more_steps_than_lockstep(data: st.DataObject) -> None:
    lockstep = replace(data.draw(geometries()), mux_control="lockstep")
    matrix = data.draw(matrices())
    mask, index = data.draw(masks(matrix, lockstep)), column_segment_index(matrix, lockstep)
    together = place(matrix, mask, lockstep, index).counts
    alone = place(matrix, mask, replace(lockstep, mux_control="independent"), index).counts
    assert alone.steps <= together.steps
    assert alone.adc_conversions == together.adc_conversions


# k = 2 columns per weight (1 slice, differential), n = 4 / 2 / 2 = 1, T = 2: an array of 4 x 2 weights
SMALL = CrossbarGeometry(
    rows=4, cols=4, active_rows=2, columns_per_adc=2, weight_bits=3, cell_bits=2, input_bits=2, dac_bits=1
)
BY_HAND = torch.tensor(
    [
        [1, 0, 0],  # array row 0, row group 0
        [0, 0, 0],
        [0, 0, 0],  # row group 1: empty
        [0, 0, 0],
        [1, 1, 0],  # array row 1, row group 2 (ragged)
    ],
    dtype=torch.bool,
).unsqueeze(0)


def test_counts_of_a_matrix_worked_by_hand() -> None:
    """Arrays of 4 x 2 weights over 5 x 3: two rows and two columns of arrays, of which the right ones are empty.

    Steps (row group, mux position): (0, column 0), (2, column 0), (2, column 1) = 3, each one row and one column.
    """
    matrix = CrossbarMatrix("fc", (3, 5), products=10)
    counts = place(matrix, BY_HAND, SMALL, column_segment_index(matrix, SMALL)).counts
    assert counts == Counts(
        weights=15,
        weights_left=3,
        arrays=2,  # 2 x 2, less the two empty ones of column 2
        cells=2 * 16,
        steps=3 * 2 * 10,  # 3 steps, T = 2, 10 products
        critical_steps=2 * 2 * 10,  # the lower array takes 2 of the 3
        cell_reads=3 * 1 * 1 * 2 * 2 * 10,  # 3 steps x 1 row x 1 column x k = 2, T = 2, 10 products
        adc_conversions=3 * 2 * 2 * 10,  # 3 kept segments x k = 2, T = 2, 10 products
        wordline_drives=3 * 2 * 10,
        partial_sum_adds=(2 - 1) * 10,  # column 0 joins row groups 0 and 2; column 1 has one, column 2 none
        input_buffer_bits=2 * 2 * 10,  # rows 0 and 4 x 2 bits
        output_buffer_bits=2 * (2 + 3 + 3) * 10,  # 2 columns x (input 2 + weight 3 + ceil(log2 5) = 3) bits
        index_bits=9
        + 4,  # 3 row groups x 3 columns; 2 + 1 + 1 rows of the steps, of whose units one is kept in part
    )


def test_compaction_fills_the_places_of_one_array() -> None:
    """Three steps fit the 2 slots x 2 mux positions of one array, which then executes all three: 3 x T = 2 x 10.

    Each step fetches its one input row (2 bits). A list of the kept units, 3 columns x 2 bits and 3 units x 2 bits, is
    longer than a bit for each of 9.
    """
    matrix = CrossbarMatrix("fc", (3, 5), products=10)
    index = column_segment_index(matrix, SMALL)
    in_place = place(matrix, BY_HAND, SMALL, index).counts
    compacted = place(matrix, BY_HAND, SMALL, index, "compacted").counts
    assert (in_place.arrays, in_place.critical_steps, in_place.input_buffer_bits) == (2, 40, 40)
    assert compacted == replace(in_place, arrays=1, cells=16, critical_steps=60, input_buffer_bits=3 * 2 * 10)


def test_pruning_that_saves_no_step_is_not_credited_with_how_the_dense_matrix_is_cut() -> None:
    """144 rows are 9 row groups of 8 steps, and an array holds 8 of them. Of two arrays, the first filled, they
    execute 64 and 8 steps; evenly cut, 40 and 32; packed, by steps and not by whole row groups, 36 each.
    """
    matrix, geometry = CrossbarMatrix("conv", (16, 16, 3, 3)), CrossbarGeometry(input_bits=1)
    mask = torch.ones(16, 16, 3, 3, dtype=torch.bool)
    mask[:, 0] = False  # 9 rows of the first 16, so that every step stays
    longest = {}
    for mode in ("in_place", "compacted", "gathered"):
        placed = place_network([matrix], {"conv": mask}, geometry, RowSegment().index, mode)
        longest[mode] = placed.total.critical_steps, placed.dense_total.critical_steps
        assert placed.total.steps == placed.dense_total.steps == 72
        unpruned = place_network([matrix], {}, geometry, RowSegment().index, mode)
        assert unpruned.total.critical_steps == unpruned.dense_total.critical_steps
    assert longest == {"in_place": (64, 64), "compacted": (36, 40), "gathered": (36, 40)}


def test_low_units_take_only_the_rows_that_they_need() -> None:
    """Row segments 1 x 1, half of every row group kept: blocks of 4 of 8 rows, so that two share a slot of an array."""
    geometry = CrossbarGeometry(rows=16, cols=16, active_rows=8, columns_per_adc=2, input_bits=1)
    matrix = CrossbarMatrix("fc", (2, 32))
    kept = (torch.arange(32) % 8 < 4).view(1, 32, 1).expand(1, 32, 2)
    weights = UnitGrid(torch.arange(32), torch.arange(2))
    assert place(matrix, kept, geometry, weights).counts.arrays == 2
    low = place(matrix, kept, geometry, weights, "compacted").counts
    assert (low.arrays, low.steps) == (1, 8)
    whole = place(matrix, kept, geometry, column_segment_index(matrix, geometry), "compacted").counts
    assert whole.arrays == 2


def test_a_whole_operation_unit_takes_a_step_with_it() -> None:
    """m x n = 2 x 2: eight rows are four row groups, four columns two mux positions; one unit of eight goes."""
    geometry = CrossbarGeometry(
        rows=8, cols=8, active_rows=2, columns_per_adc=2, weight_bits=3, cell_bits=2, input_bits=1
    )
    assert geometry.operation_unit == (2, 2)
    matrix = CrossbarMatrix("fc", (4, 8))
    kept = torch.ones(1, 8, 4, dtype=torch.bool)
    kept[0, 2:4, 0:2] = False
    units = UnitGrid(aligned_segments(8, 8, 2), aligned_segments(4, 4, 2))
    dense, pruned = place_dense(matrix, geometry).counts, place(matrix, kept, geometry, units).counts
    assert (dense.steps, pruned.steps) == (8, 7)
    assert dense.cell_reads - pruned.cell_reads == 2 * 2 * 2  # 2 rows x 2 weights x k = 2
    assert dense.adc_conversions - pruned.adc_conversions == 2 * 2  # 2 columns x k = 2
    assert dense.wordline_drives - pruned.wordline_drives == 2
    assert pruned.index_bits == 8


def test_independent_adcs_wait_for_the_busiest_one_only() -> None:
    """Two ADCs of three columns each (even and odd); kept are columns 0, 2, 5: two for one ADC, one for the other.

    Lockstep takes the mux positions of columns (0, 1), (2, 3), (4, 5): three steps. Independent ADCs take two.
    """
    lockstep = CrossbarGeometry(
        rows=2, cols=12, active_rows=2, columns_per_adc=3, weight_bits=3, cell_bits=2, input_bits=1
    )
    matrix = CrossbarMatrix("fc", (6, 2))
    kept = torch.zeros(1, 2, 6, dtype=torch.bool)
    kept[0, 1, [0, 5]] = True
    kept[0, 0, 2] = True
    index = column_segment_index(matrix, lockstep)
    together = place(matrix, kept, lockstep, index).counts
    alone = place(matrix, kept, replace(lockstep, mux_control="independent"), index).counts
    assert (together.steps, alone.steps) == (3, 2)
    # lockstep drives the row that a step needs; independent muxes both rows of the group in every step; k = 2
    assert (together.cell_reads, alone.cell_reads) == (3 * 2, 2 * 3 * 2)
    assert (together.wordline_drives, alone.wordline_drives) == (3, 2 + 2)


def test_a_short_slot_takes_only_a_short_row_group() -> None:
    """One mux position of arrays of 5 rows: two row groups of 2 and one of 1; three tall ones need a second array."""
    geometry = replace(SMALL, rows=5, columns_per_adc=1)
    matrix = CrossbarMatrix("fc", (1, 10))  # row groups of 2, 2, 1 | 2, 2, 1 rows
    index = column_segment_index(matrix, geometry)

    def arrays(groups: list[int]) -> int:
        kept = torch.isin(index.row_of, torch.tensor(groups)).view(1, 10, 1)
        return place(matrix, kept, geometry, index, "compacted").counts.arrays

    assert arrays([0, 1, 2]) == 1  # 2 + 2 + 1 rows
    assert arrays([0, 3, 5]) == 1
    assert arrays([0, 1, 3]) == 2  # three tall groups, two tall slots
    assert arrays([2, 5]) == 1  # short groups fit anywhere


def test_an_empty_layer_takes_no_array_and_no_step() -> None:
    matrix = CrossbarMatrix("fc", (3, 5))
    nothing = torch.zeros(1, 5, 3, dtype=torch.bool)
    counts = place(matrix, nothing, SMALL, column_segment_index(matrix, SMALL)).counts
    assert counts == Counts(weights=15)


@pytest.mark.parametrize(
    ("rows", "bits"), [(1, 16), (2, 17), (3, 18), (4, 18), (576, 26), (1024, 26), (1025, 27)]
)
def test_the_accumulator_holds_the_largest_sum(rows: int, bits: int) -> None:
    """8-bit inputs and weights: 16 bits per product and ceil(log2 rows) for the sum."""
    assert accumulator_bits(rows, CrossbarGeometry()) == bits


def test_a_network_is_the_sum_of_its_layers_and_unmasked_layers_stay_whole() -> None:
    layers = [CrossbarMatrix("a", (3, 5), products=4), CrossbarMatrix("b", (4, 2, 3, 3), products=7)]
    mask = layers[0].to_weight(BY_HAND)
    network = place_network(layers, {"a": mask}, SMALL, column_segment_index)
    alone = place(layers[0], BY_HAND, SMALL, column_segment_index(layers[0], SMALL)).counts
    dense = place_dense(layers[1], SMALL).counts
    assert network.total == alone + dense
    assert network.dense_total == place_dense(layers[0], SMALL).counts + dense
    assert network.total.weights_left == 3 + 4 * 18
