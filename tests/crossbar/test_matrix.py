"""The matrix view writes back what it read, multiplies as the layer computes, and counts its products."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cimlab.crossbar.matrix import CrossbarMatrix, network_matrices
from cimlab.crossbar.rules import RowOrder
from cimlab.models.resnet18 import resnet18
from cimlab.models.resnet_cifar import CifarResNet
from cimlab.network.errors import NetworkShapeError
from tests.crossbar.strategies import generator, matrices

ROW_ORDERS: list[RowOrder] = ["channel_major", "kernel_major"]


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[nn.Conv2d, torch.Tensor]:
    """A convolution of any stride, padding, dilation and grouping, depthwise included, and images it takes."""
    groups = draw(st.integers(1, 4))
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    layer = nn.Conv2d(
        groups * draw(st.integers(1, 3)),
        groups * draw(st.integers(1, 3)),
        kernel,
        stride=draw(st.tuples(st.integers(1, 2), st.integers(1, 3))),
        padding=draw(st.tuples(st.integers(0, 2), st.integers(0, 2))),
        dilation=draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
        groups=groups,
        bias=False,
        dtype=torch.float64,
    )
    random = generator(draw(st.integers(0, 2**31)))
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=random, dtype=torch.float64))
    height, width = draw(st.integers(5, 8)), draw(st.integers(5, 8))
    images = torch.randn(2, layer.in_channels, height, width, generator=random, dtype=torch.float64)
    return layer, images


def im2col(layer: nn.Conv2d, images: torch.Tensor, row_order: RowOrder) -> torch.Tensor:
    """Inputs of every product, (batch, products, groups, rows), in unfold's order or in (kh, kw, c)."""
    padding, dilation, stride = layer.padding, layer.dilation, layer.stride
    assert not isinstance(padding, str)
    columns = nn.functional.unfold(images, layer.kernel_size, dilation, padding, stride)
    channels = layer.in_channels // layer.groups
    columns = columns.unflatten(1, (layer.groups, channels, -1)).movedim(-1, 1)
    if row_order == "kernel_major":
        columns = columns.transpose(-1, -2)
    return columns.flatten(3)


@settings(max_examples=60, deadline=None)
@given(convolutions(), st.sampled_from(ROW_ORDERS))
def test_unfolded_inputs_times_the_matrix_are_the_convolution(
    case: tuple[nn.Conv2d, torch.Tensor], row_order: RowOrder
) -> None:
    layer, images = case
    output = layer(images)
    view = CrossbarMatrix.of_layer("conv", layer, row_order=row_order)
    inputs = im2col(layer, images, row_order)
    products = torch.einsum("bpgr,grc->bpgc", inputs, view.to_matrix(layer.weight))
    torch.testing.assert_close(products.flatten(2).transpose(1, 2).view_as(output), output)


def test_inputs_times_the_matrix_are_the_linear_layer() -> None:
    layer = nn.Linear(7, 5, bias=False)
    x = torch.randn(3, 7, generator=generator(0))
    matrix = CrossbarMatrix.of_layer("fc", layer).to_matrix(layer.weight)
    assert matrix.shape == (1, 7, 5)
    torch.testing.assert_close(x @ matrix[0], layer(x))


@settings(max_examples=100, deadline=None)
@given(matrices())
def test_writing_back_what_was_read_changes_nothing(view: CrossbarMatrix) -> None:
    weight = torch.arange(view.weights).view(view.weight_shape)
    matrix = view.to_matrix(weight)
    assert matrix.shape == (view.groups, view.rows, view.cols)
    assert torch.equal(view.to_weight(matrix), weight)
    assert sorted(matrix.flatten().tolist()) == list(range(view.weights))


@settings(max_examples=60, deadline=None)
@given(matrices())
def test_every_row_reads_the_channel_that_it_names(view: CrossbarMatrix) -> None:
    """A weight tensor that holds its own channel number gives a matrix of equal rows."""
    shape = [1] * len(view.weight_shape)
    shape[1] = view.channels
    channel = torch.arange(view.channels).view(shape).expand(view.weight_shape)
    expected = view.channel_of_row().view(1, -1, 1).expand(view.groups, view.rows, view.cols)
    assert torch.equal(view.to_matrix(channel), expected)


def test_row_orders_of_a_convolution_worked_by_hand() -> None:
    """Two channels of 1 x 2 kernels: (c, kw) reads 0 1 2 3, (kw, c) reads 0 2 1 3."""
    weight = torch.arange(4).view(1, 2, 1, 2)
    orders = {order: CrossbarMatrix("conv", (1, 2, 1, 2), row_order=order) for order in ROW_ORDERS}
    assert orders["channel_major"].to_matrix(weight).flatten().tolist() == [0, 1, 2, 3]
    assert orders["kernel_major"].to_matrix(weight).flatten().tolist() == [0, 2, 1, 3]
    assert orders["channel_major"].channel_of_row().tolist() == [0, 0, 1, 1]
    assert orders["kernel_major"].channel_of_row().tolist() == [0, 1, 0, 1]


def test_a_layer_of_another_type_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="layer norm is a BatchNorm2d"):
        CrossbarMatrix.of_layer("norm", nn.BatchNorm2d(3))


class Mixed(nn.Module):
    """Strided, dilated, depthwise and tokenised layers, one called twice and one never."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.depthwise = nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=4)
        self.shared = nn.Conv2d(4, 4, 1)
        self.unused = nn.Linear(2, 2)
        self.tokens = nn.Linear(4, 6)
        self.head = nn.Linear(6, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.shared(self.shared(self.depthwise(self.stem(x))))
        tokens = self.tokens(x.flatten(2).transpose(1, 2))
        return self.head(tokens.mean(1))


def test_products_per_image_follow_the_forward_pass() -> None:
    """11 x 9 pixels leave the stem as 6 x 5; the shared layer runs twice; the last one sees one vector."""
    network = Mixed()
    found = {view.name: (view.products, view.groups) for view in network_matrices(network, (3, 11, 9))}
    assert found == {
        "stem": (30, 1), "depthwise": (30, 4), "shared": (60, 1), "tokens": (30, 1), "head": (1, 1),
    }  # fmt: skip


def test_tracing_leaves_the_network_alone() -> None:
    network = Mixed().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network_matrices(network, (3, 11, 9))
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_resnet20_on_cifar_does_the_published_work() -> None:
    """40.55 M multiply-accumulates: 3x3 convolutions at 32, 16 and 8 pixels a side, and the classifier."""
    views = network_matrices(CifarResNet(depth=20, num_classes=10, in_channels=3), (3, 32, 32))
    stages = 432 * 32**2 + 6 * 2304 * 32**2 + (4608 + 5 * 9216) * 16**2 + (18432 + 5 * 36864) * 8**2 + 640
    assert sum(view.weights * view.products for view in views) == stages == 40_551_040
    assert len(views) == 20


def test_resnet18_on_cifar_holds_11_2_million_weights() -> None:
    views = network_matrices(resnet18(num_classes=10, in_channels=3, stem="cifar"), (3, 32, 32))
    assert sum(view.weights for view in views) == 11_164_352
    assert [view.products for view in views[:5]] == [1024] * 5


def test_a_network_too_deep_for_its_images_is_refused_with_their_shape() -> None:
    network = nn.Sequential(nn.Conv2d(1, 1, 3), nn.MaxPool2d(8))
    with pytest.raises(NetworkShapeError, match="can't compute images of 1 x 8 x 8"):
        network_matrices(network, (1, 8, 8))
