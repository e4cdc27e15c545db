"""What the network families share: refusal of bad sizes, He's initialisation, and convolution - norm - ReLU.

Convolutions that feed a batch norm carry no bias in this package's own networks, because the norm subtracts
it again.
"""

from torch import nn


def require_positive_integers(**fields: int) -> None:
    """Raise ValueError naming the first field that is not a whole number of at least 1."""
    for field, value in fields.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{field}={value!r} is not allowed; use a whole number of at least 1")


def initialise_convolutions(model: nn.Module) -> None:
    """Draw every convolution kernel from N(0, 2 / fan_out) (He et al., ICCV 2015, equation 14), in place."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def conv_norm_relu(in_channels: int, out_channels: int) -> list[nn.Module]:
    """A 3x3 convolution that keeps the image size, its batch norm and its ReLU."""
    return [
        nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    ]
