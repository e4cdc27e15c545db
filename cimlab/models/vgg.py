"""VGG networks for CIFAR: the VGG-8 of the compute-in-memory literature and VGG-16 with batch norm.

VGG-8 is the network of DNN+NeuroSim (Peng et al., IEDM 2019), here with batch norm: six convolutions and two
linear layers. VGG-16 is configuration D (Simonyan and Zisserman, ICLR 2015) with batch norm and a single
linear layer after pooling, the form customary for CIFAR.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, get_args

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from cimlab.models.blocks import conv_norm_relu, initialise_convolutions, require_positive_integers

# channels of each 3x3 convolution; the stages are separated by 2x2 max-pools
VGG8_STAGES = ((128, 128), (256, 256), (512, 512))
VGG16_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
VGG8_HIDDEN = 1024
VGG8_FEATURE_SIDE = 4  # a 32 x 32 image after three max-pools

Classifier = Literal["hidden", "pooled"]


class HiddenHead(nn.Module):
    """Two linear layers on the whole 4 x 4 feature map of a 32 x 32 image."""

    def __init__(self, channels: int, hidden: int, num_classes: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(channels * VGG8_FEATURE_SIDE**2, hidden)
        self.classifier = nn.Linear(hidden, num_classes)

    def forward(self, x: Float[Tensor, "batch channels 4 4"]) -> Float[Tensor, "batch classes"]:
        """Class scores; raises ValueError when the images were not 32 x 32."""
        if x.shape[-2:] != (VGG8_FEATURE_SIDE, VGG8_FEATURE_SIDE):
            raise ValueError(
                f"features of {x.shape[-2]} x {x.shape[-1]} do not fit classifier='hidden', which needs "
                "32 x 32 images; use classifier='pooled'"
            )
        return self.classifier(functional.relu(self.hidden(x.flatten(1)), inplace=True))


class VGG(nn.Module):
    """Stages of 3x3 convolutions, a max-pool after each, and a head that scores the last feature map."""

    def __init__(self, stages: Sequence[Sequence[int]], in_channels: int, head: nn.Module) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for stage in stages:
            for before, after in pairwise((in_channels, *stage)):
                layers += conv_norm_relu(before, after)
            layers.append(nn.MaxPool2d(2))
            in_channels = stage[-1]
        self.features = nn.Sequential(*layers)
        self.head = head
        initialise_convolutions(self)

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Class scores."""
        return self.head(self.features(images))


def _pooled_head(channels: int, num_classes: int) -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes))


def vgg8(*, num_classes: int, in_channels: int, width: float = 1.0, classifier: Classifier = "hidden") -> VGG:
    """VGG-8; images [batch, in_channels, 32, 32] to class scores [batch, num_classes].

    width multiplies every channel count and the hidden layer, rounded to whole channels. classifier="hidden"
    is NeuroSim's 8192-1024-classes pair of linear layers, which needs 32 x 32 images (12,978,058 parameters
    at 10 classes); classifier="pooled" is a global average pool and one linear layer, for any size from 8 x 8
    (4,583,306). Raises ValueError on another classifier, a width that is not a positive number, or a
    num_classes or in_channels that is not positive.
    """
    require_positive_integers(num_classes=num_classes, in_channels=in_channels)
    if isinstance(width, bool) or not isinstance(width, int | float) or not 0 < width < math.inf:
        raise ValueError(f"width={width!r} is not allowed; use a positive number, such as 0.5 or 1.0")
    if classifier not in get_args(Classifier):
        raise ValueError(
            f"classifier={classifier!r} is not allowed; use one of {', '.join(get_args(Classifier))}"
        )
    stages = [[max(1, round(channels * width)) for channels in stage] for stage in VGG8_STAGES]
    if classifier == "hidden":
        head: nn.Module = HiddenHead(stages[-1][-1], max(1, round(VGG8_HIDDEN * width)), num_classes)
    else:
        head = _pooled_head(stages[-1][-1], num_classes)
    return VGG(stages, in_channels, head)


def vgg16(*, num_classes: int, in_channels: int) -> VGG:
    """VGG-16; images [batch, in_channels, height, width] to class scores [batch, num_classes].

    Image sides must be at least 32. It has 14,724,042 parameters at 10 classes; codes that keep the 4,224
    convolution biases, which batch norm cancels, count 14,728,266. Raises ValueError when num_classes or
    in_channels is not positive.
    """
    require_positive_integers(num_classes=num_classes, in_channels=in_channels)
    return VGG(VGG16_STAGES, in_channels, _pooled_head(VGG16_STAGES[-1][-1], num_classes))
