"""Checkpoints as people have them: taken whole, or refused with the reason that is true of them."""

import argparse
import collections
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from cimlab.network.checkpoint_file import CheckpointError, load
from cimlab.network.masks import WRAPPERS
from cimlab.network.stored import not_finite, read


def a_network(seed: int = 0, norm: bool = True) -> nn.Sequential:
    torch.manual_seed(seed)
    middle = nn.BatchNorm2d(4) if norm else nn.Identity()
    return nn.Sequential(nn.Conv2d(3, 4, 3), middle, nn.Flatten(), nn.Linear(16, 5))


def save(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def fills(path: Path, wanted: nn.Module) -> None:
    """Require that the file brings another network to the weights of this one."""
    network = a_network(seed=1)
    read(path).fill(network)
    state = wanted.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def prefixed(prefix: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {prefix + name: value for name, value in state.items()}


@pytest.mark.parametrize(
    "prefix", ["", "module.", "model.", "net.", "_orig_mod.", "model._orig_mod.", "module.backbone."]
)
@pytest.mark.parametrize("entry", ["", "state_dict", "model_state_dict", "model", "net", "my_weights"])
def test_weights_are_found_under_any_prefix_and_entry(prefix: str, entry: str, tmp_path: Path) -> None:
    network = a_network()
    state = prefixed(prefix, network.state_dict())
    fills(save(tmp_path / "epoch=3 step=10.ckpt", {entry: state, "epoch": 3} if entry else state), network)


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_what_wrappers_put_between_names_is_taken_out(wrapper: str, tmp_path: Path) -> None:
    network = a_network()
    state = {f".{wrapper}.".join(name.rsplit(".", 1)): v for name, v in network.state_dict().items()}
    fills(save(tmp_path / "wrapped.pt", state), network)


def test_of_several_networks_the_usual_name_is_meant(tmp_path: Path) -> None:
    network, other = a_network(), a_network(2)
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.rand(2, 3, 4, 4)).sum().backward()
    optimizer.step()
    content = {"state_dict_ema": other.state_dict(), "state_dict": network.state_dict()}
    content["optimizer"] = optimizer.state_dict()
    fills(save(tmp_path / "a.pt", content), network)


@pytest.mark.parametrize(
    ("entry", "other"),
    [
        ("state_dict", "state_dict_ema"), ("params", "params_ema"), ("model", "modelEMA"), ("model", "best_model"),
        ("state_dict", "swa_state_dict"), ("model", "teacher"), ("model", "ema.state_dict"), ("", "ema_model"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("first", [0, 1])
def test_the_other_networks_of_a_file_are_named(entry: str, other: str, first: int, tmp_path: Path) -> None:
    network = a_network()
    beside: dict = {"module." + name: value for name, value in a_network(2).state_dict().items()}
    for part in reversed(other.split(".")):
        beside = {part: beside}
    meant: dict = {entry: network.state_dict()} if entry else {**network.state_dict()}
    content = meant | beside if first else beside | meant
    fills(save(tmp_path / "a.pt", content), network)
    stored = read(tmp_path / "a.pt")
    stored.fill(a_network(1))
    (note,) = stored.notes
    where = entry or "the state_dict itself"
    said = f"{where} was read, and the weights in {other} left out; to use others, save them alone"
    assert note == f"checkpoint {tmp_path / 'a.pt'}: {said}"


def test_a_copy_of_the_network_under_another_name_needs_no_word(tmp_path: Path) -> None:
    network = a_network()
    state = network.state_dict()
    content = {"model": state, "net": prefixed("module.", state), "model_ema": state, "best": state}
    fills(save(tmp_path / "a.pt", content), network)
    stored = read(tmp_path / "a.pt")
    stored.fill(a_network(1))
    assert stored.notes == []


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ({"student": 0, "teacher": 1}, "student, teacher"),
        ({"net": 1, "model": 0}, "model, net"),
        ({"state_dict": {"model": 0, "net": 1}}, "state_dict.model, state_dict.net"),
        (
            {"teacher": {"state_dict": 1}, "student": {"state_dict": 0}},
            "teacher.state_dict, student.state_dict",
        ),
        ({"ema": 0, "model_ema": 1}, "ema, model_ema"),
    ],
)
def test_two_networks_that_could_both_be_meant_are_refused(content: Any, names: str, tmp_path: Path) -> None:
    def filled(entry: Any) -> Any:
        if isinstance(entry, dict):
            return {name: filled(inner) for name, inner in entry.items()}
        return a_network(entry).state_dict()

    with pytest.raises(CheckpointError, match=rf"several networks \({names}\)"):
        read(save(tmp_path / "a.pt", filled(content))).fill(a_network())


def test_two_usual_prefixes_with_other_values_are_refused(tmp_path: Path) -> None:
    state = prefixed("model.", a_network().state_dict()) | prefixed("net.", a_network(2).state_dict())
    with pytest.raises(CheckpointError, match=r"several networks \(model, net\)"):
        read(save(tmp_path / "a.pt", state)).fill(a_network())


@pytest.mark.parametrize("entry", ["semantic_net", "maskformer", "stepsize", "looped"])
def test_what_an_entry_holds_is_told_by_whole_words(entry: str, tmp_path: Path) -> None:
    network = a_network()
    state = network.state_dict()
    beside = {"lr_schedulers": a_network(2).state_dict(), "AdamOptimizer": a_network(3).state_dict()}
    fills(save(tmp_path / "a.pt", {entry: state} | beside), network)
    fills(save(tmp_path / "b.pt", {"state_dict": prefixed(f"{entry}.", state)}), network)


@pytest.mark.parametrize("content", [{"model_ema": 0, "epoch": 3}, {"model": None, "ema": 0}])
def test_an_average_is_read_where_there_is_nothing_else_and_said(content: dict, tmp_path: Path) -> None:
    network = a_network()
    (entry,) = (name for name in content if "ema" in name)
    fills(save(tmp_path / "a.pt", content | {entry: network.state_dict()}), network)
    stored = read(tmp_path / "a.pt")
    stored.fill(a_network(1))
    assert stored.notes == [
        f"checkpoint {tmp_path / 'a.pt'}: {entry} was read, an average of weights, as there are no others"
    ]


def test_weights_that_torch_averaged_are_read_without_their_counter(tmp_path: Path) -> None:
    network = a_network()
    averaged = torch.optim.swa_utils.AveragedModel(network)
    fills(save(tmp_path / "a.pt", {"swa_state_dict": averaged.state_dict()}), network)
    stored = read(tmp_path / "a.pt")
    stored.fill(a_network(1))
    assert stored.notes == [f"checkpoint {tmp_path / 'a.pt'}: n_averaged: no part of the network, left out"]


def test_tensors_without_values_beside_the_network_are_another_one(tmp_path: Path) -> None:
    network = a_network()
    content = {"model": network.state_dict(), "ema": a_network().to("meta").state_dict()}
    fills(save(tmp_path / "a.pt", content), network)


@pytest.mark.parametrize("prefix", ["", "module.", "model."])
def test_what_lies_beside_all_of_a_network_is_named_with_the_mend(prefix: str, tmp_path: Path) -> None:
    state = prefixed(prefix, a_network().state_dict() | {"loss.weight": torch.ones(5)})
    with pytest.raises(CheckpointError) as refusal:
        read(save(tmp_path / "a.pt", state)).fill(a_network(1))
    assert str(refusal.value).endswith(
        "has an unknown loss.weight beside all that the network has; set model to the one it was saved from, or, if "
        "that is no layer of a network, save the weights without it"
    )


@pytest.mark.parametrize("first", ["ema.", "ema_model.module.", "teacher.", "zz."])
def test_of_several_networks_in_one_state_dict_the_usual_prefix_is_meant(first: str, tmp_path: Path) -> None:
    network, other = a_network(), a_network(2)
    state = prefixed(first, other.state_dict()) | prefixed("model.", network.state_dict())
    fills(save(tmp_path / "a.ckpt", {"state_dict": state}), network)


def test_averages_are_not_taken_for_the_network_beside_them(tmp_path: Path) -> None:
    network, other = a_network(), a_network(2)
    state = prefixed("ema.", other.state_dict()) | prefixed("classifier.", network.state_dict())
    fills(save(tmp_path / "a.ckpt", {"state_dict": state}), network)
    fills(save(tmp_path / "b.ckpt", {"state_dict": prefixed("ema.", network.state_dict())}), network)


@pytest.mark.parametrize("pruned", [False, True])
def test_of_several_networks_without_usual_prefix_none_is_guessed(pruned: bool, tmp_path: Path) -> None:
    network, other = a_network(), a_network(2)
    if pruned:
        for each in (network, other):
            prune.l1_unstructured(each[3], "weight", 0.5)
    state = prefixed("student.", network.state_dict()) | prefixed("teacher.", other.state_dict())
    with pytest.raises(
        CheckpointError, match=r"a\.ckpt holds several networks \(student, teacher\); save the one"
    ):
        read(save(tmp_path / "a.ckpt", {"state_dict": state})).fill(a_network())


def test_one_network_registered_twice_is_one(tmp_path: Path) -> None:
    network = a_network()
    state = prefixed("encoder.", network.state_dict()) | prefixed("metric.encoder.", network.state_dict())
    fills(save(tmp_path / "a.ckpt", {"state_dict": state}), network)


def test_what_belongs_to_the_trainer_is_left_out_and_said(tmp_path: Path) -> None:
    network = a_network()
    state = prefixed("model.", network.state_dict()) | {"criterion.weight": torch.ones(5)}
    stored = read(save(tmp_path / "a.ckpt", {"state_dict": state}))
    stored.fill(a_network(1))
    assert stored.notes == [
        f"checkpoint {tmp_path / 'a.ckpt'}: criterion.weight: no part of the network, left out"
    ]


@pytest.mark.parametrize(
    "settings",
    [
        argparse.Namespace(lr=0.1, layers=[1, 2]),
        {"net": argparse.Namespace(deep=argparse.Namespace(x=1))},
        collections.defaultdict(list, {"lr": [0.1]}),
        {"best": np.float64(0.5), "path": Path("somewhere")},
        {"optimizer": torch.optim.SGD},
    ],
    ids=["namespace", "nested", "defaultdict", "numpy", "class"],
)
def test_a_trainers_settings_are_no_reason_to_refuse_its_weights(settings: Any, tmp_path: Path) -> None:
    network = a_network()
    content = {"state_dict": prefixed("net.", network.state_dict()), "hyper_parameters": settings}
    fills(save(tmp_path / "lightning.ckpt", content), network)


@pytest.mark.parametrize(
    "beside",
    [
        ["cat", "dog"],
        argparse.Namespace(lr=1),
        {"state": {}, "param_groups": [{"lr": 1.0}]},
        {"0._extra_state": {}},
    ],
    ids=["list", "namespace", "optimizer", "mapping"],
)
@pytest.mark.parametrize("entry", ["", "state_dict"])
def test_weights_are_found_with_a_trainers_things_among_them(entry: str, beside: Any, tmp_path: Path) -> None:
    network = a_network()
    state = network.state_dict() | {"beside": beside}
    fills(save(tmp_path / "a.pt", {entry: state} if entry else state), network)


def test_what_was_not_read_is_named(tmp_path: Path) -> None:
    content = {"state_dict": a_network().state_dict(), "hyper_parameters": argparse.Namespace(lr=0.1)}
    (note,) = read(save(tmp_path / "a.ckpt", content)).notes
    assert note.endswith("hyper_parameters holds argparse.Namespace, which is not read")


def test_omegaconf_settings_are_passed_over(tmp_path: Path) -> None:
    from omegaconf import OmegaConf

    network = a_network()
    content = {
        "state_dict": network.state_dict(),
        "hyper_parameters": OmegaConf.create({"a": {"b": [1, "x"]}}),
    }
    fills(save(tmp_path / "a.ckpt", content), network)


class Trap:
    """Leaves a file behind where it is loaded by its own code."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_in_a_file_is_ever_run(zipped: bool, tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    content = {"state_dict": a_network().state_dict(), "settings": Trap(sprung)}
    torch.save(content, tmp_path / "trap.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match="which only running code could read"):
        load(tmp_path / "trap.pt")
    assert not sprung.exists()


def test_a_call_of_the_system_is_refused_by_name(tmp_path: Path) -> None:
    class Call:
        def __reduce__(self) -> Any:
            import os

            return os.system, ("true",)

    path = save(tmp_path / "call.pt", {"state_dict": a_network().state_dict(), "x": Call()})
    with pytest.raises(CheckpointError, match=r"posix\.system, which only running code"):
        read(path)


def test_batch_counters_may_be_missing_and_nothing_else(tmp_path: Path) -> None:
    network = a_network()
    state = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    fills(save(tmp_path / "a.pt", state), network)
    del state["1.running_mean"]
    with pytest.raises(CheckpointError, match=r"lacks 1\.running_mean"):
        read(save(tmp_path / "b.pt", state)).fill(a_network())


def test_what_is_no_tensor_stays_as_the_network_has_it_and_is_named(tmp_path: Path) -> None:
    class Counts(nn.Linear):
        """A layer whose state holds more than tensors, as layers of TransformerEngine do."""

        def get_extra_state(self) -> dict[str, object]:
            return {"recipe": "delayed"}

        def set_extra_state(self, state: dict[str, object]) -> None:
            assert state == self.get_extra_state()

    saved, other = nn.Sequential(Counts(4, 3)), nn.Sequential(Counts(4, 3))
    stored = read(save(tmp_path / "a.pt", saved.state_dict()))
    stored.fill(other)
    assert torch.equal(other.state_dict()["0.weight"], saved.state_dict()["0.weight"])
    assert any("0._extra_state: no tensor, left as the network has it" in note for note in stored.notes)


@pytest.mark.parametrize("prefix", ["", "module.", "model."])
def test_values_and_masks_of_torch_prune_are_put_together(prefix: str, tmp_path: Path) -> None:
    network = a_network()
    wanted = {name: p.detach().clone() for name, p in network.named_parameters()}
    prune.ln_structured(network[0], "weight", 0.5, 2, 0)
    prune.random_unstructured(network[3], "bias", 0.4)
    stored = read(save(tmp_path / "a.pt", prefixed(prefix, network.state_dict())))
    plain = a_network(1)
    stored.fill(plain)
    masks, basis = stored.masks(plain, ["0", "3"])
    assert basis == "with its masks"
    assert {name: int(mask.sum()) for name, mask in masks.items()} == {"0": 54}  # 2 filters of 3 x 3 x 3
    assert torch.equal(plain.get_parameter("0.weight"), wanted["0.weight"] * masks["0"])
    assert int((plain.get_parameter("3.bias") == 0).sum()) == 2
    assert torch.equal(plain.get_parameter("3.weight"), wanted["3.weight"])


def test_masks_of_torch_prune_are_found_whatever_parameter_they_are_of(tmp_path: Path) -> None:
    def made() -> nn.ModuleDict:
        return nn.ModuleDict({"a": nn.MultiheadAttention(8, 2), "r": nn.LSTM(4, 3), "f": nn.Linear(5, 4)})

    network = made()
    for part, name in (("a", "in_proj_weight"), ("r", "weight_ih_l0"), ("f", "weight"), ("f", "bias")):
        prune.random_unstructured(network[part], name, 0.5)
    stored = read(save(tmp_path / "a.pt", network.state_dict()))
    stored.fill(plain := made())
    layers = [*(f"a.in_proj_weight.{part}" for part in "qkv"), "r.weight_ih_l0", "r.weight_hh_l0", "f"]
    masks, basis = stored.masks(plain, layers)
    assert basis == "with its masks"
    assert list(masks) == ["f", *layers[:4]]
    assert sum(int(masks[name].sum()) for name in layers[:3]) == 3 * 64 // 2
    assert torch.equal(masks["r.weight_ih_l0"], plain.get_parameter("r.weight_ih_l0") != 0)


def test_zeros_are_what_was_pruned_where_no_mask_says_so(tmp_path: Path) -> None:
    network = a_network()
    with torch.no_grad():
        network.get_parameter("3.weight")[:, :10] = 0
        network.get_parameter("1.weight").zero_()  # of a norm, which nobody prunes
    stored = read(save(tmp_path / "a.pt", network.state_dict()))
    stored.fill(network)
    masks, basis = stored.masks(network, ["0", "3"])
    assert basis == "its zeros taken as pruned"
    assert {name: int(mask.sum()) for name, mask in masks.items()} == {"3": 30}
    assert read(save(tmp_path / "b.pt", a_network().state_dict())).masks(a_network(), ["0", "3"]) == (
        {},
        "no weight pruned",
    )


@pytest.mark.parametrize("prefix", ["", "model.", "module."])
@pytest.mark.parametrize("suffix", ["", ".weight", ".weight_mask"])
@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float32])
def test_masks_beside_weights_are_taken_by_any_name_and_in_any_dtype(
    prefix: str, suffix: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    network, mask = a_network(), torch.arange(80).view(5, 16) % 3 == 0
    content = {"network": network.state_dict(), "masks": {f"{prefix}3{suffix}": mask.to(dtype)}}
    stored = read(save(tmp_path / "a.pt", content))
    stored.fill(network)
    masks, basis = stored.masks(network, ["3"])
    assert torch.equal(masks["3"], mask)
    assert basis == "with its masks"


@pytest.mark.parametrize("entry", ["mask", "pruning_masks", "mask_dict"])
def test_masks_are_found_in_entries_called_nearly_so(entry: str, tmp_path: Path) -> None:
    network, mask = a_network(), torch.arange(80).view(5, 16) % 3 == 0
    content = {"network": network.state_dict(), "mask_ratio": {"3": 0.3}, entry: {"3.weight": mask.float()}}
    stored = read(save(tmp_path / "a.pt", content))
    stored.fill(network)
    masks, basis = stored.masks(network, ["3"])
    assert torch.equal(masks["3"], mask)
    assert basis == "with its masks"


@pytest.mark.parametrize(
    "beside",
    [
        lambda mask: {"pruning": {"epoch": 3, "masks": {"3": mask}}},
        lambda mask: {"pruner": {"state": {"mask": {"3.weight": mask}}}},
        lambda mask: {"mask_dict": {"3": {"weight": mask}}},
        lambda mask: {
            "optimizer": {"state": {0: {"mask": {}}}},
            "masks_of": {},
            "run": {"masks": {"3": mask}},
        },
    ],
)
def test_masks_are_found_however_deep_they_lie(beside: Any, tmp_path: Path) -> None:
    network, mask = a_network(), torch.arange(80).view(5, 16) % 3 == 0
    stored = read(save(tmp_path / "a.pt", {"state_dict": network.state_dict(), **beside(mask)}))
    stored.fill(network)
    masks, basis = stored.masks(network, ["0", "3"])
    assert basis == "with its masks"
    assert {name: int(kept.sum()) for name, kept in masks.items()} == {"3": int(mask.sum())}


class HasAModule(nn.Module):
    """Called as wrappers call what they wrap, with a layer of the same name on either side."""

    def __init__(self) -> None:
        super().__init__()
        self.module = nn.ModuleDict({"fc": nn.Linear(4, 3)})
        self.fc = nn.Linear(3, 2)


@pytest.mark.parametrize("prefix", ["", "module.", "model."])
def test_a_layer_inside_a_child_called_module_is_not_taken_for_one_outside(
    prefix: str, tmp_path: Path
) -> None:
    wanted, network = HasAModule(), HasAModule()
    state = {f"{prefix}{name}": value for name, value in wanted.state_dict().items()}
    read(save(tmp_path / "a.pt", state)).fill(network)
    assert all(torch.equal(value, wanted.state_dict()[name]) for name, value in network.state_dict().items())


WHOLE = torch.ones(5, 16, dtype=torch.bool)


@pytest.mark.parametrize(
    "masks",
    [3, [WHOLE], {1: WHOLE}, {"2": WHOLE}, {"nowhere": WHOLE}, {"3": None}, {"3": 2 * WHOLE.float()}, {"3": WHOLE.T}],
)  # fmt: skip
def test_masks_that_fit_no_layer_are_refused_in_one_line(masks: object, tmp_path: Path) -> None:
    network = a_network()
    stored = read(save(tmp_path / "a.pt", {"network": network.state_dict(), "masks": masks}))
    stored.fill(network)
    with pytest.raises(CheckpointError, match="mask") as refusal:
        stored.masks(network, ["3"])
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "content", [{"network": 3}, {"network": {1: 2}}, {"state_dict": {"a": "b"}}, {"x": {}}, {}]
)
def test_a_checkpoint_without_weights_names_what_it_holds(content: dict, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"no weights by name, but {next(iter(content), 'nothing')}"):
        read(save(tmp_path / "a.pt", content)).fill(a_network())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_no_numbers_are_refused(value: float, tmp_path: Path) -> None:
    network, state = a_network(), {k: v.clone() for k, v in a_network().state_dict().items()}
    before = network.get_parameter("0.weight").detach().clone()
    state["3.weight"][1, 2] = value
    with pytest.raises(CheckpointError, match=r"NaN or infinity in 3\.weight"):
        read(save(tmp_path / "a.pt", state)).fill(network)
    assert torch.equal(network.get_parameter("0.weight"), before)


def test_infinities_that_the_network_itself_has_are_loaded(tmp_path: Path) -> None:
    network = a_network()
    network.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(3))
    read(save(tmp_path / "a.pt", network.state_dict())).fill(network)
    state = network.state_dict() | {"mask": torch.full((3, 3), float("nan"))}
    assert not_finite(state) == ["mask"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda s: s | {"9.weight": torch.ones(2)}, "has an unknown 9.weight"),
        (lambda s: s | {"3.weight": torch.ones(5, 17)}, r"3.weight of shape \(5, 17\) for \(5, 16\)"),
        (lambda s: s | {"3.weight": torch.ones(5, 16, dtype=torch.int8)}, "3.weight as torch.int8"),
        (lambda s: {k: v for k, v in s.items() if k != "3.bias"}, "lacks 3.bias"),
    ],
)
def test_weights_of_another_network_are_refused_by_name(change: Any, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=complaint):
        read(save(tmp_path / "a.pt", change(a_network().state_dict()))).fill(a_network())


def test_reparametrised_weights_are_told_their_mend(tmp_path: Path) -> None:
    network = a_network(norm=False)
    nn.utils.parametrizations.weight_norm(network[0])
    with pytest.raises(
        CheckpointError, match=r"call torch\.nn\.utils\.parametrize\.remove_parametrizations before"
    ):
        read(save(tmp_path / "a.pt", network.state_dict())).fill(a_network(norm=False))


@pytest.mark.parametrize("kept", [torch.Tensor.to_sparse, torch.Tensor.to_sparse_csr])
def test_sparse_weights_fill_a_network_zeros_and_all(kept: Any, tmp_path: Path) -> None:
    network = a_network()
    prune.l1_unstructured(network[3], "weight", 0.75)
    prune.remove(network[3], "weight")
    state = network.state_dict()
    fills(save(tmp_path / "a.pt", state | {"3.weight": kept(state["3.weight"])}), network)


def test_half_precision_weights_fill_a_network_in_single(tmp_path: Path) -> None:
    network = a_network()
    halves = {
        name: value.half() if value.is_floating_point() else value
        for name, value in network.state_dict().items()
    }
    other = a_network(1)
    read(save(tmp_path / "a.pt", halves)).fill(other)
    assert torch.equal(other.get_parameter("3.weight"), halves["3.weight"].float())


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty"),
        (json.dumps({"run": 1}).encode(), "is JSON, no checkpoint; give"),
        (b"\xef\xbb\xbf[1]", "is JSON"),
        (b"<!DOCTYPE html><html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "Git LFS; fetch .* git lfs pull"),
        (b'\x40\0\0\0\0\0\0\0{"a":{"dtype":"F32","shape":[1]}}', "safetensors"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"just words\n", "is text"),
        (b"\0" * 500, "truncated, damaged"),
        (pickle.dumps(3), "holds a int|damaged"),
    ],
)
def test_what_is_no_checkpoint_is_told_what_it_is(content: bytes, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "some.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=complaint) as refusal:
        read(path)
    assert "delete" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_record_or_folder_points_to_the_network_beside_it(tmp_path: Path) -> None:
    network = save(tmp_path / "network.pt", a_network().state_dict())
    (tmp_path / "record.json").write_text("{}")
    for path in (tmp_path / "record.json", tmp_path):
        with pytest.raises(CheckpointError, match=f"network .* {network}|its network is {network}"):
            read(path)


@pytest.mark.parametrize(
    ("files", "mend"),
    [
        (("best.pt",), "its network is {}/best.pt"),
        (("best.pt", "notes.txt", "network.pt"), "its network is {}/network.pt"),
        (("best.pt", "optimizer.pt"), "name the file in it"),
        (("last.ckpt", "optimizer.pt"), "name the file in it"),
        ((), "name the file in it"),
    ],
)
def test_a_folder_names_its_network_where_that_is_certain(files: tuple, mend: str, tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(CheckpointError) as refusal:
        load(tmp_path)
    assert str(refusal.value) == f"checkpoint {tmp_path} is a folder; {mend.format(tmp_path)}"


def test_a_whole_network_a_program_and_a_foreign_archive_are_called_so(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"holds a whole network \(torch.nn.modules.container.Sequential\)"
    ):
        read(save(tmp_path / "whole.pt", a_network()))
    torch.jit.script(nn.Linear(2, 2)).save(str(tmp_path / "program.pt"))
    with pytest.raises(CheckpointError, match="is a TorchScript program"):
        read(tmp_path / "program.pt")
    np.savez(tmp_path / "arrays.npz", a=np.ones(3))
    with pytest.raises(CheckpointError, match=r"zip archive that torch\.save did not write"):
        read(tmp_path / "arrays.npz")


def test_a_network_of_zeros_alone_is_refused(tmp_path: Path) -> None:
    network = a_network()
    stored = read(save(tmp_path / "a.pt", {k: torch.zeros_like(v) for k, v in network.state_dict().items()}))
    stored.fill(network)
    with pytest.raises(CheckpointError, match="every weight is 0; nothing is left"):
        stored.masks(network, ["0", "3"])
