"""Masks are taken in any dtype and by the names of the network given, or refused in one line; compiled code never sees
others."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from cimlab.analog.convert import analog_layers
from cimlab.crossbar.tally import LayerMask
from cimlab.lab import Lab
from cimlab.network.errors import NetworkError
from cimlab.network.masks import MaskError, checked_masks, plain_name
from cimlab.pruning.masks import MaskHolder

SHAPES = {"body.0": (4, 3, 3, 3), "body.2": (6, 4, 1, 1), "head": (5, 6)}
DTYPES = (
    torch.bool, torch.uint8, torch.int8, torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64,
    torch.complex64, torch.float8_e4m3fn,
)  # fmt: skip


def some_masks() -> dict[str, torch.Tensor]:
    dice = torch.Generator().manual_seed(3)
    return {name: torch.rand(shape, generator=dice) < 0.4 for name, shape in SHAPES.items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(a[k].dtype == torch.bool and torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_zeros_and_ones_of_any_dtype_are_masks(dtype: torch.dtype) -> None:
    masks = some_masks()
    assert same(checked_masks({k: v.to(dtype) for k, v in masks.items()}, SHAPES), masks)


def test_parameters_sparse_tensors_and_numpy_arrays_are_masks() -> None:
    masks = some_masks()
    others = {
        "body.0": nn.Parameter(masks["body.0"].float()),
        "body.2": masks["body.2"].float().to_sparse(),
        "head": masks["head"].numpy().astype(np.int16)[::-1][::-1],
    }
    assert same(checked_masks(others, SHAPES), masks)


@pytest.mark.parametrize("called", ["{}.weight", "{}.weight_mask"])
def test_a_mask_may_be_called_as_the_weight(called: str) -> None:
    masks = some_masks()
    assert same(checked_masks({called.format(k): v for k, v in masks.items()}, SHAPES), masks)


@pytest.mark.parametrize("wrap", ["module.{}", "_fsdp_wrapped_module.{}", "module._orig_mod.{}.weight_mask"])
def test_names_of_a_wrapped_network_name_no_layer_of_a_bare_one(wrap: str) -> None:
    masks = {wrap.format(k): v for k, v in some_masks().items()}
    with pytest.raises(MaskError, match=r"but body\.0; names with [a-z_ ]+ are .* take that off"):
        checked_masks(masks, SHAPES)


def test_names_of_a_bare_network_fit_a_wrapped_one() -> None:
    (layer,) = checked_masks({"0": torch.ones(2, 2)}, {"_orig_mod.module.0": (2, 2)})
    assert layer == "_orig_mod.module.0"


def test_a_layer_that_is_really_called_module_keeps_its_name() -> None:
    shapes = {"module.0": (1, 1), "0": (2, 2)}  # two layers, one of them in a child of that name
    masks = {"module.0": torch.zeros(1, 1), "0": torch.ones(2, 2)}
    assert [m.sum() for m in checked_masks(masks, shapes).values()] == [0, 4]
    assert plain_name("net.module.module.a") == "net.a"


@pytest.mark.parametrize(
    ("masks", "complaint"),
    [
        ({"head": torch.full((5, 6), 2)}, "mask of layer head holds 2; a mask is 1 where"),
        ({"head": torch.full((5, 6), 0.5)}, "holds 0.5"),
        ({"head": torch.full((5, 6), float("nan"))}, "holds nan"),
        ({"head": torch.full((5, 6), -1)}, "holds -1"),
        ({"head": torch.ones(6, 5)}, r"shape \(6, 5\), its weight \(5, 6\)"),
        ({"head": torch.ones(5, 1)}, r"shape \(5, 1\)"),
        ({"heat": torch.ones(5, 6)}, "mask heat: no layer .* did you mean head"),
        ({"conv1": torch.ones(5, 6)}, "there are body.0, body.2, head$"),
        ({"head": {"weight": torch.ones(5, 6)}}, "mask of layer head is a dict"),
        ({"head": torch.ones(5, 6, device="meta")}, "without values"),
        ({"head": torch.ones(5, 6), "head.weight": torch.ones(5, 6)}, "layer head has two masks"),
        ([torch.ones(5, 6)], "masks are a list"),
    ],
)  # fmt: skip
def test_what_is_no_mask_is_refused_in_one_line(masks: dict, complaint: str) -> None:
    with pytest.raises(MaskError, match=complaint) as refusal:
        checked_masks(masks, SHAPES)
    assert "\n" not in str(refusal.value)


def test_bytes_that_are_no_booleans_never_reach_compiled_code() -> None:
    kept = torch.rand(1, 8, 4) < 0.5
    assert np.array_equal(LayerMask.of(kept.double()).kept, LayerMask.of(kept).kept)
    with pytest.raises(MaskError):
        LayerMask.of(kept.float() + 1)


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 8, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(8, 5)).eval()


@pytest.mark.parametrize("change", [torch.Tensor.float, torch.Tensor.long, torch.Tensor.byte])
def test_a_lab_means_the_same_by_masks_of_any_dtype_and_the_names_of_a_wrapped_network(
    network: nn.Module, change
) -> None:
    lab, images = Lab("prune.exempt_first=false", "prune.exempt_last=false"), torch.rand(4, 3, 12, 12)
    masks = lab.prune(network, images)
    wrapped = nn.DataParallel(network)
    others = {f"module.{name}": change(mask) for name, mask in masks.items()}
    assert lab.place(wrapped, others, images).total == lab.place(network, masks, images).total
    assert lab.place(wrapped, masks, images).total == lab.place(network, masks, images).total
    assert lab.cost(wrapped, others, images).ratios() == lab.cost(network, masks, images).ratios()
    one, other = (
        analog_layers(lab.on_arrays(*asked, images)) for asked in ((network, masks), (wrapped, others))
    )
    for name, layer in one.items():
        assert torch.equal(layer.mapping.sliced.kept, other[name].mapping.sliced.kept)
    lab.hold(wrapped, others).hold()
    assert all((network.get_parameter(f"{k}.weight")[~v] == 0).all() for k, v in masks.items())


def test_every_door_of_a_lab_refuses_the_mask_of_no_layer(network: nn.Module) -> None:
    lab, images, masks = Lab(), torch.rand(4, 3, 12, 12), {"conv2": torch.ones(8, 16, 1, 1)}
    doors = (
        lambda: lab.place(network, masks, images),
        lambda: lab.cost(network, masks, images),
        lambda: lab.on_arrays(network, masks, images),
        lambda: lab.hold(network, masks),
    )
    for door in doors:
        with pytest.raises(MaskError, match="mask conv2: no layer"):
            door()


def test_a_pruned_weight_that_became_nan_is_set_to_zero(network: nn.Module) -> None:
    mask = torch.rand(8, 16, 1, 1) < 0.5
    holder = MaskHolder(network, {"2": mask})
    weight = network.get_parameter("2.weight")
    with torch.no_grad():
        weight[~mask] = torch.nan
        kept = weight[mask].clone()
    holder.hold()
    assert (weight[~mask] == 0).all()
    assert torch.equal(weight[mask], kept)


def test_what_is_no_dictionary_and_the_mask_of_a_bias_or_norm_are_refused_by_every_method_alike() -> None:
    layers = nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4)
    network, x = nn.Sequential(*layers).eval(), torch.rand(2, 8)
    lab = Lab()
    methods: tuple[Any, ...] = (
        lab.hold, lambda n, masks: lab.place(n, masks, x), lambda n, masks: lab.on_arrays(n, masks, x),
    )  # fmt: skip
    for masks, complaint in (
        (None, "masks are a NoneType; give a dictionary"),
        (3, "masks are a int; give a dictionary"),
        (
            {"0.bias": torch.ones(16)},
            r"mask 0\.bias: no layer that takes a mask is called so; there are 0, 3",
        ),
        ({"1": torch.ones(16)}, "mask 1: no layer that takes a mask is called so; there are 0, 3"),
    ):
        for method in methods:
            with pytest.raises(MaskError, match=complaint):
                method(network, masks)


@pytest.mark.parametrize("network", [None, {"0.weight": torch.ones(4, 8)}, nn.Linear])
def test_what_is_no_network_is_refused_by_every_method_alike(network: Any) -> None:
    lab, x = Lab(), torch.rand(2, 8)
    for method in (lab.place, lab.cost, lab.on_arrays, lambda network, masks, _: lab.hold(network, masks)):
        with pytest.raises(
            NetworkError, match=f"the network is a {type(network).__name__}; give an nn.Module"
        ):
            method(network, {}, x)
