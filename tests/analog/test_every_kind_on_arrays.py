"""Whatever operation multiplies by a weight, lossless arrays compute it: every kind of the account's own tests."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cimlab.analog.convert import analog_layers
from cimlab.analog.layout import laid_out
from cimlab.analog.settings import AnalogSettings
from cimlab.analog.simulation import layer_fidelity
from cimlab.lab import Lab
from cimlab.network.masks import MaskError
from cimlab.pruning.allocation import PruningError
from tests.network.test_account import (
    IMAGES,
    KINDS,
    Calls,
    from_one_vector,
    halves_of_one_matrix,
    latent_queries,
)

ALL = ("prune.exempt_first=false", "prune.exempt_last=false", "prune.remaining=0.5", "adc=ideal")


def relative_error(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


@pytest.fixture(scope="module")
def lab() -> Lab:
    return Lab(*ALL, "granularity=column_segment")


@pytest.mark.parametrize("kind", KINDS)
def test_lossless_arrays_compute_what_the_network_computes(kind: str, lab: Lab) -> None:
    torch.manual_seed(0)
    network, weights = KINDS[kind]
    network = network.eval()
    with torch.no_grad():
        arrays = lab.on_arrays(network, {}, IMAGES)
        computing: set[str] = set()
        for name, layer in analog_layers(arrays).items():
            layer.register_forward_hook(lambda *_, name=name: computing.add(name))
        assert relative_error(arrays(IMAGES), network(IMAGES)) < 0.03
        assert computing == set(weights)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("torch's pruning", "weight norm")])
def test_pruned_weights_are_zero_placed_and_skipped_by_the_arrays(kind: str, lab: Lab) -> None:
    torch.manual_seed(0)
    network = copy.deepcopy(KINDS[kind][0]).eval()
    masks = lab.prune(network, IMAGES)
    placed = lab.place(network, masks, IMAGES)
    assert placed.total.weights_left == sum(int(mask.sum()) for mask in masks.values())
    layers = analog_layers(lab.on_arrays(network, masks, IMAGES))
    kept = {name: int(layer.mapping.sliced.kept.sum()) for name, layer in layers.items()}
    assert kept == {name: int(mask.sum()) for name, mask in masks.items()}
    for layer in layers.values():
        assert not layer.mapping.sliced.weights[~layer.mapping.sliced.kept].any()
    compared = lab.cost(network, masks, IMAGES)
    assert compared.ratios()["energy_j"] < 1


@pytest.mark.parametrize(
    "make", [halves_of_one_matrix, lambda: from_one_vector(KINDS["layers with hooks"][0])]
)
def test_parameters_of_one_storage_are_pruned_and_computed_each(
    make: Callable[[], nn.Module], lab: Lab
) -> None:
    network = make().eval()
    apart = copy.deepcopy(network)  # copies have storages of their own
    masks, wanted = lab.prune(network, IMAGES), lab.prune(apart, IMAGES)
    assert all(torch.equal(masks[name], wanted[name]) for name in (*masks, *wanted))
    for one, other in zip(network.parameters(), apart.parameters(), strict=True):
        assert torch.equal(one, other)
    with torch.no_grad():
        found, expected = (lab.on_arrays(some, masks, IMAGES)(IMAGES) for some in (network, apart))
    assert torch.equal(found, expected)
    assert lab.cost(network, masks, IMAGES).summary() == lab.cost(apart, masks, IMAGES).summary()


def test_a_convolution_called_as_a_function_is_on_arrays_as_the_layer_itself(lab: Lab) -> None:
    """The same integers, so the same outputs to the last bit but for the bias, which is then added in float32."""
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 8, 3, padding=1, bias=False)
    as_layer = nn.Sequential(layer).eval()
    as_function = Calls(lambda n, x: F.conv2d(x, n.c.weight, padding=1), c=layer).eval()
    with torch.no_grad():
        one, other = (lab.on_arrays(some, {}, IMAGES)(IMAGES) for some in (as_layer, as_function))
    assert torch.equal(one, other)


def twin_networks() -> tuple[nn.Module, nn.Module]:
    """The same layers, given their inputs by place and by name."""
    layers = {"c": nn.Conv2d(3, 4, 3), "fc": nn.Linear(4 * 10 * 10, 5)}
    by_place = Calls(lambda n, x: n.fc(n.c(x).relu().flatten(1)), **layers)
    by_name = Calls(lambda n, x: n.fc(input=n.c(input=x).relu().flatten(1)), **layers)
    return by_place.eval(), by_name.eval()


def test_layers_that_are_called_by_keyword_are_computed_and_measured_like_any() -> None:
    torch.manual_seed(0)
    lab = Lab(*ALL, "adc=mse", "geometry.adc_bits=5")
    found = []
    for network in twin_networks():
        arrays = lab.on_arrays(network, {}, IMAGES)
        with torch.no_grad():
            outputs = arrays(IMAGES)
        floating, _ = laid_out(network, {}, IMAGES, AnalogSettings())
        cost = lab.cost(network, {}, IMAGES).summary()
        found.append((outputs, layer_fidelity(arrays, floating, IMAGES), cost["total"], cost["notes"]))
    assert torch.equal(found[0][0], found[1][0])
    assert found[0][1:] == found[1][1:]


class Standardised(nn.Conv2d):
    """Weight standardisation (Qiao et al., arXiv:1903.10520, equation 4)."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        w = self.weight
        w = (w - w.mean((1, 2, 3), keepdim=True)) / (w.std((1, 2, 3), keepdim=True) + 1e-5)
        return F.conv2d(input, w, self.bias, self.stride, self.padding)


def test_a_computed_weight_is_on_arrays_as_it_is_computed_and_refused_where_its_zeros_move(lab: Lab) -> None:
    network = nn.Sequential(Standardised(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1)).eval()
    with torch.no_grad():
        assert relative_error(lab.on_arrays(network, {}, IMAGES)(IMAGES), network(IMAGES)) < 0.03
    with pytest.raises(PruningError, match=r"weights of 0 .*analog.digital=\[0\]"):
        lab.prune(network, IMAGES)
    assert list(Lab(*ALL, "analog.digital=[0]").prune(network, IMAGES)) == ["2"]


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(Standardised(3, 8, 3)),
        # the weight is stored by heads and inputs, and multiplied as a copy in the order of heads and outputs
        Calls(lambda n, x: torch.einsum("btd,hde->bhte", x.flatten(2), n.w), w=nn.Parameter(torch.randn(2, 144, 6))),
    ],
)  # fmt: skip
def test_masks_that_the_forward_pass_moves_are_refused_wherever_they_are_given(
    network: nn.Module, lab: Lab
) -> None:
    (weight,) = lab.account(network.eval(), IMAGES).on_arrays
    masks = {weight.name: torch.arange(weight.weights).view(weight.shape) % 2 == 0}
    for ask in (lab.place, lab.cost, lab.on_arrays):
        with pytest.raises(MaskError, match=rf"not be 0 in its place .*analog.digital=\[{weight.name}\]"):
            ask(network, masks, IMAGES)
        ask(network, {weight.name: torch.ones(weight.shape)}, IMAGES)


def test_pruning_whole_outputs_under_weight_norm_is_refused_with_a_mend_that_works() -> None:
    lab = Lab(*ALL, "granularity=filter")
    network = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 8, 3))).eval()
    with pytest.raises(PruningError, match="remove_parametrizations"):
        lab.prune(network, IMAGES)
    nn.utils.parametrize.remove_parametrizations(network[0], "weight")
    masks = lab.prune(network, IMAGES)
    assert torch.isfinite(lab.on_arrays(network, masks, IMAGES)(IMAGES)).all()


def test_a_tied_weight_has_one_mask_under_both_names(lab: Lab) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 3, 3, padding=1)).eval()
    network[2].weight = network[0].weight
    masks = lab.prune(network, IMAGES)
    assert list(masks) == ["0", "2"]
    assert torch.equal(masks["0"], masks["2"])
    assert torch.equal(network.get_parameter("0.weight") != 0, masks["0"])
    assert lab.place(network, masks, IMAGES).total.weights == 81
    assert lab.place(network, {"2": masks["2"]}, IMAGES).total == lab.place(network, masks, IMAGES).total


def test_layers_left_digital_are_computed_in_floating_point() -> None:
    network, _ = KINDS["attention"]
    with torch.no_grad():
        layers = analog_layers(
            Lab(*ALL, "analog.digital=[a.in_proj_weight.k]").on_arrays(network, {}, IMAGES)
        )
        assert list(layers) == ["patches", "a.in_proj_weight.q", "a.in_proj_weight.v", "a.out_proj"]
        every = Lab(*ALL, "analog.digital=[patches,a]")
        with pytest.raises(Exception, match="no weight is on arrays: "):
            every.on_arrays(network, {}, IMAGES)


def test_layers_of_an_encoder_are_on_arrays_also_where_its_attention_is_digital() -> None:
    """torch's encoder layer computes by the weights of its layers and calls none, where nothing hinders it."""
    encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    network, tokens = nn.Sequential(encoder, nn.Linear(8, 3)).eval(), torch.randn(2, 3, 8)
    with torch.no_grad():
        arrays = Lab(*ALL, "analog.digital=[0.self_attn]").on_arrays(network, {}, tokens)
        arrays(tokens)
    assert {name for name, layer in analog_layers(arrays).items() if layer.reads} == {
        "0.linear1",
        "0.linear2",
        "1",
    }


def test_numbers_name_layers_and_wrapped_networks_are_opened(lab: Lab) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)).eval()
    assert list(analog_layers(Lab(*ALL, "analog.digital=[2]").on_arrays(network, {}, IMAGES))) == ["0"]
    compiled = torch.compile(network, backend="eager")
    assert isinstance(compiled, nn.Module)
    for wrapped in (compiled, nn.DataParallel(network)):
        masks = lab.prune(wrapped, IMAGES)
        assert list(masks) == ["0", "2"]
        assert lab.on_arrays(wrapped, masks, IMAGES)(IMAGES).shape == (4, 2, 8, 8)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_network_in_another_number_format_keeps_it(dtype: torch.dtype, lab: Lab) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(400, 3)).to(dtype).eval()
    images = IMAGES.to(dtype)
    masks = lab.prune(network, images)
    with torch.no_grad():
        found = lab.on_arrays(network, masks, images)(images)
        assert found.dtype == dtype
        assert relative_error(found.float(), network(images).float()) < 0.05
    assert lab.cost(network, masks, images).ratios()["energy_j"] < 1


def test_images_are_priced_in_their_own_number_format_whatever_the_first_parameter_has(lab: Lab) -> None:
    network = Calls(
        lambda n, x: n.c(x * n.scale.float()).mean((2, 3)),
        scale=nn.Parameter(torch.ones((), dtype=torch.float64)), c=nn.Conv2d(3, 4, 3),
    ).eval()  # fmt: skip
    masks = lab.prune(network, IMAGES)
    assert lab.cost(network, masks, IMAGES).ratios()["energy_j"] < 1


class Compiled(nn.Module):
    """A network whose own forward pass is compiled."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    @torch.compile(backend="eager")
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv(x).relu().mean((2, 3)))


def compiled_in_place() -> nn.Module:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(400, 3))
    network.forward = torch.compile(network.forward, backend="eager")
    return network


@pytest.mark.parametrize("make", [Compiled, compiled_in_place])
def test_a_compiled_forward_pass_is_priced_and_computed_as_it_is_written(make: type, lab: Lab) -> None:
    network = make().eval()
    masks = lab.prune(network, IMAGES)
    assert lab.place(network, masks, IMAGES).total.weights_left == sum(int(m.sum()) for m in masks.values())
    assert lab.cost(network, masks, IMAGES).ratios()["energy_j"] < 1
    with torch.no_grad():
        found = lab.on_arrays(network, masks, IMAGES)(IMAGES)
        assert relative_error(found, network(IMAGES)) < 0.03


class WithParts(nn.Module):
    """A network of parts, compiled or not: one within another, called from a list, with a hook around it."""

    def __init__(self, compiled: Callable[[Any], Any]) -> None:
        super().__init__()
        inner = compiled(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()))
        self.body = compiled(nn.Sequential(inner, nn.Conv2d(4, 4, 3)))
        self.body.register_forward_hook(lambda _, __, y: 2 * y)
        self.parts = [self.body]
        self.head = nn.Linear(4, 3)
        self.pool = compiled(self.pool)

    def pool(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x.mean((2, 3)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pool(self.parts[0](x)) + len(self.body)


def test_a_network_with_compiled_parts_is_computed_as_the_same_network_without(lab: Lab) -> None:
    found = []
    for compiled in (lambda part: part, lambda part: torch.compile(part, backend="eager")):
        torch.manual_seed(0)
        network = WithParts(compiled).eval()
        masks = lab.prune(network, IMAGES)
        assert lab.cost(network, masks, IMAGES).ratios()["energy_j"] < 1
        with torch.no_grad():
            arrays = lab.on_arrays(network, masks, IMAGES)
            found.append((arrays(IMAGES), copy.deepcopy(arrays)(IMAGES), network(IMAGES)))
    plain, compiled = found
    assert all(torch.equal(*pair) for pair in zip(plain, compiled, strict=True))
    assert list(masks) == ["body._orig_mod.0._orig_mod.0", "body._orig_mod.1", "head"]


def test_two_functions_of_one_weight_are_not_computed_with_one_set_of_cells(lab: Lab) -> None:
    network = Calls(
        lambda net, x: net.f(F.conv2d(F.conv2d(x, net.c.weight * 0.5), net.c.weight * 2).flatten(1)),
        c=nn.Conv2d(3, 3, 3, bias=False), f=nn.Linear(3 * 8 * 8, 4),
    ).eval()  # fmt: skip
    with torch.no_grad():
        arrays = lab.on_arrays(network, {}, IMAGES)
        assert list(analog_layers(arrays)) == ["f"]
        assert relative_error(arrays(IMAGES), network(IMAGES)) < 0.03


def test_latent_queries_ask_any_number_of_samples(lab: Lab) -> None:
    network, x = latent_queries().eval(), torch.rand(4, 5, 8)
    with torch.no_grad():
        arrays = lab.on_arrays(network, {}, x)
        for samples in (1, 3):
            assert relative_error(arrays(x[:samples]), network(x[:samples])) < 0.03


def test_no_images_give_no_outputs(lab: Lab) -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(200, 5)).eval()
    with torch.no_grad():
        assert lab.on_arrays(network, {}, IMAGES)(IMAGES[:0]).shape == (0, 5)
