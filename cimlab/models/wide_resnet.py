"""Wide residual networks for CIFAR, WRN-depth-width (Zagoruyko and Komodakis, BMVC 2016, table 1).

Three stages of (depth - 4) / 6 blocks with 16, 32 and 64 times `width` channels. Norm and ReLU come before each
convolution; where a block changes its channels, a 1x1 convolution of the same activated input is the shortcut. The
dropout that the paper tries between the two convolutions is left out.
"""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from cimlab.models.blocks import initialise_convolutions, require_positive_integers

STEM_CHANNELS = 16
STAGE_CHANNELS = (16, 32, 64)


class WideBlock(nn.Module):
    """Two 3x3 convolutions, each after norm and ReLU, added to the input, or to its projection if channels change."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.projection: nn.Conv2d | None = None
        if in_channels != out_channels:
            self.projection = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch out h w"]:
        """Residual plus shortcut."""
        activated = functional.relu(self.norm1(x), inplace=True)
        residual = self.conv2(functional.relu(self.norm2(self.conv1(activated)), inplace=True))
        return residual + (x if self.projection is None else self.projection(activated))


class WideResNet(nn.Module):
    """WRN-depth-width for small images.

    Raises ValueError when depth is not 6n + 4, or width, num_classes or in_channels is not positive.

    >>> sum(p.numel() for p in WideResNet(depth=16, width=4, num_classes=10, in_channels=3).parameters())
    2748890
    """

    def __init__(self, *, depth: int, width: int, num_classes: int, in_channels: int) -> None:
        super().__init__()
        require_positive_integers(depth=depth, width=width, num_classes=num_classes, in_channels=in_channels)
        if depth < 10 or (depth - 4) % 6:
            raise ValueError(f"depth={depth} is not allowed; use 6n + 4, such as 16, 22, 28 or 40")
        self.conv1 = nn.Conv2d(in_channels, STEM_CHANNELS, 3, padding=1, bias=False)
        blocks = []
        channels = STEM_CHANNELS
        for stage, base in enumerate(STAGE_CHANNELS):
            for block in range((depth - 4) // 6):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(WideBlock(channels, width * base, stride))
                channels = width * base
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm2d(channels)
        self.classifier = nn.Linear(channels, num_classes)
        initialise_convolutions(self)

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Class scores; any image size whose sides are at least 4 is accepted, 32 x 32 is the paper's."""
        x = functional.relu(self.norm(self.blocks(self.conv1(images))), inplace=True)
        return self.classifier(x.mean(dim=(2, 3)))
