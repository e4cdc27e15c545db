"""Technologies: every number has a source, everything needed is there, and a slip is met with file, key and range."""

import copy
from dataclasses import replace
from typing import Any

import pytest

from cimlab.choices import choices
from cimlab.config.errors import ConfigError
from cimlab.config.hardware import load_chip, load_technology, make_technology, shipped
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.hardware.chip import Chip
from cimlab.hardware.errors import HardwareError
from cimlab.hardware.technology import CHARGES, COMPONENTS, Component, Quantity

TECHNOLOGIES = choices("technology")


def quantities(component: Component) -> list[Quantity]:
    kinds = (component.energy_j, component.area_m2, component.leakage_w, component.power_w)
    found = [quantity for kind in kinds for quantity in kind.values()]
    return found + ([component.latency_s] if component.latency_s else [])


@pytest.mark.parametrize("name", TECHNOLOGIES)
def test_a_shipped_technology_is_whole(name: str) -> None:
    technology = load_technology(name)
    assert technology.name == name
    assert set(technology.components) == set(COMPONENTS) - {"adc"}
    for component in technology.components.values():
        assert all(len(quantity.source) > 12 for quantity in quantities(component))


@pytest.mark.parametrize("name", TECHNOLOGIES)
def test_numbers_are_si(name: str) -> None:
    """A value in pJ, um^2 or ns would be a million times or more out of these spans."""
    technology = load_technology(name)
    for component in technology.components.values():
        assert all(q.value == 0 or 1e-17 < q.value < 1e-6 for q in component.energy_j.values())
        assert all(q.value == 0 or 1e-16 < q.value < 1e-4 for q in component.area_m2.values())
        assert component.latency_s is None or 1e-11 < component.latency_s.value < 1e-6
    assert 5e-9 <= technology.node_m <= 200e-9


def test_numbers_of_another_node_are_scaled_by_the_cited_step() -> None:
    old, new = load_technology("isaac32"), load_technology("neurosim22_rram")
    buffers = (old.components["input_buffer"], new.components["input_buffer"])
    assert buffers[1].energy_j["input_bit"].value == pytest.approx(
        buffers[0].energy_j["input_bit"].value * 17.1 / 32.5, rel=1e-3
    )
    assert buffers[1].area_m2["tile"].value == pytest.approx(
        buffers[0].area_m2["tile"].value * 22.2 / 47.1, rel=1e-3
    )
    assert any("scaled to 22 nm" in note and "NeuroSim" in note for note in new.notes)


BROKEN: list[tuple[str, Any, str]] = [
    ("notes", -1.9, "notes=-1.9 must be a list"),
    ("scaling", 3, "scaling=3 must be a list"),
    ("components.cells.energy_j.cell_read.node_m", "old", "cell_read.node_m=old must be a number above 0"),
    ("components.wordline_driver", None, "components.wordline_driver is missing"),
    ("components.cells.energy_j", None, "components.cells.energy_j is missing"),
    ("components.cells.energy_j.cell_read.value", -1e-15, "cell_read.value=-1e-15 must be a number from 0"),
    ("components.cells.energy_j.cell_read.value", float("nan"), "cell_read.value=nan must be a number from 0"),
    ("components.cells.energy_j.cell_read.value", "1 fJ", "cell_read.value=1 fJ must be a number from 0"),
    ("components.cells.energy_j.cell_read.value", True, "cell_read.value=True must be a number from 0"),
    ("components.cells.energy_j.cell_read", 1e-15, "cell_read=1e-15 has no source"),
    ("components.cells.energy_j.cell_read.source", " ", "cell_read.source is missing"),
    ("components.cells.energy_j.conversion", {"value": 1.0}, "unknown key components.cells.energy_j.conversion"),
    ("components.cells.latency_s", None, "components.cells.latency_s is missing"),
    ("components.adc", {}, "unknown key components.adc"),
    ("components.input_buffer.area_m2.tile.node_m", 7e-9, "scaling has no entry with from_node_m"),
    ("device.on_ohm.value", 0.0, "device.on_ohm.value=0.0 must be a number above 0"),
    ("node_m", float("inf"), "node_m=inf must be a number from 0"),
    ("limits.rows", [8], r"limits.rows=\[8\] must be \[lowest, highest\]"),
    ("limits.wings", [1, 2], "unknown key limits.wings"),
    ("scaling", [{"from_node_m": 7e-9}], "scaling.0 needs from_node_m"),
    ("layout_factor", None, "layout_factor is missing"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value", "complaint"), BROKEN)
def test_a_slip_in_a_technology_names_file_and_key(key: str, value: Any, complaint: str) -> None:
    content = copy.deepcopy(shipped("technology", "isaac32"))
    *parents, last = key.split(".")
    here = content
    for parent in parents:
        here = here[parent]
    if value is None:
        del here[last]
    else:
        here[last] = value
    with pytest.raises(ConfigError, match=complaint) as refused:
        make_technology(content, "conf/technology/mine.yaml")
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith("conf/technology/mine.yaml: ")


@pytest.mark.parametrize("name", TECHNOLOGIES)
def test_a_geometry_beyond_the_figures_is_refused(name: str) -> None:
    technology = load_technology(name)
    with pytest.raises(
        HardwareError, match=rf"{name} can't build geometry.dac_bits=2: its figures cover 1 to 1"
    ):
        technology.check(CrossbarGeometry(dac_bits=2))
    with pytest.raises(HardwareError, match=r"geometry.rows=4"):
        technology.check(CrossbarGeometry(rows=4, active_rows=4))


def test_an_unknown_technology_lists_the_choices() -> None:
    with pytest.raises(
        ConfigError, match="technology=tsmc5: choices are isaac32, neurosim22_chip, neurosim22_rram"
    ):
        load_technology("tsmc5")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("readout", "never"), ("arrays_per_tile", 0), ("batch", 0), ("max_arrays", 0), ("area_over_dense", 0),
        ("area_m2", -1.0), ("adc_idle_share", -0.1),
        ("dram_bits_per_s", 0.0), ("dram_bits_per_s", float("nan")), ("write_pulses", 0), ("off_chip_links", -1),
    ],
)  # fmt: skip
def test_a_chip_that_cant_be_is_refused(field: str, value: Any) -> None:
    with pytest.raises(HardwareError, match=f"chip.{field}={value} must be"):
        Chip(**{field: value})


@pytest.mark.parametrize("sized", [{"max_arrays": 4}, {"area_m2": 1e-6}])
def test_a_size_beside_a_floor_plan_is_refused_and_not_passed_over(sized: dict[str, Any]) -> None:
    (name,) = sized
    with pytest.raises(HardwareError, match=rf"chip\.{name}=\S+ has no meaning .*; use chip\.{name}=null"):
        replace(load_chip("neurosim"), **sized)
    assert vars(replace(load_chip("neurosim"), floor_plan=None, **sized))[name] == sized[name]


def test_slots_that_dont_divide_a_steps_bitlines_are_refused() -> None:
    with pytest.raises(HardwareError, match="does not divide the 16 bitlines of a step"):
        Chip(bitlines_per_conversion_slot=3).adcs_per_array(CrossbarGeometry())


@pytest.mark.parametrize("name", choices("chip"))
def test_every_shipped_chip_is_valid(name: str) -> None:
    chip = load_chip(name)
    assert chip.arrays_per_tile == (96 if chip.floor_plan is None else 144)


def test_every_charge_is_a_known_action_or_instance() -> None:
    from cimlab.hardware.technology import ACTIONS, INSTANCES

    assert {a for actions, _ in CHARGES.values() for a in actions} == set(ACTIONS)
    assert {i for _, instances in CHARGES.values() for i in instances} == set(INSTANCES)
