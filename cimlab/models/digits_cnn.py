"""A convolutional network for 8 x 8 digits, small enough for first steps on a laptop and for tests."""

from torch import nn

from cimlab.models.blocks import conv_norm_relu, initialise_convolutions, require_positive_integers


def digits_cnn(*, num_classes: int, in_channels: int) -> nn.Sequential:
    """Three 3x3 convolutions (32, 64, 64 channels), one max-pool, global average pooling and a linear layer.

    Images [batch, in_channels, height, width], sides at least 2, to class scores [batch, num_classes]. Raises
    ValueError when num_classes or in_channels is not positive.
    """
    require_positive_integers(num_classes=num_classes, in_channels=in_channels)
    model = nn.Sequential(
        *conv_norm_relu(in_channels, 32),
        *conv_norm_relu(32, 64),
        nn.MaxPool2d(2),
        *conv_norm_relu(64, 64),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, num_classes),
    )
    initialise_convolutions(model)
    return model
