"""The cells and input bits that are priced are the ones that are written and fed."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cimlab.analog.adcs.ideal import IdealAdc
from cimlab.analog.convert import analog_layers, convert
from cimlab.analog.layers import AnalogLayer
from cimlab.analog.learned_steps import LayerSteps, TrainedSteps
from cimlab.analog.measure import layer_activities, weight_activities
from cimlab.analog.settings import AnalogSettings
from cimlab.crossbar.activity import Activity, IntegerHistogram, LayerActivity
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.hardware.activity import activity_factors

GEOMETRIES = [
    CrossbarGeometry(),
    CrossbarGeometry(signed_encoding="offset", cell_bits=4, dac_bits=2),
    CrossbarGeometry(signed_encoding="twos_complement", cell_bits=1, columns_per_adc=4),
    CrossbarGeometry(weight_bits=4, cell_bits=1, columns_per_adc=32, cols=192, input_bits=6),
]


def uneven_network() -> nn.Sequential:
    """Signed inputs, a norm with negative factors, padding, strides, groups, one outlier weight."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, stride=2), nn.BatchNorm2d(8), nn.Hardswish(),
        nn.Conv2d(8, 8, (3, 2), groups=4, dilation=(2, 1), padding=(2, 0)), nn.GELU(), nn.Flatten(), nn.LazyLinear(5),
    )  # fmt: skip
    network(torch.zeros(1, 3, 9, 9))
    norm, first = network[1], network[0]
    assert isinstance(norm, nn.BatchNorm2d)
    assert isinstance(first, nn.Conv2d)
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(-1, 2, 8))
        first.weight[0, 0, 0, 0] = 1.5
    return network.eval()


def masks_of(network: nn.Module) -> dict[str, Tensor]:
    """A third of the weights of two layers pruned, the last left whole."""
    generator = torch.Generator().manual_seed(1)
    return {
        name: torch.rand(network.get_parameter(f"{name}.weight").shape, generator=generator) > 1 / 3
        for name in ("0", "3")
    }


def written_and_fed(layer: AnalogLayer, x: Tensor) -> tuple[float, float]:
    """Mean level of the cells of kept weights and mean digit of the wordlines, counted on the arrays themselves."""
    sliced, geometry = layer.mapping.sliced, layer.mapping.sliced.geometry
    kept = sliced.kept[:, None].expand(sliced.levels.shape)
    level = float(sliced.levels[kept].double().mean()) / (2**geometry.cell_bits - 1)
    patches = layer.patches(layer.integers(x))
    q = torch.stack([patches.matrix(group) for group in range(len(sliced.weights))])
    top = 2**geometry.dac_bits - 1
    digits = [q >> (t * geometry.dac_bits) & top for t in range(geometry.input_cycles)]
    return level, float(torch.stack(digits).double().mean()) / top


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=lambda g: f"{g.signed_encoding}{g.weight_bits}")
@pytest.mark.parametrize("change", [{}, {"weight_scale": "per_tensor", "activation_range": "max"}])
def test_priced_cells_and_bits_are_those_written_and_fed(geometry: CrossbarGeometry, change: Any) -> None:
    network, settings = uneven_network(), replace(AnalogSettings(), **change)
    masks, images = masks_of(network), torch.randn(6, 3, 9, 9)
    converted = convert(network, masks, geometry, settings, IdealAdc(), [images])
    fed: dict[str, Tensor] = {}
    layers = analog_layers(converted)
    for name, layer in layers.items():
        layer.register_forward_pre_hook(lambda _, inputs, name=name: fed.__setitem__(name, inputs[0].clone()))
    converted(images)
    measured = layer_activities(network, masks, images, geometry, settings)
    bits = geometry.weight_bits, geometry.input_bits
    priced, _ = activity_factors(Activity(*bits, measured, measured), list(layers), geometry)
    for name, layer in layers.items():
        level, digit = written_and_fed(layer, fed[name])
        assert priced[name].kept_level == pytest.approx(level, rel=1e-12)
        # rounding of a float sum may move an input of a later layer by one integer
        assert priced[name].input_density == pytest.approx(digit, rel=1e-12 if name == "0" else 1e-4)
        assert (priced[name].inputs, priced[name].weights) == ("measured", "measured")


def test_every_product_of_the_batch_is_counted_with_its_padding() -> None:
    network = uneven_network()
    images = torch.randn(4, 3, 9, 9)
    measured = layer_activities(network, {}, images, CrossbarGeometry(), AnalogSettings())
    totals = {name: layer.inputs and layer.inputs.total for name, layer in measured.items()}
    # images x products x rows of all groups: 5 x 5 pixels of 27, 5 x 4 of 4 groups of 12, one of 160
    assert totals == {"0": 4 * 25 * 27, "3": 4 * 20 * 48, "6": 4 * 160}


def test_measuring_leaves_the_network_as_it_was() -> None:
    network = uneven_network().train()
    before = copy.deepcopy(network.state_dict())
    layer_activities(
        network, masks_of(network), torch.randn(2, 3, 9, 9), CrossbarGeometry(), AnalogSettings()
    )
    assert network.training
    assert not any(module._forward_pre_hooks for module in network.modules())
    after = network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_weights_alone_hold_what_they_hold_with_images() -> None:
    network = uneven_network()
    masks, images = masks_of(network), torch.randn(2, 3, 9, 9)
    both = layer_activities(network, masks, images, CrossbarGeometry(), AnalogSettings())
    alone = weight_activities(network, masks, CrossbarGeometry(), AnalogSettings(), None, images)

    def held(layer: LayerActivity) -> Any:
        return layer.weights and layer.weights.to_json()

    assert {name: held(layer) for name, layer in both.items()} == {n: held(x) for n, x in alone.items()}
    assert all(layer.inputs is None for layer in alone.values())


def test_learned_steps_are_the_ones_that_are_counted() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False)).eval()
    with torch.no_grad():
        network.get_parameter("1.weight").copy_(torch.tensor([[1.0, 0.5, 0.0, -1.0], [2.0, 0.0, 0.25, 1.0]]))
    learned = TrainedSteps(8, 8, {"1": LayerSteps(torch.tensor([0.5, 0.25]), 0.1, 3)})
    images = torch.tensor([[[[0.1, 0.2], [0.3, -0.5]]]])
    (layer,) = layer_activities(network, {}, images, CrossbarGeometry(), AnalogSettings(), learned).values()
    assert layer.weights is not None
    assert layer.inputs is not None
    assert layer.weights.values.tolist() == [-2, 0, 1, 2, 4, 8]
    assert layer.inputs.values.tolist() == [0, 4, 5, 6]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_network_in_half_precision_has_the_integers_of_its_own_numbers_in_full(dtype: torch.dtype) -> None:
    """Quotients by a step are rounded once: half precision holds no 12 bits, nor 8 and the half between two levels."""
    torch.manual_seed(0)
    half, images = nn.Sequential(nn.Linear(48, 6)).to(dtype).eval(), torch.randn(32, 48).to(dtype)
    full = copy.deepcopy(half).float()
    geometry, settings = (
        CrossbarGeometry(weight_bits=12, input_bits=12, cell_bits=1, cols=176),
        AnalogSettings(),
    )
    found = [
        Activity(pruned=layer_activities(network, {}, x, geometry, settings)).to_json()["pruned"]["0"]
        for network, x in ((half, images), (full, images.float()))
    ]
    assert found[0] == found[1]
    arrays = analog_layers(convert(half, {}, geometry, settings, IdealAdc(), [images]))["0"]
    assert IntegerHistogram.of(arrays.integers(images)).to_json() == found[0]["inputs"]
    assert IntegerHistogram.of(arrays.mapping.sliced.weights).to_json() == found[0]["weights"]
