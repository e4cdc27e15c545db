"""CIFAR-style residual networks, ResNet-20 to ResNet-110 (He et al., CVPR 2016, section 4.2).

Three stages of n basic blocks with 16, 32 and 64 channels; depth = 6n + 2 weight layers. Shortcuts are
the paper's option A, which has no parameters, so every weight a crossbar holds is one of the depth's layers.
"""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from cimlab.models.blocks import initialise_convolutions, require_positive_integers

STAGE_CHANNELS = (16, 32, 64)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm, added to a shortcut that has no parameters (option A)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.added_channels = out_channels - in_channels
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)

    def shortcut(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch out h w"]:
        """Every stride-th pixel, with the new channels filled with zeros, half of them on either side."""
        if self.stride == 1 and self.added_channels == 0:
            return x
        before = self.added_channels // 2
        after = self.added_channels - before
        return functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, after))

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch out h w"]:
        """Residual plus shortcut, then ReLU."""
        residual = functional.relu(self.norm1(self.conv1(x)), inplace=True)
        residual = self.norm2(self.conv2(residual))
        return functional.relu(residual + self.shortcut(x), inplace=True)


class CifarResNet(nn.Module):
    """ResNet of `depth` weight layers for small images.

    Raises ValueError when depth is not 6n + 2, or num_classes or in_channels is not positive.

    >>> sum(p.numel() for p in CifarResNet(depth=20, num_classes=10, in_channels=3).parameters())
    269722
    """

    def __init__(self, *, depth: int, num_classes: int, in_channels: int) -> None:
        super().__init__()
        require_positive_integers(depth=depth, num_classes=num_classes, in_channels=in_channels)
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f"depth={depth} is not allowed; use 6n + 2, such as 20, 32, 44, 56 or 110")
        self.conv1 = nn.Conv2d(in_channels, STAGE_CHANNELS[0], 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(STAGE_CHANNELS[0])
        blocks = []
        channels = STAGE_CHANNELS[0]
        for out_channels in STAGE_CHANNELS:
            for _ in range((depth - 2) // 6):
                blocks.append(BasicBlock(channels, out_channels, stride=1 if out_channels == channels else 2))
                channels = out_channels
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(channels, num_classes)
        initialise_convolutions(self)

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Class scores; any image size whose sides are at least 4 is accepted, 32 x 32 is the paper's."""
        x = functional.relu(self.norm1(self.conv1(images)), inplace=True)
        return self.classifier(self.blocks(x).mean(dim=(2, 3)))
