"""Lines of F5: what is drawn as one, what is kept apart, and what it is called."""

from dataclasses import replace
from typing import Any

import pytest

from cimlab.records.record import RunRecord
from cimlab.records.simulation import SimulationRecord
from cimlab.reporting.analog_numbers import array_numbers
from cimlab.reporting.analog_series import AWARE, Names, beside_the_devices, lines
from cimlab.reporting.figures.F5_analog import analog_figure
from tests.reporting.made_up import evidence, run, simulation


def of(
    bits: int | None = 5,
    device: str = "ideal",
    granularity: str = "filter",
    seed: int = 0,
    run: str = "a" * 64,
    **more: Any,
) -> SimulationRecord:
    """A simulation of a network that was pruned by `granularity`; `more` are settings, as group__key."""
    origin = {
        "run": run, "name": "x", "seed": seed, "granularity": granularity, "parameters": {}, "remaining": 0.09,
    }  # fmt: skip
    record = replace(simulation(bits, device, left=90), origin=origin)
    config = {key: dict(value) for key, value in record.config.items()}
    for path, value in more.items():
        group, key = path.split("__")
        config.setdefault(group, {})[key] = value
    return replace(record, config=config)


def drawn(simulations: list[SimulationRecord], *records: RunRecord) -> dict[str, list[SimulationRecord]]:
    return lines(simulations, Names.of(simulations, records))


def test_networks_with_as_many_weights_left_are_told_apart_by_their_granularity() -> None:
    found = drawn([of(granularity="filter"), of(granularity="operation_unit", run="b" * 64), of(4)])
    assert {name: len(records) for name, records in found.items()} == {
        "ResNet-20, filter, 9 % left, ideal": 2,
        "ResNet-20, operation unit, 9 % left, ideal": 1,
    }


@pytest.mark.parametrize(
    ("setting", "values", "said"),
    [
        ("geometry__active_rows", (16, 128), "active rows 128"),
        ("device__sigma", ([0.05], [0.1]), "sigma 0.1"),
        ("analog__steps", ("learned", "calibrated"), "steps calibrated"),
    ],
)
def test_what_differs_is_drawn_apart_and_named(setting: str, values: tuple[Any, Any], said: str) -> None:
    one, other = (of(**{setting: value}) for value in values)
    found = drawn([one, other])
    assert list(found.values()) == [[one], [other]]
    assert list(found)[1] == f"ResNet-20, filter, 9 % left, ideal, {said}"
    assert len(drawn([one, of(4, **{setting: values[0]})])) == 1


def test_seeds_are_averaged_and_other_trainings_are_not() -> None:
    seeds = [of(seed=seed, run=str(seed) * 64) for seed in range(3)]
    spec = analog_figure.draw(evidence(simulations=seeds)).spec
    values = spec["data"]["values"]
    assert len(values) == 1
    assert values[0]["low"] == pytest.approx(values[0]["accuracy"])  # made-up accuracies are all alike
    apart = drawn([of(run="1" * 64), of(run="2" * 64)])
    assert [name.rpartition(", ")[2] for name in apart] == ["network 11111111", "network 22222222"]


def test_seeds_that_keep_a_weight_more_or_less_are_one_line() -> None:
    one, other = of(), of(seed=1, run="b" * 64)
    weights = (
        {**one.weights, "left": 0.0949 * one.weights["total"]},
        {**one.weights, "left": 0.0951 * one.weights["total"]},
    )
    pair = [replace(record, weights=own) for record, own in zip((one, other), weights, strict=True)]
    assert list(map(len, drawn(pair).values())) == [2]


def test_the_name_of_a_geometry_says_nothing_that_its_settings_do_not() -> None:
    one, other = of(), of(4)
    named = replace(other, choices={**other.choices, "geometry": "large"})
    assert len(drawn([one, named])) == 1
    old = replace(one, config={key: value for key, value in one.config.items() if key != "analog"})
    assert len(drawn([old, of(4, analog__steps="learned")])) == 1


def test_records_that_do_not_say_how_the_network_was_pruned_say_what_is_known() -> None:
    old = [simulation(5, "ideal"), simulation(5, "ideal", left=90)]
    assert list(drawn(old)) == ["ResNet-20, dense, ideal", "ResNet-20, 9 % left, ideal"]
    paths = [
        replace(old[1], config={**old[1].config, "checkpoint": f"outputs/run-{i}/network.pt"}) for i in "ab"
    ]
    assert [name.rpartition(", ")[2] for name in drawn(paths)] == ["network run-a", "network run-b"]


def test_an_adc_that_reads_everything_has_no_bits() -> None:
    ideal = of(4)
    ideal = replace(ideal, choices={**ideal.choices, "adc": "ideal"})
    spec = analog_figure.draw(evidence(simulations=[ideal])).spec
    assert [row["adc"] for row in spec["data"]["values"]] == ["lossless"]


def test_devices_are_compared_on_the_same_arrays_alone() -> None:
    ideal, other = (simulation(4, device) for device in ("ideal", "programming_variation"))
    taller = replace(other, config={"geometry": other.config["geometry"] | {"active_rows": 64}})
    assert beside_the_devices(ideal) == beside_the_devices(other)
    assert len({beside_the_devices(own) for own in (ideal, taller, simulation(5, "ideal"))}) == 3


def test_test_images_are_told_network_by_network_where_they_differ() -> None:
    few = replace(of(granularity="operation_unit", run="b" * 64), images=1000)
    notes = [
        analog_figure.draw(evidence(simulations=some)).notes[2]
        for some in ([of(), of(4)], [of(), of(4), few])
    ]
    assert notes == [
        "Test images: 10,000.",
        "Test images: 10,000; 1,000 for ResNet-20, operation unit, 9 % left.",
    ]


def test_a_network_that_was_retrained_for_devices_or_with_rounding_says_so() -> None:
    methods = {"lsq": {"hardware_aware": True}, "gradual": {"prune_events": 10}}
    aware = replace(run("filter"), run="a" * 64, config={"method": methods})
    plain = replace(aware, run="b" * 64, config={"method": {}})
    rounded = replace(aware, run="c" * 64, config={"method": {"lsq": {"hardware_aware": False}}})
    found = drawn([of(), of(run="b" * 64), of(run="c" * 64)], aware, plain, rounded)
    assert list(found) == [
        "ResNet-20, filter, 9 % left, hardware-aware, ideal",
        "ResNet-20, filter, 9 % left, ideal",
        "ResNet-20, filter, 9 % left, rounded retraining, ideal",
    ]


def read(bits: int | None, adc: str, drop: float, **more: Any) -> SimulationRecord:
    """A simulation that loses so many points behind ADCs of a range."""
    record = of(bits, **more)
    accuracy = record.accuracy | {"mean": record.accuracy["float"] - drop / 100}
    return replace(record, choices=record.choices | {"adc": adc}, accuracy=accuracy)


def test_sentences_tell_the_fewest_bits_that_are_as_good_by_range() -> None:
    records = [
        *(read(bits, "full_scale", drop) for bits, drop in ((4, 50), (5, 20), (6, 0.2))),
        *(
            read(bits, "mse", drop) for bits, drop in ((3, 0.9), (4, 1.5), (5, 0.1), (6, 0.2))
        ),  # 3 by chance alone
        read(4, "percentile", 30),
        read(5, "mse", 0, run="b" * 64),  # a network behind one range is no comparison
        read(4, "mse", 0, device="programming_variation"),
    ]
    told = array_numbers(records, Names())
    assert told["as_good"] == "1"
    (network,) = told["converters"]
    assert network["network"] == "ResNet-20, filter, 9 % left"
    assert {own["adc"]: own["bits"] for own in network["ranges"]} == {
        "full scale": "6", "mse": "5", "percentile": None,
    }  # fmt: skip


@pytest.mark.parametrize("first", ["low", "tall"])
def test_fewest_bits_are_of_one_array_whatever_else_the_network_was_simulated_on(first: str) -> None:
    """Arrays that read 64 rows at once need two bits more; read together, the last of either would decide."""
    low = [read(bits, adc, 0.2 if bits > 4 else 9) for adc in ("full_scale", "mse") for bits in (4, 5)]
    tall = [
        replace(own, config={"geometry": own.config["geometry"] | {"active_rows": 64}})
        for own in (read(b, adc, 0.2 if b > 6 else 9) for adc in ("full_scale", "mse") for b in (5, 6, 7))
    ]
    told = array_numbers(low + tall if first == "low" else tall + low, Names())["converters"]
    assert sorted([own["bits"] for own in network["ranges"]] for network in told) == [["5", "5"], ["7", "7"]]


def test_sentences_tell_what_devices_cost_and_who_knew_of_them() -> None:
    records = [read(5, "mse", 0), read(5, "mse", 30, device="programming_variation"), read(4, "mse", 2)]
    (varied,) = array_numbers(records, Names(rounded={"a" * 64: AWARE}))["varied"]
    assert (varied["ideal"], varied["accuracy"], varied["bits"], varied["aware"]) == (
        "91.50",
        "61.50",
        "5",
        True,
    )


def test_sentences_tell_what_gathered_rows_cost_behind_the_same_converters() -> None:
    gathered, aligned, fewer, fewest, alone = (
        read(bits, "mse", drop, mapping__placement=placement)
        for bits, drop, placement in (
            (4, 12, "gathered"), (4, 10, "compacted"), (3, 40, "gathered"), (3, 38, "in_place"), (6, 0, "gathered")
        )
    )  # fmt: skip
    earlier = replace(aligned, config={key: own for key, own in aligned.config.items() if key != "mapping"})
    for other in (aligned, earlier):  # records of before there was a choice
        (told,) = array_numbers([gathered, other, fewer, fewest, alone], Names())["gathered"]
        assert told == {
            "network": "ResNet-20, filter, 9 % left", "adc": "mse", "device": "ideal", "images": "10,000",
            "points": [
                {"bits": "3", "gathered": "40.00", "aligned": "38.00"},
                {"bits": "4", "gathered": "12.00", "aligned": "10.00"},
            ],
        }  # fmt: skip
        assert list(drawn([gathered, other])) == [
            "ResNet-20, filter, 9 % left, gathered rows, ideal", "ResNet-20, filter, 9 % left, ideal"
        ]  # fmt: skip


def test_seeds_are_compared_with_themselves_and_networks_that_knew_of_gathering_not_at_all() -> None:
    records = [
        replace(read(4, "mse", drop, mapping__placement=placement), seed=seed)
        for drop, placement, seed in (
            (19, "gathered", 1), (4, "compacted", 0), (10, "gathered", 0), (9, "in_place", 1)
        )
    ]  # fmt: skip
    for given in (records, records[::-1]):
        (told,) = array_numbers(given, Names())["gathered"]
        pairs = sorted((own["gathered"], own["aligned"]) for own in told["points"])
        assert pairs == [("10.00", "4.00"), ("19.00", "9.00")]
    assert array_numbers(records, Names(rounded={"a" * 64: AWARE}))["gathered"] == []


def test_in_place_and_compacted_are_one_line() -> None:
    records = [
        of(bits, mapping__placement=placement) for bits, placement in ((4, "in_place"), (5, "compacted"))
    ]
    assert list(drawn([*records, of(6)])) == ["ResNet-20, filter, 9 % left, ideal"]


def test_networks_of_other_dense_networks_are_told_apart() -> None:
    weak, strong = (replace(run("filter"), run=key * 64) for key in "ab")
    strong = replace(strong, accuracy=strong.accuracy | {"dense": {"test": 0.93}})
    found = drawn([of(), of(run="b" * 64), of(run="c" * 64)], weak, strong)
    assert list(found) == [
        "ResNet-20 (dense 91.50 %), filter, 9 % left, ideal",
        "ResNet-20 (dense 93.00 %), filter, 9 % left, ideal",
        "ResNet-20, filter, 9 % left, ideal",
    ]
