"""ADC prices: published spot values, vectorised over bits, rate and node, and refused outside their sources."""

import importlib.util
import logging
from dataclasses import replace

import numpy as np
import pytest

from cimlab.choices import choices
from cimlab.config.hardware import load_adc_price, shipped
from cimlab.hardware.adc import AdcPrice, MurmannAdc, SarAdc, TableAdc
from cimlab.hardware.errors import HardwareError

BITS = np.arange(4, 11)
MODELS = choices("adc_price")


def test_murmann_gives_the_published_spot_values() -> None:
    """hwcomponents-adc 1.0.21 at 32 nm and 1 GS/s, 4 to 10 bits, as printed to four digits."""
    model = load_adc_price("murmann")
    energy_pj = [0.924, 0.936, 1.065, 1.312, 1.714, 4.697, 13.95]
    area_um2 = [4964, 4984, 5180, 5513, 5972, 8074, 11180]
    assert model.energy_j(BITS, 32e-9, 1e9) * 1e12 == pytest.approx(energy_pj, rel=6e-4)
    assert model.area_m2(BITS, 32e-9, 1e9) * 1e12 == pytest.approx(area_um2, rel=6e-4)
    assert model.energy_j(8, 22e-9, 1e9) == pytest.approx(0.85e-12, rel=6e-3)
    assert model.energy_j(8, 65e-9, 1e9) == pytest.approx(6.5e-12, rel=6e-3)
    assert model.area_m2(8, 22e-9, 1e9) == pytest.approx(3334e-12, rel=6e-4)
    assert model.energy_j(np.array([9, 10]), 32e-9, 1e8) == pytest.approx([2.34e-12, 3.31e-12], rel=3e-3)


@pytest.mark.skipif(
    importlib.util.find_spec("hwcomponents_adc") is None, reason="hwcomponents-adc needs Python 3.12"
)
@pytest.mark.parametrize("node_nm", [16, 22, 32, 65])
@pytest.mark.parametrize("rate_hz", [1e7, 1e8, 1e9, 2e9])
def test_murmann_equals_hwcomponents_adc(node_nm: float, rate_hz: float) -> None:
    optimizer = importlib.import_module("hwcomponents_adc.optimizer")
    main = importlib.import_module("hwcomponents_adc.main")
    import yaml

    with open(main.MODEL_FILE, encoding="utf-8") as file:
        fit = yaml.safe_load(file)
    model = load_adc_price("murmann")
    for bits in BITS.tolist():
        request = optimizer.ADCRequest(
            bits=bits, tech=node_nm, throughput=rate_hz, n_adcs=1, logger=logging.getLogger(__name__)
        )
        assert float(model.energy_j(bits, node_nm * 1e-9, rate_hz)) * 1e12 == pytest.approx(
            request.energy_per_op(fit), rel=1e-6
        )
        assert float(model.area_m2(bits, node_nm * 1e-9, rate_hz)) * 1e12 == pytest.approx(
            request.area(fit), rel=1e-6
        )


def test_murmann_equals_its_equation_written_out() -> None:
    """8 bits, 1 GS/s, 32 nm, step by step from the fit's coefficients."""
    from math import exp, log, log10

    sndr = 8 * 20 * log10(2) + 10 * log10(1.5)
    foms = min(213.7806687348118 - 2.8719030399529957 * log(1e9), 154.0709208277022)
    correction = exp(
        26.0496215686518
        + 1.8800369206815004 * log(32)
        - 2.8291256050594527 * log(8)
        - 1.4702022133784405
    )  # fmt: skip
    energy_pj = 0.5 * 10 ** ((sndr - foms) / 10) * correction
    area_um2 = exp(
        1.3461916439910742
        + 0.9932794744745022 * log(32)
        + 0.18071538424508238 * log(1e9)
        + 0.29912426192653485 * log(energy_pj)
    )  # fmt: skip
    model = load_adc_price("murmann")
    assert float(model.energy_j(8, 32e-9, 1e9)) == pytest.approx(energy_pj * 1e-12, rel=1e-9)
    assert float(model.area_m2(8, 32e-9, 1e9)) == pytest.approx(area_um2 * 1e-12, rel=1e-9)


def test_sar_gives_neurosims_measured_values() -> None:
    model = load_adc_price("sar")
    five = np.arange(4, 9)
    energy_fj = {22e-9: [32.6, 42.4, 53.2, 65.1, 78.1], 32e-9: [67.1, 87.3, 109.7, 134.4, 161.4]}
    area_um2 = {22e-9: [105.5, 124.2, 143.0, 161.7, 180.4], 32e-9: [223, 263, 302, 342, 382]}
    for node in energy_fj:
        assert model.energy_j(five, node) * 1e15 == pytest.approx(energy_fj[node], rel=2e-3)
        assert model.area_m2(five, node) * 1e12 == pytest.approx(area_um2[node], rel=2e-3)
    assert model.energy_j(np.array([9, 10]), 32e-9) * 1e12 == pytest.approx([0.191, 0.222], rel=3e-3)
    assert model.latency_s(five, 22e-9) * 1e9 == pytest.approx([5, 6, 7, 8, 9])


def test_isaac_table_gives_its_table_and_isaacs_rate() -> None:
    model = load_adc_price("isaac_table")
    assert model.energy_j(BITS, 32e-9) * 1e12 == pytest.approx(
        [0.741, 0.928, 1.125, 1.331, 1.5625, 1.846, 2.230]
    )
    assert float(model.latency_s(8, 32e-9)) == pytest.approx(0.78125e-9)


@pytest.mark.parametrize("name", MODELS)
def test_arrays_give_what_single_numbers_give(name: str) -> None:
    model = load_adc_price(name)
    bits, nodes = np.array([[4], [6], [8]]), np.array([22e-9, 32e-9])
    for figure in (model.energy_j, model.area_m2, model.latency_s):
        together = figure(bits, nodes)
        single = [[float(figure(b, node)) for node in nodes] for b in bits[:, 0].tolist()]
        assert np.broadcast_to(together, (3, 2)) == pytest.approx(np.array(single))


@pytest.mark.parametrize("name", MODELS)
def test_more_bits_never_cost_less(name: str) -> None:
    model = load_adc_price(name)
    bits = np.arange(1, model.bits[1] + 1)
    for figure in (model.energy_j, model.area_m2):
        assert (np.diff(figure(bits, 32e-9)) >= 0).all()


@pytest.mark.parametrize("name", MODELS)
def test_below_the_lowest_resolution_that_resolution_is_charged_and_named(name: str) -> None:
    model = load_adc_price(name)
    assert float(model.energy_j(2, 32e-9)) == float(model.energy_j(4, 32e-9))
    (note,) = model.notes(2, 32e-9)
    assert "4-bit ADC is charged" in note
    assert model.notes(6, 32e-9) == []


@pytest.mark.parametrize("name", MODELS)
def test_a_resolution_beyond_the_source_is_refused(name: str) -> None:
    model = load_adc_price(name)
    with pytest.raises(HardwareError, match=rf"adc_price {name} covers 4 to {model.bits[1]} bits, not 24"):
        model.energy_j(24, 32e-9)
    with pytest.raises(HardwareError, match="not nan"):
        model.energy_j(float("nan"), 32e-9)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("node_m", [1e-9, 350e-9, float("nan")])
def test_a_node_beyond_the_source_is_refused(name: str, node_m: float) -> None:
    with pytest.raises(HardwareError, match=f"adc_price {name} covers nodes from .* nm"):
        load_adc_price(name).energy_j(6, node_m)


def test_a_node_between_two_measured_corners_is_refused() -> None:
    with pytest.raises(HardwareError, match="measured at 22, 32 nm and nowhere between"):
        load_adc_price("sar").energy_j(6, 28e-9)


def test_a_rate_beyond_the_source_is_refused() -> None:
    with pytest.raises(HardwareError, match="converts at up to"):
        load_adc_price("sar").energy_j(6, 22e-9, 1e9)
    with pytest.raises(HardwareError, match="converts at up to"):
        load_adc_price("murmann").area_m2(6, 22e-9, 2e10)


def test_the_table_is_carried_to_another_node_by_a_named_step() -> None:
    model = load_adc_price("isaac_table")
    assert float(model.energy_j(8, 22e-9)) == pytest.approx(1.5625e-12 * (22 / 32) ** 1.88)
    (note,) = model.notes(8, 22e-9)
    assert "carried to 22 nm" in note
    assert "arXiv:2404.06553" in note


@pytest.mark.parametrize(
    ("model", "change", "complaint"),
    [
        (TableAdc, {"table": {4: {"energy_j": 1e-12, "area_m2": 1e-10}}}, "table.5.energy_j is missing"),
        (SarAdc, {"corners": [{"node_m": 22e-9, "watt": -1.0}]}, "corners.0.watt_per_bit is missing"),
        (SarAdc, {"clock_s": -1e-9}, "clock_s=-1e-09 must be a number above 0"),
        (MurmannAdc, {"foms_per_ln_hz": float("nan")}, "foms_per_ln_hz=nan must be a number"),
        (MurmannAdc, {"rate_hz": float("inf")}, "rate_hz=inf must be a number above 0"),
    ],
)
def test_a_bad_constant_is_named(model: type[AdcPrice], change: dict, complaint: str) -> None:
    (name,) = [n for n in MODELS if type(load_adc_price(n)) is model]
    with pytest.raises(HardwareError, match=complaint):
        replace(load_adc_price(name), **change)


@pytest.mark.parametrize("name", MODELS)
def test_every_shipped_model_cites_its_source(name: str) -> None:
    assert len(load_adc_price(name).source) > 20
    assert shipped("adc_price", name)["name"] == name
