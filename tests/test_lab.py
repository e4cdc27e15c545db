"""A `Lab` means what the commands mean, and refuses what it would not heed."""

import copy
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Cimlab
from torch import nn

from cimlab.analog.convert import analog_layers
from cimlab.config.errors import ConfigError
from cimlab.errors import CimlabError
from cimlab.lab import Lab
from cimlab.models.digits_cnn import digits_cnn
from cimlab.pruning.allocation import PruningError


def test_a_lab_works_within_a_hydra_program_and_leaves_it_as_it_was() -> None:
    from hydra import compose, initialize_config_dir

    from cimlab.choices import conf_dir

    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        assert Lab("geometry.active_rows=16").geometry.active_rows == 16
        with pytest.raises(ConfigError):
            Lab("geometry.active_rows=0")
        assert compose("train").geometry.active_rows  # still the caller's


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return digits_cnn(num_classes=10, in_channels=1).eval()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "ask",
    [
        lambda lab, *given: lab.prune(*given),
        lambda lab, network, images: lab.place(network, {}, images),
        lambda lab, network, images: lab.cost(network, {}, images),
        lambda lab, network, images: lab.on_arrays(network, {}, images),
    ],
)
def test_a_network_that_is_left_digital_whole_is_refused(
    ask: Callable[..., object], network: nn.Module, images: torch.Tensor
) -> None:
    with pytest.raises(CimlabError, match=r"no weight is on arrays: .*left digital by analog\.digital"):
        ask(Lab("analog.digital=['*']"), network, images)


class Cropped(nn.Conv2d):
    """A convolution with a corner of its kernel."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return nn.functional.conv2d(input, self.weight[:, :, 1:, 1:])


def test_a_network_without_a_weight_that_arrays_hold_is_told_why() -> None:
    network, images = nn.Sequential(Cropped(3, 4, 3)), torch.rand(2, 3, 8, 8)
    with pytest.raises(CimlabError, match=r"no weight is on arrays: .* 0 \(in 0\) \(is read in parts"):
        Lab().cost(network, {}, images)


def test_a_cost_is_printed_in_a_few_lines(network: nn.Module, images: torch.Tensor) -> None:
    lab = Lab("granularity=operation_unit", "prune.remaining=0.25")
    cost = lab.cost(network, lab.prune(network, images), images)
    assert f"energy_j x {cost.ratios()['energy_j']:.4g}" in repr(cost)
    assert f"energy_j={cost.pruned.total_energy_j:.4g}" in repr(cost)
    assert len(repr(cost)) < 400
    assert "array(" not in repr(lab.place(network, {}, images))


def test_pruned_weights_are_zero_and_stay_so(network: nn.Module, images: torch.Tensor) -> None:
    lab = Lab("granularity=operation_unit", "prune.remaining=0.25")
    masks = lab.prune(network, images)
    holder = lab.hold(network, masks)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for _ in range(2):
        network(images).square().sum().backward()
        optimizer.step()
        holder.hold()
    kept = sum(int(mask.sum()) for mask in masks.values())
    total = sum(mask.numel() for mask in masks.values())
    assert kept / total == pytest.approx(0.25, abs=0.01)
    for name, mask in masks.items():
        weight = network.get_parameter(f"{name}.weight")
        assert (weight[~mask] == 0).all()
        assert weight[mask].abs().sum() > 0


def test_counts_and_cost_are_those_of_cimlab_map(
    network: nn.Module, images: torch.Tensor, cimlab: Cimlab, tmp_path: Path
) -> None:
    words = ("granularity=column_segment", "prune.remaining=0.25", "geometry=small")
    lab = Lab(*words)
    masks = lab.prune(network, images)
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    answer = cimlab(
        "map", "model=digits_cnn", "input.channels=1", "input.size=8", f"checkpoint={tmp_path / 'weights.pt'}",
        f"paths.output_dir={tmp_path}", *words, "--json",
    )  # fmt: skip
    mapped, cost = json.loads(answer.out), lab.cost(network, masks, images)
    placed = lab.place(network, masks, images).total
    assert [row["steps"] for row in mapped["layers"]] == [counts.steps for counts in cost.pruned.counts]
    assert placed.steps == sum(row["steps"] for row in mapped["layers"])
    assert cost.pruned.totals()["area_m2"] == pytest.approx(mapped["total"]["area_m2"])
    # cimlab map assumes the input bits that a Lab measures; what doesn't depend on them is the same
    adc = cost.pruned.energy_by_component["adc"]
    assert adc == pytest.approx(mapped["energy_j"]["adc"])
    assert not any("input bit density assumed" in note for note in cost.pruned.notes)


def test_a_pruned_network_is_compared_with_the_dense_one_that_prune_found(
    network: nn.Module, images: torch.Tensor
) -> None:
    lab = Lab("granularity=weight", "prune.remaining=0.1")
    whole = copy.deepcopy(network)
    before = lab.cost(whole, {}, images).dense
    masks = lab.prune(network, images)
    known = lab.cost(network, masks, images)
    assert np.array_equal(known.dense.dynamic_j, before.dynamic_j)
    assert not any("not known" in note for note in known.pruned.notes)
    stranger = copy.deepcopy(network)  # whose dense weights nobody has seen
    unknown = lab.cost(stranger, masks, images)
    assert unknown.dense.total_energy_j < known.dense.total_energy_j
    assert any("dense network's weights are not known" in note for note in unknown.pruned.notes)
    told = lab.cost(stranger, masks, images, dense=whole.state_dict())
    assert told.ratios() == known.ratios()


def test_dense_weights_may_be_called_as_a_wrapped_network_calls_them(
    network: nn.Module, images: torch.Tensor
) -> None:
    lab, wrapped = Lab("granularity=weight", "prune.remaining=0.1"), nn.DataParallel(network)
    whole = copy.deepcopy(wrapped).state_dict()
    masks = lab.prune(wrapped, images)
    assert next(iter(whole)).startswith("module.")
    assert lab.cost(wrapped, masks, images, dense=whole).ratios() == lab.cost(wrapped, masks, images).ratios()


def test_a_further_pruning_is_compared_with_the_first_network_and_new_weights_with_themselves(
    network: nn.Module, images: torch.Tensor
) -> None:
    whole = copy.deepcopy(network)
    half, tenth = Lab("prune.remaining=0.5"), Lab("prune.remaining=0.1")
    dense = half.cost(whole, {}, images).dense.total_energy_j
    half.prune(network, images)
    masks = half.prune(network, images)
    assert half.cost(network, masks, images).dense.total_energy_j == dense
    network.load_state_dict({name: 2 * value for name, value in whole.state_dict().items()})
    again = copy.deepcopy(network)
    masks = half.prune(network, images)
    other = tenth.cost(again, {}, images).dense.total_energy_j
    assert half.cost(network, masks, images).dense.total_energy_j == other


def test_lossless_arrays_compute_the_quantised_network(network: nn.Module, images: torch.Tensor) -> None:
    lab = Lab("granularity=row_segment", "prune.remaining=0.5", "adc=ideal")
    masks = lab.prune(network, images)
    with torch.no_grad():
        wanted, found = network(images), lab.on_arrays(network, masks, images)(images)
    assert (wanted - found).abs().max() < 0.05 * wanted.abs().max()


def test_chips_differ_by_their_draw_and_repeat_by_it(network: nn.Module, images: torch.Tensor) -> None:
    lab = Lab("device=[programming_variation]")
    masks = lab.prune(network, images)
    with torch.no_grad():
        first, again, other = (lab.on_arrays(network, masks, images, draw)(images) for draw in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_layers_named_digital_stay_off_the_arrays(network: nn.Module, images: torch.Tensor) -> None:
    whole, part = Lab(), Lab("analog.digital=['0']")
    everything = set(analog_layers(whole.on_arrays(network, {}, images)))
    assert set(analog_layers(part.on_arrays(network, {}, images))) == everything - {"0"}


@pytest.mark.parametrize(
    ("word", "part"),
    [
        ("model=resnet20", "model: a Lab leaves network, data and training to you"),
        ("recipe.epochs=3", "recipe.epochs: a Lab leaves"),
        ("granularity=blocks", "did you mean block?"),
        ("geometry.activ_rows=3", "did you mean geometry.active_rows?"),
        ("geometry.active_rows=0", "active_rows=0 must be from 1"),
        ("prune.remaining=2", "prune.remaining"),
        ("prune.remaining", "prune.remaining"),
        ("granularity=weight,filter", "granularity"),
    ],
)
def test_a_word_it_would_not_heed_is_refused_in_one_line(word: str, part: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        Lab(word)
    assert part in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_budget_that_nothing_can_meet_is_refused(images: torch.Tensor) -> None:
    with pytest.raises(PruningError, match="exempt"):
        Lab().prune(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), images)


def test_importance_has_to_be_of_every_layer_and_of_its_shape() -> None:
    network = nn.Sequential(nn.Linear(8, 6), nn.Linear(6, 4))
    lab = Lab("saliency=taylor", "prune.exempt_first=false", "prune.exempt_last=false")
    whole = {"0": torch.rand(6, 8), "1": torch.rand(4, 6)}
    for importance, complaint in (
        (None, "none were given; give importance, or take saliency=l2"),
        ({"0": whole["0"]}, r"importance of layer 1 is missing; give .* shape, \(4, 6\)"),
        (whole | {"1": torch.rand(6, 4)}, r"importance of layer 1 has shape \(6, 4\)"),
    ):
        with pytest.raises(PruningError, match=complaint):
            lab.prune(network, torch.rand(2, 8), importance)
    masks = lab.prune(copy.deepcopy(network), torch.rand(2, 8), whole)
    assert masks.keys() == {"0", "1"}
    wrapped = {f"module.{name}.weight": value for name, value in whole.items()}
    by_weight = lab.prune(nn.DataParallel(network), torch.rand(2, 8), wrapped)
    assert all(torch.equal(by_weight[name], mask) for name, mask in masks.items())


def test_fractions_by_layer_that_no_allocation_reads_are_refused(
    images: torch.Tensor, network: nn.Module
) -> None:
    with pytest.raises(PruningError, match=r"set prune\.allocation=per_layer, or leave it out"):
        Lab("prune.layer_remaining={3:0.1}").prune(network, images)


def test_what_a_lab_cannot_use_is_told_in_one_line(images: torch.Tensor, network: nn.Module) -> None:
    lab, masks = Lab(), {}
    norm = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 3)).eval()
    norm.get_buffer("1.running_var")[2] = torch.nan
    nothing = {name: torch.zeros_like(norm.get_parameter(f"{name}.weight")) for name in "03"}
    for ask, complaint in (
        (
            lambda: lab.cost(network, masks, images, dense=nn.Linear(2, 2).state_dict()),
            "dense is the state_dict of an",
        ),
        (lambda: lab.place(network, masks, images[:0]), "the batch is empty; give one sample or more"),
        (
            lambda: lab.on_arrays(norm, masks, torch.rand(2, 1, 8, 8)),
            "weights of layer 0, its norm folded in, are not",
        ),
        (lambda: lab.cost(norm, nothing, torch.rand(2, 1, 8, 8)), "the masks keep no weight at all"),
    ):
        with pytest.raises(CimlabError, match=complaint) as refusal:
            ask()
        assert "\n" not in str(refusal.value)


def test_the_mask_of_a_packed_projection_is_that_of_its_three_parts() -> None:
    attention, tokens = nn.MultiheadAttention(16, 2, batch_first=True).eval(), torch.rand(2, 5, 16)
    mask, lab = torch.rand(48, 16) < 0.4, Lab("analog.activation_range=max")
    parts = {f"in_proj_weight.{part}": mask[16 * i : 16 * i + 16] for i, part in enumerate("qkv")}
    batch = (tokens, tokens, tokens)
    expected = lab.place(attention, parts, batch).total
    for called in ("in_proj_weight", "in_proj_weight_mask"):
        assert lab.place(attention, {called: mask.float()}, batch).total == expected
    lab.hold(attention, {"in_proj_weight_mask": mask}).hold()
    assert torch.equal(attention.in_proj_weight != 0, mask)


def test_masks_of_layers_left_digital_are_checked_and_left_out(
    network: nn.Module, images: torch.Tensor
) -> None:
    masks = Lab("prune.exempt_first=false").prune(network, images)
    digital = Lab("analog.digital=['0']")
    others = {name: mask for name, mask in masks.items() if name != "0"}
    assert "0" in masks
    assert digital.place(network, masks, images).total == digital.place(network, others, images).total


def test_given_masks_are_priced_also_where_no_layer_may_be_pruned() -> None:
    """Of two layers the first and the last are exempt from pruning; whoever pruned them has a cost all the same."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(32, 16), nn.Linear(16, 4)).eval()
    lab, images = Lab("granularity=operation_unit"), torch.rand(2, 2, 4, 4)
    half = torch.zeros(16, 32, dtype=torch.bool)
    half[:, :16] = True
    assert lab.cost(network, {"1": half}, images).ratios()["steps"] < 1


def test_what_modules_keep_besides_tensors_is_left_alone(images: torch.Tensor) -> None:
    class Counts(nn.Conv2d):
        """A layer whose state holds more than tensors, as layers of TransformerEngine do."""

        def get_extra_state(self) -> dict[str, object]:
            return {"scale": 3, "recipe": "delayed"}

        def set_extra_state(self, state: dict[str, object]) -> None:
            assert state == self.get_extra_state()

    network = nn.Sequential(
        Counts(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 3)
    ).eval()
    lab = Lab("granularity=filter", "prune.remaining=0.5")
    masks = lab.prune(network, images)
    assert set(masks) == {"2"}
    assert lab.cost(network, masks, images).ratios()["energy_j"] < 1


def test_a_lab_counts_the_same_layers_within_autocast(network: nn.Module, images: torch.Tensor) -> None:
    """Autocast keeps casts of weights, of which nothing tells any more what they are casts of."""
    lab = Lab("prune.remaining=0.5", "prune.exempt_last=false")

    def pruned() -> dict[str, int]:
        return {name: int(mask.sum()) for name, mask in lab.prune(copy.deepcopy(network), images).items()}

    expected = pruned()
    with torch.autocast("cpu", torch.bfloat16):
        network(images)
        assert pruned() == expected
    *body, _, _ = network.parameters()
    for parameter in body:  # the head alone is trained, so that its casts alone are kept
        parameter.requires_grad_(False)
    with torch.autocast("cpu", torch.bfloat16):
        network(images)
        assert pruned() == expected


def test_a_head_that_was_replaced_is_another_networks(images: torch.Tensor) -> None:
    body = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10)
    )
    lab = Lab("prune.remaining=0.5", "prune.exempt_last=false")
    lab.prune(body, images)
    body[5] = nn.Linear(32, 5)
    masks = lab.prune(body, images)
    assert masks["5"].shape == (5, 32)
    assert lab.cost(body, masks, images)
    body[3] = nn.Identity()
    assert "3" not in lab.prune(body, images)
