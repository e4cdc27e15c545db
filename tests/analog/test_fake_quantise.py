"""Rounding in training: gradients by the papers' formulas, and a converted network that computes what was trained."""

from dataclasses import replace
from math import floor
from typing import Literal

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from cimlab.analog.adcs.ideal import IdealAdc
from cimlab.analog.convert import analog_layers, convert
from cimlab.analog.devices.base import Device
from cimlab.analog.errors import AnalogError
from cimlab.analog.fake_quantise import (
    LayerQuantiser,
    LearnedRounding,
    LearnedStepSize,
    StraightThrough,
    StraightThroughRounding,
)
from cimlab.analog.learned_steps import LayerSteps, TrainedSteps
from cimlab.analog.settings import AnalogSettings
from cimlab.crossbar.cells import least_error_steps, quantise_weights, whole_range_steps
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.inputs import InputQuantiser
from cimlab.models.compact_transformer import CompactTransformer
from cimlab.models.digits_cnn import digits_cnn
from cimlab.models.resnet_cifar import CifarResNet
from cimlab.pruning.allocation import Budget
from cimlab.pruning.granularities.operation_unit import OperationUnit
from cimlab.pruning.masks import PruningRule
from cimlab.pruning.saliencies.l2 import L2
from cimlab.training.methods.base import Arrays, MethodError, Subject
from cimlab.training.methods.lsq import Lsq
from cimlab.training.methods.ste import Ste
from cimlab.training.quantisation import QuantisedTraining

SLOW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
FOUR_BITS = CrossbarGeometry(weight_bits=4, input_bits=4)


def half_even(value: float) -> int:
    whole = floor(value)
    part = value - whole
    return whole + (part > 0.5 or (part == 0.5 and whole % 2 == 1))


def lsq_by_hand(v: float, s: float, low: int, high: int) -> tuple[float, float, float]:
    """v', dv'/dv, dv'/ds of Esser et al., equations 1 to 3 and 5, with Q_N = -low and Q_P = high."""
    ratio = v / s
    if ratio <= low:
        return low * s, 0.0, low
    if ratio >= high:
        return high * s, 0.0, high
    return half_even(ratio) * s, 1.0, half_even(ratio) - ratio


@st.composite
def rounding_cases(draw):
    low = draw(st.integers(-8, 0))
    outputs, inputs = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    v = torch.randn(outputs, inputs, 2, dtype=torch.float64, generator=generator) * 4
    upstream = torch.randn(v.shape, dtype=torch.float64, generator=generator)
    by_output = draw(st.booleans())
    steps = torch.rand((outputs, 1, 1) if by_output else (), dtype=torch.float64, generator=generator) + 0.1
    return v, steps, upstream, low, draw(st.integers(1, 15))


@SLOW
@given(rounding_cases())
def test_learned_rounding_has_the_gradients_of_the_paper(case) -> None:
    v, steps, upstream, low, high = case
    scale = 0.3
    expected, by_value, by_step = torch.empty_like(v), torch.empty_like(v), torch.zeros_like(steps)
    wide = steps.expand_as(v)
    for place in torch.cartesian_prod(*(torch.arange(n) for n in v.shape)).tolist():
        i = tuple(place)
        expected[i], to_value, to_step = lsq_by_hand(float(v[i]), float(wide[i]), low, high)
        by_value[i] = upstream[i] * to_value
        by_step[(i[0], 0, 0) if steps.ndim else ()] += scale * upstream[i] * to_step
    v.requires_grad_()
    steps.requires_grad_()
    bounds = torch.tensor(float(low)), torch.tensor(float(high))
    rounded = LearnedRounding.apply(v, steps, *bounds, torch.tensor(scale))
    rounded.backward(upstream)
    torch.testing.assert_close(rounded.detach(), expected)
    torch.testing.assert_close(v.grad, by_value)
    torch.testing.assert_close(steps.grad, by_step)


@SLOW
@given(rounding_cases())
def test_straight_through_rounding_stops_only_what_it_clips(case) -> None:
    v, steps, upstream, low, high = case
    v.requires_grad_()
    bounds = torch.tensor(float(low)), torch.tensor(float(high))
    rounded = StraightThroughRounding.apply(v, steps, *bounds)
    rounded.backward(upstream)
    for value, step, got, grad, up in zip(
        v.flatten().tolist(),
        steps.expand_as(v).flatten().tolist(),
        rounded.flatten().tolist(),
        v.grad.flatten().tolist(),
        upstream.flatten().tolist(),
        strict=True,
    ):
        level = half_even(value / step)
        assert got == pytest.approx(min(max(level, low), high) * step)
        assert grad == (up if low <= level <= high else 0.0)


def test_the_gradient_of_a_step_is_scaled_by_the_weights_that_share_it_and_are_left() -> None:
    torch.manual_seed(0)
    weight = torch.randn(3, 8)
    weight[1, :6] = 0
    weight.requires_grad_()
    quantiser = LearnedStepSize("fc", 3, FOUR_BITS)
    quantiser.learned_weight_step.data.copy_(torch.tensor([0.2, 0.3, 0.4]))
    quantiser._rounded_weight(weight).sum().backward()
    slopes = quantiser.learned_weight_step.grad
    assert slopes is not None
    for output, kept in enumerate((8, 2, 8)):
        step = float(quantiser.learned_weight_step.detach()[output])
        slope = sum(lsq_by_hand(w, step, -7, 7)[2] for w in weight[output].tolist())
        expected = slope / (kept * 7) ** 0.5
        assert float(slopes[output]) == pytest.approx(expected, rel=1e-4)


def test_a_step_that_crossed_zero_counts_by_its_size() -> None:
    quantiser = LearnedStepSize("fc", 2, FOUR_BITS)
    weight = torch.randn(2, 5)
    quantiser.learned_weight_step.data.copy_(torch.tensor([0.3, 0.3]))
    rounded = quantiser._rounded_weight(weight)
    quantiser.learned_weight_step.data.neg_()
    assert torch.equal(quantiser._rounded_weight(weight), rounded)
    assert bool((quantiser.steps(weight).weight > 0).all())


@given(st.integers(0, 1000), st.integers(2, 8))
@settings(max_examples=20, deadline=None)
def test_least_error_steps_are_no_worse_than_any_that_is_tried(seed: int, bits: int) -> None:
    weight = torch.randn(3, 40, generator=torch.Generator().manual_seed(seed))
    levels, chosen = 2 ** (bits - 1) - 1, least_error_steps(weight, bits)

    def error(output: int, step: float) -> float:
        read = [min(max(half_even(w / step), -levels), levels) * step for w in weight[output].tolist()]
        return sum((r - w) ** 2 for r, w in zip(read, weight[output].tolist(), strict=True))

    for output, whole in enumerate(whole_range_steps(weight, bits).tolist()):
        best = min(error(output, whole * n / 50) for n in range(1, 51))
        assert error(output, float(chosen[output])) <= best * (1 + 1e-3) + 1e-9


def test_a_dead_output_keeps_a_step_that_can_be_divided_by() -> None:
    weight = torch.zeros(2, 3)
    weight[0, 0] = 1
    for steps in (whole_range_steps(weight, 4), least_error_steps(weight, 4)):
        assert bool((steps > 0).all())
    assert quantise_weights(weight, 4, "per_tensor")[0].tolist() == [[7, 0, 0], [0, 0, 0]]


def test_straight_through_ranges_are_running_means_of_the_batches_extremes() -> None:
    quantiser = StraightThrough("fc", 1, FOUR_BITS)
    layer = nn.Linear(2, 1).train()
    for low, high in ((-1.0, 2.0), (-3.0, 4.0), (1.0, 6.0)):
        quantiser.compute(layer, torch.tensor([[low, high]]))
    low, high = (-1 - 3 + 0) / 3, (2 + 4 + 6) / 3
    assert float(quantiser.input_step()) == pytest.approx((high - low) / 15)
    assert int(quantiser.input_zero) == round(-low / ((high - low) / 15))


def rounding_training(
    network: nn.Module,
    method: Literal["ste", "lsq"],
    geometry: CrossbarGeometry,
    batches: list[torch.Tensor],
    digital: tuple[str, ...] = (),
) -> QuantisedTraining:
    """A few steps of quantised training on made-up labels."""
    rule = PruningRule(OperationUnit(), L2(), geometry)
    arrays = Arrays(AnalogSettings(digital=digital), IdealAdc(), Device())
    channels, height, width = batches[0].shape[1:]
    image = (channels, height, width)
    subject = Subject(network.train(), [], [], rule, Budget(1.0), arrays, image, epochs=1, seed=0)
    training = {"ste": Ste, "lsq": Lsq}[method](hardware_aware=False).part(subject)
    optimizer = torch.optim.SGD([*network.parameters(), *training.quantisers.parameters()], lr=0.02)
    with training.attached():
        for images in batches:
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(images), torch.arange(len(images)) % 4).backward()
            optimizer.step()
    network.eval()
    return training


class Attending(nn.Module):
    """Tokens with a table of positions, attention by torch's own module, a product by hand where asked for, scores."""

    def __init__(self, by_hand: bool = False) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.randn(1, 4, 8))
        self.patches = nn.Conv2d(3, 8, 5, stride=5)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.mixing = nn.Parameter(torch.randn(8, 8)) if by_hand else None
        self.scores = nn.Linear(8, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.positions
        tokens = self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return self.scores((tokens if self.mixing is None else tokens @ self.mixing).mean(1))


def test_layers_beside_a_table_of_positions_are_trained_and_computed_as_trained() -> None:
    torch.manual_seed(0)
    network = CompactTransformer(
        layers=1, heads=2, channels=8, hidden=8, image_size=10, num_classes=4, in_channels=3
    )
    batches = [torch.randn(8, 3, 10, 10) for _ in range(3)]
    training = rounding_training(network, "lsq", CrossbarGeometry(), batches)
    whole = {name for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)}
    assert set(training.layers) == whole
    with training.attached(), torch.no_grad():
        trained = network(batches[0])
    converted = convert(
        network, {}, CrossbarGeometry(), AnalogSettings(), IdealAdc(), batches, learned=training.steps()
    )
    assert float((converted(batches[0]) - trained).norm() / trained.norm()) < 0.01


class Encoding(nn.Module):
    """torch's encoder layer, which in evaluation computes by the weights of its layers and calls none of them."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.scores = nn.Linear(8, 4)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.scores(self.encoder(tokens.flatten(2)).mean(1))


def test_layers_of_an_encoder_are_rounded_in_evaluation_too(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network, tokens = Encoding(), torch.randn(4, 3, 2, 4)
    training = rounding_training(network, "lsq", FOUR_BITS, [tokens], ("encoder.self_attn",))
    rounded: set[str] = set()
    compute = LearnedStepSize._rounded_weight

    def watched(quantiser: LearnedStepSize, weight: torch.Tensor) -> torch.Tensor:
        rounded.add(quantiser.name)
        return compute(quantiser, weight)

    monkeypatch.setattr(LearnedStepSize, "_rounded_weight", watched)
    with training.attached(), torch.no_grad():
        network(tokens)
    assert rounded == {"encoder.linear1", "encoder.linear2", "scores"}
    assert not any(layer._forward_pre_hooks for layer in network.modules())


class ByName(nn.Module):
    """A layer that is given its input by keyword, as torch's own may be."""

    def __init__(self) -> None:
        super().__init__()
        self.scores = nn.Linear(8, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.scores(input=images.flatten(1))


def test_a_layer_that_is_called_by_keyword_is_trained() -> None:
    training = rounding_training(ByName(), "lsq", FOUR_BITS, [torch.randn(8, 2, 2, 2)])
    assert training.steps().layers["scores"].input != 1  # with which it begins


@pytest.mark.parametrize(
    ("by_hand", "pattern"), [(False, "attention"), (True, "attention,mixing")], ids=["attention", "by hand"]
)
def test_products_that_no_layer_computes_are_refused_with_advice_that_works(
    by_hand: bool, pattern: str
) -> None:
    torch.manual_seed(0)
    network, batches = Attending(by_hand), [torch.randn(8, 3, 10, 10)]
    with pytest.raises(MethodError, match=rf"in other ways; .*analog\.digital=\[{pattern}\]"):
        rounding_training(network, "lsq", CrossbarGeometry(), batches)
    digital = tuple(pattern.split(","))
    training = rounding_training(network, "lsq", CrossbarGeometry(), batches, digital)
    assert list(training.layers) == ["patches", "scores"]
    left = AnalogSettings(digital=digital)
    with training.attached(), torch.no_grad():
        trained = network(batches[0])
    converted = convert(network, {}, CrossbarGeometry(), left, IdealAdc(), batches, learned=training.steps())
    assert float((converted(batches[0]) - trained).norm() / trained.norm()) < 0.01


@pytest.mark.parametrize("method", ["ste", "lsq"])
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("encoding", ["differential", "offset"])
def test_the_converted_network_computes_what_was_trained(
    method: Literal["ste", "lsq"], bits: int, encoding
) -> None:
    torch.manual_seed(0)
    network = CifarResNet(depth=8, num_classes=4, in_channels=3)
    nn.init.uniform_(network.norm1.weight, -1.5, 1.5)  # a negative factor turns the signs of a column
    geometry = CrossbarGeometry(weight_bits=bits, input_bits=bits, signed_encoding=encoding)
    batches = [torch.randn(8, 3, 10, 10) for _ in range(3)]
    training = rounding_training(network, method, geometry, batches)
    with training.attached(), torch.no_grad():
        trained = network(batches[0])
    learned = TrainedSteps.of_checkpoint(training.steps().to_checkpoint())
    converted = convert(network, {}, geometry, AnalogSettings(), IdealAdc(), batches, learned=learned)
    outputs = converted(batches[0])
    # an activation on the border of two levels may fall either way with the order of a sum
    assert float((outputs - trained).norm() / trained.norm()) < 0.01
    assert torch.equal(outputs.argmax(1), trained.argmax(1))
    first = analog_layers(converted)["conv1"]
    quantiser = training.quantisers["conv1"]
    assert isinstance(quantiser, LayerQuantiser)
    alone = quantiser._rounded_weight(network.conv1.weight)
    integers = first.mapping.matrix.to_weight(first.mapping.sliced.weights)
    negative = (network.norm1.weight < 0).view(-1, 1, 1, 1)
    step = quantiser.steps(network.conv1.weight).weight.view(-1, 1, 1, 1)
    assert torch.equal(integers, (alone / step).round().int().where(~negative, -(alone / step).round().int()))
    assert bool(negative.any())
    assert not torch.allclose(network(batches[0]), trained, rtol=0.01)  # rounding does something


def test_a_single_layer_is_converted_to_the_last_bit() -> None:
    torch.manual_seed(1)
    network = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1, stride=2), nn.Flatten())
    images = torch.randn(4, 2, 6, 6)
    training = rounding_training(network, "lsq", FOUR_BITS, [images, images])
    with training.attached(), torch.no_grad():
        trained = network(images)
    converted = convert(network, {}, FOUR_BITS, AnalogSettings(), IdealAdc(), [], learned=training.steps())
    torch.testing.assert_close(converted(images), trained, rtol=1e-6, atol=1e-6)


def test_calibrated_steps_can_be_asked_for_in_place_of_learned_ones() -> None:
    torch.manual_seed(0)
    network, images = digits_cnn(num_classes=4, in_channels=1), torch.randn(8, 1, 8, 8)
    training = rounding_training(network, "lsq", FOUR_BITS, [images])
    anew = AnalogSettings(steps="calibrated")
    calibrated = convert(network, {}, FOUR_BITS, anew, IdealAdc(), [images], learned=training.steps())(images)
    assert torch.equal(
        calibrated, convert(network, {}, FOUR_BITS, AnalogSettings(), IdealAdc(), [images])(images)
    )
    learned = convert(
        network, {}, FOUR_BITS, AnalogSettings(), IdealAdc(), [images], learned=training.steps()
    )
    assert not torch.equal(learned(images), calibrated)


def test_steps_for_other_bits_or_another_network_are_refused() -> None:
    network, images = nn.Sequential(nn.Linear(4, 2)), torch.rand(2, 4)
    steps = {"0": LayerSteps(torch.ones(2), 1.0, 0)}
    with pytest.raises(AnalogError, match=r"set geometry\.weight_bits=5 geometry\.input_bits=6, or analog"):
        convert(
            network, {}, FOUR_BITS, AnalogSettings(), IdealAdc(), [images], learned=TrainedSteps(5, 6, steps)
        )
    steps = {"0": LayerSteps(torch.ones(3), 1.0, 0)}
    with pytest.raises(AnalogError, match="don't fit layer 0"):
        convert(
            network, {}, FOUR_BITS, AnalogSettings(), IdealAdc(), [images], learned=TrainedSteps(4, 4, steps)
        )


@pytest.mark.parametrize(
    "damage",
    [
        {"weight_bits": None},
        {"layers": {"0": {"weight": torch.ones(2), "input": 1.0}}},
        {"layers": {"0": {"weight": -torch.ones(2), "input": 1.0, "zero": 0}}},
        {"layers": {"0": {"weight": torch.ones(2), "input": float("nan"), "zero": 0}}},
        {"layers": {"0": {"weight": torch.ones(2), "input": 1.0, "zero": 99}}},
        {"layers": [1]},
    ],
)
def test_damaged_steps_are_refused_in_one_line(damage: dict) -> None:
    whole = TrainedSteps(4, 4, {"0": LayerSteps(torch.ones(2), 1.0, 0)}).to_checkpoint()
    assert TrainedSteps.of_checkpoint(whole).layers["0"].zero == 0
    with pytest.raises(AnalogError, match="learned steps are damaged; save it again"):
        TrainedSteps.of_checkpoint(whole | damage)


@pytest.mark.parametrize("field", ["weight_bits", "input_bits"])
def test_bits_that_are_not_trained_are_refused(field: str) -> None:
    with pytest.raises(AnalogError, match=f"geometry.{field}=9 can't be trained; use 2 to 8"):
        LearnedStepSize("fc", 2, replace(CrossbarGeometry(), **{field: 9}))


@given(st.integers(0, 100), st.integers(2, 8))
@settings(max_examples=20, deadline=None)
def test_inputs_are_rounded_as_the_wordlines_will_carry_them(seed: int, bits: int) -> None:
    x = torch.randn(5, 7, generator=torch.Generator().manual_seed(seed))
    layer = nn.Linear(7, 2).train()
    for kind in (StraightThrough, LearnedStepSize):
        quantiser = kind("fc", 2, CrossbarGeometry(weight_bits=4, input_bits=bits))
        quantiser.compute(layer, x)
        steps = quantiser.steps(layer.weight)
        on_array = InputQuantiser(steps.input, steps.zero, bits)
        assert torch.equal(quantiser._rounded_input(x), on_array.values(on_array(x)))
