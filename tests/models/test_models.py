"""Every network has the published number of parameters and the right output shape, and refuses bad values."""

import re
import sys
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from urllib.error import URLError

import pytest
import timm
import torch
import torchvision
from conftest import Cimlab, one_line
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import nn

from cimlab.models.compact_transformer import Attention, CompactTransformer
from cimlab.models.digits_cnn import digits_cnn
from cimlab.models.resnet18 import resnet18
from cimlab.models.resnet_cifar import BasicBlock, CifarResNet
from cimlab.models.timm import timm_model
from cimlab.models.torchvision import torchvision_model
from cimlab.models.vgg import vgg8, vgg16
from cimlab.models.wide_resnet import WideBlock, WideResNet
from cimlab.network.account import account_of

CONFIGS = sorted((Path(__file__).parents[2] / "conf" / "model").glob("*.yaml"))
CONFIGS = [path for path in CONFIGS if path.stem != "own"]  # whose network is in a file of the user's
CLAIM = re.compile(
    r"^# .*[ :](?P<count>[\d,]+) parameters \((?P<classes>\d+) classes, (?P<channels>\d) channels?\)$"
)


def count_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def conv_stack(channels: list[int], kernel: int = 3) -> int:
    """Parameters of bias-free convolutions in a row, each with a batch norm (scale and shift per channel)."""
    pairs = pairwise(channels)
    return sum(kernel**2 * before * after + 2 * after for before, after in pairs)


def resnet_cifar_parameters(depth: int) -> int:
    """He et al. 2016 section 4.2: one convolution, 2n in each of three stages, then a linear layer."""
    n = (depth - 2) // 6
    return conv_stack([3, 16] + [16] * 2 * n + [32] * 2 * n + [64] * 2 * n) + 64 * 10 + 10


def wide_resnet_parameters(depth: int, width: int) -> int:
    """Zagoruyko and Komodakis 2016 table 1: a stem, 2n convolutions a stage and its 1x1 projection, a linear layer.

    Each norm stands behind one convolution of stem and blocks; projections have none.
    """
    n = (depth - 4) // 6
    stages = [16 * width, 32 * width, 64 * width]
    body = conv_stack([3, 16] + [channels for channels in stages for _ in range(2 * n)])
    projections = sum(before * after for before, after in pairwise([16, *stages]))
    return body + projections + stages[-1] * 10 + 10


def transformer_parameters(layers: int, width: int, hidden: int, kernels: int, tokens: int) -> int:
    """Hassani et al. 2021 section 3: tokenizer without biases, positions, layers of two norms, pooling, last layer."""
    attention = 3 * width**2 + width**2 + width
    layer = 2 * 2 * width + attention + width * hidden + hidden + hidden * width + width
    return kernels + tokens * width + layers * layer + 2 * width + (width + 1) + (width + 1) * 10


CCT2 = partial(CompactTransformer, layers=2, heads=2, channels=128, hidden=128, convolutions=2)
CCT7 = partial(CompactTransformer, layers=7, heads=4, channels=256, hidden=512, convolutions=1)
VGG8_CONVS = conv_stack([3, 128, 128, 256, 256, 512, 512])
VGG16_CONVS = conv_stack([3, *[64] * 2, *[128] * 2, *[256] * 3, *[512] * 6])
HALF_VGG8 = conv_stack([3, 64, 64, 128, 128, 256, 256]) + (4096 + 1) * 512 + (512 + 1) * 10
# name, builder, image size, parameters by formula, parameters as published (None: published only rounded)
SMALL_MODELS = [
    ("resnet20", partial(CifarResNet, depth=20), 32, resnet_cifar_parameters(20), 269_722),
    ("resnet32", partial(CifarResNet, depth=32), 32, resnet_cifar_parameters(32), 464_154),
    ("resnet56", partial(CifarResNet, depth=56), 32, resnet_cifar_parameters(56), 853_018),
    ("cct2_3x2", CCT2, 32, transformer_parameters(2, 128, 128, 9 * (3 * 64 + 64 * 128), 8 * 8), None),
    ("vgg8_half", partial(vgg8, width=0.5), 32, HALF_VGG8, None),
    (
        "vgg8_half_pooled",
        partial(vgg8, width=0.5, classifier="pooled"),
        32,
        conv_stack([3, 64, 64, 128, 128, 256, 256]) + 256 * 10 + 10,
        None,
    ),
    ("vgg8_pooled", partial(vgg8, classifier="pooled"), 32, VGG8_CONVS + 512 * 10 + 10, None),
    ("wrn16_2", partial(WideResNet, depth=16, width=2), 32, wide_resnet_parameters(16, 2), 691_674),
]
BIG_MODELS = [
    ("wrn16_4", partial(WideResNet, depth=16, width=4), 32, wide_resnet_parameters(16, 4), 2_748_890),
    ("wrn28_10", partial(WideResNet, depth=28, width=10), 32, wide_resnet_parameters(28, 10), 36_479_194),
    ("cct7_3x1", CCT7, 32, transformer_parameters(7, 256, 512, 9 * 3 * 256, 16 * 16), None),
    ("vgg8", vgg8, 32, VGG8_CONVS + (8192 + 1) * 1024 + (1024 + 1) * 10, None),
    # published with the convolutions' biases, one for each channel, which this network leaves to batch norm
    ("vgg16", vgg16, 32, VGG16_CONVS + 512 * 10 + 10, 14_728_266 - (2 * 64 + 2 * 128 + 3 * 256 + 6 * 512)),
    ("resnet18", partial(resnet18, stem="cifar"), 32, None, 11_173_962),
    ("resnet18_imagenet", partial(resnet18, stem="imagenet"), 224, None, 11_689_512 - 990 * (512 + 1)),
    (
        "torchvision",
        partial(torchvision_model, "mobilenet_v3_small"),
        224,
        None,
        2_542_856 - 990 * (1024 + 1),
    ),
    ("timm", partial(timm_model, "mobilenetv3_small_100"), 224, None, 2_542_856 - 990 * (1024 + 1)),
]


@pytest.mark.parametrize(("name", "build", "side", "derived", "published"), SMALL_MODELS + BIG_MODELS)
def test_parameter_count_and_output_shape_without_memory(
    name: str, build: Callable[..., nn.Module], side: int, derived: int | None, published: int | None
) -> None:
    with torch.device("meta"):
        model = build(num_classes=10, in_channels=3).eval()
        scores = model(torch.empty(2, 3, side, side))
    assert scores.shape == (2, 10)
    assert {count_parameters(model)} == {derived, published} - {None}


@pytest.mark.parametrize(
    ("build", "side", "channels"), [(m[1], m[2], 3) for m in SMALL_MODELS] + [(digits_cnn, 8, 1)]
)
def test_runs_in_channels_last_and_bfloat16(
    build: Callable[..., nn.Module], side: int, channels: int
) -> None:
    torch.manual_seed(0)
    model = build(num_classes=10, in_channels=channels).eval()
    images = torch.randn(2, channels, side, side)
    with torch.no_grad():
        plain = model(images)
        torch.testing.assert_close(
            model.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last)), plain
        )
        with torch.autocast("cpu", torch.bfloat16):
            scores = model(images)
    assert scores.shape == (2, 10)
    assert scores.dtype == torch.bfloat16
    assert scores.isfinite().all()


def called_layers(model: nn.Module, images: torch.Tensor) -> list[nn.Module]:
    """The Conv2d and Linear layers whose forward hooks fire, in order."""
    called: list[nn.Module] = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(lambda layer, _inputs, _output: called.append(layer))
    model.eval()(images)
    return called


def test_resnet20_maps_nineteen_convolutions_and_one_linear_layer() -> None:
    with torch.device("meta"):
        called = called_layers(
            CifarResNet(depth=20, num_classes=10, in_channels=3), torch.empty(1, 3, 32, 32)
        )
    assert [type(layer) for layer in called] == [nn.Conv2d] * 19 + [nn.Linear]


@pytest.mark.parametrize(("name", "build", "side", "derived", "published"), SMALL_MODELS + BIG_MODELS)
def test_every_mapped_layer_is_called_once_as_a_module(
    name: str, build: Callable[..., nn.Module], side: int, derived: int | None, published: int | None
) -> None:
    with torch.device("meta"):
        model = build(num_classes=10, in_channels=3)
        called = called_layers(model, torch.empty(1, 3, side, side))
    assert len(called) == len(set(called))
    assert set(called) == {m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)}


def test_a_wide_block_projects_the_activated_input_and_only_where_channels_change() -> None:
    torch.manual_seed(0)
    wider = WideBlock(in_channels=8, out_channels=16, stride=2).eval()
    x = torch.randn(2, 8, 6, 6)
    nn.init.zeros_(wider.conv2.weight)
    assert wider.projection is not None
    torch.testing.assert_close(wider(x), wider.projection(wider.norm1(x).relu()))
    same = WideBlock(in_channels=8, out_channels=8, stride=1).eval()
    nn.init.zeros_(same.conv2.weight)
    assert torch.equal(same(x), x)


@pytest.mark.parametrize(
    ("build", "parameters", "macs", "dynamic"),
    [
        (CCT2, 0.284e6, 0.033e9, 2 * 2 * 64**2 * 128 + 64 * 128),
        (CCT7, 3.760e6, 0.947e9, 7 * 2 * 256**2 * 256 + 256 * 256),
    ],
)
def test_compact_transformers_have_the_published_size_and_their_attention_is_seen(
    build: Callable[..., nn.Module], parameters: float, macs: float, dynamic: int
) -> None:
    """The table of the authors' repository, to its three digits; it leaves out what attention multiplies."""
    with torch.device("meta"):
        model = build(num_classes=10, in_channels=3).eval()
    account = account_of(model, torch.empty(1, 3, 32, 32, device="meta"))
    assert count_parameters(model) == pytest.approx(parameters, abs=500)
    assert sum(work.macs for work in account.on_arrays) == pytest.approx(macs, abs=0.5e6)
    assert sum(work.macs for work in account.off_arrays.dynamic) == dynamic
    assert [name for name, _ in account.off_arrays.tables] == ["classifier.positional_emb"]


def test_a_compact_transformer_attends_as_written_out() -> None:
    torch.manual_seed(0)
    attention = Attention(channels=8, heads=2, dropout=0.5).eval()
    tokens = torch.randn(3, 5, 8)
    query, key, value = attention.qkv(tokens).chunk(3, dim=-1)
    heads = []
    for part in (slice(0, 4), slice(4, 8)):
        scores = query[..., part] @ key[..., part].transpose(1, 2) / 4**0.5
        heads.append(scores.softmax(-1) @ value[..., part])
    torch.testing.assert_close(attention(tokens), attention.proj(torch.cat(heads, -1)))


def test_a_compact_transformer_says_which_image_size_it_was_built_for() -> None:
    with torch.device("meta"):
        model = CCT2(num_classes=10, in_channels=1, image_size=8)
        assert model(torch.empty(2, 1, 8, 8)).shape == (2, 10)
        with pytest.raises(ValueError, match="images of 32 x 32 do not fit image_size=8"):
            model(torch.empty(2, 1, 32, 32))


def test_option_a_shortcut_subsamples_and_pads_channels_with_zeros() -> None:
    block = BasicBlock(in_channels=16, out_channels=32, stride=2)
    x = torch.randn(2, 16, 6, 6)
    shortcut = block.shortcut(x)
    assert shortcut.shape == (2, 32, 3, 3)
    assert torch.equal(shortcut[:, 8:24], x[:, :, ::2, ::2])
    assert shortcut[:, :8].abs().sum() == shortcut[:, 24:].abs().sum() == 0


def test_convolutions_start_at_he_fan_out() -> None:
    torch.manual_seed(0)
    model = CifarResNet(depth=20, num_classes=10, in_channels=3)
    weight = model.get_parameter("blocks.8.conv2.weight")
    assert weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_builds_the_network_its_first_line_claims(path: Path) -> None:
    claim = CLAIM.match(path.read_text().splitlines()[0])
    assert claim, f"{path.name}: first line must end in 'N parameters (N classes, N channels)'"
    sizes = {"num_classes": int(claim["classes"]), "in_channels": int(claim["channels"])}
    with torch.device("meta"):
        model = instantiate(OmegaConf.load(path), **sizes)
    assert count_parameters(model) == int(claim["count"].replace(",", ""))


def test_every_family_has_a_config() -> None:
    named = {m[0] for m in SMALL_MODELS + BIG_MODELS} - {"vgg8_pooled"}
    assert {path.stem for path in CONFIGS} >= {"digits_cnn", *named}


@pytest.mark.parametrize(
    ("build", "options", "message"),
    [
        (CifarResNet, {"depth": 21}, "depth=21 is not allowed; use 6n"),
        (CifarResNet, {"depth": 2}, "depth=2 is not allowed; use 6n"),
        (resnet18, {"stem": "mnist"}, "stem='mnist' is not allowed; use one of cifar, imagenet"),
        (WideResNet, {"depth": 20, "width": 4}, "depth=20 is not allowed; use 6n"),
        (WideResNet, {"depth": 4, "width": 4}, "depth=4 is not allowed; use 6n"),
        (WideResNet, {"depth": 16, "width": 0}, "width=0 is not allowed; use a whole number"),
        (CCT2, {"heads": 3}, "heads=3 don't share channels=128 evenly"),
        (CCT2, {"attention_dropout": 1.0}, "attention_dropout=1.0 is not allowed; use a share"),
        (CCT2, {"convolutions": 0}, "convolutions=0 is not allowed; use a whole number"),
        (vgg8, {"width": 0}, "width=0 is not allowed; use a positive number"),
        (vgg8, {"width": float("nan")}, "width=nan is not allowed"),
        (vgg8, {"width": "half"}, "width='half' is not allowed"),
        (vgg8, {"classifier": "big"}, "classifier='big' is not allowed; use one of hidden, pooled"),
        (torchvision_model, {"name": "mobilenet_v3_smal"}, "closest are mobilenet_v3_small.*list_models"),
        (
            torchvision_model,
            {"name": "alexnet", "weights": "BEST"},
            "weights='BEST' is not allowed for alexnet",
        ),
        (
            timm_model,
            {"name": "resnet18x"},
            "no timm classification model; closest are resnet18, .*list_models",
        ),
        (timm_model, {"name": "resnet18.tv_in1k"}, "use name=resnet18 weights=tv_in1k, or weights=null"),
        (timm_model, {"name": "resnet18", "weights": "BEST"}, "use null or one of DEFAULT, a1_in1k"),
        (timm_model, {"name": "lcnet_035", "weights": "DEFAULT"}, "use null; it has none"),
        (timm_model, {"name": "resnet18", "image_size": 32}, "image_size=32 is not allowed for resnet18"),
    ],
)
def test_bad_options_are_refused_in_one_clear_line(
    build: Callable[..., nn.Module], options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as refusal:
        build(num_classes=10, in_channels=3, **options)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "build",
    [
        partial(CifarResNet, depth=20),
        partial(WideResNet, depth=16, width=2),
        CCT2,
        partial(resnet18, stem="cifar"),
        vgg8,
        vgg16,
        digits_cnn,
        partial(torchvision_model, "alexnet"),
        partial(timm_model, "resnet18"),
    ],
)
@pytest.mark.parametrize("bad", [0, -1, 2.5, True])
def test_sizes_that_are_not_positive_are_refused(build: Callable[..., nn.Module], bad: object) -> None:
    with pytest.raises(ValueError, match=re.escape(f"num_classes={bad!r} is not allowed")):
        build(num_classes=bad, in_channels=3)
    with pytest.raises(ValueError, match=re.escape(f"in_channels={bad!r} is not allowed")):
        build(num_classes=10, in_channels=bad)


def test_hidden_vgg8_says_which_image_size_it_needs() -> None:
    with (
        torch.device("meta"),
        pytest.raises(ValueError, match="needs 32 x 32 images; use classifier='pooled'"),
    ):
        vgg8(num_classes=10, in_channels=3)(torch.empty(1, 3, 64, 64))


@pytest.mark.filterwarnings("ignore:The default weight initialization of GoogleNet:FutureWarning")
@pytest.mark.parametrize("name", ["squeezenet1_1", "googlenet", "vit_b_32"])
def test_torchvision_model_takes_other_channels_and_returns_plain_scores(name: str) -> None:
    with torch.device("meta"):
        model = torchvision_model(name, num_classes=7, in_channels=1).train()
        assert model(torch.empty(2, 1, 224, 224)).shape == (2, 7)


@pytest.fixture
def published_weights_without_download(monkeypatch: pytest.MonkeyPatch) -> None:
    def fresh_state(weights: torchvision.models.WeightsEnum, **_options: object) -> dict[str, torch.Tensor]:
        name = type(weights).__name__.removesuffix("_Weights").lower()
        return torchvision.models.get_model(name).state_dict()

    monkeypatch.setattr(torchvision.models.WeightsEnum, "get_state_dict", fresh_state)


@pytest.mark.usefixtures("published_weights_without_download")
@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v3_small"])
def test_pretrained_model_gets_a_new_last_layer(name: str) -> None:
    model = torchvision_model(name, num_classes=7, weights="DEFAULT").eval()
    with torch.no_grad():
        assert model(torch.randn(1, 3, 64, 64)).shape == (1, 7)


@pytest.mark.parametrize(
    "problem", [URLError("no route"), RuntimeError("invalid hash value"), EOFError("Ran out of input")]
)
def test_pretrained_weights_without_network_or_damaged_say_what_to_do(
    problem: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise problem

    monkeypatch.setattr(torchvision.models.WeightsEnum, "get_state_dict", broken)
    with pytest.raises(
        ValueError, match=r"weights='DEFAULT' of squeezenet1_1 can't be had \(.*use weights=null"
    ):
        torchvision_model("squeezenet1_1", num_classes=7, weights="DEFAULT")


def test_pretrained_model_refuses_other_channels() -> None:
    with pytest.raises(ValueError, match="in_channels=1 is not allowed with weights='DEFAULT'"):
        torchvision_model("alexnet", num_classes=10, in_channels=1, weights="DEFAULT")


def test_a_timm_model_takes_other_channels_classes_and_image_sizes() -> None:
    with torch.device("meta"):
        model = timm_model("vit_tiny_patch16_224", num_classes=7, in_channels=1, image_size=32)
        assert model(torch.empty(2, 1, 32, 32)).shape == (2, 7)


def test_published_weights_of_timm_are_asked_for_by_their_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def create(name: str, **options: object) -> None:
        asked.append((name, options))
        raise OSError("no\nroute")

    monkeypatch.setattr(timm, "create_model", create)
    for weights, name in (("DEFAULT", "resnet18"), ("tv_in1k", "resnet18.tv_in1k")):
        with pytest.raises(ValueError, match=rf"weights='{weights}' of resnet18 can't be had \(no route\)"):
            timm_model("resnet18", num_classes=7, in_channels=1, weights=weights)
        assert asked.pop() == (name, {"pretrained": True, "num_classes": 7, "in_chans": 1})


def test_without_timm_one_line_names_the_extra(
    cimlab: Cimlab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    answer = cimlab("map", "model=timm", "model.name=resnet18", f"paths.output_dir={tmp_path}")
    assert answer.code == 2
    assert "timm, which is not installed; pip install 'cimlab[timm]'" in one_line(answer.err)


def test_images_that_a_timm_model_is_not_built_for_are_one_line(cimlab: Cimlab, tmp_path: Path) -> None:
    answer = cimlab("map", "model=timm", "model.name=vit_tiny_patch16_224", f"paths.output_dir={tmp_path}")
    assert answer.code == 2
    assert "images of 3 x 32 x 32 (Input height (32) doesn't match model (224)" in one_line(answer.err)
