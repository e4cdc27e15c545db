"""Converted networks: what folding, quantising, masks and arrays do to the outputs, and what is refused."""

from dataclasses import replace
from typing import Literal

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from cimlab.analog.adcs.full_scale import FullScaleAdc
from cimlab.analog.adcs.ideal import IdealAdc
from cimlab.analog.adcs.mse import MseAdc
from cimlab.analog.adcs.percentile import PercentileAdc
from cimlab.analog.convert import analog_layers, convert, program_draw
from cimlab.analog.devices.base import Device
from cimlab.analog.devices.programming_variation import ProgrammingVariation
from cimlab.analog.errors import AnalogError
from cimlab.analog.fold import fold_batch_norms
from cimlab.analog.layout import laid_out
from cimlab.analog.settings import AnalogSettings
from cimlab.analog.slicing import slice_weights
from cimlab.crossbar.cells import CellError
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix, network_matrices
from cimlab.crossbar.permutation import stored
from cimlab.crossbar.placement import place_network
from cimlab.crossbar.units import UnitGrid, aligned_segments
from cimlab.models.digits_cnn import digits_cnn
from cimlab.models.resnet_cifar import CifarResNet
from cimlab.models.vgg import vgg8
from cimlab.network.layered import LayeredNetwork

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
SLOW = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


def settled(network: nn.Module, seed: int = 0) -> nn.Module:
    """The network with norms that have seen something."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, NORMS):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator) * 0.1)
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
                nn.init.normal_(module.bias, 0, 0.1, generator=generator)
    return network.eval()


def folded_for(network: nn.Module, images: torch.Tensor) -> nn.Module:
    """The network, its norms folded, and checked to compute what it did."""
    floating, _ = laid_out(network, {}, images, AnalogSettings())
    folded = fold_batch_norms(floating)
    torch.testing.assert_close(folded(images), network(images), rtol=1e-4, atol=1e-4)
    assert isinstance(folded, LayeredNetwork)
    return folded.network


class Checked(nn.Module):
    """A block whose forward pass asks for the shape of its images, and does as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[-1] < 3 or float(x.abs().max()) > 1e6:
            raise ValueError("too small")
        return self.norm(self.conv(x)).relu()


@pytest.mark.parametrize(
    "network",
    [
        CifarResNet(depth=8, num_classes=4, in_channels=3),
        digits_cnn(num_classes=4, in_channels=3),
        vgg8(num_classes=4, in_channels=3, width=0.1),  # whose head asks for the size of its image
        nn.Sequential(Checked(), nn.Flatten(), nn.LazyLinear(3), nn.BatchNorm1d(3)),
        nn.Sequential(nn.Flatten(2), nn.Conv1d(3, 4, 9, bias=False), nn.BatchNorm1d(4, affine=False)),
        nn.Sequential(nn.Unflatten(1, (1, 3)), nn.Conv3d(1, 4, 3), nn.BatchNorm3d(4)),
    ],
)
def test_folding_keeps_the_outputs_and_leaves_no_norm(network: nn.Module) -> None:
    images = torch.randn(3, 3, 32, 32)
    network.eval()(images)
    folded = folded_for(settled(network), images)
    assert not any(isinstance(m, NORMS) for m in folded.modules())


class NormAndActivation(nn.BatchNorm2d):
    """As libraries have it, the activation within."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(input).relu()


def test_a_norm_that_does_more_keeps_doing_that() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), NormAndActivation(4))
    settled(network)
    images = torch.randn(2, 3, 6, 6)
    folded = folded_for(network, images)
    assert isinstance(folded, nn.Sequential)
    layer, norm = network
    assert isinstance(norm, NormAndActivation)
    assert norm.running_var is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    wanted = layer.get_parameter("weight") * scale.view(-1, 1, 1, 1)
    torch.testing.assert_close(folded.get_parameter("0.weight"), wanted)
    before = folded[0](images)
    torch.testing.assert_close(folded[1](before), before.relu())


class PreActivation(nn.Module):
    """The norm is not alone in reading the convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        return y + self.norm(y)


class Twice(Checked):
    """The norm belongs to two layers, or two calls of one."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x)) + self.norm(self.conv(x.flip(-1)))


class Shown(Checked):
    """Whoever calls the network reads the convolution too."""

    def forward(self, x: torch.Tensor):
        y = self.conv(x)
        return y, self.norm(y)


class Viewed(Checked):
    """The norm's channels are not the layer's: here they are its pixels."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x).transpose(1, 2))


class OfItself(Checked):
    """A norm by what it is given alone."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.batch_norm(self.conv(x), None, None, training=True)


@pytest.mark.parametrize("kind", [PreActivation, Twice, Shown, Viewed, OfItself])
def test_a_norm_that_shares_its_layer_stays_digital(kind: type[nn.Module]) -> None:
    network, images = settled(kind()), torch.randn(2, 3, 6, 6)
    folded = folded_for(network, images)
    assert isinstance(folded.get_submodule("norm"), nn.BatchNorm2d)
    assert torch.equal(folded.get_parameter("conv.weight"), network.get_parameter("conv.weight"))


@st.composite
def convolutions(draw):
    groups = draw(st.sampled_from([1, 2]))
    layer = nn.Conv2d(
        groups * draw(st.integers(1, 4)),
        groups * draw(st.integers(1, 4)),
        draw(st.sampled_from([1, 3, (3, 2)])),
        stride=draw(st.sampled_from([1, 2, (1, 2)])),
        padding=draw(st.sampled_from([0, 1, (2, 1)])),
        dilation=draw(st.sampled_from([1, 2])),
        groups=groups,
        bias=draw(st.booleans()),
    )
    order = draw(st.sampled_from(["channel_major", "kernel_major"]))
    encoding = draw(st.sampled_from(["differential", "offset"]))
    return layer, order, encoding


@SLOW
@given(convolutions(), st.booleans(), st.integers(0, 1000))
def test_a_converted_convolution_is_the_convolution_of_its_integers(case, signed: bool, seed: int) -> None:
    layer, order, encoding = case
    torch.manual_seed(seed)
    nn.init.normal_(layer.weight)
    images = torch.randn(2, layer.in_channels, 7, 6)
    images = images if signed else images.abs()
    mask = torch.rand(layer.weight.shape) < 0.6
    mask.view(-1)[0] = True
    geometry = CrossbarGeometry(rows=16, active_rows=8, cols=64, columns_per_adc=4, signed_encoding=encoding)
    network = nn.Sequential(layer)
    rule = AnalogSettings(row_order=order, activation_range="max")
    converted = convert(network, {"0": mask}, geometry, rule, IdealAdc(), [images])
    mapping = analog_layers(converted)["0"].mapping
    quantiser = mapping.quantiser
    assert signed or quantiser.zero == 0
    integer_weight = mapping.matrix.to_weight(mapping.sliced.weights).double()
    inputs = (quantiser(images) - quantiser.zero).double()
    product = nn.functional.conv2d(
        inputs, integer_weight, None, layer.stride, layer.padding, layer.dilation, layer.groups
    )
    expected = product * (mapping.weight_step * quantiser.scale).double().view(-1, 1, 1)
    if layer.bias is not None:
        expected = expected + layer.bias.double().view(-1, 1, 1)
    torch.testing.assert_close(converted(images).double(), expected, rtol=1e-6, atol=1e-5)


def test_the_bias_of_offset_cells_goes_without_a_trace_where_inputs_are_wide() -> None:
    """600 inputs of 16 bits add up to more than float32 counts; rounded, the bias of 2^15 leaves its own error."""
    torch.manual_seed(0)
    network, x = nn.Sequential(nn.Linear(600, 8, bias=False), nn.Identity()).eval(), torch.rand(4, 600)
    wide = CrossbarGeometry(weight_bits=16, input_bits=16, signed_encoding="offset")
    (layer,) = analog_layers(convert(network, {}, wide, AnalogSettings(), FullScaleAdc(), [x])).values()
    sums = layer.integers(x).double() @ layer.mapping.sliced.weights[0].double()
    real = (sums - layer.zero_sums) * layer.mapping.weight_step.double() * layer.mapping.quantiser.scale
    torch.testing.assert_close(layer(x), real.float(), rtol=0, atol=0)


def test_eight_bits_and_lossless_adcs_keep_the_classes() -> None:
    torch.manual_seed(1)
    network = settled(CifarResNet(depth=20, num_classes=10, in_channels=3))
    images = torch.randn(16, 3, 16, 16)
    converted = convert(network, {}, CrossbarGeometry(), AnalogSettings(), IdealAdc(), [images])
    difference = converted(images) - network(images)
    assert difference.norm() / network(images).norm() < 0.02


@pytest.mark.parametrize("mux_control", ["lockstep", "independent"])
def test_the_arrays_read_exactly_the_cells_and_conversions_that_placement_counts(
    mux_control: Literal["lockstep", "independent"],
) -> None:
    network = settled(CifarResNet(depth=8, num_classes=10, in_channels=3))
    geometry = CrossbarGeometry(rows=64, active_rows=16, mux_control=mux_control)
    matrices = network_matrices(network, (3, 8, 8))
    generator = torch.Generator().manual_seed(0)
    masks = {}
    for m in matrices[1:]:
        grid = UnitGrid(aligned_segments(m.rows, 64, 16), torch.arange(m.cols))
        units = torch.rand(m.groups, grid.unit_rows, grid.unit_cols, generator=generator) < 0.3
        weights = torch.rand(m.groups, m.rows, m.cols, generator=generator) < 0.4
        masks[m.name] = m.to_weight(grid.spread(units) & weights)
    converted = convert(network, masks, geometry, AnalogSettings(), IdealAdc(), [torch.randn(2, 3, 8, 8)])
    layers = analog_layers(converted)

    def whole(matrix: CrossbarMatrix, geometry: CrossbarGeometry) -> UnitGrid:
        return UnitGrid(torch.zeros(matrix.rows).long(), torch.zeros(matrix.cols).long())

    placement = place_network(matrices, masks, geometry, whole)
    for m in matrices:
        sliced, counts = layers[m.name].mapping.sliced, placement.layers[m.name].counts
        per_image = geometry.columns_per_weight * geometry.input_cycles * m.products
        assert int(sliced.converted.sum()) * per_image == counts.adc_conversions
        assert int(sliced.driven.sum()) * per_image == counts.cell_reads


@pytest.mark.parametrize("adc", [FullScaleAdc(), PercentileAdc(), MseAdc()])
def test_more_adc_bits_bring_the_outputs_nearer_to_the_lossless_ones(adc) -> None:
    torch.manual_seed(0)
    network = settled(digits_cnn(num_classes=10, in_channels=1))
    images = torch.rand(8, 1, 8, 8)

    def outputs(bits: int | None) -> torch.Tensor:
        geometry = CrossbarGeometry(active_rows=64, adc_bits=bits)
        converted = convert(network, {}, geometry, AnalogSettings(), adc, [images])
        program_draw(converted, Device(), 0, 0)
        return converted(images)

    lossless = outputs(None)
    errors = [float((outputs(bits) - lossless).norm()) for bits in (3, 5, 7)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0] / 2


def test_the_range_of_an_adc_rests_on_every_column_of_an_image() -> None:
    """4 images of 16 x 32 are four times as many products as are sampled; all but the left border carry 1."""
    images = torch.ones(4, 1, 16, 32)
    images[..., 0] = 0.0

    def share_above_zero(images: torch.Tensor) -> float:
        convolution, geometry = nn.Conv2d(1, 1, 1, bias=False), CrossbarGeometry(adc_bits=4)
        nn.init.ones_(convolution.weight)
        network = convert(nn.Sequential(convolution), {}, geometry, AnalogSettings(), MseAdc(), [images])
        (layer,) = analog_layers(network).values()
        histogram = layer.histogram
        assert isinstance(histogram, torch.Tensor)
        return float(histogram[1:].sum() / histogram.sum())

    assert share_above_zero(images) == pytest.approx(31 / 32 * share_above_zero(images[..., 1:]), rel=0.02)


@pytest.mark.parametrize(
    ("percentile", "counts", "full_scale"), [(1.0, {3: 2**24, 48: 1}, 48), (0.7, {1: 7, 2: 3}, 1)]
)
def test_a_percentile_counts_every_partial_sum_however_many(
    percentile: float, counts: dict[int, int], full_scale: int
) -> None:
    histogram = torch.zeros(49, dtype=torch.int64)
    histogram[list(counts)] = torch.tensor(list(counts.values()))
    kept = torch.ones(1, 2, 1, dtype=torch.bool)
    sliced = slice_weights(kept.int(), kept, CrossbarGeometry())
    assert PercentileAdc(percentile=percentile).full_scale(sliced, histogram) == full_scale


def test_a_draw_is_repeated_by_its_number_and_differs_from_the_next() -> None:
    torch.manual_seed(0)
    network = settled(digits_cnn(num_classes=10, in_channels=1))
    images = torch.rand(4, 1, 8, 8)
    geometry = CrossbarGeometry(active_rows=64, adc_bits=5)
    device = Device(20.0, (ProgrammingVariation("gaussian", (0.05,)),), read_noise=0.01)
    converted = convert(network, {}, geometry, AnalogSettings(), FullScaleAdc(), [images])
    results = []
    for draw in (0, 1, 0):
        program_draw(converted, device, 3, draw)
        results.append(converted(images))
    assert torch.equal(results[0], results[2])
    assert not torch.equal(results[0], results[1])


def test_read_noise_differs_from_batch_to_batch() -> None:
    network = settled(digits_cnn(num_classes=10, in_channels=1))
    images = torch.rand(2, 1, 8, 8)
    converted = convert(network, {}, CrossbarGeometry(), AnalogSettings(), IdealAdc(), [images])
    program_draw(converted, Device(read_noise=0.2), 0, 0)
    assert not torch.equal(converted(images), converted(images))


@pytest.mark.parametrize(
    ("network", "change", "complaint"),
    [
        (nn.Sequential(nn.ConvTranspose2d(1, 1, 3)), {}, r"0 \(ConvTranspose2d\).*analog.digital=\[0\]"),
        (nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular")), {}, r"0 \(Conv2d\)"),
        (nn.Sequential(nn.Conv2d(1, 1, 3)), {"digital": ("0",)}, "no Conv2d or Linear layer is left"),
    ],
)
def test_what_no_batch_shows_how_to_map_is_refused_by_name(network, change: dict, complaint: str) -> None:
    rule = AnalogSettings(**change)
    with pytest.raises(AnalogError, match=complaint):
        convert(network, {}, CrossbarGeometry(), rule, IdealAdc(), [])


def test_a_layer_left_digital_is_untouched() -> None:
    network = settled(digits_cnn(num_classes=10, in_channels=1))
    rule = AnalogSettings(digital=("0", "12"))
    converted = convert(network, {}, CrossbarGeometry(), rule, IdealAdc(), [torch.rand(1, 1, 8, 8)])
    assert isinstance(converted.get_submodule("0"), nn.Conv2d)
    assert set(analog_layers(converted)) == {"3", "7"}


def test_missing_and_broken_calibration_and_inputs_are_refused_by_layer() -> None:
    network = settled(digits_cnn(num_classes=10, in_channels=1))
    images = torch.rand(2, 1, 8, 8)
    with pytest.raises(CellError, match="layer 0 was never calibrated"):
        convert(network, {}, CrossbarGeometry(), AnalogSettings(), IdealAdc(), [])
    with pytest.raises(CellError, match="inputs of layer 0 are not finite"):
        convert(network, {}, CrossbarGeometry(), AnalogSettings(), IdealAdc(), [images / 0])
    converted = convert(network, {}, CrossbarGeometry(), AnalogSettings(), IdealAdc(), [images])
    with pytest.raises(AnalogError, match="inputs of layer 0 are NaN"):
        converted(images * torch.nan)


@pytest.mark.parametrize(("encoding", "backend"), [("differential", "packed"), ("offset", "reference")])
def test_permuted_lines_compute_the_same_through_a_lossless_adc(encoding, backend) -> None:
    """Grouped and strided convolutions and a Linear, half of the weights pruned, every line elsewhere."""
    torch.manual_seed(0)
    layers = (
        nn.Conv2d(4, 6, 3, stride=2, groups=2),
        nn.ReLU(),
        nn.Conv2d(6, 5, 2),
        nn.Flatten(),
        nn.Linear(20, 3),
    )
    network = nn.Sequential(*layers).eval()
    geometry = CrossbarGeometry(rows=16, active_rows=4, cols=64, signed_encoding=encoding, adc_bits=None)
    images = torch.randn(3, 4, 7, 7)
    plain = network_matrices(network, (4, 7, 7))
    permuted = [
        replace(
            m,
            row_permutation=tuple(torch.randperm(m.rows).tolist()),
            column_permutation=tuple(torch.randperm(m.cols).tolist()),
        )
        for m in plain
    ]
    masks = {m.name: torch.rand(m.weight_shape) < 0.5 for m in plain}
    with torch.no_grad():
        for m in plain:
            network.get_parameter(f"{m.name}.weight").mul_(masks[m.name])
    chosen, calibration = AnalogSettings(backend=backend), [images]
    one = convert(network, masks, geometry, chosen, IdealAdc(), calibration)
    other = convert(
        network, masks, geometry, chosen, IdealAdc(), calibration, stored(permuted)["permutation"]
    )
    rows = [layer.mapping.sliced.weights for layer in analog_layers(one).values()]
    moved = [layer.mapping.sliced.weights for layer in analog_layers(other).values()]
    assert not any(torch.equal(a, b) for a, b in zip(rows, moved, strict=True))
    torch.testing.assert_close(other(images), one(images))
