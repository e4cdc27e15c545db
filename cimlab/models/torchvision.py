"""Any torchvision classification network by its name, fitted to the data set's channels and classes.

The attention of vit_* and swin_* multiplies by its projections' raw weights, so a forward hook on those
linear layers never fires. regnet_* cannot be built on the meta device.
"""

from pathlib import Path

import torch
import torchvision
from torch import nn

from cimlab.models.blocks import require_positive_integers
from cimlab.models.library import (
    PRETRAINED_CHANNELS,
    PRETRAINED_CLASSES,
    downloaded,
    require_listed,
    require_published,
)


def torchvision_model(
    name: str, num_classes: int, in_channels: int = 3, weights: str | None = None
) -> nn.Module:
    """Classifier `name`; images [batch, in_channels, height, width] to class scores [batch, num_classes].

    weights=None draws random weights and downloads nothing; otherwise it names one of the model's published
    weights ("DEFAULT" is the best), and the last layer is drawn anew unless num_classes is ImageNet's 1000.
    Raises ValueError on an unknown name or weights, on pretrained weights for other than 3 channels or that can't be
    downloaded or read, and on a num_classes or in_channels that is not positive.
    """
    require_positive_integers(num_classes=num_classes, in_channels=in_channels)
    _require_known(name, in_channels, weights)
    # these two return a tuple while training unless their auxiliary classifiers are left out
    options = {"aux_logits": False} if name in ("googlenet", "inception_v3") else {}
    if weights is not None:
        model = _published(name, weights, options)
        if num_classes != PRETRAINED_CLASSES:
            _replace_last_layer(model, num_classes)
        return model
    model = torchvision.models.get_model(name, num_classes=num_classes, **options)
    if in_channels != PRETRAINED_CHANNELS:
        _replace_first_convolution(model, in_channels)
    return model


def _published(name: str, weights: str, options: dict[str, bool]) -> nn.Module:
    """The model with its published weights, downloaded once into torch's own folder."""
    folder = Path(torch.hub.get_dir(), "checkpoints")
    return downloaded(
        lambda: torchvision.models.get_model(name, weights=weights, **options), name, weights, folder
    )


def _require_known(name: str, in_channels: int, weights: str | None) -> None:
    names = torchvision.models.list_models(module=torchvision.models)
    require_listed(name, names, "torchvision", "torchvision.models.list_models(module=torchvision.models)")
    if weights is None:
        return
    require_published(name, weights, list(torchvision.models.get_model_weights(name).__members__))
    if in_channels != PRETRAINED_CHANNELS:
        raise ValueError(
            f"in_channels={in_channels} is not allowed with weights={weights!r}; use weights=null"
        )


def _replace_last_layer(model: nn.Module, num_classes: int) -> None:
    """Draw anew the layer that gives class scores: a convolution in squeezenet, linear in all others."""
    path, last = [item for item in model.named_modules() if isinstance(item[1], nn.Conv2d | nn.Linear)][-1]
    if isinstance(last, nn.Conv2d):
        fresh = nn.Conv2d(last.in_channels, num_classes, kernel_size=1)
    else:
        fresh = nn.Linear(last.in_features, num_classes, bias=last.bias is not None)
    model.set_submodule(path, fresh)


def _replace_first_convolution(model: nn.Module, in_channels: int) -> None:
    """The same first convolution for another number of image channels; its kernels are drawn by He's rule."""
    path, first = next(item for item in model.named_modules() if isinstance(item[1], nn.Conv2d))
    fresh = nn.Conv2d(
        in_channels,
        first.out_channels,
        kernel_size=first.kernel_size,
        stride=first.stride,
        padding=first.padding,
        bias=first.bias is not None,
    )
    nn.init.kaiming_normal_(fresh.weight, mode="fan_out", nonlinearity="relu")
    model.set_submodule(path, fresh)
