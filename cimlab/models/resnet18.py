"""ResNet-18 (He et al., CVPR 2016, table 1) with the stem for ImageNet or the one customary for CIFAR.

The body is torchvision's; only the stem is exchanged.
"""

from typing import Literal, get_args

import torchvision
from torch import nn
from torchvision.models import ResNet

from cimlab.models.blocks import initialise_convolutions, require_positive_integers

Stem = Literal["cifar", "imagenet"]


def resnet18(*, num_classes: int, in_channels: int, stem: Stem) -> ResNet:
    """ResNet-18; images [batch, in_channels, height, width] to class scores [batch, num_classes].

    stem="imagenet" is a 7x7 convolution of stride 2 and a max-pool, for 224 x 224 images; stem="cifar" is
    a 3x3 convolution of stride 1 without pooling, for 32 x 32 images. Raises ValueError on any other stem,
    or when num_classes or in_channels is not positive.
    """
    require_positive_integers(num_classes=num_classes, in_channels=in_channels)
    if stem not in get_args(Stem):
        raise ValueError(f"stem={stem!r} is not allowed; use one of {', '.join(get_args(Stem))}")
    model = torchvision.models.resnet18(num_classes=num_classes)
    if stem == "cifar":
        model.conv1 = nn.Conv2d(in_channels, 64, kernel_size=3, padding=1, bias=False)
        model.maxpool = nn.Identity()
    else:
        model.conv1 = nn.Conv2d(in_channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
    initialise_convolutions(model.conv1)
    return model
