"""What a network multiplies: every kind of product with numbers worked by hand, and an account that closes."""

import copy
import os
import threading
import warnings
from collections import Counter

import pytest
import torch
import torchvision
from torch import nn
from torch.ao.nn.quantized.dynamic import Linear as PackedLinear
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import parametrizations, prune
from torch.utils.flop_counter import FlopCounterMode

from cimlab.errors import CimlabError
from cimlab.network.account import NetworkAccount, account_of
from cimlab.network.batch import Batch
from cimlab.network.errors import NetworkError, NetworkShapeError
from cimlab.network.off_arrays import OffArrays
from cimlab.network.weights import parameters, stored_weight

torch.manual_seed(0)  # images and weights below are the same in every run
IMAGES = torch.rand(4, 3, 12, 12)


class Calls(nn.Module):
    """A network whose forward pass is a function of it and its input."""

    def __init__(self, forward, **parts: nn.Module | nn.Parameter) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self.way = forward

    def forward(self, *inputs: torch.Tensor, **named: torch.Tensor) -> torch.Tensor:
        return self.way(self, *inputs, **named)


def weight(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape))


def counted(network: nn.Module, batch: Batch = IMAGES, digital: tuple[str, ...] = ()) -> dict[str, tuple]:
    """Weight on arrays -> products, outputs, inputs of a group, groups."""
    account = account_of(network.eval(), batch, digital)
    for product in account.on_arrays:
        stored = stored_weight(parameters(network), product.name)
        assert tuple(stored.shape) == product.shape
        assert product.macs <= product.products * product.weights
    return {
        p.name: (p.products, p.outputs, p.channels * (p.weights // (p.outputs * p.channels)), p.groups)
        for p in account.on_arrays
    }


def attention(width: int = 8, **options) -> nn.MultiheadAttention:
    return nn.MultiheadAttention(width, 2, batch_first=True, **options)


def transposed_in_memory(layer: nn.Linear) -> nn.Linear:
    """As weights of other frameworks, which keep inputs first, come out of `torch.from_numpy(w.T)`."""
    layer.weight = nn.Parameter(layer.weight.detach().t().contiguous().t())
    return layer


class CalledAnotherWay(nn.Linear):
    """A layer that does more than its forward pass when it is called."""

    def __call__(self, *inputs, **named):
        return 2 - super().__call__(*inputs, **named)


def hooked(layer: nn.Module) -> nn.Module:
    """A layer whose hooks change what it is given and what it gives."""
    layer.register_forward_pre_hook(lambda _, inputs: (1 - inputs[0],))
    layer.register_forward_hook(lambda _, __, output: -output)
    return layer


class Transformed(nn.Linear):
    """A layer that multiplies by a constant first, as by a cosine transform."""

    basis: torch.Tensor

    def __init__(self) -> None:
        super().__init__(432, 5)
        self.register_buffer("basis", torch.randn(432, 432) / 20)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(input.flatten(1) @ self.basis)


def added_in_place(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """A product that is added to what is there."""
    return torch.ones(len(x), 5).addmm_(x.flatten(1), network.get_parameter("f.weight").t())


def written_elsewhere(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """A product that is written into a part of a tensor."""
    there = torch.full((len(x), 7), 7.0)
    torch.mm(x.flatten(1), network.get_parameter("f.weight").t(), out=there[:, 1:6])
    return there


class Gates(nn.Module):
    """Two gates and a cell input whose weights are called as torch.nn.utils.weight_norm and others call theirs."""

    def __init__(self, *gates: str) -> None:
        super().__init__()
        self.gates = gates
        for gate in gates:
            self.register_parameter(gate, nn.Parameter(torch.randn(4, 432) / 20))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, *others = (F.linear(x.flatten(1), self.get_parameter(gate)) for gate in self.gates)
        for other in others:
            first = first * other.sigmoid()
        return first


def tokens(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """3 x 12 x 12 pixels as 9 tokens of 8, by a convolution called `patches`."""
    return network.get_submodule("patches")(x).flatten(2).transpose(1, 2)


PATCHES = (9, 8, 48, 1)

KINDS = {
    "linear on folded tokens": (
        Calls(lambda n, x: n.f(tokens(n, x).reshape(-1, 8)), patches=nn.Conv2d(3, 8, 4, 4), f=nn.Linear(8, 5)),
        {"patches": PATCHES, "f": (9, 5, 8, 1)},
    ),
    "windows folded into the batch": (
        Calls(lambda n, x: n.f(F.unfold(x, 4, stride=4).transpose(1, 2).reshape(-1, 3, 48)), f=nn.Linear(48, 7)),
        {"f": (9, 7, 48, 1)},
    ),
    "unbatched convolution": (
        Calls(lambda n, x: torch.stack([n.c(one) for one in x]), c=nn.Conv2d(3, 8, 3, padding=1)),
        {"c": (144, 8, 27, 1)},
    ),
    "functional convolution": (
        Calls(lambda n, x: F.conv2d(x, n.c.weight, padding=1), c=nn.Conv2d(3, 8, 3)),
        {"c": (144, 8, 27, 1)},
    ),
    "grouped": (nn.Sequential(nn.Conv2d(3, 6, 3, groups=3, stride=2)), {"0": (25, 6, 9, 3)}),
    "every padding mode": (
        nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"),
            nn.Conv2d(4, 4, 3, padding="same", padding_mode="reflect"),
        ),
        {"0": (144, 4, 27, 1), "1": (144, 4, 36, 1)},
    ),
    "one dimension": (
        Calls(lambda n, x: n.c(x.flatten(2)), c=nn.Conv1d(3, 5, 7, stride=3)),
        {"c": (46, 5, 21, 1)},  # (144 - 7) // 3 + 1
    ),
    "three dimensions": (
        Calls(lambda n, x: n.c(x.unflatten(2, (3, 4))), c=nn.Conv3d(3, 5, (3, 2, 4))),
        {"c": (1 * 3 * 9, 5, 72, 1)},
    ),
    # the equivalent convolution gives (12 - 1) * 2 - 2 + 3 + 1 = 24 pixels a side
    "transposed": (
        nn.Sequential(nn.ConvTranspose2d(3, 6, 3, stride=2, padding=1, output_padding=1, groups=3)),
        {"0": (576, 6, 9, 3)},
    ),
    "attention": (
        Calls(
            lambda n, x: (lambda t: n.a(t, t, t)[0])(tokens(n, x)),
            patches=nn.Conv2d(3, 8, 4, 4), a=attention(),
        ),
        {
            "patches": PATCHES, "a.in_proj_weight.q": (9, 8, 8, 1), "a.in_proj_weight.k": (9, 8, 8, 1),
            "a.in_proj_weight.v": (9, 8, 8, 1), "a.out_proj": (9, 8, 8, 1),
        },
    ),
    "attention across": (
        Calls(
            lambda n, x: (lambda t: n.a(t[:, :2], t, t)[0])(tokens(n, x)),
            patches=nn.Conv2d(3, 8, 4, 4), a=attention(),
        ),
        {
            "patches": PATCHES, "a.in_proj_weight.q": (2, 8, 8, 1), "a.in_proj_weight.k": (9, 8, 8, 1),
            "a.in_proj_weight.v": (9, 8, 8, 1), "a.out_proj": (2, 8, 8, 1),
        },
    ),
    "attention on other widths": (
        Calls(
            lambda n, x: (lambda t: n.a(t, t[..., :4], t[..., :2])[0])(tokens(n, x)),
            patches=nn.Conv2d(3, 8, 4, 4), a=attention(kdim=4, vdim=2),
        ),
        {
            "patches": PATCHES, "a.q_proj_weight": (9, 8, 8, 1), "a.k_proj_weight": (9, 8, 4, 1),
            "a.v_proj_weight": (9, 8, 2, 1), "a.out_proj": (9, 8, 8, 1),
        },
    ),
    "a matrix on the right": (
        Calls(lambda n, x: x.flatten(2) @ n.w, w=weight(144, 4)), {"w": (3, 4, 144, 1)},
    ),
    "a matrix on the left": (
        Calls(lambda n, x: n.w @ x.flatten(2), w=weight(5, 3)), {"w": (144, 5, 3, 1)},
    ),
    "a matrix a group": (
        Calls(lambda n, x: torch.bmm(x.flatten(2).transpose(0, 1), n.w), w=weight(3, 144, 4)),
        {"w": (1, 12, 144, 3)},
    ),
    "rows of a parameter": (
        Calls(lambda n, x: F.linear(F.linear(x.flatten(1), n.w[:8]), n.v), w=weight(10, 432), v=weight(2, 8)),
        {"w.rows_0_8": (1, 8, 432, 1), "v": (1, 2, 8, 1)},
    ),
    "a matrix that was transposed in memory": (
        Calls(
            lambda n, x: F.linear(n.f(x.flatten(1)), n.w[2:]),
            f=transposed_in_memory(nn.Linear(432, 5)), w=nn.Parameter(torch.randn(5, 6).t()),
        ),
        {"f": (1, 5, 432, 1), "w.rows_2_6": (1, 4, 5, 1)},
    ),
    "recurrent": (
        Calls(lambda n, x: n.r(x.flatten(2))[0], r=nn.LSTM(144, 4, batch_first=True)),
        {"r.weight_ih_l0": (3, 16, 144, 1), "r.weight_hh_l0": (2, 16, 4, 1)},  # its first state is 0
    ),
    "layers under vmap": (
        Calls(
            lambda n, x: torch.vmap(n.f)(torch.vmap(n.c)(x).flatten(2)),
            c=nn.Conv2d(3, 6, 3, groups=3), f=nn.Linear(100, 5),
        ),
        {"c": (100, 6, 9, 3), "f": (6, 5, 100, 1)},
    ),
    "layers with hooks": (
        nn.Sequential(hooked(nn.Conv2d(3, 4, 3)), nn.ReLU(), nn.Flatten(), hooked(nn.Linear(400, 5))),
        {"0": (100, 4, 27, 1), "3": (1, 5, 400, 1)},
    ),
    "a layer that is called another way": (
        nn.Sequential(nn.Flatten(), CalledAnotherWay(432, 5)), {"1": (1, 5, 432, 1)},
    ),
    "added in place": (Calls(added_in_place, f=nn.Linear(432, 5)), {"f": (1, 5, 432, 1)}),
    "written elsewhere": (Calls(written_elsewhere, f=nn.Linear(432, 5)), {"f": (1, 5, 432, 1)}),
    "gates called as parts of a layer's weight": (
        nn.Sequential(Gates("weight_g", "weight_v"), nn.Linear(4, 2)),
        {"0.weight_g": (1, 4, 432, 1), "0.weight_v": (1, 4, 432, 1), "1": (1, 2, 4, 1)},
    ),
    "gates beside a layer's weight": (
        nn.Sequential(Gates("weight", "weight_orig", "weight_v"), nn.Linear(4, 2)),
        {"0": (1, 4, 432, 1), "0.weight_orig": (1, 4, 432, 1), "0.weight_v": (1, 4, 432, 1), "1": (1, 2, 4, 1)},
    ),
    "a weight that is multiplied as it is, and computed from": (
        Calls(
            lambda n, x: F.linear(x.flatten(1), n.f.weight) * F.linear(x.flatten(1), n.f.weight / 2 + 1),
            f=nn.Linear(432, 5),
        ),
        {"f": (1, 5, 432, 1)},
    ),
    "parts of a vector": (
        Calls(
            lambda n, x: sum(F.linear(x.flatten(1), part.view(4, 432)) for part in n.w.chunk(2)), w=weight(3456),
        ),
        {"w.rows_0_1728": (1, 4, 432, 1), "w.rows_1728_3456": (1, 4, 432, 1)},
    ),
    "vectors that are matrices": (
        Calls(
            lambda n, x: n.f(F.linear(x.flatten(1), n.w.view(4, 432))),
            w=weight(1728), f=Calls(lambda n, x: F.linear(x, n.weight.view(5, 4)), weight=weight(20)),
        ),
        {"w": (1, 4, 432, 1), "f": (1, 5, 4, 1)},
    ),
    "a constant in the layer of a weight": (
        Calls(lambda n, x: n.f(x), f=Transformed()), {"f": (1, 5, 432, 1)},
    ),
    "weight norm": (
        nn.Sequential(parametrizations.weight_norm(nn.Conv2d(3, 4, 3))), {"0": (100, 4, 27, 1)},
    ),
    "spectral norm": (
        nn.Sequential(nn.Flatten(), parametrizations.spectral_norm(nn.Linear(432, 4))), {"1": (1, 4, 432, 1)},
    ),
    "torch's pruning": (
        nn.Sequential(prune.random_unstructured(nn.Conv2d(3, 4, 3), "weight", 0.5)), {"0": (100, 4, 27, 1)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_products_of_every_kind_are_those_counted_by_hand(kind: str) -> None:
    network, expected = KINDS[kind]
    assert counted(network) == expected


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_a_layer_s_weight_is_called_as_the_layer_under_the_weight_norm_of_hooks(dim: int) -> None:
    normed = nn.utils.weight_norm(nn.Linear(432, 5), dim=dim)
    assert counted(nn.Sequential(nn.Flatten(), normed)) == {"1": (1, 5, 432, 1)}


def test_a_digital_product_never_bears_the_name_of_a_weight_on_arrays() -> None:
    accounts = [account_of(network.eval(), IMAGES) for network, _ in KINDS.values()]
    named = [{product.name for product in account.digital} for account in accounts]
    assert any(named)
    for account, digital in zip(accounts, named, strict=True):
        assert not digital & {product.name for product in account.on_arrays}


def from_one_vector(network: nn.Module) -> nn.Module:
    """A copy whose parameters are parts of one storage."""
    network = copy.deepcopy(network)
    vector = nn.utils.parameters_to_vector(network.parameters()).detach()
    nn.utils.vector_to_parameters(vector, network.parameters())
    return network


def halves_of_one_matrix() -> nn.Module:
    """Each layer has half of the columns, so that their values lie between each other."""
    layers = [nn.Linear(432, 432, bias=False) for _ in range(2)]
    for layer, half in zip(layers, (torch.randn(432, 2, 432) / 20).unbind(1), strict=True):
        layer.weight = nn.Parameter(half)
    return nn.Sequential(nn.Flatten(), *layers)


@pytest.mark.parametrize(
    ("network", "images"),
    [
        (
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(256, 5)),
            IMAGES,
        ),
        (nn.Sequential(nn.Conv2d(3, 4, 9, 9), nn.ReLU(), nn.Conv2d(4, 4, 3)), torch.rand(2, 3, 96, 96)),
        (KINDS["recurrent"][0], IMAGES),
        (KINDS["attention"][0], IMAGES),
    ],
)  # fmt: skip
def test_parameters_of_one_storage_are_counted_as_those_of_several(
    network: nn.Module, images: torch.Tensor
) -> None:
    flat = from_one_vector(network)
    assert len({parameter.untyped_storage().data_ptr() for parameter in flat.parameters()}) == 1
    assert account_of(flat.eval(), images) == account_of(network.eval(), images)


def test_parameters_that_lie_between_each_other_are_two() -> None:
    assert counted(halves_of_one_matrix()) == {"1": (1, 432, 432, 1), "2": (1, 432, 432, 1)}


def test_two_parameters_of_the_same_numbers_are_refused_with_a_mend_that_works() -> None:
    a, b, c = (nn.Linear(*size, bias=False) for size in ((432, 5), (5, 432), (432, 5)))
    network: nn.Module = Calls(lambda n, x: n.c(n.b(n.a(x.flatten(1)))), a=a, b=b, c=c)
    b.weight = nn.Parameter(a.weight.t())
    with pytest.raises(
        NetworkError, match=r"^a.weight and b.weight are two .* as F.linear\(x, self.a.weight.t\(\)"
    ):
        account_of(network, IMAGES)
    network = Calls(lambda n, x: n.c(F.linear(n.a(x.flatten(1)), n.a.weight.t())), a=a, c=c)
    c.weight = nn.Parameter(a.weight)
    with pytest.raises(NetworkError, match=r"let them be one parameter \(c.weight = a.weight\)$"):
        account_of(network, IMAGES)
    c.weight = a.weight
    account = account_of(network, IMAGES)
    assert [(p.name, p.products, p.layers) for p in account.on_arrays] == [("a", 2, ("a", "c"))]
    assert account.off_arrays.tables == ()


def test_a_tied_weight_is_one_with_all_its_products() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, padding=1), nn.MaxPool2d(4), nn.Conv2d(4, 4, 3, padding=1)
    )
    network[3].weight = network[1].weight
    account = account_of(network, IMAGES)
    (_, tied) = account.on_arrays
    assert (tied.name, tied.layers, tied.products) == ("1", ("1", "3"), 144 + 9)
    assert account.tied == {"3": "1"}


def test_a_weight_read_backwards_too_is_on_arrays_once() -> None:
    network = Calls(
        lambda n, x: F.linear(F.linear(x.flatten(1), n.encode.weight), n.encode.weight.t()),
        encode=nn.Linear(432, 5),
    )
    account = account_of(network, IMAGES)
    (there,), (back,) = account.on_arrays, account.digital
    assert (there.name, there.products, back.macs) == ("encode", 1, 2160)
    assert "another way" in (back.reason or "")


def test_inputs_within_inputs_are_samples_too() -> None:
    network = Calls(
        lambda n, x, views, more: n.f(x.flatten(1)) + sum(map(n.g, views)) + n.h(more["meta"][0]),
        f=nn.Linear(432, 5), g=nn.Linear(6, 5), h=nn.Linear(2, 5),
    )  # fmt: skip
    batch = (IMAGES, [torch.rand(4, 6), torch.rand(4, 6)], {"meta": (torch.rand(4, 2),)})
    assert counted(network, batch) == {"f": (1, 5, 432, 1), "g": (2, 5, 6, 1), "h": (1, 5, 2, 1)}
    assert account_of(network, batch).off_arrays.once == ()


def test_what_depends_on_no_input_is_computed_once() -> None:
    network = Calls(
        lambda n, x: x + n.table(torch.arange(12.0)[:, None]).flatten()[:12], table=nn.Linear(1, 3)
    )
    account = account_of(network, IMAGES)
    assert [(work.name, work.macs) for work in account.off_arrays.once] == [("table", 36)]
    assert not account.on_arrays
    assert not account.macs


def test_constants_and_tables_are_named_as_what_they_are() -> None:
    network = Calls(
        lambda n, ids: n.head(n.words(ids) @ n.fixed), words=nn.Embedding(11, 4), head=nn.Linear(4, 3)
    )
    network.register_buffer("fixed", torch.eye(4))
    account = account_of(network, {"ids": torch.zeros(2, 5, dtype=torch.long)})
    assert account.off_arrays.tables == (("words.weight", 44),)
    (constant,) = account.digital
    assert (constant.macs, constant.reason) == (
        5 * 16,
        "multiplies by a buffer or constant, which is no parameter",
    )
    assert (account.off_arrays.sample, account.off_arrays.tokens) == ("sequence of 5 tokens", 5)
    assert [p.products for p in account.on_arrays] == [5]
    assert account.off_arrays.weights == 0


def test_a_sample_that_is_multiplied_by_the_others_takes_what_it_takes_alone() -> None:
    network = Calls(lambda n, x: (lambda z: z @ z.T @ z)(n.f(x.flatten(1))), f=nn.Linear(432, 5)).eval()
    account = account_of(network, IMAGES)
    assert sum(work.macs for work in account.off_arrays.dynamic) == 2 * 5
    assert account.off_arrays.once == ()
    assert account.off_arrays.notes[-1].startswith(
        "counted as one sample alone takes them: products of the network, of which a batch of two"
    )


def test_an_input_that_all_samples_share_is_named_where_it_was_taken_for_theirs() -> None:
    """Graphs of ten nodes with one adjacency matrix: ten of them may as well have a row of it each."""
    network = Calls(lambda n, x, edges: n.b(edges @ n.a(x)), a=nn.Linear(8, 16), b=nn.Linear(16, 4)).eval()
    edges = torch.rand(10, 10)
    account = account_of(network, (torch.rand(10, 10, 8), edges))
    assert account.off_arrays.sampled == ("input 1 (10 x 10)",)
    assert OffArrays.of_json(account.off_arrays.to_json()) == account.off_arrays
    assert account.off_arrays.notes[-1] == (
        "one sample was taken of input 1 (10 x 10), as long in dimension 0 as the batch; if all samples share that "
        "input whole, give a batch of another size"
    )
    for samples in (4, 9, 11):  # as told
        account = account_of(network, (torch.rand(samples, 10, 8), edges))
        assert account.macs == 10 * 8 * 16 + 10 * 10 * 16 + 10 * 16 * 4
        assert account.off_arrays.sampled == ()


def test_a_layer_that_is_given_pairs_of_samples_is_named_and_so_in_the_record() -> None:
    def pairs(n: nn.Module, x: torch.Tensor) -> torch.Tensor:
        z = n.get_submodule("f")(x.flatten(1))
        return n.get_submodule("g")(z[:, None] * z)

    account = account_of(Calls(pairs, f=nn.Linear(432, 5), g=nn.Linear(5, 2)).eval(), IMAGES)
    assert [(p.name, p.products) for p in account.on_arrays] == [("f", 1), ("g", 1)]
    assert account.off_arrays.across == ("g",)
    kept = account.off_arrays.to_json()
    assert OffArrays.of_json(kept) == account.off_arrays
    del kept["across"]
    assert OffArrays.of_json(kept).across == ()


def test_what_is_one_for_the_whole_batch_is_said_to_be_computed_once() -> None:
    network = Calls(
        lambda n, x: n.g(x.flatten(1)) + n.f(x.flatten(1).mean(0)), f=nn.Linear(432, 2), g=nn.Linear(432, 2)
    )
    assert account_of(network.eval(), IMAGES).off_arrays.notes[-1] == (
        "not priced, as they are computed once and not for every sample: 864 multiply-accumulates of f"
    )


@pytest.mark.parametrize(
    ("network", "batch", "told"),
    [
        (Calls(lambda n, x: n.r(x)[0], r=nn.LSTM(8, 5)), torch.rand(5, 6, 8), "r.weight_hh_l0.*batch_first=True"),
        (
            Calls(lambda n, x, h: n.r(x, h)[0], r=nn.GRU(8, 5, 2, batch_first=True)),
            (torch.rand(3, 6, 8), torch.rand(2, 3, 5)), "samples, which lie in dimension 0 of every input",
        ),
    ],
)  # fmt: skip
def test_inputs_whose_samples_are_not_in_dimension_0_are_told_so(
    network: nn.Module, batch: Batch, told: str
) -> None:
    with pytest.raises((NetworkError, NetworkShapeError), match=told):
        account_of(network.eval(), batch)


def test_products_of_two_activations_are_dynamic() -> None:
    """Two heads of 4: 9 x 4 x 9 for the scores and 9 x 9 x 4 for their sums, each head."""
    network, _ = KINDS["attention"]
    (dynamic,) = account_of(network, IMAGES).off_arrays.dynamic
    assert (dynamic.name, dynamic.macs) == ("a", 2 * (9 * 4 * 9 + 9 * 9 * 4))


@pytest.mark.parametrize("pattern", ["a", "a.*", "a.out_proj", "a.in_proj_weight.k"])
def test_what_is_left_digital_by_choice_is_named_so(pattern: str) -> None:
    network, weights = KINDS["attention"]
    account = account_of(network, IMAGES, [pattern])
    chosen = {name for name in weights if name == pattern or (name[:2] == "a." and pattern in ("a", "a.*"))}
    assert {w.name for w in account.digital} == chosen
    assert all(w.reason == "left digital by analog.digital" for w in account.digital)
    assert account.macs == account_of(network, IMAGES).macs


def test_a_name_that_nothing_has_is_refused() -> None:
    with pytest.raises(NetworkError, match=r"analog.digital=\[patchs\]: no layer.*did you mean patches"):
        account_of(KINDS["attention"][0], IMAGES, ["patchs"])


def test_a_product_that_cannot_be_counted_is_refused_with_a_mend_that_works() -> None:
    network = Calls(
        lambda n, x: n.b(n.f(x.flatten(1)), n.f(x.flatten(1))), f=nn.Linear(432, 3), b=nn.Bilinear(3, 3, 2)
    )
    with pytest.raises(NetworkError, match=r"b \(aten::_trilinear\).*analog.digital=\[b\]"):
        account_of(network, IMAGES)
    account = account_of(network, IMAGES, ["b"])
    assert [w.name for w in account.on_arrays] == ["f"]
    assert "_trilinear is not counted" in (account.digital[0].reason or "")


@pytest.mark.parametrize(
    ("network", "operation", "owner"),
    [
        (
            Calls(
                lambda n, x: n.g(n.f(torch.fft.rfft(x.flatten(1))).abs()),
                f=nn.Linear(217, 4, dtype=torch.cfloat), g=nn.Linear(4, 2),
            ),
            r"f \(addmm of complex numbers\)", "f",
        ),
        (
            Calls(
                lambda n, x: n.g(torch.conv_tbc(x.flatten(2).permute(2, 0, 1).contiguous(), n.w, n.b).mean(0)),
                w=weight(3, 3, 4), b=weight(4), g=nn.Linear(4, 2),
            ),
            r"the network \(aten::conv_tbc\)", "w",
        ),
    ],
)  # fmt: skip
def test_products_that_cells_do_not_compute_are_refused_with_a_mend_that_leaves_the_others_on_arrays(
    network: nn.Module, operation: str, owner: str
) -> None:
    with pytest.raises(NetworkError, match=rf"{operation}; .*analog.digital=\[{owner}\]"):
        account_of(network, IMAGES)
    account = account_of(network, IMAGES, [owner])
    assert [w.name for w in account.on_arrays] == ["g"]
    assert account.off_arrays.weights == network.get_parameter("w" if owner == "w" else "f.weight").numel()


def test_a_forward_pass_that_reads_values_is_taken() -> None:
    network = Calls(lambda n, x: n.c(x if float(x.abs().max()) <= 1 else x / 255), c=nn.Conv2d(3, 4, 3))
    assert counted(network) == {"c": (100, 4, 27, 1)}


def test_what_torch_export_made_is_followed_with_a_dynamic_batch_and_told_so_without() -> None:
    plain = nn.Sequential(nn.Flatten(), nn.Linear(432, 2)).eval()
    exported = torch.export.export(plain, (IMAGES,))
    for made, complaint in (
        (
            exported,
            r"is a ExportedProgram; give its module\(\), exported with a dynamic batch, dynamic_shapes=",
        ),
        (exported.module(), r"Guard failed: .* == 4; export it with a dynamic batch, dynamic_shapes="),
    ):
        with pytest.raises(CimlabError, match=complaint):
            account_of(made, IMAGES)  # ty: ignore[invalid-argument-type]
    shapes = ({0: torch.export.Dim("batch")},)
    made = torch.export.export(plain, (IMAGES,), dynamic_shapes=shapes).module()
    assert [weight.name for weight in account_of(made, IMAGES).on_arrays] == ["1"]


def test_torchscript_and_sparse_tensors_are_refused_as_what_they_are() -> None:
    plain = nn.Sequential(nn.Flatten(), nn.Linear(432, 2)).eval()
    with pytest.raises(NetworkError, match=r"TorchScript can.t be followed; give the nn\.Module"):
        account_of(torch.jit.trace(plain, IMAGES), IMAGES)
    graph = Calls(lambda n, x: n.f((n.edges @ x.flatten(1).t()).t()), f=nn.Linear(432, 2)).eval()
    graph.register_buffer("edges", torch.eye(432).to_sparse())
    with pytest.raises(NetworkError, match=r"sparse.*: edges; give them dense, by to_dense\(\)"):
        account_of(graph, IMAGES)
    graph.register_buffer("edges", torch.eye(432))
    assert list(counted(graph)) == ["f"]


def test_what_a_network_cannot_compute_is_told_with_its_own_reason() -> None:
    with pytest.raises(NetworkShapeError, match=r"images of 3 x 12 x 12 .*to have 7 channels"):
        account_of(nn.Sequential(nn.Conv2d(7, 4, 3)), IMAGES)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_the_number_format_is_the_networks_own(dtype: torch.dtype) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3)).to(dtype)
    assert counted(network, IMAGES.to(dtype)) == {"0": (100, 4, 27, 1)}


def test_tracing_leaves_everything_as_it_was() -> None:
    class Remembers(nn.Conv2d):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            self.last, self.sizes = input, {**getattr(self, "sizes", {}), input.shape: input}
            return super().forward(input) + torch.rand(())

    network = nn.Sequential(Remembers(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout()).train()
    network[1].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    drawn = torch.get_rng_state()
    account_of(network, IMAGES)
    assert [m.training for m in network] == [True, False, True]
    assert not hasattr(network[0], "last")
    assert torch.equal(drawn, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


def total(account: NetworkAccount) -> int:
    """Multiply-accumulates of one forward pass of one image."""
    return account.macs + sum(work.macs for work in account.off_arrays.once)


def flops(network: nn.Module, batch: torch.Tensor) -> int:
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    network.requires_grad_(
        False
    )  # the counter's hooks look for gradients even of what is cut out of a parameter
    try:
        counter = FlopCounterMode(display=False)
        with counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad(), torch.device("meta"):
            network(batch)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return counter.get_total_flops()


FAMILIES = (
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "inception_v3", "maxvit_t",
    "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "resnet18", "resnext50_32x4d", "shufflenet_v2_x0_5",
    "squeezenet1_0", "swin_t", "swin_v2_t", "vgg11", "vit_b_32",
)  # fmt: skip
ALL = os.environ.get("CIMLAB_ALL_NETWORKS") == "1"


def require_closed(network: nn.Module, image: torch.Tensor) -> NetworkAccount:
    """Products times weights, and products of two activations, are together what torch counts, whatever is missed.

    Every matrix of parameters is in the account: each value in one weight, or in what takes part in no product.
    """
    account = account_of(network, image)
    assert 2 * total(account) == flops(network, image)
    assert all(p.macs == p.products * p.weights for p in account.on_arrays)
    sizes = {name: p.numel() for name, p in network.named_parameters()}
    stored = Counter(dict(account.off_arrays.tables))
    for product in account.on_arrays:
        stored |= {name: sizes[name] for name in product.parameters if product.computed}
        stored.update({product.parameters[0]: 0 if product.computed else product.weights})
    matrices = {name: p.numel() for name, p in network.named_parameters() if p.ndim > 1}
    assert {name: size for name, size in stored.items() if name in matrices} == matrices
    return account


@pytest.mark.parametrize(
    "name", torchvision.models.list_models(module=torchvision.models) if ALL else FAMILIES
)
def test_the_account_of_torchvisions_classifiers_closes(name: str) -> None:
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    with torch.device("meta" if "regnet" not in name else "cpu"):
        network = torchvision.models.get_model(name, **options).eval().to("meta")
    assert not require_closed(network, torch.empty(1, 3, 224, 224, device="meta")).digital


TIMM = (
    # standardised weights, two-fold attention, axial and windowed attention, convolutions made by inputs, mixing of
    # tokens, a table of relative positions, fixed filters
    "nf_regnet_b0", "cait_xxs24_224", "halonet26t", "lambda_resnet26t", "gmlp_ti16_224", "mvitv2_tiny", "tresnet_m",
)  # fmt: skip
MORE_TIMM = (
    "beit_base_patch16_224", "caformer_s18", "coatnet_nano_rw_224", "convnext_atto", "davit_tiny", "dla34",
    "edgenext_xx_small", "efficientnet_b0", "ghostnet_050", "hiera_tiny_224", "hrnet_w18_small", "levit_128s",
    "maxvit_nano_rw_256", "mixer_s32_224", "mobilenetv4_conv_small", "mobilevit_xxs", "resmlp_12_224", "resnet10t",
    "swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256", "twins_pcpvt_small", "vit_tiny_patch16_224",
    "xcit_nano_12_p16_224",
)  # fmt: skip
FILTERS = {"tresnet_m": 3}
"""Networks with products of fixed numbers (blurring), and how many."""


@pytest.mark.parametrize("name", (*TIMM, *MORE_TIMM) if ALL else TIMM)
def test_the_account_of_timms_classifiers_closes(name: str) -> None:
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        network = timm.create_model(name).eval()
    image = torch.empty(1, *network.default_cfg["input_size"], device="meta")
    digital = require_closed(network, image).digital
    assert len(digital) == FILTERS.get(name, 0)
    assert all("multiplies by a buffer or constant" in (work.reason or "") for work in digital)


def test_what_is_off_the_arrays_is_said_with_its_amount() -> None:
    """Attention over 4 tokens of width 8: 4 x 4 scores of 8 products, and as many to weigh the values."""
    attention = nn.MultiheadAttention(8, 1, batch_first=True).eval()

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention, self.head = attention, nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.attention(x, x, x)[0])

    tokens = torch.rand(1, 4, 8)
    (dynamic,) = account_of(Block().eval(), tokens).off_arrays.notes
    assert dynamic == "products of two activations, computed digitally: 256 multiply-accumulates of attention"
    left, _ = account_of(Block().eval(), tokens, ["head"]).off_arrays.notes
    assert left == "24 digital weights, 96 multiply-accumulates: head (left digital by analog.digital)"
    assert account_of(nn.Sequential(nn.Linear(4, 2)).eval(), torch.rand(1, 4)).off_arrays.notes == ()


def test_a_stored_value_is_counted_once_whoever_reads_it() -> None:
    """The first layer's weight is read transposed by the last; packed projections may be digital in part."""
    tied = Calls(lambda n, x: n.a(x.flatten(1)) @ n.a.weight, a=nn.Linear(432, 5))
    account = account_of(tied, IMAGES)
    assert [(p.name, p.weights) for p in account.on_arrays] == [("a", 2160)]
    (back,) = account.off_arrays.digital
    assert (back.macs, back.weights) == (2160, 0)
    network, _ = KINDS["attention"]
    parts = account_of(network, IMAGES, ["a.in_proj_weight.k", "a.out_proj"]).off_arrays
    assert {p.name: (p.macs, p.weights) for p in parts.digital} == {
        "a.in_proj_weight.k": (576, 64),
        "a.out_proj": (576, 64),
    }
    whole = account_of(tied, IMAGES, ["a"]).off_arrays
    assert (whole.weights, whole.macs) == (2160, 4320)
    normed = nn.Sequential(parametrizations.weight_norm(nn.Conv2d(3, 4, 3)))
    assert account_of(normed, IMAGES, ["0"]).off_arrays.weights == 108


APART = {
    "one rule of several rows": (
        lambda net, x: torch.stack([F.linear(x, F.normalize(w, dim=-1)) for w in net.w]), (3, 4, 6), [(24, 24)] * 3,
    ),
    "two factors": (lambda net, x: x @ (net.w * 0.5) @ (net.w * 2), (6, 6), [(36, 36), (36, 0)]),
    "two buffers": (lambda net, x: x @ (net.w * net.a) + x @ (net.w * net.b), (6, 6), [(36, 36), (36, 0)]),
    "written over": (
        lambda net, x: x @ (w := net.w * 1.0).clone() + x @ w.mul_(2), (6, 6), [(36, 36), (36, 0)],
    ),
    "unequal parts": (
        lambda net, x: torch.cat([x @ part.t() for part in (net.w * 2).split([2, 6])], 1), (8, 6), [(12, 12), (36, 36)],
    ),
    "equal columns": (lambda net, x: sum(x @ part for part in net.w.chunk(3, 1)), (6, 12), [(24, 24)] * 3),
}  # fmt: skip


@pytest.mark.parametrize("kind", APART)
def test_weights_that_differ_are_not_taken_for_one(kind: str) -> None:
    """Multiply-accumulates and stored values of each, by hand; they are digital, for masks of them would not hold."""
    way, shape, expected = APART[kind]
    network = Calls(way, w=weight(*shape))
    network.register_buffer("a", torch.rand(shape))
    network.register_buffer("b", torch.rand(shape))
    account = account_of(network, torch.rand(2, 6))
    assert account.on_arrays == ()
    assert [(left.macs, left.weights) for left in account.off_arrays.digital] == expected
    assert 2 * account.macs == flops(network, torch.rand(1, 6))


def test_a_weight_that_is_computed_twice_alike_is_one() -> None:
    normed = parametrizations.weight_norm(nn.Linear(6, 6))
    network = Calls(lambda net, x: net.c(torch.relu(net.c(x))), c=normed)
    (product,) = account_of(network, torch.rand(2, 6)).on_arrays
    assert (product.weights, product.products) == (36, 2)


def test_parts_of_a_computed_projection_are_counted_each() -> None:
    """Queries read 8 rows of 8, keys and values 16: 64 and 128 of the 192 weights that are computed."""
    crossed = parametrizations.weight_norm(attention(), "in_proj_weight")
    network = Calls(lambda net, x, y: net.a(x, y, y)[0], a=crossed)
    parts = account_of(network, (torch.rand(2, 2, 8), torch.rand(2, 5, 8))).off_arrays.digital
    assert [(left.macs, left.weights) for left in parts] == [(2 * 64, 64), (5 * 128, 128)]


def latent_queries() -> Calls:
    """Three tokens that are stored ask those of a sample."""
    return Calls(
        lambda net, x: net.a(net.q.expand(len(x), 3, 8), x, x)[0], a=attention(), q=weight(3, 8)
    )  # fmt: skip


def test_queries_that_every_sample_gets_a_copy_of_are_activations() -> None:
    """Five tokens of eight: 3 x 5 scores of 8, and as many products to weigh the values."""
    account = account_of(latent_queries(), torch.rand(2, 5, 8))
    assert {p.name: p.products for p in account.on_arrays} == {
        "a.in_proj_weight.k": 5, "a.in_proj_weight.v": 5, "a.out_proj": 3,
    }  # fmt: skip
    assert [(left.name, left.macs) for left in account.off_arrays.dynamic] == [("a", 240)]


def test_an_embedding_whose_weight_is_multiplied_is_both() -> None:
    words, head = nn.Embedding(11, 4), nn.Linear(4, 11)
    head.weight = words.weight
    network = Calls(lambda n, ids: n.head(n.words(ids)), words=words, head=head)
    account = account_of(network, torch.zeros(2, 5, dtype=torch.long))
    assert [(p.name, p.weights, p.products) for p in account.on_arrays] == [("head", 44, 5)]
    assert account.off_arrays.tables == (("words", 0),)


def test_a_weight_that_is_copied_for_every_sample_is_refused_and_the_advice_is_taken() -> None:
    x = torch.rand(2, 5, 8)
    ways = [
        lambda net, x: torch.matmul(x.unsqueeze(1), net.w),
        lambda net, x: torch.bmm(x.repeat_interleave(4, 0), net.w.repeat(len(x), 1, 1)),
    ]
    for way in ways:
        with pytest.raises(
            NetworkError, match=r"^w, multiplied by the network \(bmm\), is copied for every sample"
        ):
            account_of(Calls(way, w=weight(4, 8, 6)), x)
    network = Calls(lambda net, x: torch.stack([x @ w for w in net.w], 1), w=weight(4, 8, 6))
    assert torch.allclose(network(x), ways[0](network, x), atol=1e-6)
    assert counted(network, x) == {f"w.rows_{h}_{h + 1}": (5, 6, 8, 1) for h in range(4)}
    # nor is it a copy in another order, whose masks would not hold, as in torch.einsum("bnd,hde->bhne", x, W)
    assert not any(product.computed for product in account_of(network, x).on_arrays)


def test_a_constant_that_is_copied_for_every_sample_is_counted_once() -> None:
    network = Calls(lambda net, x: torch.matmul(x.unsqueeze(1), net.w))
    network.register_buffer("w", torch.rand(4, 8, 6))
    (product,) = account_of(network, torch.rand(2, 5, 8)).digital
    assert product.macs == 4 * 5 * 8 * 6


class Packs(nn.Module):
    """A layer whose weights are packed away, as torch.ao.quantization leaves them."""

    def __init__(self) -> None:
        super().__init__()
        self.packed = PackedLinear(432, 8)
        self.f = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.f(self.packed(x.flatten(1)))


class HeldByAFunction(nn.Module):
    """A layer that is called by a function which holds it."""

    def __init__(self) -> None:
        super().__init__()
        self.f = nn.Linear(432, 5)
        self.way = lambda x: self.f(x.flatten(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.way(x)


class Holds(nn.Module):
    """A layer that has something by it."""

    def __init__(self, thing: object) -> None:
        super().__init__()
        self.f, self.thing = nn.Linear(432, 5), thing

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.f(x.flatten(1))


def padded_away(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    ragged = torch.nested.nested_tensor(list(x.flatten(2)))
    return torch.nested.to_padded_tensor(network.get_submodule("f")(ragged), 0.0)


def test_what_is_no_input_and_what_has_no_shape_is_told_in_one_line() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(432, 5))
    for batch in (None, iter([IMAGES])):
        with pytest.raises(NetworkShapeError, match=r"^inputs are a \w+; give a tensor"):
            account_of(network, batch)  # ty: ignore[invalid-argument-type]
    lazy = nn.Sequential(nn.Flatten(), nn.LazyLinear(5))
    with pytest.raises(NetworkError, match=r"^1.weight has no shape yet; call the network once"):
        account_of(lazy, IMAGES)
    lazy(IMAGES)
    assert counted(lazy) == {"1": (1, 5, 432, 1)}


@pytest.mark.parametrize(
    ("network", "line"),
    [
        (Packs(), r"can't be counted: packed \(quantized::linear_dynamic\); .*analog.digital=\[packed\]"),
        (HeldByAFunction(), r"calls f by a function that holds it .* as self.f\(x\)"),
        (Holds(threading.Lock()), r"can't be copied \(cannot pickle '_thread.lock' object\); let its modules hold"),
        (Calls(padded_away, f=nn.Linear(144, 5)), r"nested tensors can't be counted \(f\); pad them"),
        (Calls(lambda n, x: torch.cdist(x.flatten(1), n.w), w=weight(30, 432)), r"_cdist_forward|_euclidean_dist"),
        (Calls(lambda n, x: {}["nope"]), r"KeyError: 'nope', .*test_account.py:\d+"),
    ],
)  # fmt: skip
def test_what_can_t_be_followed_is_told_in_one_line(network: nn.Module, line: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nested tensors are new to torch
        with pytest.raises((NetworkError, NetworkShapeError), match=line) as refused:
            account_of(network.eval(), IMAGES)
    assert "\n" not in str(refused.value)
