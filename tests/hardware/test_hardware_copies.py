"""Equal area: the best use of it against an exhaustive search, and the laws of pruning on chips of one area."""

from dataclasses import replace
from functools import cache
from itertools import product as combinations
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from cimlab.choices import choices
from cimlab.config.components import Component
from cimlab.config.hardware import load_cost_model, shipped
from cimlab.crossbar.compaction import Stripes
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.placement import NetworkPlacement, place, place_dense
from cimlab.crossbar.rules import PlacementMode
from cimlab.crossbar.tally import row_group_bounds
from cimlab.hardware.actions import PlacedLayer
from cimlab.hardware.activity import ActivityFactors
from cimlab.hardware.chip import Chip
from cimlab.hardware.copies import Room, Ways, spend
from cimlab.hardware.cost import CostModel, placed_layers
from cimlab.hardware.equal_area import over_area
from cimlab.hardware.errors import HardwareError
from cimlab.hardware.report import HardwareReport
from cimlab.hardware.schedule import layer_ways
from cimlab.pruning.granularities.base import Granularity
from cimlab.records.components import SUPPORT
from tests.crossbar.strategies import has_bought_its_index

load = cache(load_cost_model)
CHIPS = [name for name in choices("chip") if shipped("chip", name)["floor_plan"] is None]
"""Chips whose area sets the copies; a floor plan's own laws stand in test_transport.py."""
MODELS = [(t, a, c) for t in choices("technology") for a in choices("adc_price") for c in CHIPS]
ARRAY = CrossbarGeometry(rows=16, cols=32, active_rows=4, columns_per_adc=2, input_bits=2)
"""Operation unit 4 x 2, 4 logical columns and 4 row groups an array: small enough to prune unit by unit."""


@cache
def granularity(name: str) -> Granularity:
    return Component("granularity", shipped("granularity", name), []).build()


# ---- the best use of an area ----


@st.composite
def laid_ways(draw: st.DrawFn) -> Ways:
    work = draw(st.lists(st.integers(0, 6), min_size=1, max_size=2))
    fewest = np.array([draw(st.integers(1 if w else 0, max(1, w) if w else 0)) for w in work])
    most = fewest + np.array(
        [draw(st.integers(0, max(0, w - int(f)))) for w, f in zip(work, fewest, strict=True)]
    )
    return Ways.of(Stripes(np.array(work), fewest, most), 1.0)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(laid_ways(), st.integers(1, 5), st.sampled_from([1.0, 1.5]), st.sampled_from([0.0, 0.4])),
             min_size=1, max_size=2),
    st.floats(0, 14),
)  # fmt: skip
def test_no_way_to_spend_an_area_is_faster(layers: list[tuple[Ways, int, float, float]], area: float) -> None:
    ways = [w for w, *_ in layers]
    products, array, copy = (np.array(column) for column in list(zip(*layers, strict=True))[1:])
    spent = spend(ways, products, Room(array, copy, area))

    def seconds(way: tuple[int, ...], copies: tuple[int, ...]) -> float:
        return max(
            -(-p // c) * w.product_s[i] for w, i, p, c in zip(ways, way, products, copies, strict=True)
        )

    def taken(way: tuple[int, ...], copies: tuple[int, ...]) -> float:
        return sum(
            c * (w.arrays[i] * a + x) for w, i, c, a, x in zip(ways, way, copies, array, copy, strict=True)
        )

    plans = [
        (way, copies)
        for way in combinations(*(range(len(w.arrays)) for w in ways))
        for copies in combinations(*(range(1, int(p) + 1) for p in products))
        if taken(way, copies) <= area
    ]
    if spent is None:
        assert not plans
        return
    found = tuple(spent.way.tolist()), tuple(spent.copies.tolist())
    assert taken(*found) <= area * (1 + 1e-9)
    assert seconds(*found) == pytest.approx(min(seconds(*plan) for plan in plans))


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 9), st.integers(1, 4), st.floats(0.01, 10))
def test_copies_fill_an_area_to_its_last_array(copies: int, others: int, array_m2: float) -> None:
    """Sums of as many equal areas may differ in their last digit from the area that is that many times one."""
    one = Ways.of(Stripes(np.array([1]), np.array([1]), np.array([1])), 1.0)
    room = Room(np.full(1 + others, array_m2), np.zeros(1 + others), (copies + others) * array_m2)
    spent = spend([one] * (1 + others), np.array([copies, *[1] * others]), room)
    assert spent is not None
    assert spent.copies.tolist() == [copies, *[1] * others]


@settings(max_examples=100, deadline=None)
@given(laid_ways())
def test_more_arrays_are_offered_only_where_they_save_time(ways: Ways) -> None:
    assert (np.diff(ways.arrays) > 0).all()
    assert (np.diff(ways.product_s) < 0).all()


# ---- laws on chips of one area ----


@st.composite
def networks(draw: st.DrawFn) -> list[CrossbarMatrix]:
    """One to three layers, plain, grouped and fully connected."""
    found = []
    for number in range(draw(st.integers(1, 3))):
        products = draw(st.integers(1, 30))
        if draw(st.booleans()):
            shape, groups = (draw(st.integers(2, 12)), draw(st.integers(2, 40))), 1
        else:
            groups = draw(st.integers(1, 2))
            shape = (groups * draw(st.integers(2, 6)), draw(st.integers(1, 6)), 3, 3)
        found.append(CrossbarMatrix(f"layer{number}", shape, groups, products))
    return found


def priced(
    model: CostModel, matrices: list[CrossbarMatrix], kept: dict[str, Tensor], name: str,
    geometry: CrossbarGeometry, mode: PlacementMode, area_m2: float, activities: dict[str, ActivityFactors],
) -> HardwareReport:  # fmt: skip
    placement = NetworkPlacement(
        {
            m.name: place(m, kept[m.name], geometry, granularity(name).index(m, geometry), mode)
            for m in matrices
        },
        {m.name: place_dense(m, geometry) for m in matrices},
    )
    return model.report(placed_layers(matrices, placement, activities)[0], geometry, area_m2)


def zero_planes(matrix: CrossbarMatrix, geometry: CrossbarGeometry, generator: torch.Generator) -> np.ndarray:
    """Any share of planes that are all zero, by row group."""
    row_groups = len(row_group_bounds(matrix.rows, geometry)) - 1
    return torch.rand(matrix.groups, row_groups, generator=generator).double().numpy()


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_one_more_pruned_unit_never_costs_time_energy_or_arrays(data: st.DataObject) -> None:
    """Over all granularities, muxes, placements, technologies and chips; a layer's first index aside.

    Where zero inputs are skipped, row groups of fewer rows are fed as many planes of zeros, or more.
    """
    name = data.draw(st.sampled_from(choices("granularity")))
    geometry = replace(ARRAY, mux_control=data.draw(st.sampled_from(["lockstep", "independent"])))
    mode: PlacementMode = data.draw(st.sampled_from(["in_place", "compacted"]))
    technology, adc, chip = data.draw(st.sampled_from(MODELS))
    model = load(technology, adc, chip)
    model = replace(
        model,
        chip=replace(
            model.chip, max_arrays=None, bitlines_per_conversion_slot=1, off_chip_links=0,
            adc_idle_share=data.draw(st.sampled_from([0.0, 0.2])),
            adc_resolution=data.draw(st.sampled_from(["geometry", "layer", "column"])),
            skip_zero_inputs=model.chip.readout == "per_step" and data.draw(st.booleans()),
        ),
    )  # fmt: skip
    matrices = data.draw(networks())
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**31)))
    density = data.draw(st.sampled_from([0.1, 0.4, 0.8]))
    grids = {m.name: granularity(name).units(m, geometry) for m in matrices}
    shapes = {m.name: (m.groups, grids[m.name].unit_rows, grids[m.name].unit_cols) for m in matrices}
    units = {m.name: torch.rand(shapes[m.name], generator=generator) < density for m in matrices}
    layer = data.draw(st.sampled_from(matrices))
    kept_units = units[layer.name].nonzero()
    assume(len(kept_units) > 0)
    kept = {name: grids[name].spread(chosen) for name, chosen in units.items()}
    fewer_units = units[layer.name].clone()
    fewer_units[tuple(kept_units[data.draw(st.integers(0, len(kept_units) - 1))])] = False
    fewer = kept | {layer.name: grids[layer.name].spread(fewer_units)}
    assume(
        has_bought_its_index(kept[layer.name], fewer[layer.name], granularity(name).index(layer, geometry))
    )
    smallest = priced_smallest(model, matrices, kept, name, geometry, mode)
    area = smallest * data.draw(st.sampled_from([1.0, 1.3, 2.0, 5.0]))
    zeros = {m.name: np.array(zero_planes(m, geometry, generator)) for m in matrices}
    more = zeros | {layer.name: np.maximum(zeros[layer.name], zero_planes(layer, geometry, generator))}
    fed, fed_less = (
        {name: ActivityFactors(zero_share=share) for name, share in shares.items()}
        for shares in (zeros, data.draw(st.sampled_from([zeros, more])))
    )
    before = priced(model, matrices, kept, name, geometry, mode, area, fed)
    after = priced(model, matrices, fewer, name, geometry, mode, area, fed_less)
    assert after.timing.interval_s <= before.timing.interval_s * (1 + 1e-9)
    assert after.total_energy_j <= before.total_energy_j * (1 + 1e-9)
    assert (after.dynamic_j <= before.dynamic_j * (1 + 1e-12)).all()
    assert priced_smallest(model, matrices, fewer, name, geometry, mode) <= smallest * (1 + 1e-12)
    for report in (before, after):
        assert report.total_area_m2 == area
        assert sum(report.area_split_m2.values()) == pytest.approx(area)
        assert report.total_energy_j == pytest.approx(sum(row["energy_j"] for row in report.layer_rows()))


def priced_smallest(
    model: CostModel, matrices: list[CrossbarMatrix], kept: dict[str, Tensor], name: str,
    geometry: CrossbarGeometry, mode: PlacementMode,
) -> float:  # fmt: skip
    layers = {
        m.name: place(m, kept[m.name], geometry, granularity(name).index(m, geometry), mode) for m in matrices
    }
    placement = NetworkPlacement(layers, layers)
    return model.smallest_area_m2(placed_layers(matrices, placement)[0], geometry)


@settings(max_examples=80, deadline=None)
@given(networks(), st.sampled_from(MODELS), st.lists(st.floats(1, 10), min_size=2, max_size=4))
def test_more_area_never_lowers_throughput(
    matrices: list[CrossbarMatrix], names: tuple[str, str, str], ratios: list[float]
) -> None:
    model = load(*names)
    model = replace(model, chip=replace(model.chip, max_arrays=None, bitlines_per_conversion_slot=1))
    dense = {m.name: place_dense(m, ARRAY) for m in matrices}
    layers, _ = placed_layers(matrices, NetworkPlacement(dense, dense))
    smallest = model.smallest_area_m2(layers, ARRAY)
    rates = [model.report(layers, ARRAY, smallest * ratio).timing.images_per_s for ratio in sorted(ratios)]
    assert rates == sorted(rates)


# ---- a recount in plain loops ----


def recounted(units: Tensor, geometry: CrossbarGeometry, packed: bool) -> list[tuple[int, int]]:
    """(arrays, steps of the busiest) of every way to lay operation units, in_place or dealt one by one."""
    arrays_high, places = -(-units.shape[1] // geometry.row_groups), geometry.columns_per_adc
    even = -(-units.shape[1] // arrays_high)
    stripes = [units[:, :, left : left + places] for left in range(0, units.shape[2], places)]
    by_stripe: list[list[tuple[int, int]]] = []
    for stripe in stripes:
        found = []
        for height in (geometry.row_groups, even):
            steps = [int(stripe[:, top : top + height].sum()) for top in range(0, units.shape[1], height)]
            found.append((sum(s > 0 for s in steps), max(steps)))
        if packed:
            blocks = int(stripe.sum())
            fewest = -(-blocks // (geometry.row_groups * places))
            found = (
                [(a, -(-blocks // a)) for a in range(fewest, arrays_high + 1) if a] if blocks else [(0, 0)]
            )
        else:
            found = [(max(a, found[0][0]), longest) for a, longest in found]
        by_stripe.append(found)
    return [(sum(a for a, _ in ways), max(s for _, s in ways)) for ways in combinations(*by_stripe)]


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 40), st.integers(1, 12), st.floats(0.05, 0.9), st.booleans(), st.integers(0, 2**31))
def test_ways_to_lay_a_layer_equal_a_plain_recount(
    rows: int, cols: int, density: float, packed: bool, seed: int
) -> None:
    matrix, name = CrossbarMatrix("layer", (cols, rows), 1, 1), "operation_unit"
    grid = granularity(name).units(matrix, ARRAY)
    units = torch.rand(1, grid.unit_rows, grid.unit_cols, generator=torch.Generator().manual_seed(seed))
    units = units < density
    assume(not bool(units.all()))
    mode: PlacementMode = "compacted" if packed else "in_place"
    placement = place(matrix, grid.spread(units), ARRAY, granularity(name).index(matrix, ARRAY), mode)
    ways = layer_ways(placement, ARRAY, Chip(), 1.0, 0.0)
    plain = recounted(units, ARRAY, packed)
    best = {a: min(s for n, s in plain if n <= a) for a, _ in plain}
    front = {a: s for a, s in best.items() if all(best[b] > s for b in best if b < a)}
    assert dict(zip(ways.arrays.tolist(), ways.longest.tolist(), strict=True)) == front


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 2), st.integers(1, 6), st.integers(1, 3))
def test_a_packed_array_holds_the_steps_that_skip_least(
    seed: int, groups: int, row_groups: int, stripes: int
) -> None:
    """A plain recount: every stripe's steps one by one, the slowest first, as many as the busiest array executes."""
    generator = torch.Generator().manual_seed(seed)
    rows, cols = 4 * row_groups, 4 * stripes
    matrix = CrossbarMatrix("layer", (groups * cols, rows, 1, 1), groups)
    grid = granularity("operation_unit").index(matrix, ARRAY)
    units = torch.rand(groups, grid.unit_rows, grid.unit_cols, generator=generator) < 0.6
    assume(units.any() and not units.all())
    placement = place(matrix, grid.spread(units), ARRAY, grid, "compacted")
    share = zero_planes(matrix, ARRAY, generator)
    chip = Chip(skip_zero_inputs=True)
    ways = layer_ways(placement, ARRAY, chip, 0.0, 1.0, ActivityFactors(zero_share=share))
    steps = placement.work.row_group_steps
    for longest, product_s in zip(ways.longest.tolist(), ways.product_s.tolist(), strict=True):
        busiest = 0.0
        for group, stripe in combinations(range(groups), range(steps.shape[2])):
            each = [
                1 - share[group, r] for r in range(steps.shape[1]) for _ in range(steps[group, r, stripe])
            ]
            busiest = max(busiest, sum(sorted(each, reverse=True)[:longest]))
        assert product_s == pytest.approx(ARRAY.input_cycles * busiest)


def test_arrays_that_are_not_full_share_their_row_groups_evenly_in_the_dense_network_too() -> None:
    """144 rows are 9 row groups of 8 steps: 5 and 4 of them on 2 arrays, not 8 and 1."""
    matrix, geometry = CrossbarMatrix("layer", (16, 16, 3, 3), 1, 1024), CrossbarGeometry()
    ways = layer_ways(place_dense(matrix, geometry), geometry, Chip(), 100e-9, 0.78e-9)
    assert (ways.arrays.tolist(), ways.longest.tolist()) == ([2], [40])
    assert ways.product_s[0] == pytest.approx(40 * 8 * 100e-9)
    assert ways.balance[0] == pytest.approx(72 / 80)
    counted = place_dense(matrix, geometry, "compacted").counts  # as packed layers are compared with it
    assert counted.critical_steps * 100e-9 == pytest.approx(ways.product_s[0] * matrix.products)


# ---- worked by hand ----

TWO = [CrossbarMatrix("a", (16, 128), 1, 10), CrossbarMatrix("b", (16, 128), 1, 3)]
"""One default array each, 512 steps of 100 ns a product."""


def two_layers(chip: Chip) -> HardwareReport:
    dense = {m.name: place_dense(m, CrossbarGeometry()) for m in TWO}
    model = replace(load_cost_model(), chip=chip)
    return model.compare(TWO, NetworkPlacement(dense, dense), CrossbarGeometry()).pruned


def test_twice_the_area_is_spent_on_the_slower_layer() -> None:
    """4 arrays for 10 and 3 products: 3 copies of a make 4 rounds, and b needs its 3."""
    found = two_layers(Chip())
    assert found.timing.copies.tolist() == [3, 1]
    assert found.timing.images_per_s == pytest.approx(1 / (4 * 512 * 100e-9))
    assert found.area_by_component["unused"] == pytest.approx(0.0, abs=1e-15)
    one = two_layers(Chip(area_over_dense=1.0))
    assert one.timing.copies.tolist() == [1, 1]
    assert found.total_area_m2 == pytest.approx(2 * one.total_area_m2)
    assert found.dynamic_j == pytest.approx(one.dynamic_j)
    split = found.area_split_m2
    assert split["one copy of each layer"] == pytest.approx(split["further copies"])


def test_area_that_no_copy_can_use_leaks_all_the_same() -> None:
    """Beyond 10 + 3 arrays every product has its own; what is left stands there, and leaks as arrays do."""
    found = two_layers(Chip(area_over_dense=20.0))
    assert found.timing.copies.tolist() == [10, 3]
    assert found.area_split_m2["unused"] / found.total_area_m2 == pytest.approx(27 / 40)
    assert found.leakage_w.sum() == pytest.approx(40 * (0.46e-3 + 0.91e-6) / 96)


def test_idle_adcs_draw_their_share_all_the_time_and_convert_for_the_rest() -> None:
    """16 ADCs an array of 1.125 pJ a 0.78125 ns at full rate; 4 arrays."""
    gated, idle = two_layers(Chip()), two_layers(Chip(adc_idle_share=0.2))
    power_w = 1.125e-12 / 0.78125e-9
    assert (idle.leakage_w - gated.leakage_w).sum() == pytest.approx(4 * 16 * 0.2 * power_w)
    assert idle.energy_by_component["adc"] == pytest.approx(0.8 * gated.energy_by_component["adc"])


def test_a_chip_that_is_too_small_says_how_much_is_needed() -> None:
    with pytest.raises(
        HardwareError, match=r"chip.area_over_dense=0.6 .* use chip.area_over_dense=1\.001 or more"
    ):
        two_layers(Chip(area_over_dense=0.6))
    with pytest.raises(HardwareError, match=r"or chip.max_arrays=1 to reload it in parts"):
        two_layers(Chip(area_over_dense=0.6))
    two_layers(Chip(area_over_dense=1.001))
    reloaded = two_layers(Chip(max_arrays=1))
    assert any("reloaded in 2 parts" in note for note in reloaded.notes)


@pytest.mark.parametrize("share", [0.5, 1.0001])
def test_a_chip_whose_links_leave_too_little_says_what_holds_both(share: float) -> None:
    """22.88 mm2 of links and two arrays; what is named is enough, and a thousandth less is not."""
    links_m2 = load().technology.components["weight_loading"].area_m2["chip"].value
    with pytest.raises(HardwareError, match=r"beside 22.88 mm2 of links") as refused:
        two_layers(Chip(area_m2=share * links_m2, off_chip_links=1))
    enough = float(str(refused.value).split("use chip.area_m2=")[1].split()[0])
    two_layers(Chip(area_m2=enough, off_chip_links=1))
    with pytest.raises(HardwareError):
        two_layers(Chip(area_m2=0.998 * enough, off_chip_links=1))


def test_a_comparison_tells_that_the_unpruned_network_alone_is_reloaded() -> None:
    """4 arrays, of which 1 is left, on a chip of 2: without a word the ratio would look like pruning's gain alone."""
    matrix, geometry = CrossbarMatrix("wide", (64, 128)), CrossbarGeometry()
    whole = place_dense(matrix, geometry)
    left = place_dense(CrossbarMatrix("wide", (16, 128)), geometry)
    model = replace(load_cost_model(), chip=Chip(max_arrays=2))
    compared = model.compare([matrix], NetworkPlacement({"wide": left}, {"wide": whole}), geometry)
    told = "the unpruned network is larger than the chip's 2 arrays: reloaded in 2 parts per batch, "
    told += "one copy of each layer"
    assert not any("reloaded" in note for note in compared.pruned.notes)
    assert compared.notes == (told, *compared.pruned.notes)
    assert compared.summary()["notes"] == list(compared.notes)
    both = model.compare([matrix], NetworkPlacement({"wide": whole}, {"wide": whole}), geometry)
    assert both.notes[:2] == (told, told.removeprefix("the unpruned network is "))


def test_pruning_support_never_makes_a_network_too_large_for_its_own_number_of_arrays() -> None:
    """Of two full arrays on a chip of 2 one operation unit is pruned: both stay, and its support comes on top."""
    matrix, geometry = CrossbarMatrix("full", (32, 128), products=5), CrossbarGeometry()
    kept = torch.ones(1, 128, 32, dtype=torch.bool)
    kept[:, :16, :2] = False
    grid = granularity("operation_unit").index(matrix, geometry)
    placement = NetworkPlacement(
        {"full": place(matrix, kept, geometry, grid)}, {"full": place_dense(matrix, geometry)}
    )
    model = replace(load_cost_model(), chip=Chip(max_arrays=2))
    compared = model.compare([matrix], placement, geometry)
    for own in (compared.pruned, compared.dense):
        assert (own.timing.load_s, own.timing.copies.tolist(), own.timing.all_arrays) == (0, [1], 2)
    array_m2 = 2 * model.array_area_m2(geometry)
    assert compared.dense.total_area_m2 == pytest.approx(array_m2)
    support_m2 = sum(compared.pruned.area_by_component[name] for name in SUPPORT)
    assert support_m2 > 0
    assert compared.pruned.total_area_m2 == pytest.approx(array_m2 + support_m2)
    more = f"the pruned network's chip is {100 * support_m2 / array_m2:.1f} % larger than the unpruned one's"
    assert compared.notes[0] == f"{more}: support comes on top"


def test_an_area_that_holds_fewer_arrays_than_the_chip_may_have_is_refused_and_not_reloaded() -> None:
    with pytest.raises(HardwareError, match=r"chip.area_m2=1e-09 leaves .* or more"):
        two_layers(Chip(max_arrays=100, area_m2=1e-9))


def test_a_chip_of_a_number_of_arrays_is_filled_with_copies() -> None:
    assert two_layers(Chip(max_arrays=4)).timing.copies.tolist() == [3, 1]


@pytest.mark.parametrize("resolution", ["geometry", "layer"])
def test_a_chip_of_a_number_of_arrays_has_no_more_of_them_on_a_larger_area_or_with_smaller_ones(
    resolution: Literal["geometry", "layer"],
) -> None:
    """17 rows need a 5-bit ADC where the geometry has 7 bits; an array with smaller ones takes a place all the same."""
    matrices = [CrossbarMatrix("a", (16, 17), products=50), CrossbarMatrix("b", (16, 17), products=10)]
    geometry = CrossbarGeometry(active_rows=128)
    layers = [PlacedLayer(m, place_dense(m, geometry), ActivityFactors()) for m in matrices]
    for area_m2 in (None, 1e-5):
        chip = Chip(max_arrays=6, area_m2=area_m2, adc_resolution=resolution)
        model = replace(load_cost_model(), chip=chip)
        report = model.report(layers, geometry, model.chip_area_m2(layers, geometry))
        assert report.timing.copies.tolist() == [5, 1]
        assert report.timing.all_arrays == 6


def test_a_network_of_which_nothing_is_left_has_a_curve_of_finite_areas() -> None:
    matrix, geometry = CrossbarMatrix("a", (16, 512), 1, 50), CrossbarGeometry()
    kept = torch.zeros(1, 512, 16, dtype=torch.bool)
    grid = granularity("operation_unit").index(matrix, geometry)
    empty = NetworkPlacement(
        {"a": place(matrix, kept, geometry, grid, "compacted")}, {"a": place_dense(matrix, geometry)}
    )
    points = over_area(load_cost_model(), *placed_layers([matrix], empty), geometry)
    assert [points[0]["area_over_dense"], points[-1]["area_over_dense"]] == pytest.approx([1 / 8, 8])
    assert {(p["energy_j"], p["images_per_s"]) for p in points} == {(0.0, None)}
    ratios = load_cost_model().compare([matrix], empty, geometry).ratios()
    assert np.isfinite(list(ratios.values())).all()
    assert "images_per_s" not in ratios


def test_the_curve_over_area_does_not_depend_on_the_chip_s_own_size() -> None:
    """A network of 4 arrays is reloaded on a chip of 1, but not at the areas of the curve, which hold it."""
    matrix, geometry = CrossbarMatrix("wide", (64, 128), products=50), CrossbarGeometry()
    layers = [PlacedLayer(matrix, place_dense(matrix, geometry), ActivityFactors())]
    free, bound = (
        over_area(replace(load_cost_model(), chip=chip), layers, layers, geometry)
        for chip in (Chip(), Chip(max_arrays=1, area_m2=1e-9))
    )
    assert bound == free


def test_throughput_over_area_starts_at_the_smallest_chip_that_holds_the_pruned_network() -> None:
    matrix = CrossbarMatrix("a", (16, 512), 1, 50)
    kept = torch.zeros(1, 512, 16, dtype=torch.bool)
    kept[:, :100] = True
    grid = granularity("operation_unit").index(matrix, CrossbarGeometry())
    placement = NetworkPlacement(
        {"a": place(matrix, kept, CrossbarGeometry(), grid, "compacted")},
        {"a": place_dense(matrix, CrossbarGeometry())},
    )
    points = over_area(load_cost_model(), *placed_layers([matrix], placement), CrossbarGeometry())
    assert 0 < (points[0]["area_over_dense"] or 1) < 0.4
    assert points[0]["dense_images_per_s"] is None
    assert points[-1]["area_over_dense"] == pytest.approx(8)
    for whose in ("images_per_s", "dense_images_per_s"):
        rates = [rate for p in points if (rate := p[whose]) is not None]
        assert rates == sorted(rates)
    twice = next(p for p in points if p["area_over_dense"] == pytest.approx(2))
    compared = load_cost_model().compare([matrix], placement, CrossbarGeometry())
    assert twice["energy_j"] == pytest.approx(compared.pruned.total_energy_j)
    assert twice["dense_images_per_s"] == pytest.approx(compared.dense.timing.images_per_s)
